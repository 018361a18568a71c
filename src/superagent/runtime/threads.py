"""Threads: blocking work beside the event loop, never left alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from contextvars import copy_context
from functools import partial
from typing import Any

from superagent.core.current import CALL
from superagent.core.problems import Overloaded
from superagent.core.turns import Turns


class Threads:
    """Run blocking functions in a pool of so many threads, the callers one after the other.

    One caller gets two of three threads at most: however much it asks for, the next one waits for a thread and not for
    the end of a queue.
    """

    def __init__(self, pool: Executor, workers: int) -> None:
        self._pool = pool
        self._turns = Turns(max(1, workers * 2 // 3), workers)

    async def run(self, function: Callable[..., Any], /, *args: Any) -> Any:
        """Run a function and give its result.

        A cancelled caller still waits for the end: the thread cannot be stopped, and an effect that nobody watches
        would be neither recorded nor kept for undo. Raises `Overloaded` when this is closed.
        """
        call = CALL.get()
        if call is None:  # the platform's own work
            return await self._run(function, *args)
        holder = f"{call.principal.tenant}/{call.principal.id}"
        if not await self._turns.take(holder):
            raise Overloaded("the platform is stopping")
        try:
            return await self._run(function, *args)
        finally:
            self._turns.give(holder)

    def close(self) -> None:
        """Send those away who wait."""
        self._turns.close()

    async def _run(self, function: Callable[..., Any], /, *args: Any) -> Any:
        # the context goes along: what is permitted, recorded and logged there is still this call's
        work = partial(copy_context().run, function, *args)
        future = asyncio.get_running_loop().run_in_executor(self._pool, work)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            while not future.done():
                try:
                    await asyncio.wait([future])
                except asyncio.CancelledError:
                    continue
            if not future.cancelled():
                future.exception()  # looked at, so that it is not reported as lost
            raise
