"""What a command writes: its beginning kept here, and all of it in a blob once it is longer."""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable

from superagent.core.commands import Captured, Encoding
from superagent.core.problems import Problem
from superagent.core.redactor import Redactor

CHUNK = 64 * 1024
QUEUED = 16

Store = Callable[[AsyncIterator[bytes]], Awaitable[str]]
"""Stores bytes as they come and gives their handle. Raises a `Problem` when they cannot be kept."""


class Budget:
    """How many bytes all streams of one command may write together; `spent` is called once when it is used up."""

    def __init__(self, bytes: int, spent: Callable[[], None]) -> None:
        self._left = bytes
        self._spent = spent

    @property
    def over(self) -> bool:
        """Tell whether more was written."""
        return self._left < 0

    def take(self, size: int) -> bool:
        """Take from it; False from the moment when there was not enough left."""
        before, self._left = self._left, self._left - size
        if before >= 0 > self._left:
            self._spent()
        return self._left >= 0


class Stream:
    """The reading end of one pipe. Give `writing` to the command, then close it here. `tap` gets all bytes as well."""

    def __init__(
        self,
        most_inline: int,
        store: Store,
        redactor: Redactor | None = None,
        tap: Callable[[bytes], None] | None = None,
    ) -> None:
        self._tap = tap
        self._reading, self.writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        os.set_blocking(self.writing, True)
        self._most = most_inline
        self._store = store
        self._head = bytearray()
        self._size = 0
        self._lost = ""
        self._clean = redactor.stream() if redactor else None
        self._queue: asyncio.Queue[bytes | None]  # there is one once there is more than fits

    async def captured(self, budget: Budget) -> Captured:
        """Read until everybody who could write has closed the pipe, and give what was read."""
        storing: asyncio.Task[str] | None = None
        try:
            async for data in self._cleaned(budget):
                self._size += len(data)
                if self._tap is not None:
                    self._tap(data)
                if self._size <= self._most:
                    self._head += data
                    continue
                if storing is None:
                    self._queue = asyncio.Queue(QUEUED)
                    storing = asyncio.ensure_future(self._stored())
                    await self._queue.put(bytes(self._head))
                    self._head += data[: self._most - len(self._head)]
                await self._queue.put(data)
            handle = ""
            if storing is not None:
                await self._queue.put(None)
                handle = await storing
        finally:
            self.discard()
            if storing is not None:
                storing.cancel()
                await asyncio.gather(storing, return_exceptions=True)
        text, encoding = shown(bytes(self._head), whole=self._size == len(self._head))
        return Captured(self._size, text, encoding, handle, self._lost)

    def handed_over(self) -> None:
        """Close the end that the command has by now, so that its end can be read."""
        if self.writing >= 0:
            os.close(self.writing)
            self.writing = -1

    def discard(self) -> None:
        """Close what is open."""
        self.handed_over()
        if self._reading >= 0:
            os.close(self._reading)
            self._reading = -1

    async def _cleaned(self, budget: Budget) -> AsyncGenerator[bytes]:
        """Give what may be kept, without the secret values that the call knows, over the borders of chunks."""
        while data := await self._next():
            if not budget.take(len(data)):
                self._lost, self._size = "the command wrote more than it may", self._size + len(data)
                continue  # it is being ended; what is still in the pipe is dropped
            if self._clean is not None:
                data = self._clean.feed(data)
            if data:
                yield data
        if self._clean is not None and (data := self._clean.close()):
            yield data

    async def _next(self) -> bytes:
        """Give the next bytes, empty at the end."""
        while True:
            try:
                data = os.read(self._reading, CHUNK)
            except BlockingIOError:
                await readable(self._reading)
                continue
            if data:
                await asyncio.sleep(0)  # a command that never stops writing must not keep this from hearing others
            return data

    async def _stored(self) -> str:
        try:
            return await self._store(self._chunks())
        except Problem as problem:
            self._lost = problem.detail
            while await self._queue.get() is not None:  # whoever fills the queue must not wait for ever
                pass
            return ""

    async def _chunks(self) -> AsyncGenerator[bytes]:
        while (chunk := await self._queue.get()) is not None:
            yield chunk
        self._queue.put_nowait(None)  # for whoever empties it after a fault at the very end


def shown(data: bytes, *, whole: bool) -> tuple[str, Encoding]:
    """Give bytes as text where they are UTF-8, else base64; half a character at the end of a beginning is left out."""
    try:
        return data.decode(), "utf-8"
    except UnicodeDecodeError as bad:
        if not whole and bad.end == len(data) and bad.start >= len(data) - 3 and bad.reason == "unexpected end of data":
            return data[: bad.start].decode(), "utf-8"
        return base64.b64encode(data).decode("ascii"), "base64"


async def readable(descriptor: int) -> None:
    """Wait until a descriptor can be read."""
    loop = asyncio.get_running_loop()
    ready = loop.create_future()
    loop.add_reader(descriptor, lambda: ready.done() or ready.set_result(None))
    try:
        await ready
    finally:
        loop.remove_reader(descriptor)
