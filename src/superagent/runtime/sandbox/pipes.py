"""Pipes: the streams of one command, from before it starts until nothing of it is left."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

from superagent.core.commands import Captured, Ended
from superagent.core.problems import Problem
from superagent.core.redactor import Redactor
from superagent.runtime.sandbox.backend import Running
from superagent.runtime.sandbox.output import Budget, Store, Stream

GONE_S = 15.0
LISTEN_S = 0.005
"""After so long a command's output is listened for; a pipe holds what most write until then."""


Tap = Callable[[bytes], None] | None
"""Gets the bytes of a stream as they come."""


class Pipes:
    """What a command is handed: its input, two streams to write to, and further descriptors by number.

    What it writes is kept without the values that a `redactor` knows by then.

    `handed_over` comes once the command has them, `carry` waits for its end; `discard` is for one that never started.
    """

    def __init__(
        self, inline_bytes: int, store: Store, redactor: Redactor | None = None, stdout: Tap = None, stderr: Tap = None
    ) -> None:
        self.stdout = Stream(inline_bytes, store, redactor, stdout)
        self.stderr = Stream(inline_bytes, store, redactor, stderr)
        self.stdin = -1
        self.further: dict[int, int] = {}
        self._input: tuple[int, AsyncIterator[bytes]] | None = None

    def give(self, data: bytes) -> None:
        """Let these bytes be its input: a file in memory, so it is there whole and nobody has to feed it."""
        self.stdin = in_memory(data) if data else os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)

    def give_chunks(self, chunks: AsyncIterator[bytes]) -> None:
        """Let these chunks be its input, as fast as it reads them."""
        self.stdin, writing = os.pipe2(os.O_CLOEXEC)
        self._input = writing, chunks

    def show(self, number: int, data: bytes) -> None:
        """Let it see these bytes as a file under a number."""
        self.further[number] = in_memory(data)

    def handed_over(self) -> None:
        """Close what the command has by now."""
        self.stdout.handed_over()
        self.stderr.handed_over()
        for one in (self.stdin, *self.further.values()):
            if one >= 0:
                os.close(one)
        self.stdin = -1
        self.further.clear()

    def discard(self) -> None:
        """Close everything."""
        self.handed_over()
        self.stdout.discard()
        self.stderr.discard()
        if self._input is not None:
            os.close(self._input[0])
            self._input = None

    async def carry(self, running: Running, output_bytes: int) -> tuple[Ended, Captured, Captured]:
        """Read and feed until the command has ended; when this is cancelled, the command is ended first.

        Raises `SandboxUnavailable` when it could not be set up, and what the chunks of its input raise: half of an
        input must not pass for all of it, so the command is ended then.
        """
        self.handed_over()
        ending: list[asyncio.Task[None]] = []
        tasks: list[asyncio.Task[Captured]] = []
        streams = self.stdout, self.stderr
        budget = Budget(output_bytes, lambda: ending.append(asyncio.ensure_future(running.kill("output"))))
        feeding = [asyncio.ensure_future(_fed(running, *self._input))] if self._input is not None else []
        self._input = None

        def listen() -> None:
            tasks.extend(asyncio.ensure_future(one.captured(budget)) for one in streams)

        # most commands are over before: what such a one wrote lies in the pipes, and nobody has to listen for it
        soon = asyncio.get_running_loop().call_later(LISTEN_S, listen)
        try:
            ended = await running.wait()
            soon.cancel()
            stdout, stderr = [await one for one in tasks] or [await one.captured(budget) for one in streams]
            for one in feeding:
                if one.done():
                    one.result()
            if budget.over and not ended.limit:
                ended = replace(ended, limit="output")  # it had ended before anybody could end it for that
            return ended, stdout, stderr
        finally:
            soon.cancel()
            await _gone(running)
            left: list[asyncio.Task[Any]] = [task for task in (*tasks, *feeding, *ending) if not task.done()]
            for task in left:
                task.cancel()
            if left:
                await asyncio.gather(*left, return_exceptions=True)
            for one in streams:
                one.discard()


async def _gone(running: Running) -> None:
    """End what still runs and wait until nothing of it is left, also when whoever waits is cancelled meanwhile."""
    if running.ended:
        return
    killing = asyncio.ensure_future(running.kill())
    until = asyncio.get_running_loop().time() + GONE_S
    while not killing.done() and asyncio.get_running_loop().time() < until:
        try:
            await asyncio.wait([killing], timeout=GONE_S)
        except asyncio.CancelledError:
            continue  # it is remembered by whoever cancelled: this only takes a moment
    killing.cancel()


async def _fed(running: Running, descriptor: int, chunks: AsyncIterator[bytes]) -> None:
    try:
        await feed(descriptor, chunks)
    except Problem:
        await running.kill()
        raise


async def feed(descriptor: int, chunks: AsyncIterator[bytes]) -> None:
    """Write chunks to a pipe and close it; whoever reads may stop before the end."""
    loop = asyncio.get_running_loop()
    os.set_blocking(descriptor, False)
    try:
        async for chunk in chunks:
            left = memoryview(chunk)
            while left:
                try:
                    left = left[os.write(descriptor, left) :]
                except BlockingIOError:
                    ready = loop.create_future()
                    loop.add_writer(descriptor, _set, ready)
                    try:
                        await ready
                    finally:
                        loop.remove_writer(descriptor)
    except BrokenPipeError:
        return
    finally:
        os.close(descriptor)


def _set(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)


def in_memory(data: bytes) -> int:
    """Give a descriptor of a file in memory that holds these bytes, at its beginning; the caller closes it."""
    descriptor = os.memfd_create("superagent", os.MFD_CLOEXEC)
    left = memoryview(data)
    while left:
        left = left[os.write(descriptor, left) :]
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor
