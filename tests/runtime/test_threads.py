"""Threads: one caller cannot have them all, and whoever comes later waits for a thread and not for a queue."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from contextvars import ContextVar
from typing import Any

import pytest

from superagent.core.current import CALL
from superagent.core.invocation import Call, Invocation
from superagent.core.principal import Principal
from superagent.core.problems import Overloaded
from superagent.runtime.threads import Threads

WORKERS = 3


async def begin(threads: Threads, who: str | Principal, work: Callable[[], Any]) -> asyncio.Task[Any]:
    """Let somebody's call do blocking work, and go on when it has asked for it."""

    async def call() -> Any:
        principal = Principal(who, "agent", "default", ()) if isinstance(who, str) else who
        CALL.set(Invocation("call", Call("files.hash", {}), principal, "http", 0.0))
        return await threads.run(work)

    task = asyncio.create_task(call())
    await asyncio.sleep(0)
    return task


@pytest.mark.parametrize("lends", [False, True])
async def test_one_caller_never_has_all_threads(lends: bool) -> None:
    alone = Principal("greedy", "agent", "default", ())
    callers = [alone.delegate(f"helper{at}", "agent") if lends else alone for at in range(20)]
    go_on, begun = threading.Event(), threading.Semaphore(0)

    def long() -> str:
        begun.release()
        go_on.wait(20)
        return "long"

    with closing(Threads(WORKERS)) as threads:
        greedy = [await begin(threads, one, long) for one in callers]
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
    with closing(Threads(WORKERS)) as threads:
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


async def test_a_cancelled_caller_waits_for_the_end_of_what_it_began() -> None:
    go_on, begun, done = threading.Event(), threading.Event(), list[str]()

    def long() -> None:
        begun.set()
        go_on.wait(20)
        done.append("long")
        raise OSError("nobody hears this")

    with closing(Threads(WORKERS)) as threads:
        task = await begin(threads, "somebody", long)
        await asyncio.to_thread(begun.wait, 20)
        for _ in range(3):  # however often it is told
            task.cancel()
            await asyncio.sleep(0)
            assert not task.done()
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, 20)
    assert done == ["long"]


async def test_what_a_function_gives_raises_and_sees_is_its_callers() -> None:
    said: ContextVar[str] = ContextVar("said")
    said.set("here")

    def broken() -> None:
        raise FileNotFoundError("gone")

    with closing(Threads(WORKERS)) as threads:
        assert await threads.run(said.get) == "here"
        assert await threads.run(pow, 2, 5) == 32
        with pytest.raises(FileNotFoundError, match="gone"):
            await threads.run(broken)
        with pytest.raises(RuntimeError, match="StopIteration"):
            await asyncio.wait_for(threads.run(next, iter(())), 10)
    with pytest.raises(Overloaded):
        await threads.run(said.get)


async def test_threads_begin_when_they_are_needed_and_end_when_it_is_closed() -> None:
    def ours() -> list[threading.Thread]:
        return [one for one in threading.enumerate() if one.name.startswith("operation_") and one not in before]

    before = threading.enumerate()
    with closing(Threads(WORKERS)) as threads:
        assert ours() == []
        for _ in range(10):
            await threads.run(lambda: None)
        assert len(ours()) == 1
        await asyncio.gather(*(threads.run(time.sleep, 0.05) for _ in range(10)))
        running = ours()
        assert len(running) == WORKERS
    for one in running:
        await asyncio.to_thread(one.join, 20)
    assert ours() == []
