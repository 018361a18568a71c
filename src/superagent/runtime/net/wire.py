"""A wire: one TCP connection as a byte stream that counts what crosses it, in both directions, under any TLS."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import anyio
from anyio.abc import ByteStream

CHUNK = 65_536
LINGER_S = 5.0


class Wire(ByteStream):
    """A connected socket. `sent` and `received` are bytes as they crossed it; `closed` is called once, at its end."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        closed: Callable[[Wire], None] | None = None,
    ) -> None:
        self.sent = self.received = 0
        self.opened_at = self.moved_at = asyncio.get_running_loop().time()
        self._reader = reader
        self._writer = writer
        self._back = b""
        self._closed = closed

    @classmethod
    async def over(cls, sock: socket.socket, closed: Callable[[Wire], None] | None = None) -> Wire:
        """Take over a connected socket."""
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        reader, writer = await asyncio.open_connection(sock=sock)
        return cls(reader, writer, closed)

    async def receive(self, max_bytes: int = CHUNK) -> bytes:
        """Give the next bytes. Raises `anyio.EndOfStream` when the other side has ended its half."""
        if self._back:
            data, self._back = self._back, b""
            return data
        try:
            data = await self._reader.read(max_bytes)
        except (ConnectionError, TimeoutError, OSError) as broken:
            raise anyio.BrokenResourceError from broken
        if not data:
            raise anyio.EndOfStream
        self.received += len(data)
        self.moved_at = asyncio.get_running_loop().time()
        return data

    def put_back(self, data: bytes) -> None:
        """Let the next `receive` give these bytes, which were received before."""
        self._back = data + self._back

    async def send(self, item: bytes) -> None:
        """Send bytes; returns when the other side keeps up."""
        if self._writer.is_closing():
            raise anyio.BrokenResourceError
        try:
            self._writer.write(item)
            self.sent += len(item)
            self.moved_at = asyncio.get_running_loop().time()
            await self._writer.drain()
        except (ConnectionError, TimeoutError, OSError) as broken:
            raise anyio.BrokenResourceError from broken

    async def send_eof(self) -> None:
        """End the own half."""
        try:
            self._writer.write_eof()
        except (ConnectionError, OSError) as broken:
            raise anyio.BrokenResourceError from broken

    async def aclose(self) -> None:
        """End the connection: what was sent still goes out, for a moment."""
        self.end()

    def end(self) -> None:
        """End the connection without waiting."""
        closed, self._closed = self._closed, None
        self._writer.close()
        # whoever does not take what was sent shall not keep it in memory for ever
        asyncio.get_running_loop().call_later(LINGER_S, self._writer.transport.abort)
        if closed is not None:
            closed(self)

    def abort(self) -> None:
        """End the connection at once, with what has not gone out yet thrown away."""
        self._writer.transport.abort()
        self.end()

    @property
    def idle_s(self) -> float:
        """Give the seconds since anything crossed."""
        return asyncio.get_running_loop().time() - self.moved_at

    @property
    def seconds(self) -> float:
        """Give the seconds since it was opened."""
        return asyncio.get_running_loop().time() - self.opened_at

    @property
    def readable(self) -> bool:
        """Tell whether something came that nobody asked for, or the end: an idle connection is of no use then."""
        waiting: Any = self._reader
        return bool(waiting._buffer) or self._reader.at_eof()
