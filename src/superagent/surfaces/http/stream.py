"""Server-sent events: an invocation's own stream, and the live feed; both resume by `Last-Event-ID`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, MutableMapping
from contextlib import aclosing
from typing import Any

import msgspec

from superagent.core.invocation import Status
from superagent.core.kernel import Kernel
from superagent.core.ports import Held
from superagent.core.principal import Principal
from superagent.core.problems import InvalidInput
from superagent.surfaces.http.feed import Feed

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
POLL_S = 0.2
HEARTBEAT_S = 15.0
_OPEN = frozenset({Status.WAITING, Status.QUEUED, Status.RUNNING})


async def serve_invocation(kernel: Kernel, held: Held, after: int, receive: Receive, send: Send) -> None:
    """Send the stored events of an invocation after a number, then the new ones, then its end."""
    await _send_all(of_invocation(kernel, held, after), receive, send)


async def serve_feed(
    kernel: Kernel, feed: Feed, principal: Principal, after: int | None, receive: Receive, send: Send
) -> None:
    """Send what happens in the caller's tenant, as far as the caller may see it; from now, or after a number."""
    start = await feed.newest(principal.tenant) if after is None else after
    await _send_all(of_feed(kernel, feed, principal, start), receive, send)


def last_event_id(value: bytes) -> int | None:
    """Read `Last-Event-ID`; None when there is none. Raises `InvalidInput`."""
    if not value:
        return None
    if not value.isdigit() or len(value) > 15:
        raise InvalidInput("`Last-Event-ID` is the number of an event that came from here")
    return int(value)


async def of_invocation(kernel: Kernel, held: Held, after: int) -> AsyncGenerator[bytes]:
    """Give an invocation's events as they are stored; ends when the invocation has ended and all were given."""
    work = kernel.hands.work
    at, ended = after, False
    while True:
        found = await work.events(held.tenant, held.id, at)
        for number, data in found:
            at = number
            yield event(str(number), "message", data)
        if found:
            continue
        if ended:
            break
        now = await work.get(held.tenant, held.id)
        # look for events once more after the end was seen: the last may have come in between
        ended = now is None or now.state not in _OPEN
        if not ended:
            yield b""
            await asyncio.sleep(POLL_S)
    outcome = await work.outcome(held.tenant, held.id)
    if outcome is not None:
        yield event("", "outcome", outcome.encode())


async def of_feed(kernel: Kernel, feed: Feed, principal: Principal, after: int) -> AsyncGenerator[bytes]:
    """Give audit records that the caller may see, for ever."""
    at = after
    while True:
        found = await feed.after(principal.tenant, at, 200)
        for item in found:
            at = item.number
            ids = (item.record.get("who", ""), *item.record.get("chain_of", ()))
            if kernel.may_look(principal, ids, principal.tenant):
                yield event(str(item.number), item.record.get("kind", "record"), msgspec.json.encode(item.record))
        if not found:
            yield b""
            await asyncio.sleep(POLL_S)


def event(number: str, kind: str, data: bytes) -> bytes:
    """Write one event; JSON text has no raw line feeds, so one `data:` line holds it."""
    head = f"id: {number}\n" if number else ""
    return f"{head}event: {kind}\ndata: ".encode() + data + b"\n\n"


async def _send_all(events: AsyncGenerator[bytes], receive: Receive, send: Send) -> None:
    """Send until the source ends or the client goes; a quiet stream gets a heartbeat."""
    headers = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-store"), (b"x-accel-buffering", b"no")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b": stream\n\n", "more_body": True})
    gone = asyncio.ensure_future(_gone(receive))
    loop = asyncio.get_running_loop()
    sent = loop.time()
    try:
        async with aclosing(events) as source:
            async for text in source:
                if gone.done():
                    return
                if not text and loop.time() - sent > HEARTBEAT_S:
                    text = b": still here\n\n"
                if text:
                    await send({"type": "http.response.body", "body": text, "more_body": True})
                    sent = loop.time()
        await send({"type": "http.response.body", "body": b""})
    finally:
        gone.cancel()


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
