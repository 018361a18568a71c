"""Server-sent events: an invocation's own stream, and the live feed; both resume by `Last-Event-ID`."""

from __future__ import annotations

import asyncio
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, TypeVar

import msgspec

from superagent.core.invocation import Outcome, Status
from superagent.core.kernel import Kernel
from superagent.core.lookup import may_hear
from superagent.core.principal import Principal, Secret
from superagent.core.problems import Denied, InvalidInput, Unauthenticated
from superagent.surfaces.http.feed import Feed
from superagent.surfaces.http.reply import SAFE, Reply, Write
from superagent.surfaces.http.request import Receive

T = TypeVar("T")
OPEN = frozenset({Status.WAITING, Status.QUEUED, Status.RUNNING, Status.ASKING})
_HEADERS = [(b"content-type", b"text/event-stream"), (b"x-accel-buffering", b"no"), *SAFE]


class EventStreams:
    """What every stream of events looks at: the stored work, whether its reader may still read, whether we close."""

    def __init__(self, kernel: Kernel, poll_s: float = 0.2, heartbeat_s: float = 15.0) -> None:
        self._kernel = kernel
        self._poll_s = poll_s
        self.heartbeat_s = heartbeat_s
        self.closing = False

    async def states(self, principal: Principal, id: str) -> AsyncGenerator[Outcome | None]:
        """Give None at every look at a stored invocation that is under way, and at last what came of it."""
        ended = None
        while ended is None and not self.closing:
            ended = await self._ended(principal, id)
            yield ended
            if ended is None:
                await asyncio.sleep(self._poll_s)

    async def of_invocation(self, principal: Principal, known: Outcome, after: int) -> AsyncGenerator[bytes]:
        """Give an invocation's events from a number on as they are stored, and at last its outcome.

        `known` is what is told of one that is not stored, because it ended within its request.
        """
        work, tenant, id = self._kernel.hands.work, principal.tenant, known.invocation
        at, ended = after, None
        while self._goes_on(principal) and await self._hears(principal, id):
            found = await work.events(tenant, id, at)
            for number, data in found:
                at = number
                yield event(str(number), "message", data)
            if found:
                continue
            if ended is not None:
                yield event("", "outcome", ended.encode())
                return
            # after the end was seen events are looked for once more: the last may have come in between
            ended = await self._ended(principal, id, known)
            if ended is None:
                yield b""
                await asyncio.sleep(self._poll_s)

    async def of_feed(
        self, feed: Feed, principal: Principal, present: Callable[[], Awaitable[Principal]], after: int
    ) -> AsyncGenerator[bytes]:
        """Give audit records that the caller may see by then, as long as its key lives.

        `present` gives it as it is now: its roles may be taken away, or given, while it reads.
        """
        at = after
        while not self.closing:
            found = await feed.after(principal.tenant, at, 200)
            if not self._goes_on(principal):
                try:
                    principal = await present()
                except Unauthenticated:
                    return
            for item in found:
                at = item.number
                if self._shows(principal, item.record):
                    yield event(
                        self._sealed(principal, at), item.record.get("kind", "record"), msgspec.json.encode(item.record)
                    )
            if not found:
                yield b""
                await feed.fresh(self._poll_s)

    def place(self, principal: Principal, said: bytes) -> int | None:
        """Read what a follower of the feed saw last; None for nothing, 0 for `0`. Raises `InvalidInput`."""
        if said in (b"", b"0"):
            return 0 if said else None
        try:
            sealed = urlsafe_b64decode(said[:200])
            return int(self._kernel.hands.veil.open(("feed", principal.tenant), sealed).reveal())
        except (ValueError, Denied):
            raise InvalidInput("`Last-Event-ID` is the id of an event that came from here") from None

    def _sealed(self, principal: Principal, number: int) -> str:
        # the number itself tells how much others did in between, other tenants among them
        sealed = self._kernel.hands.veil.seal(("feed", principal.tenant), Secret(str(number)))
        return urlsafe_b64encode(sealed).decode()

    def _shows(self, principal: Principal, record: dict[str, Any]) -> bool:
        """Tell whether a principal may see a record as it comes in.

        A credential with bounds sees what was done by itself: what its owner does by others is none of its business,
        unless it may read the audit.
        """
        ids = (record.get("who", ""), *record.get("chain_of", ()))
        if not may_hear(self._kernel, principal, ids, principal.tenant):
            return False
        own = principal.bounds is None or (principal.key != "" and record.get("key") == principal.key)
        return own or self._kernel.may_audit(principal)

    def reply(self, events: AsyncGenerator[bytes], receive: Receive, over: Callable[[], None]) -> Reply:
        """Send events until the source ends or the client goes, then call `over`; a quiet stream gets a heartbeat."""

        async def run(write: Write) -> None:
            loop = asyncio.get_running_loop()
            sent = loop.time()
            try:
                async with aclosing(until_gone(events, receive)) as source:
                    async for text in source:
                        if not text and loop.time() - sent > self.heartbeat_s:
                            text = b": still here\n\n"
                        if text:
                            await write(text)
                            sent = loop.time()
            finally:
                over()

        return Reply(200, b": stream\n\n", _HEADERS[:], run)

    async def _ended(self, principal: Principal, id: str, known: Outcome | None = None) -> Outcome | None:
        tenant = principal.tenant
        held = await self._kernel.hands.work.get(tenant, id)
        if held is None:
            return known
        if held.state in OPEN:
            return None
        stored = await self._kernel.hands.work.outcome(tenant, id)
        if stored is not None:
            await self._kernel.pipeline.seen(principal, stored)
        return stored or Outcome(id, held.invocation.call.operation, held.state)

    async def _hears(self, principal: Principal, id: str) -> bool:
        """Tell whether a principal may still see an invocation; what is not stored is shown with nothing in it."""
        held = await self._kernel.hands.work.get(principal.tenant, id)
        return held is None or self._kernel.may_look(principal, held.invocation.principal.marks, held.tenant)

    def _goes_on(self, principal: Principal) -> bool:
        return not self.closing and self._kernel.hands.identity.alive(principal)


async def until_gone(source: AsyncGenerator[T], receive: Receive) -> AsyncGenerator[T]:
    """Give what a source gives until the client has gone; close it then."""

    async def gone() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    watch: asyncio.Future[None] = asyncio.ensure_future(gone())
    try:
        async with aclosing(source):
            async for one in source:
                if watch.done():
                    return
                yield one
    finally:
        watch.cancel()
        await asyncio.gather(watch, return_exceptions=True)


def last_event_id(value: bytes) -> int | None:
    """Read `Last-Event-ID`; None when there is none. Raises `InvalidInput`."""
    if not value:
        return None
    if not value.isdigit() or len(value) > 15:
        raise InvalidInput("`Last-Event-ID` is the number of an event that came from here")
    return int(value)


def event(number: str, kind: str, data: bytes) -> bytes:
    """Write one event; JSON text has no raw line feeds, so one `data:` line holds it."""
    head = f"id: {number}\n" if number else ""
    return f"{head}event: {kind}\ndata: ".encode() + data + b"\n\n"
