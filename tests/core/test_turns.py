"""Turns: a few at a time, around the holders, and none after the end."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from superagent.core.turns import Turns
from tests.promise import promise


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


@promise("1.5c")
async def test_turns_go_around_the_holders_and_each_waits_in_order() -> None:
    turns, got = Turns(2, 2), list[str]()

    async def one(holder: str, name: str) -> None:
        assert await turns.take(holder)
        got.append(name)

    assert await turns.take("x")
    assert await turns.take("x")
    waiting = [asyncio.create_task(one(name[0], name)) for name in ("a1", "a2", "a3", "b1", "b2")]
    await settle()
    assert got == []
    for _ in range(2):
        turns.give("x")
        await settle()
    assert got == ["a1", "b1"]
    turns.give("a")
    await settle()
    turns.give("b")
    await settle()
    assert got == ["a1", "b1", "a2", "b2"]
    turns.close()
    await asyncio.wait(waiting)


async def test_whoever_stops_waiting_leaves_the_line_and_keeps_no_turn() -> None:
    turns = Turns(1, 1)
    assert await turns.take("a")
    left = asyncio.create_task(turns.take("b"))
    next_ = asyncio.create_task(turns.take("c"))
    await settle()
    left.cancel()
    await asyncio.wait([left])
    turns.give("a")
    assert await next_

    late = asyncio.create_task(turns.take("d"))
    await settle()
    turns.give("c")  # it is d's now, and d goes away before it sees that
    late.cancel()
    await asyncio.wait([late])
    assert await asyncio.wait_for(turns.take("e"), 1)


async def test_a_closed_line_sends_everybody_away() -> None:
    turns = Turns(1, 1)
    assert await turns.take("a")
    waiting = asyncio.create_task(turns.take("a"))
    await settle()
    turns.close()
    assert not await waiting
    assert not await turns.take("b")
    turns.give("a")
    turns.open()
    assert await turns.take("b")


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=60))
def test_never_more_than_allowed_and_nobody_is_forgotten(steps: list[tuple[str, bool]]) -> None:
    async def run() -> None:
        turns, held, waiting = Turns(2, 3), list[str](), list[asyncio.Task[None]]()

        async def one(holder: str) -> None:
            assert await turns.take(holder)
            held.append(holder)
            assert len(held) <= 3
            assert held.count(holder) <= 2

        for holder, gives in steps:
            if gives and held:
                turns.give(held.pop(0))
            else:
                waiting.append(asyncio.create_task(one(holder)))
            await settle()
        while held:
            turns.give(held.pop(0))
            await settle()
        assert all(task.done() for task in waiting)
        await asyncio.gather(*waiting)

    asyncio.run(run())
