"""The wire: uvicorn's HTTP/1.1 protocol with a cap on headers, patience that ends, and problems for what is no HTTP."""

from __future__ import annotations

import asyncio
from typing import cast

import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from superagent.core.problems import Malformed

MOST_HEAD_BYTES = 64 * 1024
PATIENCE_S = 20.0


class Protocol(HttpToolsProtocol):
    """One connection. A head that is too large, or takes too long to arrive, ends it."""

    patience_s = PATIENCE_S
    _in_head = True
    _head_bytes = 0
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Begin, and wait for the first head."""
        super().connection_made(transport)
        self.access_log = False  # an address can hold a key, and uvicorn tells it as soon as anything listens
        self._deadline = self.loop.call_later(self.patience_s, self._too_slow)

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what came, and look at how much of it is still a head."""
        super().data_received(data)
        if self._in_head and not self.transport.is_closing():
            self._head_bytes += len(data)
            if self._head_bytes > MOST_HEAD_BYTES:
                self.send_400_response(f"the head of the request is longer than {MOST_HEAD_BYTES} bytes")
            elif self._deadline is None:
                self._deadline = self.loop.call_later(self.patience_s, self._too_slow)

    def on_message_begin(self) -> None:
        """Note that a head begins."""
        self._in_head, self._head_bytes = True, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Note that the head is there."""
        self._in_head = False
        if self._deadline is not None:
            self._stop_waiting()
        super().on_headers_complete()

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
