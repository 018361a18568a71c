"""The pace of work behind the line: a tenth of the time while the process has something else to do, else all of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

SHARE = 10  # of so many parts of the time, one may be taken
LOOK_S = 0.01
IDLE = 0.1  # a process that uses less of a processor than this has nobody waiting


class Pace:
    """Rest after each step. `now` gives seconds, `used` the processor seconds of the whole process."""

    def __init__(
        self,
        now: Callable[[], float] = time.monotonic,
        used: Callable[[], float] = time.process_time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._now = now
        self._used = used
        self._sleep = sleep

    async def rest(self, took_s: float, at_least_s: float = 0.0) -> None:
        """Rest nine times as long as a step took, or until the process is seen to be idle, and at least so long."""
        end = self._now() + (SHARE - 1) * took_s
        if at_least_s:
            await self._sleep(at_least_s)
        while (left := end - self._now()) > 0 and not await self._is_idle(min(left, LOOK_S)):
            pass

    async def _is_idle(self, look_s: float) -> bool:
        now, used = self._now(), self._used()
        await self._sleep(look_s)
        passed, used = self._now() - now, self._used() - used
        # to be woken late is to have waited for a processor, or for the event loop
        return used < IDLE * passed and passed < 2 * look_s
