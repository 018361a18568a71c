"""Threads: one caller cannot have them all, and whoever comes later waits for a thread and not for a queue."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest

from superagent.core.current import CALL
from superagent.core.invocation import Call, Invocation
from superagent.core.principal import Principal
from superagent.core.problems import Overloaded
from superagent.runtime.threads import Threads

WORKERS = 3


async def begin(threads: Threads, who: str, work: Callable[[], Any]) -> asyncio.Task[Any]:
    """Let somebody's call do blocking work, and go on when it has asked for it."""

    async def call() -> Any:
        CALL.set(Invocation("call", Call("files.hash", {}), Principal(who, "agent", "default", ()), "http", 0.0))
        return await threads.run(work)

    task = asyncio.create_task(call())
    await asyncio.sleep(0)
    return task


async def test_one_caller_never_has_all_threads() -> None:
    go_on, begun = threading.Event(), threading.Semaphore(0)

    def long() -> str:
        begun.release()
        go_on.wait(20)
        return "long"

    with ThreadPoolExecutor(WORKERS) as pool:
        threads = Threads(pool, WORKERS)
        greedy = [await begin(threads, "greedy", long) for _ in range(20)]
        try:
            other = await begin(threads, "other", lambda: "short")
            assert await asyncio.wait_for(other, 10) == "short"
            assert await asyncio.wait_for(threads.run(lambda: "the platform's"), 10) == "the platform's"
            assert begun.acquire(timeout=10)
            assert begun.acquire(timeout=10)
            assert not begun.acquire(blocking=False)
        finally:
            go_on.set()
        assert await asyncio.gather(*greedy) == ["long"] * 20


async def test_who_gives_up_or_is_sent_away_while_waiting_has_done_nothing() -> None:
    go_on, done = threading.Event(), list[str]()
    with ThreadPoolExecutor(WORKERS) as pool:
        threads = Threads(pool, WORKERS)
        busy = [await begin(threads, "greedy", lambda: go_on.wait(20)) for _ in range(2)]
        try:
            cancelled = await begin(threads, "greedy", lambda: done.append("cancelled"))
            waiting = await begin(threads, "greedy", lambda: done.append("waiting"))
            cancelled.cancel()
            with suppress(asyncio.CancelledError):
                await cancelled
            threads.close()
            with pytest.raises(Overloaded):
                await waiting
        finally:
            go_on.set()
        assert await asyncio.gather(*busy) == [True, True]
        assert done == []
