"""The door: the Agent2Agent protocol at `/a2a`, and the card by which others find it.

The SDK is an extra, and loaded at the first request: an installation that no agent reaches by A2A does not carry it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection
from hashlib import sha256
from typing import Any

from superagent.core.invocation import Call
from superagent.core.kernel import Kernel
from superagent.core.limits import Slots
from superagent.core.mounts import App, Message, Mount, Receive, Scope, Send, Visit, answer, not_here, visit_of
from superagent.core.problems import Denied, Malformed, Unauthenticated, Unavailable
from superagent.core.reading import Reading
from superagent.surfaces.a2a.callers import CALLER, CHANNEL, Caller

PREFIX = "/a2a"
CARD = "/.well-known/agent-card.json"
KEYS = f"{PREFIX}/keys.json"
_SENDS = frozenset({"SendMessage", "SendStreamingMessage", "message/send", "message/stream"})
_PARSE_ERROR = -32700
_JSON = (b"content-type", b"application/json")
_CACHED = (b"cache-control", b"public, max-age=300")
_MOST_CARDS = 16


class A2aDoor:
    """Serve one installation until `close`."""

    def __init__(self, kernel: Kernel, listing: Any, keys: Any, *, origins: Collection[str] = ()) -> None:
        """Make it; `listing` finds stored invocations, `keys` sign the card, `origins` are pages that may call."""
        self._kernel = kernel
        self._listing = listing
        self._keys = keys
        self._origins = frozenset(origins)
        self._slots = Slots(per_key=64, in_all=2048, what="requests")
        self._reading = Reading(kernel.hands.thread)
        self._closing = asyncio.Event()
        self._opening = asyncio.Lock()
        self._engine: Any = None
        self._cards: dict[str, bytes] = {}

    @property
    def mounts(self) -> tuple[Mount, ...]:
        """Give where this is served: the door for who has a key, the card and its keys for everybody."""
        return (
            Mount(PREFIX, self, public=False, channel=CHANNEL),
            Mount(CARD, self._card, public=True, channel=CHANNEL),
            Mount(KEYS, self._published, public=True, channel=CHANNEL),
        )

    async def close(self) -> None:
        """End what waits and streams."""
        self._closing.set()

    # ---- cards

    async def _card(self, scope: Scope, receive: Receive, send: Send) -> None:
        visit = _reading(scope)
        found = self._cards.get(visit.origin)
        if found is None:
            engine = await self._open()
            found = json.dumps(engine.cards.public(visit.origin), sort_keys=True).encode()
            if len(self._cards) >= _MOST_CARDS:
                self._cards.clear()
            self._cards[visit.origin] = found
        await _document(visit, send, found)

    async def _published(self, scope: Scope, receive: Receive, send: Send) -> None:
        visit = _reading(scope)
        await _document(visit, send, json.dumps((await self._open()).cards.keys(), sort_keys=True).encode())

    # ---- requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request of a caller that is known."""
        visit = visit_of(scope)
        self._check(visit)
        if self._closing.is_set():
            raise Unavailable("the platform is stopping")
        engine = await self._open()
        body = await visit.body()
        try:
            asked = await self._reading.object(visit.principal, body)
        except Malformed as problem:
            self._kernel.refused(Call("a2a.request", {}), visit.principal, CHANNEL, problem, visit.trace)
            if visit.path not in ("", "/"):
                raise
            told = json.dumps(_parse_error(problem)).encode()
            await answer(send, 200, told, [_JSON])
            return
        if not (asked.get("method") in _SENDS or visit.path.endswith(("message:send", "message:stream"))):
            self._kernel.beside(visit.principal)  # a message is charged as the call that it becomes
        caller = Caller(visit.principal, visit.origin, visit.trace, asked)
        key = visit.principal.bucket
        self._slots.enter(key)
        try:
            await _served(engine.app, {**scope, CALLER: caller}, body, receive, send, caller)
        finally:
            self._slots.leave(key)

    def _check(self, visit: Visit) -> None:
        if visit.session:
            # a browser adds its cookie to what any page sends: here only a key or a token says who asks
            raise Unauthenticated("this door takes no browser session", hint="send `Authorization: Bearer …`")
        _require_origin(visit)
        said = visit.headers.get(b"origin", b"").decode("latin-1")
        if said and said != visit.origin and said not in self._origins:
            raise Denied("pages of this origin may not call", hint="the owner can list it in `server.cors_origins`")

    async def _open(self) -> Any:
        async with self._opening:
            if self._engine is None:
                load = await asyncio.to_thread(_load)
                self._engine = load(self._kernel, self._listing, self._keys, self._closing, PREFIX)
            return self._engine


async def _served(app: App, scope: Scope, body: bytes, receive: Receive, send: Send, caller: Caller) -> None:
    """Let the SDK answer until its client has gone; what it has no words for is raised instead."""
    gone, given = asyncio.Event(), False

    async def receiving() -> Message:
        nonlocal given
        if not given:
            given = True
            return {"type": "http.request", "body": body, "more_body": False}
        await gone.wait()
        return {"type": "http.disconnect"}

    async def sending(message: Message) -> None:
        if not caller.aside:
            await send(message)

    async def watching() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        gone.set()

    serving: asyncio.Future[None] = asyncio.ensure_future(app(scope, receiving, sending))
    watch = asyncio.ensure_future(watching())
    try:
        await asyncio.wait({serving, watch}, return_when=asyncio.FIRST_COMPLETED)
        if not serving.done():
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)
            return
        serving.result()
    finally:
        for one in (watch, serving):
            one.cancel()
        await asyncio.gather(watch, serving, return_exceptions=True)
    if caller.aside:
        raise caller.aside[0]


def _reading(scope: Scope) -> Visit:
    visit = visit_of(scope)
    if visit.path or visit.method != "GET":
        raise not_here(visit.method, scope["path"])
    _require_origin(visit)
    return visit


def _require_origin(visit: Visit) -> None:
    if not visit.origin:
        raise Malformed("this is not a name of this server", hint="use the address that `server.public_url` names")


async def _document(visit: Visit, send: Send, body: bytes) -> None:
    """Send what changes seldom, or that it has not changed (RFC 9110, 13.1.2)."""
    tag = f'"{sha256(body).hexdigest()[:32]}"'.encode()
    headers = [_JSON, _CACHED, (b"etag", tag)]
    same = tag in [one.strip().removeprefix(b"W/") for one in visit.headers.get(b"if-none-match", b"").split(b",")]
    await answer(send, 304 if same else 200, b"" if same else body, headers)


def _parse_error(problem: Malformed) -> dict[str, Any]:
    error = {
        "code": _PARSE_ERROR,
        "message": problem.detail,
        "data": [{"hint": problem.hint or "send one JSON object"}],
    }
    return {"jsonrpc": "2.0", "id": None, "error": error}


def _load() -> Any:
    try:
        from superagent.surfaces.a2a.engine import Engine
    except ModuleNotFoundError as missing:
        raise Unavailable(
            f"the Agent2Agent door needs a package that is not installed (`{missing.name}`)",
            hint="install it with `pip install 'superagent[a2a]'` and start anew",
        ) from None
    return Engine
