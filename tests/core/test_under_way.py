"""Calls under way: whoever may act no more has them ended, but not by the very call that ended its right."""

from __future__ import annotations

import asyncio

import pytest

from superagent.core.execution import DEAD
from superagent.core.principal import Principal
from superagent.core.under_way import UnderWay

ANN, BOB = Principal("ann", "human", "default"), Principal("bob", "human", "default")


async def forever(calls: UnderWay, id: str, caller: Principal, *, finishes: bool = False) -> None:
    with calls.holding(id, caller, finishes):
        await asyncio.Event().wait()


async def test_a_call_of_somebody_dead_ends_at_the_second_look_and_others_go_on() -> None:
    alive = {"ann": True, "bob": True}
    calls = UnderWay(lambda who: alive[who.id])
    tasks = {who.id: asyncio.create_task(forever(calls, f"1{who.id}", who)) for who in (ANN, BOB)}
    await asyncio.sleep(0)
    assert not calls.end_the_dead()

    alive["ann"] = False
    assert calls.end_the_dead()
    await asyncio.sleep(0)
    assert not tasks["ann"].done()
    assert calls.end_the_dead()

    with pytest.raises(asyncio.CancelledError) as ended:
        await tasks["ann"]
    assert ended.value.args == (DEAD,)
    assert (calls.ids, len(calls), "1bob" in calls, "1ann" in calls) == ({"1bob"}, 1, True, False)
    assert not calls.end_the_dead()
    await calls.end()
    assert tasks["bob"].cancelled()


async def test_the_call_that_ends_its_own_callers_right_comes_to_its_end() -> None:
    alive = True
    calls = UnderWay(lambda _: alive)
    ended, told = asyncio.Event(), asyncio.Event()

    async def call() -> str:
        nonlocal alive
        with calls.holding("1", ANN, finishes=False):
            alive = False
            ended.set()
            await told.wait()
            return "answer"

    task = asyncio.create_task(call())
    await ended.wait()
    assert calls.end_the_dead()
    told.set()
    assert await task == "answer"
    assert not calls.end_the_dead()


async def test_a_stop_waits_for_nothing_that_finishes_by_itself() -> None:
    calls = UnderWay(lambda _: True)
    task = asyncio.create_task(forever(calls, "1", ANN, finishes=True))
    await asyncio.sleep(0)
    await calls.end()
    assert not task.done()
    assert calls.stop("1")
    assert not calls.stop("2")
    await asyncio.wait([task])
    assert task.cancelled()
