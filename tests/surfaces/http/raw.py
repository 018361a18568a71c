"""A socket without a library in between: for requests that no well-behaved client sends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from tests.surfaces.http.house import PATIENCE_S, House


@dataclass
class Wire:
    """One connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.writer.write(data)
        await self.writer.drain()

    async def until(self, end: bytes) -> bytes:
        """Read until these bytes came."""
        return await asyncio.wait_for(self.reader.readuntil(end), PATIENCE_S)

    async def rest(self) -> bytes:
        """Read until the server closes."""
        return await asyncio.wait_for(self.reader.read(), PATIENCE_S)

    def leave(self) -> None:
        """Break the connection off."""
        self.writer.transport.abort()


@asynccontextmanager
async def wire(house: House) -> AsyncGenerator[Wire]:
    """Connect to a house."""
    reader, writer = await asyncio.open_connection("127.0.0.1", house.port, limit=2**26)
    try:
        yield Wire(reader, writer)
    finally:
        writer.transport.abort()


def head(method: str, path: str, key: str, *headers: str) -> bytes:
    """Write the head of a request with a key."""
    lines = [f"{method} {path} HTTP/1.1", "Host: house", f"Authorization: Bearer {key}", *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1")


def chunk(data: bytes) -> bytes:
    """Write one chunk of a body (RFC 9112, 7.1)."""
    return b"%x\r\n%s\r\n" % (len(data), data)
