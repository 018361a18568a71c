"""Sessions: who is connected to which server: nobody's session, and nobody's process, serves anybody else."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from superagent.core.audit import AuditRecord
from superagent.core.context import Context
from superagent.core.problems import Overloaded, Unavailable
from superagent.runtime.hosted.backoff import Backoff
from superagent.runtime.hosted.call import shown
from superagent.runtime.hosted.quarters import Quarters
from superagent.runtime.mcp_client.granted import Grants
from superagent.runtime.mcp_client.http import Spoken, Streamable
from superagent.runtime.mcp_client.messages import Wire
from superagent.runtime.mcp_client.opened_by import OpenedBy
from superagent.runtime.mcp_client.records import Server
from superagent.runtime.mcp_client.stdio import Stdio

MOST = 16
"""Processes of MCP servers at a time."""
MOST_SESSIONS = 1000
IDLE_S = 60.0
_log = logging.getLogger("superagent")

Key = tuple[str, str, tuple[str, ...], str]
"""Server, tenant, who acts on whose behalf, and by which key."""


@dataclass(slots=True)
class Session:
    """One caller's session: over HTTP what was `spoken`, else the process. `called` is the server's own name."""

    key: Key
    grants: Grants
    spoken: Spoken = field(default_factory=Spoken)
    process: Stdio | None = None
    called: str = ""
    calls: int = 0
    idle_since: float = 0.0

    @property
    def over(self) -> bool:
        """Tell whether its process has ended."""
        return self.process is not None and bool(self.process.why)

    def wire(self, ctx: Context, server: Server) -> Wire:
        """Give the way to the server for one call."""
        if self.process is not None:
            return self.process
        return Streamable(ctx.net.http, server.url, OpenedBy(ctx, server, self.grants), self.spoken)


class Sessions:
    """All of them. `users` gives the user of this machine that a tenant's things run as."""

    def __init__(
        self,
        quarters: Quarters,
        grants: Grants,
        users: Callable[[str], Awaitable[int | None]],
        note: Callable[[AuditRecord], None],
        now: Callable[[], float],
        monotonic: Callable[[], float],
        most: int = MOST,
    ) -> None:
        self._quarters = quarters
        self.grants = grants
        self._users = users
        self._note = note
        self._now = now
        self._monotonic = monotonic
        self._most = most
        self._sessions: dict[Key, Session] = {}
        self._backoffs: dict[Key, Backoff] = {}
        self._starting = 0
        self._ending: set[asyncio.Task[None]] = set()
        self.turns: dict[Key, asyncio.Lock] = {}

    def present(self, key: Key) -> Session | None:
        """Give a session that can be used."""
        found = self._sessions.get(key)
        if found is not None and found.over:
            self.drop(key, "it ended")
            return None
        return found

    def turn(self, key: Key) -> asyncio.Lock:
        """Give the lock under which a caller's session is opened."""
        return self.turns.setdefault(key, asyncio.Lock())

    async def begin(self, ctx: Context, server: Server) -> Session:
        """Begin a session that nobody has opened yet. Raises `Overloaded`, `Unavailable`, `SandboxUnavailable`."""
        key = key_of(ctx, server.name)
        wait_s = self._backoffs[key].wait_s(self._monotonic()) if key in self._backoffs else 0.0
        if wait_s:
            raise Unavailable(
                f"the MCP server `{server.name}` keeps failing, and is left alone for {wait_s:.1f} s",
                hint="call again then", retry_after_s=wait_s,
            )  # fmt: skip
        if server.url:
            return Session(key, self.grants, idle_since=self._monotonic())
        self._make_room()
        self._starting += 1
        try:
            user = await self._users(ctx.tenant)

            async def started(line: int, errors: int) -> Any:
                return await self._quarters.begin(
                    server.name, server.command, server.folder, ctx.tenant, user, line, errors
                )

            process = await Stdio.start(started)
        finally:
            self._starting -= 1
        self._event("plugins.started", key, {"level": "native", "kind": "mcp"})
        return Session(key, self.grants, process=process, idle_since=self._monotonic())

    def keep(self, session: Session) -> None:
        """Let a session that is open be used by the caller's next calls."""
        if len(self._sessions) >= MOST_SESSIONS:
            free = [(one.idle_since, key) for key, one in self._sessions.items() if not one.calls]
            if free:
                self.drop(min(free)[1], "others needed its place")
        self._sessions[session.key] = session

    def worked(self, session: Session) -> None:
        """Take note that a call went well."""
        session.idle_since = self._monotonic()
        self._backoffs.pop(session.key, None)

    def failed(self, session: Session, why: str) -> None:
        """End a session for what its server did; each failure in a row makes the caller wait longer."""
        self._backoffs.setdefault(session.key, Backoff()).failed(self._monotonic())
        self.end(session, why)

    def end(self, session: Session, why: str) -> None:
        """End a session."""
        if self._sessions.get(session.key) is session:
            del self._sessions[session.key]
        process = session.process
        if process is None:
            return
        process.close(why)
        self._event("plugins.ended", session.key, {"why": process.why, "kind": "mcp"})
        if process.errors:
            said = shown(b"".join(process.errors)[-2000:].decode("utf-8", "replace"), 2000)
            _log.warning("the MCP server %s ended (%s), and had said: %s", session.key[0], process.why, said)
        self._own(process.end(why))

    def drop(self, key: Key, why: str) -> None:
        """End a caller's session if there is one."""
        found = self._sessions.get(key)
        if found is not None:
            self.end(found, why)

    def drop_all(self, server: str, why: str) -> None:
        """End every session with a server."""
        for key in [one for one in self._sessions if one[0] == server]:
            self.drop(key, why)

    async def sweep(self) -> int:
        """End what nobody has used for a while."""
        before = len(self._sessions)
        for key, one in list(self._sessions.items()):
            if one.over or (not one.calls and self._monotonic() - one.idle_since > IDLE_S):
                self.drop(key, "nobody used it")
        for key, lock in list(self.turns.items()):
            if key not in self._sessions and not lock.locked():
                del self.turns[key]
        for key, backoff in list(self._backoffs.items()):
            if not backoff.wait_s(self._monotonic()):
                del self._backoffs[key]
        return before - len(self._sessions)

    async def close(self) -> None:
        """End every session, and return when nothing of any process is left."""
        for key in list(self._sessions):
            self.drop(key, "the platform stops")
        while self._ending:
            await asyncio.wait(self._ending)

    # ---- inside

    def _make_room(self) -> None:
        running = [one for one in self._sessions.values() if one.process is not None]
        if len(running) + self._starting < self._most:
            return
        free = [(one.idle_since, one.key) for one in running if not one.calls]
        if not free:
            raise Overloaded("every process for MCP servers is busy", hint="try again when others have ended")
        self.drop(min(free)[1], "others needed its place")

    def _own(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    def _event(self, what: str, key: Key, detail: dict[str, Any]) -> None:
        self._note(
            AuditRecord(
                kind="event", at=self._now(), tenant=key[1], who=key[2][0], chain_of=key[2], operation=what,
                detail={"plugin": key[0], **detail},
            )
        )  # fmt: skip


def key_of(ctx: Context, server: str) -> Key:
    """Name whose session with a server it is."""
    principal = ctx.principal
    return server, principal.tenant, principal.ids, principal.key
