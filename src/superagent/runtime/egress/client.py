"""The client inside: HTTP/1.1 as h11 reads it, one message at a time, with bounds on size and patience."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass

import anyio
import h11
from anyio.abc import ByteStream

from superagent.runtime.egress.refusal import Refusal

CHUNK = 65_536


@dataclass(frozen=True, slots=True)
class Caps:
    """Bounds on one sandbox's network: connections at once, bytes of a head, and seconds."""

    connections: int = 64
    head_bytes: int = 32_768
    head_s: float = 15.0
    idle_s: float = 300.0
    connect_s: float = 15.0


class Client:
    """One connection from inside, over the bare wire or over TLS that ends here."""

    def __init__(self, stream: ByteStream, caps: Caps) -> None:
        self._stream = stream
        self._caps = caps
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=caps.head_bytes)

    async def request(self, first: bool = True) -> h11.Request | None:
        """Give the next request; None when none comes any more. Raises `Refusal` for what is no request.

        All of a head must come within `head_s`, however slowly its bytes drip; before a later one begins, `idle_s` may
        pass.
        """
        if not first and not self._http.trailing_data[0]:
            try:
                if not await self._more(self._caps.idle_s):
                    return None
            except TimeoutError:
                return None
        try:
            async with asyncio.timeout(self._caps.head_s):
                while (event := self._http.next_event()) is h11.NEED_DATA:
                    if not await self._more(None, self._caps.head_bytes):
                        return None
        except TimeoutError:
            raise Refusal(408, "no request came in time", "no whole request came in time") from None
        except h11.RemoteProtocolError as bad:
            status = 431 if bad.error_status_hint == 431 else 400
            raise Refusal(status, "it is no HTTP request", f"this is no request that can be passed on: {bad}") from None
        if not isinstance(event, h11.Request):
            return None
        # the library looks at the size of what is not whole yet, and this may have come in one piece
        if sum((len(key) + len(value) + 4 for key, value in event.headers), len(event.target)) > self._caps.head_bytes:
            raise Refusal(431, "a head that is too long", f"a head may have {self._caps.head_bytes} bytes")
        return event

    async def body(self) -> AsyncGenerator[bytes]:
        """Give the body of the request piece by piece. Raises `Refusal` when it breaks off or is malformed."""
        if self._http.they_are_waiting_for_100_continue:
            await self.send(h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue"))
        while True:
            try:
                event = self._http.next_event()
                if event is h11.NEED_DATA:
                    await self._more(self._caps.idle_s)  # its end is an event of its own
                    continue
            except TimeoutError:
                raise Refusal(408, "no body came in time", "the rest of the request did not come in time") from None
            except h11.RemoteProtocolError as bad:
                raise Refusal(400, "its body is malformed", f"the body of this request is malformed: {bad}") from None
            if not isinstance(event, h11.Data):
                return
            yield bytes(event.data)

    async def send(self, event: h11.Event) -> None:
        """Send a part of a response."""
        data = self._http.send(event)
        if data:
            async with asyncio.timeout(self._caps.idle_s):
                await self._stream.send(data)

    async def refuse(self, refusal: Refusal) -> None:
        """Send a refusal, unless a response has begun already; the connection is of no use after it."""
        if self._http.our_state in (h11.IDLE, h11.SEND_RESPONSE, h11.ERROR):
            with contextlib.suppress(anyio.BrokenResourceError, anyio.ClosedResourceError, TimeoutError):
                async with asyncio.timeout(5):
                    await self._stream.send(refusal.response())

    async def accept_tunnel(self) -> bytes:
        """Answer that the tunnel stands, and give what came behind the request already."""
        await self.send(h11.Response(status_code=200, headers=[], reason=b"Connection established"))
        self._http.next_event()  # h11.PAUSED: what follows is not HTTP of this connection
        return self._http.trailing_data[0]

    def next_cycle(self) -> bool:
        """Be ready for another request; False when this connection cannot have one."""
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
            return True
        return False

    async def _more(self, timeout_s: float | None, most: int = CHUNK) -> bool:
        """Take more bytes; False at the end of what comes."""
        try:
            async with asyncio.timeout(timeout_s):
                data = await self._stream.receive(most)
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            data = b""
        self._http.receive_data(data)
        return bool(data)
