"""Threads: blocking work beside the event loop, never left alone."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context, copy_context
from queue import SimpleQueue
from typing import Any

from superagent.core.current import CALL
from superagent.core.problems import Overloaded
from superagent.core.turns import Turns


class _Job:
    """One function on its way through a thread; `waiter` is who waits for its end."""

    __slots__ = ("args", "context", "ended", "fault", "function", "result", "waiter")

    def __init__(self, function: Callable[..., Any], args: tuple[Any, ...], waiter: asyncio.Future[Any]) -> None:
        # the context goes along: what is permitted, recorded and logged there is still this call's
        self.context: Context = copy_context()
        self.function = function
        self.args = args
        self.waiter = waiter
        self.result: Any = None
        self.fault: BaseException | None = None
        self.ended = False

    def run(self) -> None:
        """Run it, in a thread."""
        try:
            self.result = self.context.run(self.function, *self.args)
        except StopIteration as fault:  # which no future takes
            self.fault = RuntimeError("a function in a thread raised StopIteration")
            self.fault.__cause__ = fault
        except BaseException as fault:
            self.fault = fault

    def end(self) -> None:
        """Tell who waits, on the event loop."""
        self.ended = True
        if self.waiter.done():  # it was cancelled this very moment
            return
        if self.fault is None:
            self.waiter.set_result(self.result)
        else:
            self.waiter.set_exception(self.fault)


class Threads:
    """Run blocking functions in so many threads, the callers one after the other; they begin when they are needed.

    One caller gets two of three threads at most: however much it asks for, the next one waits for a thread and not for
    the end of a queue. Not an executor, whose futures have to be copied into those of the event loop each time.
    """

    def __init__(self, workers: int) -> None:
        self._turns = Turns(max(1, workers * 2 // 3), workers)
        self._jobs: SimpleQueue[tuple[asyncio.AbstractEventLoop, _Job] | None] = SimpleQueue()
        self._most = workers
        self._begun = self._busy = 0
        self._closed = False

    async def run(self, function: Callable[..., Any], /, *args: Any) -> Any:
        """Run a function and give its result.

        A cancelled caller still waits for the end: the thread cannot be stopped, and an effect that nobody watches
        would be neither recorded nor kept for undo. Raises `Overloaded` when this is closed.
        """
        call = CALL.get()
        if call is None:  # the platform's own work
            return await self._run(function, args)
        # with all it lent its rights to: of names there is no end
        holder = f"{call.principal.tenant}/{call.principal.account}"
        if not await self._turns.take(holder):
            raise _stopping()
        try:
            return await self._run(function, args)
        finally:
            self._turns.give(holder)

    def close(self) -> None:
        """Send those away who wait, and let the threads end after what they do."""
        self._closed = True
        self._turns.close()
        for _ in range(self._begun):
            self._jobs.put(None)

    async def _run(self, function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        if self._closed:
            raise _stopping()
        loop = asyncio.get_running_loop()
        job = _Job(function, args, loop.create_future())
        self._busy += 1
        try:
            if self._begun < min(self._busy, self._most):
                threading.Thread(target=self._serve, name=f"operation_{self._begun}").start()
                self._begun += 1
            self._jobs.put((loop, job))
            return await job.waiter
        except asyncio.CancelledError:
            if not job.ended:
                job.waiter = loop.create_future()  # the first one was cancelled with who waited for it
            while not job.ended:
                with suppress(asyncio.CancelledError):
                    await asyncio.wait([job.waiter])
            if not job.waiter.cancelled():
                job.waiter.exception()  # looked at, so that it is not reported as lost
            raise
        finally:
            self._busy -= 1

    def _serve(self) -> None:
        while (given := self._jobs.get()) is not None:
            loop, job = given
            job.run()
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(job.end)
            del given, job  # what was given and found is not kept until the next one comes


def _stopping() -> Overloaded:
    return Overloaded("the platform is stopping")
