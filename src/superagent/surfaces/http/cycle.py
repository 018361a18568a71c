"""One request on its way through ASGI: uvicorn's cycle, but a head and a body that are known whole go out in one write.

Two writes are two system calls and two packets, and wake the client twice.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HEADER_RE, HEADER_VALUE_RE, STATUS_LINE, RequestResponseCycle


class Cycle(RequestResponseCycle):
    """As uvicorn's, made in fewer steps: what it sets for each request alike stands here."""

    logger = logging.getLogger("uvicorn.error")
    access_log = False
    disconnected = response_started = response_complete = False
    more_body = True
    chunked_encoding = None
    expected_content_length = 0
    _head = b""  # as long as it waits for a body of known length

    def __init__(
        self,
        scope: Any,
        transport: asyncio.Transport,
        flow: FlowControl,
        default_headers: list[tuple[bytes, bytes]],
        expects: bool,
        keep_alive: bool,
        on_response: Callable[..., None],
    ) -> None:
        self.scope = scope
        self.transport = transport
        self.flow = flow
        self.default_headers = default_headers
        self.message_event = asyncio.Event()
        self.waiting_for_100_continue = expects
        self.keep_alive = keep_alive
        self.on_response = on_response
        self.body = bytearray()

    async def send(self, message: Any) -> None:
        """Send the head of an answer, or a piece of its body."""
        if self.response_started or message["type"] != "http.response.start":
            if self._head:
                message = self._with_head(message)
            await super().send(message)
            return
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        self.response_started, self.waiting_for_100_continue = True, False
        head = self._written(message["status"], [*self.default_headers, *message.get("headers", ())])
        if self.expected_content_length and self.scope["method"] != "HEAD":
            self._head = head
        else:
            self.transport.write(head)

    def _with_head(self, message: Any) -> Any:
        """Put the head before the first piece of a body whose length is known."""
        head, self._head = self._head, b""
        if self.disconnected or message["type"] != "http.response.body":
            return message
        self.expected_content_length += len(head)
        return {**message, "body": head + message.get("body", b"")}

    def _written(self, status: int, headers: list[tuple[bytes, bytes]]) -> bytes:
        """Write a head. Raises `RuntimeError` for a header that would be more than that."""
        parts, closes = [STATUS_LINE[status]], False
        for name, value in headers:
            name = name.lower()
            if HEADER_RE.search(name):
                raise RuntimeError("Invalid HTTP header name.")
            if HEADER_VALUE_RE.search(value):
                raise RuntimeError("Invalid HTTP header value.")
            if name == b"content-length" and self.chunked_encoding is None:
                self.expected_content_length, self.chunked_encoding = int(value), False
            elif name == b"transfer-encoding" and value.lower() == b"chunked":
                self.expected_content_length, self.chunked_encoding = 0, True
            elif name == b"connection" and b"close" in [token.lower().strip() for token in value.split(b",")]:
                self.keep_alive, closes = False, True
            parts.append(b"%b: %b\r\n" % (name, value))
        if not self.keep_alive and not closes:
            parts.append(b"connection: close\r\n")
        if self.chunked_encoding is None and self.scope["method"] != "HEAD" and status not in (204, 304):
            self.chunked_encoding = True
            parts.append(b"transfer-encoding: chunked\r\n")
        parts.append(b"\r\n")
        return b"".join(parts)
