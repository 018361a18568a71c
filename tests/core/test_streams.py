"""Streams: events are stored as they come, for as long as the permission stands, and the operation's end is its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from superagent.core.bounds import Bounds
from superagent.core.grants import Grant, When
from superagent.core.invocation import Outcome, Status
from superagent.core.problems import Conflict
from superagent.core.resources import Effect
from superagent.features.approvals import operations as approvals
from superagent.sdk import Context, Output, Plugin, Risk
from superagent.testing import World, agent, person
from tests.until import until_async


class Tick(Output):
    number: int


class Ticks:
    """A stream that gives one event whenever the test says so, and notes its end."""

    def __init__(self) -> None:
        self.ready = asyncio.Event()
        self.ended = False
        self.plugin = Plugin("ticks")

        @self.plugin.operation(risk=Risk.LOW, effect=Effect.READ, timeout_s=30.0)
        async def hear(ctx: Context, fail_at: int = 0) -> AsyncIterator[Tick]:
            """Tick."""
            number = 0
            try:
                while True:
                    await self.ready.wait()
                    self.ready.clear()
                    number += 1
                    if number == fail_at:
                        raise Conflict("told to fail")
                    yield Tick(number=number)
            finally:
                self.ended = True

        assert hear


async def outcome_of(here: World, id: str) -> Outcome:
    async with asyncio.timeout(20):
        while (found := await here.work.outcome("default", id)) is None:
            await asyncio.sleep(0.01)
    return found


async def running(here: World, ids: list[str], count: int) -> None:
    async with asyncio.timeout(20):
        while [(await here.kernel.held(agent("one"), id)).state for id in ids].count(Status.RUNNING) != count:
            await asyncio.sleep(0.01)


async def heard(here: World, id: str, count: int) -> None:
    async with asyncio.timeout(20):
        while len(await here.work.events("default", id, 0)) < count:
            await asyncio.sleep(0.01)


async def test_a_stream_ends_when_the_hours_of_its_grant_are_over() -> None:
    ticks = Ticks()
    grant = Grant(id="day", effect="allow", subject="*", operations=["ticks.*"], when=When(hours="08:00-18:00"))
    here = World(ticks.plugin, grants=[grant])
    here.clock.advance(12 * 3600 - here.clock.now() % 86_400 + 86_400)  # noon
    async with here.kernel.serving():
        id = (await here.run("ticks.hear")).invocation
        ticks.ready.set()
        await heard(here, id, 1)
        here.clock.advance(6 * 3600)
        ended = await outcome_of(here, id)
    assert ended.problem is not None
    assert ended.problem.slug == "denied"
    assert here.audit.records[-1].problem == "denied"


async def test_a_stream_that_is_cancelled_closes_what_it_holds() -> None:
    ticks = Ticks()
    here = World(ticks.plugin)
    async with here.kernel.serving():
        id = (await here.run("ticks.hear")).invocation
        ticks.ready.set()
        await heard(here, id, 1)
        await here.kernel.cancel(person(), id)
        assert (await outcome_of(here, id)).status is Status.CANCELLED
    assert ticks.ended


async def test_a_stream_that_fails_ends_with_its_problem_after_what_it_told() -> None:
    ticks = Ticks()
    here = World(ticks.plugin)
    async with here.kernel.serving():
        id = (await here.run("ticks.hear", {"fail_at": 2})).invocation
        ticks.ready.set()
        await heard(here, id, 1)
        ticks.ready.set()
        ended = await outcome_of(here, id)
    assert ended.problem is not None
    assert ended.problem.detail == "told to fail"
    assert len(await here.work.events("default", id, 0)) == 1


async def test_one_caller_cannot_take_every_stream_and_another_still_can() -> None:
    ticks = Ticks()
    here = World(ticks.plugin)
    async with here.kernel.serving():
        mine = [(await here.run("ticks.hear", by=agent("one"))).invocation for _ in range(8)]
        await running(here, mine, 8)

        refused = await here.run("ticks.hear", by=agent("one"))
        other = await here.run("ticks.hear", by=agent("two"))

        assert refused.problem is not None
        assert refused.problem.slug == "overloaded"
        assert "streams" in refused.problem.detail
        assert "cancel" in (refused.problem.hint or "")
        assert [(one.kind, one.problem) for one in here.audit.records if one.invocation == refused.invocation] == [
            ("refused", "overloaded")
        ]
        assert other.status is Status.QUEUED
        await here.kernel.cancel(agent("one"), mine[0])
        await outcome_of(here, mine[0])
        assert (await here.run("ticks.hear", by=agent("one"))).status is Status.QUEUED


async def test_whom_a_caller_lends_its_rights_to_takes_its_streams_and_none_of_others() -> None:
    """Lending needs no server, so there is no end of keys that one caller can show."""
    ticks = Ticks()
    here, lender = World(ticks.plugin), agent("one", key="k")
    bounds = Bounds([Grant(effect="allow", operations=["ticks.*"])])
    lent = [lender.within(bounds, f"sub{number}").by_key(f"k.{number}") for number in range(3)]
    lent.append(lender.delegate("one/more", "agent"))
    async with here.kernel.serving():
        asked = [await here.run("ticks.hear", by=lent[number % 4]) for number in range(8)]
        await running(here, [one.invocation for one in asked], 8)

        refused = await here.run("ticks.hear", by=lender)

        assert refused.problem is not None
        assert refused.problem.slug == "overloaded"
        assert (await here.run("ticks.hear", by=agent("two"))).status is Status.QUEUED


async def test_streams_asked_for_at_once_cannot_outrun_the_count() -> None:
    ticks = Ticks()
    here = World(ticks.plugin)
    async with here.kernel.serving():
        asked = await asyncio.gather(*(here.run("ticks.hear", by=agent("one")) for _ in range(20)))
        queued = [one.invocation for one in asked if one.status is Status.QUEUED]
        for id in queued[8:]:
            ended = await outcome_of(here, id)
            assert ended.problem is not None
            assert ended.problem.slug == "overloaded"
        await running(here, queued, 8)


async def test_a_revoked_caller_is_told_nothing_more() -> None:
    ticks = Ticks()
    here = World(ticks.plugin)
    async with here.kernel.serving():
        id = (await here.run("ticks.hear")).invocation
        ticks.ready.set()
        await heard(here, id, 1)
        here.identity.ended.add("ada")
        ticks.ready.set()
        ended = await outcome_of(here, id)
    assert ended.problem is not None
    assert "revoked" in ended.problem.detail
    assert len(await here.work.events("default", id, 0)) == 1
    await until_async(lambda: ticks.ended, "the end of the stream")


async def test_a_stream_that_is_about_to_begin_when_the_platform_stops_does_not_keep_it() -> None:
    ticks = Ticks()
    here = World(ticks.plugin)
    async with asyncio.timeout(10):
        async with here.kernel.serving():
            id = (await here.run("ticks.hear")).invocation
    held = await here.kernel.held(person(), id)
    assert held.state is Status.QUEUED  # the next start takes it up


async def test_a_stream_that_begins_while_the_platform_stops_is_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = Ticks()
    here = World(ticks.plugin)
    moved, go_on = asyncio.Event(), asyncio.Event()
    move = here.work.move

    async def slow(tenant: str, id: str, sources: Sequence[Status], target: Status) -> bool:
        done = await move(tenant, id, sources, target)
        moved.set()
        await go_on.wait()
        return done

    monkeypatch.setattr(here.work, "move", slow)
    async with asyncio.timeout(10):
        async with here.kernel.serving():
            id = (await here.run("ticks.hear")).invocation
            await moved.wait()
            asyncio.get_running_loop().call_later(0.05, go_on.set)
    assert (await outcome_of(here, id)).status is Status.CANCELLED


async def test_an_approved_stream_can_be_cancelled_and_does_not_keep_the_platform() -> None:
    ticks = Ticks()
    asks = Grant(id="ask", effect="ask", subject="*", operations=["ticks.*"])
    decides = Grant(id="decide", effect="allow", subject="*", operations=["approvals.*"])
    here = World(ticks.plugin, grants=[asks, decides])
    desk = approvals.plugin(here.kernel.approvals, here.work)
    here.kernel.registry = type(here.kernel.registry)([*here.kernel.registry, *desk.compile()])
    asker = agent("one")
    async with asyncio.timeout(20):
        async with here.kernel.serving():
            first, second = [(await here.run("ticks.hear", {"fail_at": n}, by=asker)).invocation for n in (8, 9)]
            for id in (first, second):
                decided = await here.run("approvals.decide", {"id": id, "decision": "approve"}, by=person("bob"))
                assert decided.problem is None
            await running(here, [first, second], 2)
            ticks.ready.set()
            await until_async(lambda: not ticks.ready.is_set(), "the beginning of a stream")
            await here.kernel.cancel(asker, first)
            assert (await outcome_of(here, first)).status is Status.CANCELLED
    assert (await outcome_of(here, second)).status is Status.CANCELLED


async def test_an_approved_call_that_is_no_stream_is_done_before_the_platform_stops() -> None:
    slow, begun, go_on = Plugin("slow"), asyncio.Event(), asyncio.Event()

    @slow.operation(risk=Risk.LOW, effect=Effect.READ)
    async def work(ctx: Context, waits: bool) -> Tick:
        """Work."""
        begun.set()
        if waits:
            await go_on.wait()
        return Tick(number=1)

    assert work
    asks = Grant(id="ask", effect="ask", subject="*", operations=["slow.*"])
    decides = Grant(id="decide", effect="allow", subject="*", operations=["approvals.*"])
    for waits in (False, True):  # before it begins, and while it runs
        here = World(slow, grants=[asks, decides])
        desk = approvals.plugin(here.kernel.approvals, here.work)
        here.kernel.registry = type(here.kernel.registry)([*here.kernel.registry, *desk.compile()])
        async with asyncio.timeout(10), here.kernel.serving():
            id = (await here.run("slow.work", {"waits": waits}, by=agent("one"))).invocation
            await here.run("approvals.decide", {"id": id, "decision": "approve"}, by=person("bob"))
            if waits:
                await begun.wait()
                asyncio.get_running_loop().call_later(0.05, go_on.set)
        assert (await outcome_of(here, id)).status is Status.DONE
        begun.clear()
