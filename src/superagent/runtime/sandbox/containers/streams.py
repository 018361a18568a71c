"""The streams of one container: its input taken from a descriptor, its outputs brought to two."""

from __future__ import annotations

import asyncio
import os
import stat

from superagent.core.problems import SandboxUnavailable
from superagent.runtime.sandbox.backend import Start
from superagent.runtime.sandbox.containers.engine import Attached, frames
from superagent.runtime.sandbox.output import readable

MOST_FIRST = 200
_CHUNK = 64 * 1024
_NULL = os.makedev(1, 3)


class Streams:
    """Own descriptors of what a command is handed; the caller's may be closed as soon as this is made.

    `wrong` is the beginning of what came on the error stream.
    """

    def __init__(self, start: Start) -> None:
        self._input = os.dup(start.stdin) if _speaks(start.stdin) else -1
        self._outputs = {number: os.dup(fd) for number, fd in ((1, start.stdout), (2, start.stderr)) if fd >= 0}
        self.wrong = b""
        for fd in (self._input, *self._outputs.values()):
            if fd >= 0:
                os.set_blocking(fd, False)

    @property
    def has_input(self) -> bool:
        """Say whether there is anything to read for the command."""
        return self._input >= 0

    async def feed(self, attached: Attached) -> None:
        """Send the input until it ends, or nobody reads it any more."""
        while self._input >= 0:
            try:
                data = os.read(self._input, _CHUNK)
            except BlockingIOError:
                await readable(self._input)
                continue
            except OSError:  # a terminal that was hung up
                data = b""
            if not data or not await attached.write(data):
                attached.end_input()
                return
            await asyncio.sleep(0)

    async def drain(self, attached: Attached) -> None:
        """Bring the outputs to where they belong until the engine ends them; what nobody reads is dropped."""
        async for stream, data in frames(attached):
            number = 1 if stream == 1 else 2
            if number == 2 and len(self.wrong) < MOST_FIRST:
                self.wrong += data[: MOST_FIRST - len(self.wrong)]
            if number in self._outputs and not await _written(self._outputs[number], data):
                os.close(self._outputs.pop(number))

    def close(self) -> None:
        """Close what is open."""
        while self._outputs:
            os.close(self._outputs.popitem()[1])
        if self._input >= 0:
            os.close(self._input)
            self._input = -1


def content(descriptor: int) -> bytes:
    """Give all that a file in memory holds. Raises `SandboxUnavailable` for anything else."""
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        raise SandboxUnavailable("a container cannot be handed open descriptors", hint="use the level `native`")
    return os.pread(descriptor, found.st_size, 0)


def _speaks(descriptor: int) -> bool:
    if descriptor < 0:
        return False
    found = os.fstat(descriptor)
    return not (stat.S_ISCHR(found.st_mode) and found.st_rdev == _NULL)


async def _written(descriptor: int, data: bytes) -> bool:
    left = memoryview(data)
    while left:
        try:
            left = left[os.write(descriptor, left) :]
        except BlockingIOError:
            await _writable(descriptor)
        except OSError:
            return False
    return True


async def _writable(descriptor: int) -> None:
    loop = asyncio.get_running_loop()
    ready = loop.create_future()
    loop.add_writer(descriptor, lambda: ready.done() or ready.set_result(None))
    try:
        await ready
    finally:
        loop.remove_writer(descriptor)
