"""The outside: real servers on loopback under made-up names, each of which counts and remembers what reached it."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

LOOPBACK = ("127.0.0.1/32",)


@dataclass
class Asked:
    """One request as it arrived: the head, line by line, and the body."""

    lines: list[str]
    body: bytes

    @property
    def line(self) -> str:
        """Give the request line."""
        return self.lines[0]

    def header(self, name: str) -> list[str]:
        """Give the values of a header."""
        found = [line.partition(":") for line in self.lines[1:]]
        return [value.strip() for key, _, value in found if key.lower() == name.lower()]


Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
Reply = bytes | Callable[[Asked], bytes]


def ok(body: bytes = b"hello", *headers: str, status: str = "200 OK") -> bytes:
    """Write a whole response."""
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(head).encode() + body


def leads(to: str, status: str = "302 Found") -> bytes:
    """Write a redirect."""
    return ok(b"", f"Location: {to}", status=status)


@dataclass
class Site:
    """A server. `received` and `sent` are bytes on the TCP connections, TLS included."""

    port: int = 0
    asked: list[Asked] = field(default_factory=list[Asked])
    connections: int = 0
    received: int = 0
    sent: int = 0
    open: int = 0
    over: bool = False


@asynccontextmanager
async def site(reply: Reply = b"", tls: ssl.SSLContext | None = None, port: int = 0) -> AsyncGenerator[Site]:
    """Serve HTTP/1.1: `reply` is the answer, or makes it of what was asked; an empty one hangs up."""
    made = Site()
    answer = reply or ok()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            while True:
                asked = await _read(reader)
                if asked is None:
                    break
                made.asked.append(asked)
                data = answer(asked) if callable(answer) else answer
                writer.write(data)
                await writer.drain()
                if not data or asked.header("connection") == ["close"]:
                    break

    async with listening(serve, made, tls, port):
        yield made


@asynccontextmanager
async def listening(
    serve: Handler,
    made: Site | None = None,
    tls: ssl.SSLContext | None = None,
    port: int = 0,
) -> AsyncGenerator[Site]:
    """Serve anything; a relay in front of the real server counts the bytes of each connection."""
    made = made or Site()
    tasks: set[asyncio.Task[None]] = set()

    def kept(work: Handler) -> Handler:
        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            if made.over:
                writer.close()
                return
            tasks.add(task)
            try:
                with contextlib.suppress(ConnectionError, asyncio.CancelledError, ssl.SSLError):
                    await work(reader, writer)
            finally:
                writer.close()

        return handle

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, which: str) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65_536):
                setattr(made, which, getattr(made, which) + len(data))
                writer.write(data)
                await writer.drain()
        with contextlib.suppress(OSError, RuntimeError):
            writer.write_eof()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        made.connections += 1
        made.open += 1
        other, beyond = await asyncio.open_connection("127.0.0.1", inside)
        try:
            await asyncio.gather(pump(reader, beyond, "received"), pump(other, writer, "sent"))
        finally:
            made.open -= 1
            beyond.close()

    inner = await asyncio.start_server(kept(serve), "127.0.0.1", 0, ssl=tls)
    inside = inner.sockets[0].getsockname()[1]
    outer = await asyncio.start_server(kept(relay), "127.0.0.1", port)
    made.port = outer.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        made.over = True
        for _ in range(2):  # who has connected a moment ago is accepted and closed before the servers are
            await asyncio.sleep(0.02)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        outer.close()
        inner.close()
        await asyncio.sleep(0.02)


async def _read(reader: asyncio.StreamReader) -> Asked | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    asked = Asked(head.decode("latin-1").split("\r\n")[:-2], b"")
    length = asked.header("content-length")
    if length:
        asked.body = await reader.readexactly(int(length[0]))
    elif asked.header("transfer-encoding"):
        while size := int((await reader.readline()).split(b";")[0], 16):
            asked.body += await reader.readexactly(size)
            await reader.readline()
        await reader.readline()
    return asked


class Names:
    """A resolver that knows these names; `changes` lets one answer differently from the second time on."""

    def __init__(self, known: Mapping[str, Sequence[str]], then: Mapping[str, Sequence[str]] | None = None) -> None:
        self.known = dict(known)
        self.then = dict(then or {})
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        """Give the addresses of a name. Raises `OSError`."""
        again = host in self.asked
        self.asked.append(host)
        found = self.then.get(host) if again and host in self.then else self.known.get(host)
        if found is None:
            raise OSError("no such name")
        return found
