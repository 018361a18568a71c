"""Threads: blocking work beside the event loop, never left alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from contextvars import copy_context
from functools import partial
from typing import Any


class Threads:
    """Run blocking functions in a pool."""

    def __init__(self, pool: Executor) -> None:
        self._pool = pool

    async def run(self, function: Callable[..., Any], /, *args: Any) -> Any:
        """Run a function and give its result.

        A cancelled caller still waits for the end: the thread cannot be stopped, and an effect that nobody watches
        would be neither recorded nor kept for undo.
        """
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
