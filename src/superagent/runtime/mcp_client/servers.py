"""Servers: the MCP servers of an installation, connected by people, and every call of a tool of theirs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator, Iterable
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import msgspec
from msgspec.structs import replace

from superagent.core.audit import AuditRecord
from superagent.core.context import Context
from superagent.core.operation import Operation
from superagent.core.problems import Conflict, InvalidInput, Locked, NotFound, Problem
from superagent.core.resources import Effect, Risk
from superagent.runtime.hosted.declared import LEAST_RISK
from superagent.runtime.mcp_client import session
from superagent.runtime.mcp_client.asked import answering, eliciting
from superagent.runtime.mcp_client.comparing import assigned, callable_now, compared
from superagent.runtime.mcp_client.granted import Grants
from superagent.runtime.mcp_client.messages import Broken, Expired, Refused, unavailable
from superagent.runtime.mcp_client.mirrored import headers_of
from superagent.runtime.mcp_client.records import Records, Server, Tool
from superagent.runtime.mcp_client.sessions import Session, Sessions, key_of
from superagent.runtime.mcp_client.shapes import Unfit
from superagent.runtime.mcp_client.tools import TIMEOUT_S, ToolResult, operation_of, pinned

KIND = "mcp"
MOST_SERVERS = 64
LOOK = "a person looks at it with `plugins.review`, and assigns it anew"

Swap = Callable[[list[Operation]], None]
"""Make the next snapshot of the registry with these operations beside the others. Raises `TypeError`."""


class Servers:
    """All connected servers; `turn` is held by whoever reads a server and writes it down changed."""

    def __init__(
        self, records: Records, sessions: Sessions, note: Callable[[AuditRecord], None], now: Callable[[], float]
    ) -> None:
        self._records = records
        self._sessions = sessions
        self._note = note
        self._now = now
        self._known: dict[str, tuple[tuple[int, int] | None, Server]] = {}
        self._swap: Swap = lambda operations: None
        self._taken: frozenset[str] = frozenset()
        self.turn = asyncio.Lock()

    async def open(self, swap: Swap, taken: Iterable[str]) -> None:
        """Load what is recorded; `taken` are domains that no server may bear the name of."""
        self._swap, self._taken = swap, frozenset(taken)
        await self.follow()

    # ---- what is known

    def known(self, name: str) -> Server | None:
        """Give a server as it is known here."""
        found = self._known.get(name)
        return None if found is None else found[1]

    def all(self) -> list[Server]:
        """Give all servers, by name."""
        return [one for _, (_, one) in sorted(self._known.items())]

    def taken(self, name: str) -> bool:
        """Tell whether a name belongs to somebody else."""
        return name in self._taken

    async def follow(self) -> None:
        """Take up what other workers changed."""
        stamps = {name: self._records.stamp(name) for name in self._records.names()}
        if stamps == {name: stamp for name, (stamp, _) in self._known.items()}:
            return
        for name in [one for one in self._known if one not in stamps]:
            self._forget(name)
        for name, stamp in stamps.items():
            if name not in self._known or self._known[name][0] != stamp:
                await self._read(name)
        self._publish()

    async def set(self, server: Server | None, name: str) -> None:
        """Write a server down, or remove it, and let the registry follow. Raises `Conflict`, `InvalidInput`."""
        before = self.known(name)
        if server is not None:
            self._operations(server)  # raises before anything is written
            if before is None and len(self._known) >= MOST_SERVERS:
                raise Conflict(f"{MOST_SERVERS} MCP servers are connected", hint="remove one with `plugins.remove`")
            await asyncio.to_thread(self._records.write, server)
            self._known[name] = (self._records.stamp(name), server)
        else:
            await asyncio.to_thread(self._records.remove, name)
            self._forget(name)
        if server is None or before is None or _way(before) != _way(server):
            self._sessions.drop_all(name, "it was changed or removed")
        self._publish()

    async def sweep(self) -> int:
        """End the sessions that nobody has used for a while."""
        return await self._sessions.sweep()

    @property
    def grants(self) -> Grants:
        """Give the tokens that are held for servers."""
        return self._sessions.grants

    # ---- what people do

    async def offered(self, ctx: Context, server: Server) -> Server:
        """Ask a server that is not connected yet what it offers, and give it with its tools pinned."""
        opened = await self._sessions.begin(ctx, server)
        try:
            with self._through(opened, server):
                called = await session.begin(opened.wire(ctx, server))
                offered = await session.tools(opened.wire(ctx, server))
        except Expired as fault:
            raise unavailable(server.name, f"failed: {fault}") from None
        finally:
            self._sessions.end(opened, "it was only asked what it offers")
        return replace(server, called=called, tools=pinned(server.name, offered))

    async def review(self, ctx: Context, name: str) -> Server:
        """Ask a server anew what it offers, and give it as it stands then."""
        server = await self._fresh(name)
        self._sessions.drop(key_of(ctx, name), "it is looked at anew")
        try:
            async with self._using(ctx, server):
                pass
        except Expired as fault:
            raise unavailable(name, f"failed: {fault}") from None
        return await self._fresh(name)

    def assigned(
        self,
        server: Server,
        tool: str,
        digest: str,
        effect: str,
        risk: str,
        summary: str,
        by: str,
        asks_first: bool = False,
    ) -> Server:
        """Give a server with a person's word about one tool. Raises `NotFound`, `Conflict`, `InvalidInput`."""
        found = server.tool(tool)
        if found is None:
            raise NotFound(f"`{server.name}` has no tool `{tool[:100]}`", hint="`plugins.review` shows them")
        if found.state in ("unfit", "gone"):
            raise Conflict(f"`{tool[:100]}` cannot be called: {found.why}")
        if digest not in (found.digest, found.now) or (found.offered and digest != found.now):
            raise Conflict(
                f"`{tool[:100]}` describes itself otherwise than under this digest", hint="look again: `plugins.review`"
            )
        if Risk[risk] < LEAST_RISK[Effect[effect]]:
            least = LEAST_RISK[Effect[effect]].name
            raise InvalidInput(f"what has the effect {effect} is at least of the risk {least}")
        made = assigned(found, digest, effect, risk, summary, by, asks_first)
        tools = [made if one.name == tool else one for one in server.tools]
        return replace(server, tools=tools, turn=server.turn + 1)

    # ---- a call of a tool

    async def call(self, ctx: Context, server: Server, tool: Tool, arguments: dict[str, Any]) -> ToolResult:
        """Call a tool as it was when its operation was made; one that is no longer that is not called."""
        try:
            said = await self._called(ctx, server, tool, arguments)
        except Expired:  # it has done nothing, so asking once more in a new session does nothing twice
            try:
                said = await self._called(ctx, server, tool, arguments)
            except Expired as fault:
                raise unavailable(server.name, f"ended the call: {fault}") from None
        return ToolResult(text=said.text, structured=said.structured, parts=said.parts, failed=said.failed)

    async def _called(self, ctx: Context, server: Server, tool: Tool, arguments: dict[str, Any]) -> session.Result:
        present = self._as_made(await self._fresh(server.name), server, tool, ctx)
        async with self._using(ctx, present) as opened:
            present = self._as_made(await self._fresh(server.name), server, tool, ctx)
            timeout_s = min(TIMEOUT_S, TIMEOUT_S if ctx.remaining_s is None else ctx.remaining_s)
            with self._through(opened, present, changes=bool(ctx.operation.effect)):
                mirrored = headers_of(tool.said.get("inputSchema", {}), arguments)
                said = await session.call(
                    opened.wire(ctx, present), tool.name, arguments, timeout_s, mirrored,
                    answering=answering(ctx, server.name),
                    elicited=eliciting(
                        ctx, server.name, anew=tool.asks_first or not ctx.operation.effect,
                        unanswered=lambda why: self._unanswered(ctx, server.name, tool, why),
                    ),
                )  # fmt: skip
            self._sessions.worked(opened)
            return said

    def _as_made(self, present: Server, server: Server, tool: Tool, ctx: Context) -> Server:
        now = present.tool(tool.name)
        if now is None or _way(present) != _way(server):
            raise NotFound(f"there is no operation `{tool.operation}` any more")
        if not callable_now(now):
            self._refused(ctx, present, now)
            raise Locked(f"the tool `{tool.name}` is not called: {now.why}", hint=LOOK)
        said = (tool.digest, tool.effect, tool.risk, tool.asks_first)
        if (now.digest, now.effect, now.risk, now.asks_first) != said:
            raise Conflict(f"a person assigned `{tool.operation}` anew while this call was made", hint="call again")
        return present

    @asynccontextmanager
    async def _using(self, ctx: Context, server: Server) -> AsyncGenerator[Session]:
        """Give the caller's session, opened and compared with what was pinned if it is new or announced a change."""
        key = key_of(ctx, server.name)
        async with self._sessions.turn(key):
            opened = self._sessions.present(key)
            if opened is None:
                opened = await self._opened(ctx, server)
                self._sessions.keep(opened)
            elif opened.wire(ctx, server).changed:
                await self._compare(ctx, server, opened)
        opened.calls += 1
        try:
            yield opened
        finally:
            opened.calls -= 1

    async def _opened(self, ctx: Context, server: Server) -> Session:
        opened = await self._sessions.begin(ctx, server)
        try:
            with self._through(opened, server):
                opened.called = await session.begin(opened.wire(ctx, server))
            await self._compare(ctx, server, opened)
        except BaseException:
            self._sessions.end(opened, "it could not be opened")
            raise
        return opened

    async def _compare(self, ctx: Context, server: Server, opened: Session) -> None:
        with self._through(opened, server):
            offered = await session.tools(opened.wire(ctx, server))
        async with self.turn:
            after, changed = compared(await self._fresh(server.name), offered)
            for one in changed:
                self._changed(ctx, server.name, one)
            if changed:
                await self.set(after, server.name)

    @contextmanager
    def _through(self, opened: Session, server: Server, *, changes: bool = False) -> Generator[None]:
        """Turn what a server does wrong into a problem; `changes` says that it may have done something before."""
        try:
            yield
        except Refused as said:
            raise unavailable(server.name, f"refused: {said}", changed=changes) from None
        except Expired as fault:
            self._sessions.end(opened, str(fault))
            raise
        except Broken as fault:
            self._sessions.failed(opened, str(fault))
            raise unavailable(server.name, f"failed: {fault}", changed=changes) from None
        except TimeoutError:
            self._sessions.failed(opened, "it did not answer in time")
            raise unavailable(server.name, "failed: it did not answer in time", changed=changes) from None

    # ---- inside

    async def _fresh(self, name: str) -> Server:
        stamp = self._records.stamp(name)
        if stamp is None or name not in self._known or self._known[name][0] != stamp:
            await self.follow()
        found = self.known(name)
        if found is None:
            raise NotFound(f"there is no MCP server `{name[:80]}`", hint="`plugins.list` shows them")
        return found

    async def _read(self, name: str) -> None:
        stamp = self._records.stamp(name)
        try:
            server = await asyncio.to_thread(self._records.read, name)
        except (msgspec.DecodeError, OSError):
            server = None  # somebody wrote into our folder: what cannot be read is not called
        if server is None or server.name != name:
            self._forget(name)
        else:
            self._known[name] = (stamp, server)

    def _forget(self, name: str) -> None:
        self._known.pop(name, None)
        self._sessions.drop_all(name, "it was removed")

    def _operations(self, server: Server) -> list[Operation]:
        try:
            return [operation_of(server, one, self._calls(server, one)) for one in server.tools if one.state != "unfit"]
        except (Unfit, TypeError) as bad:
            raise InvalidInput(f"a tool of `{server.name}` cannot be an operation: {bad}") from None

    def _calls(self, server: Server, tool: Tool) -> Any:
        async def call(ctx: Context, arguments: dict[str, Any]) -> ToolResult:
            return await self.call(ctx, server, tool, arguments)

        return call

    def _publish(self) -> None:
        found: list[Operation] = []
        for server in self.all():
            try:
                found += self._operations(server)
            except Problem:
                continue  # written by another version of this program: what cannot be an operation is none
        self._swap(found)

    def _changed(self, ctx: Context, server: str, tool: Tool) -> None:
        detail = {"plugin": server, "tool": tool.name, "state": tool.state, "why": tool.why}
        self._record(ctx, "plugins.changed", {**detail, "pinned": tool.digest, "now": tool.now})

    def _refused(self, ctx: Context, server: Server, tool: Tool) -> None:
        detail = {"plugin": server.name, "tool": tool.name, "why": tool.why}
        self._record(ctx, "plugins.asked", detail, refused=True)

    def _unanswered(self, ctx: Context, server: str, tool: Tool, why: str) -> None:
        self._record(ctx, "plugins.elicited", {"plugin": server, "tool": tool.name, "why": why}, refused=True)

    def _record(self, ctx: Context, what: str, detail: dict[str, Any], *, refused: bool = False) -> None:
        principal = ctx.principal
        self._note(
            AuditRecord(
                kind="refused" if refused else "event", at=self._now(), invocation=ctx.invocation.id,
                tenant=principal.tenant, who=principal.id, chain_of=principal.ids, channel=ctx.invocation.channel,
                operation=what, problem="denied" if refused else "", detail=detail,
            )
        )  # fmt: skip


def _way(server: Server) -> tuple[list[str], str, str, str]:
    """Give how a server is reached and opened: one that is reached otherwise is another."""
    return server.command, server.folder, server.url, server.login
