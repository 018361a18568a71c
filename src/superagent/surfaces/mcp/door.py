"""The door: Streamable HTTP at `/mcp`. Who asks was found out before; here are origin, host, and the SDK's engine.

The SDK takes about a second to load, so a server does that beside its start, and a command line's own kernel never.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import Any

from superagent.core.kernel import Kernel
from superagent.core.limits import Slots
from superagent.core.mounts import Message, Mount, Receive, Scope, Send, Visit, not_here, visit_of
from superagent.core.problems import Denied, Malformed, Unauthenticated, Unavailable
from superagent.core.reading import Reading
from superagent.surfaces.mcp.callers import CALLER, CHANNEL, Caller, session_of, toolsets_of
from superagent.surfaces.mcp.scoping import checked, replayed
from superagent.surfaces.mcp.ways import Engine

PREFIX = "/mcp"
_TOOLSETS = "toolsets"
_HEADER = b"superagent-toolsets"
_NEWEST = b"2026-07-28"
_ACCEPTS = frozenset({b"application/json, text/event-stream", b"application/json,text/event-stream"})
WARM_AFTER_S = 3.0
"""How long a server serves before it loads what nobody has asked for yet, seconds: its start has the machine first."""

_LOOPBACK = ("http://localhost:", "http://127.0.0.1:", "http://[::1]:")


class McpDoor:
    """Serve one installation until `close`.

    There are `sessions` only where one process gets all of a client's requests: with several, the older revision is
    served without them, as the newer always is.
    """

    def __init__(
        self, kernel: Kernel, *, sessions: bool, max_body_bytes: int = 1024 * 1024, origins: Collection[str] = ()
    ) -> None:
        self._kernel = kernel
        self._sessions = sessions
        self._max_body_bytes = max_body_bytes
        self._origins = frozenset(origins)
        self._slots = Slots(per_key=64, in_all=2048, what="streams")
        self._reading = Reading(kernel.hands.thread)
        self._closing = asyncio.Event()
        self._opening = asyncio.Lock()
        self._engine: Engine | None = None
        self._user: Callable[[Visit], object] = _nobody
        self._living: asyncio.Task[None] | None = None

    @property
    def mount(self) -> Mount:
        """Give where this is served."""
        return Mount(PREFIX, self, public=False, channel=CHANNEL)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request of a caller that is known."""
        visit = visit_of(scope)
        self._check(visit, scope)
        caller = _caller(visit)
        if self._closing.is_set():
            raise Unavailable("the platform is stopping")
        body = await checked(self._kernel, visit, self._reading)
        engine = self._engine or await self._open()
        if _may_be_plain(visit, scope):
            text = await visit.body()
            if plain := engine.quick.plain(visit, text):
                await engine.quick(caller, plain, visit, send)
                return
            body = replayed(text, visit.receive)
        # a key of its own a session: whoever else shows its id is told that there is none
        headers = [(name, value.strip(b" \t")) for name, value in scope["headers"]]  # RFC 9110, 5.5
        scope = {**scope, "headers": headers, CALLER: caller, "user": self._user(visit)}
        if visit.method != "GET":
            await engine.usual(scope, body, send)
            return
        key = visit.principal.bucket
        self._slots.enter(key)
        begun = ended = False

        async def sending(message: Message) -> None:
            nonlocal begun, ended
            begun = True
            ended = message["type"] == "http.response.body" and not message.get("more_body")
            await send(message)

        try:
            await engine.usual(scope, self._until_closing(receive), sending)
            if begun and not ended:  # the SDK leaves when it is told to, and its stream open
                await send({"type": "http.response.body", "body": b""})
        finally:
            self._slots.leave(key)

    async def warm(self, after_s: float = WARM_AFTER_S) -> None:
        """Load the SDK in a thread, so that the first request does not wait for it; not in what ends at once."""
        try:
            await asyncio.wait_for(self._closing.wait(), after_s)
        except TimeoutError:
            await asyncio.to_thread(_load)

    async def close(self) -> None:
        """End open streams and sessions."""
        self._closing.set()
        if self._living is not None:
            await self._living

    def _check(self, visit: Visit, scope: Scope) -> None:
        if visit.path not in ("", "/"):
            raise not_here(visit.method, scope["path"])
        if visit.session:
            # a browser adds its cookie to what any page sends: here only a key or a token says who asks
            raise Unauthenticated("this door takes no browser session", hint="send `Authorization: Bearer …`")
        if not visit.origin:
            raise Malformed("this is not a name of this server", hint="use the address that `server.public_url` names")
        said = visit.headers.get(b"origin")
        if said is not None and not self._takes(said.decode("latin-1"), visit.origin):
            raise Denied("pages of this origin may not call", hint="the owner can list it in `server.cors_origins`")

    def _takes(self, origin: str, own: str) -> bool:
        if origin == own or origin in self._origins:
            return True
        # a page that this very machine serves (the Inspector, for one) may call a server that only this machine reaches
        return own.startswith(_LOOPBACK) and origin.startswith(_LOOPBACK) and origin.rpartition(":")[2].isdigit()

    async def _open(self) -> Engine:
        async with self._opening:
            if self._engine is None:
                engine = await asyncio.to_thread(_load)
                ready: asyncio.Future[Engine] = asyncio.get_running_loop().create_future()
                self._living = asyncio.create_task(
                    engine.live(self._kernel, self._sessions, self._max_body_bytes, ready, self._closing)
                )
                self._engine, self._user = await ready, engine.user_of
            return self._engine

    def _until_closing(self, receive: Receive) -> Receive:
        """Let a stream that waits for nothing in particular end when the platform stops."""

        async def receiving() -> Message:
            told = asyncio.ensure_future(receive())
            closing = asyncio.ensure_future(self._closing.wait())
            try:
                await asyncio.wait({told, closing}, return_when=asyncio.FIRST_COMPLETED)
                return told.result() if told.done() else {"type": "http.disconnect"}
            finally:
                told.cancel()
                closing.cancel()

        return receiving


def _caller(visit: Visit) -> Caller:
    if visit.query.keys() - {_TOOLSETS}:
        raise Malformed(f"there is no parameter `{min(visit.query)[:60]}` here", hint="`?toolsets=…` is the only one")
    wanted = visit.query.get(_TOOLSETS) or visit.headers.get(_HEADER, b"").decode("latin-1")
    return Caller(visit.principal, visit.trace, toolsets_of(wanted), session_of(visit.headers))


def _may_be_plain(visit: Visit, scope: Scope) -> bool:
    """Tell by its head whether a message may be a plain call of the newer revision."""
    said = visit.headers
    return (
        said.get(b"mcp-method") == b"tools/call"
        and said.get(b"mcp-protocol-version") == _NEWEST
        and visit.method == "POST"
        and len(said) == len(scope["headers"])  # nothing came twice
        and said.get(b"content-type", b"").startswith(b"application/json")
        and said.get(b"accept") in _ACCEPTS
    )


def _nobody(visit: Visit) -> object:
    return None


def _load() -> Any:
    from superagent.surfaces.mcp import engine

    return engine
