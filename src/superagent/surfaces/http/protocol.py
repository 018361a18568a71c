"""The wire: uvicorn's HTTP/1.1 protocol with a cap on headers, patience that ends, and problems for what is no HTTP."""

from __future__ import annotations

import asyncio
from typing import cast

import msgspec
from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from superagent.core.problems import Malformed

MOST_HEAD_BYTES = 64 * 1024
PATIENCE_S = 20.0


class Protocol(HttpToolsProtocol):
    """One connection. A head that is too large, or takes too long to arrive, ends it."""

    patience_s = PATIENCE_S
    _in_head = True
    _head_bytes = 0
    _heads_here = 0
    _deadline: asyncio.TimerHandle | None = None
    _idle_since = 0.0
    _idle: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Begin, and wait for the first head."""
        super().connection_made(transport)
        self._deadline = self.loop.call_later(self.patience_s, self._too_slow)

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._stop_waiting()
        if self._idle is not None:
            self._idle.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what came, and look at how much of it is still a head."""
        self._heads_here = 0
        try:
            cast("HttpRequestParser", self.parser).feed_data(data)
        except HttpParserUpgrade:
            pass  # nothing is spoken here but HTTP: the request is answered as any other
        except HttpParserError:
            self.send_400_response("this is not a valid HTTP request")
        if self._in_head and not self.transport.is_closing():
            # behind another request in the same read it may have only just begun
            self._head_bytes += len(data) if self._heads_here < 2 else 1
            if self._head_bytes > MOST_HEAD_BYTES:
                self.send_400_response(f"the head of the request is longer than {MOST_HEAD_BYTES} bytes")
            elif self._deadline is None:
                self._deadline = self.loop.call_later(self.patience_s, self._too_slow)

    def on_message_begin(self) -> None:
        """Note that a head begins."""
        self._begin_head()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Note that the head is there."""
        self._head_is_here()
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        """Go on to the next request, or watch for how long none comes.

        As uvicorn's, but with one timer that looks at the time instead of a new one for each response.
        """
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
            return
        self._idle_since = self.loop.time()
        if self._idle is None:
            self._idle = self.loop.call_later(self.timeout_keep_alive, self._look_if_idle)

    def _look_if_idle(self) -> None:
        under_way = self._in_head or not self.cycle.response_complete
        left = self._idle_since + self.timeout_keep_alive - self.loop.time()
        if under_way or left > 0:
            self._idle = self.loop.call_later(max(left, 0.0) or self.timeout_keep_alive, self._look_if_idle)
        else:
            self._idle = None
            self.timeout_keep_alive_handler()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP with a problem, unless it would land amid an earlier answer, and close."""
        earlier = cast("RequestResponseCycle | None", self.cycle)  # None before the first request
        if earlier is not None and not earlier.response_complete:
            self.transport.close()
            return
        body = msgspec.json.encode(Malformed(msg, hint="send well-formed HTTP/1.1").document())
        head = "HTTP/1.1 400 Bad Request\r\ncontent-type: application/problem+json\r\nconnection: close\r\n"
        self.transport.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        self.transport.close()

    def _begin_head(self) -> None:
        self._in_head, self._head_bytes = True, 0
        self._heads_here += 1

    def _head_is_here(self) -> None:
        self._in_head = False
        if self._deadline is not None:
            self._stop_waiting()

    def _too_slow(self) -> None:
        self._deadline = None
        if self._head_bytes:
            self.send_400_response("the head of the request did not arrive in time")
        else:
            self.transport.close()

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
