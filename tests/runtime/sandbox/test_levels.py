"""Which back end a command gets: the weakest that works and is strong enough, never a weaker one."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from superagent.core.grants import ISOLATION, IsolationLevel
from superagent.core.problems import SandboxUnavailable
from superagent.runtime.sandbox.backend import Part, Probe, Running, Start
from superagent.runtime.sandbox.levels import Levels


@dataclass
class Told:
    """A back end that works when it is told so, and counts its probes."""

    level: IsolationLevel
    works: bool = True
    probes: list[bool] = field(default_factory=list[bool])

    @property
    def name(self) -> str:
        return f"of-{self.level}"

    async def probe(self) -> Probe:
        self.probes.append(self.works)
        return Probe(self.level, self.name, (Part("start", self.works, "it is missing", "get it"),))

    async def start(self, start: Start) -> Running:
        raise NotImplementedError


class Time:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


async def test_the_weakest_that_is_strong_enough_is_taken() -> None:
    native, vm = Told("native"), Told("vm")
    levels = Levels([vm, native], "native", Time())

    assert await levels.backend(0) is native
    assert await levels.backend(ISOLATION["native"]) is native
    assert await levels.backend(ISOLATION["container"]) is vm
    assert levels.minimum == "native"


async def test_one_that_does_not_work_gives_way_to_a_stronger_one_and_never_to_a_weaker() -> None:
    weak, native, vm = Told("landlock"), Told("native", works=False), Told("vm")

    assert await Levels([weak, native, vm], "native", Time()).backend(0) is vm
    with pytest.raises(SandboxUnavailable) as refused:
        await Levels([weak, native], "native", Time()).backend(0)
    assert "it is missing" in refused.value.detail
    assert refused.value.hint == "get it"


async def test_a_level_for_which_there_is_no_back_end_is_refused() -> None:
    with pytest.raises(SandboxUnavailable, match="`vm`"):
        await Levels([Told("native")], "native", Time()).backend(ISOLATION["vm"])
    with pytest.raises(SandboxUnavailable, match="`container`"):
        await Levels([Told("native")], "container", Time()).backend(0)


async def test_what_works_is_looked_at_every_ten_minutes_and_what_does_not_much_sooner() -> None:
    native, time = Told("native"), Time()
    levels = Levels([native], "native", time)
    for at in (0.0, 100.0, 599.0):
        time.now = at
        await levels.backend(0)
    assert len(native.probes) == 1

    time.now, native.works = 700.0, False
    for at in (700.0, 704.0):
        time.now = at
        with pytest.raises(SandboxUnavailable):
            await levels.backend(0)
    assert len(native.probes) == 2

    time.now, native.works = 706.0, True
    await levels.backend(0)
    assert len(native.probes) == 3


async def test_before_a_probe_a_level_is_expected_and_after_it_known() -> None:
    native, time = Told("native", works=False), Time()
    levels = Levels([native, Told("landlock")], "native", time)
    assert levels.expected() == ISOLATION["native"]

    await levels.probe(native)
    assert levels.expected() == 0

    native.works, time.now = True, 5.1
    await levels.tested("native")
    assert levels.expected() == ISOLATION["native"]
    assert [probe.works for probe in await levels.probes()] == [True, True]


async def test_a_test_goes_on_without_whoever_asked_until_the_levels_are_closed() -> None:
    native, begun = Told("native"), asyncio.Event()
    ended: list[str] = []

    async def probe() -> Probe:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("it")
        raise AssertionError

    native.probe = probe
    levels = Levels([native], "native", Time())
    asking = asyncio.create_task(levels.tested())
    await begun.wait()
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    assert ended == []

    await levels.close()

    assert ended == ["it"]


async def test_only_levels_that_are_there_can_be_tested() -> None:
    native, landlock = Told("native"), Told("landlock")
    levels = Levels([native, landlock], "native", Time())

    assert [one.level for one in await levels.tested("native")] == ["native"]
    assert [one.level for one in await levels.tested()] == ["native", "landlock"]
    assert (len(native.probes), len(landlock.probes)) == (1, 1)
    with pytest.raises(SandboxUnavailable, match="`vm`"):
        await levels.tested("vm")
