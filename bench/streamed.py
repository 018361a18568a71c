"""Streamed: many calls over one connection, a JSON object a line, with a window of calls under way."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping

READ_BYTES = 1 << 20
WAIT_S = 60.0


class Chunked:
    """Take the body of a chunked HTTP/1.1 reply out of its frames (RFC 9112, 7.1), however the bytes come in."""

    def __init__(self) -> None:
        self._left = b""
        self.ended = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Give the payload of each chunk that is whole by now."""
        buffer = self._left + data
        at = 0
        while not self.ended:
            line = buffer.find(b"\r\n", at)
            if line < 0:
                break
            size = int(buffer[at:line].partition(b";")[0], 16)
            if len(buffer) < line + 2 + size + 2:
                break
            if size:
                yield buffer[line + 2 : line + 2 + size]
            else:
                self.ended = True
            at = line + 2 + size + 2
        self._left = buffer[at:]


async def run(port: int, headers: Mapping[str, str], line: bytes, calls: int, window: int) -> tuple[int, int]:
    """Send the same line so often, never more than a window of them unanswered; gives (answers, those that failed).

    Raises `RuntimeError` when the reply is not a stream, and `TimeoutError` when an answer does not come.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=READ_BYTES)
    try:
        head = ["POST /v1/stream HTTP/1.1", "Host: 127.0.0.1", "Transfer-Encoding: chunked"]
        head += [f"{name}: {value}" for name, value in headers.items() if name != "Content-Type"]
        head += ["Content-Type: application/x-ndjson", "", ""]
        frame = f"{len(line) + 1:x}\r\n".encode() + line + b"\n\r\n"
        writer.write("\r\n".join(head).encode() + frame * min(window, calls))
        await writer.drain()
        status = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), WAIT_S)
        if not status.startswith(b"HTTP/1.1 200 "):
            raise RuntimeError(f"the stream was refused: {status[:200]!r}")
        return await _exchange(reader, writer, frame, calls, window)
    finally:
        writer.close()


async def _exchange(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, frame: bytes, calls: int, window: int
) -> tuple[int, int]:
    chunks = Chunked()
    sent, answered, failed = min(window, calls), 0, 0
    while answered < calls:
        data = await asyncio.wait_for(reader.read(READ_BYTES), WAIT_S)
        if not data:
            raise RuntimeError(f"the server closed the stream after {answered} answers")
        body = b"".join(chunks.feed(data))
        lines = body.count(b"\n")
        failed += lines - body.count(b'"status":"done"')
        answered += lines
        more = min(calls - sent, window - (sent - answered))
        if more:
            writer.write(frame * more)
            sent += more
    writer.write(b"0\r\n\r\n")
    return answered, failed
