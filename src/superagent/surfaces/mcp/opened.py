"""Opened: who has which sessions open. Beyond its share, whoever opens one more loses the one it used longest ago.

The SDK counts all sessions together, so that one caller's could shut everybody else out for as long as it likes.
"""

from __future__ import annotations

from superagent.core.mounts import App, Message, Receive, Scope, Send
from superagent.surfaces.mcp.callers import CALLER, Caller

MOST_OF_ONE = 64
_SESSION = b"mcp-session-id"


class Opened:
    """The SDK's engine with a share of its sessions for each caller."""

    def __init__(self, engine: App, most: int = MOST_OF_ONE) -> None:
        self._engine = engine
        self._most = most
        self._open: dict[str, dict[bytes, object]] = {}  # of each caller, by when they were used last: id → its user

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request of a caller that is known."""
        caller: Caller = scope[CALLER]
        who = caller.principal.bucket
        session = next((value for name, value in scope["headers"] if name == _SESSION), b"")
        if session:
            self._used(who, session, ends=scope["method"] == "DELETE")
            await self._engine(scope, receive, send)
            return

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] < 400:
                found = next((value for name, value in message["headers"] if name.lower() == _SESSION), b"")
                if found:
                    self._open.setdefault(who, {})[found] = scope["user"]
            await send(message)

        try:
            await self._engine(scope, await _whole(receive), sending)
        finally:
            while len(own := self._open.get(who, {})) > self._most:
                oldest = next(iter(own))
                await self._end(scope, oldest, own.pop(oldest))

    def _used(self, who: str, session: bytes, *, ends: bool) -> None:
        own = self._open.get(who, {})
        user = own.pop(session, None)
        if user is not None and not ends:
            own[session] = user
        if not own:
            self._open.pop(who, None)

    async def _end(self, scope: Scope, session: bytes, user: object) -> None:
        """End a session as its client would; one that has ended by itself is not there, and that is as good."""
        headers = [(_SESSION, session), (b"accept", b"application/json, text/event-stream")]
        await self._engine({**scope, "method": "DELETE", "headers": headers, "user": user}, _nothing, _unheard)


async def _whole(receive: Receive) -> Receive:
    """Read a body to its end: the SDK gives a session to whoever begins to ask for one."""
    came = [await receive()]
    while came[-1].get("more_body"):
        came.append(await receive())
    came.reverse()

    async def again() -> Message:
        return came.pop() if came else await receive()

    return again


async def _nothing() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


async def _unheard(message: Message) -> None:
    pass
