"""Work behind the line keeps to a tenth of the time while the process is busy, and to no limit while it is idle."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from superagent.runtime.audit_pace import LOOK_S, Pace


@dataclass
class Machine:
    """A clock that goes on while somebody sleeps, and a process that uses `load` of a processor meanwhile."""

    load: float = 1.0
    late_s: float = 0.0
    idle_from_s: float = float("inf")
    now_s: float = 100.0
    used_s: float = 7.0
    slept: list[float] = field(default_factory=list[float])

    def now(self) -> float:
        return self.now_s

    def used(self) -> float:
        return self.used_s

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        passed = seconds + self.late_s
        self.used_s += passed * (0.0 if self.now_s >= self.idle_from_s else self.load)
        self.now_s += passed

    async def rested(self, took_s: float, at_least_s: float = 0.0) -> float:
        """Give how long a rest was."""
        start = self.now_s
        await Pace(self.now, self.used, self.sleep).rest(took_s, at_least_s)
        return self.now_s - start


@pytest.mark.parametrize("load", [0.11, 1.0, 1.9])
@pytest.mark.parametrize("took_s", [0.001, 0.02, 0.5, 30.0])
async def test_under_load_a_step_of_any_length_is_followed_by_nine_times_as_much_rest(
    load: float, took_s: float
) -> None:
    assert 9 * took_s <= await Machine(load).rested(took_s) < 9 * took_s + 2 * LOOK_S


async def test_an_idle_process_goes_on_after_one_look() -> None:
    assert await Machine(load=0.01).rested(3.0) == pytest.approx(LOOK_S)


async def test_a_process_that_falls_idle_goes_on_then() -> None:
    assert 2.0 <= await Machine(idle_from_s=102.0).rested(3.0) < 2.0 + 3 * LOOK_S


async def test_a_process_that_is_woken_late_is_not_idle_even_when_it_used_no_processor() -> None:
    assert await Machine(load=0.0, late_s=0.5).rested(3.0) >= 27.0


async def test_a_step_that_found_nothing_more_is_followed_by_its_pause_at_least() -> None:
    assert await Machine(load=0.0).rested(0.001, at_least_s=0.5) == pytest.approx(0.5)
    assert await Machine(load=1.0).rested(0.2, at_least_s=0.5) == pytest.approx(1.8, abs=LOOK_S)
    assert await Machine(load=0.0).rested(0.2, at_least_s=0.5) == pytest.approx(0.5 + LOOK_S)


async def test_real_time_is_taken_from_the_real_machine() -> None:
    await Pace().rest(0.002)  # ends by itself, idle or not
