"""The figures of contained commands: how they are computed, and that a short run measures all of them."""

from __future__ import annotations

import json

import pytest

from bench.__main__ import main
from bench.beside import Window, cpu_over_idle, over_idle
from bench.sandbox import over, over_p90
from tests.needs import program


def test_a_time_is_compared_with_the_plain_spawn_of_the_same_moment() -> None:
    times = {"plain": [0.001, 0.010, 0.002], "piped": [0.002, 0.010, 0.002], "native": [0.010, 0.020, 0.030]}
    times["session"] = times["native"]

    assert over(times, "native") == 5
    assert over(times, "session") == 10  # it has no pipes of its own, so the cheaper one is what it is held against
    assert over_p90(times, "native") == 15


def test_what_a_command_does_to_others_is_compared_window_by_window() -> None:
    idle = [Window([0.001] * 99 + [0.002], 0.1), Window([0.010] * 100, 0.1), Window([0.001] * 100, 0.2)]
    sleeping = [Window([0.001] * 98 + [0.005] * 2, 0.1), Window([0.010] * 100, 0.2), Window([0.003] * 100, 0.3)]
    windows = {"idle": idle, "sleeping": sleeping}

    assert over_idle(windows, "sleeping") == 3  # 5, 1 and 3: a hiccup of the machine in one window decides nothing
    assert cpu_over_idle(windows, "sleeping") == pytest.approx(1.5)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_one_short_round_measures_every_way_without_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    program("bwrap", "bubblewrap")
    assert main(["--only", "sandbox", "--rounds", "1", "--seconds", "1", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)["figures"]["sandbox"]
    assert figures["crowd_errors"] == 0
    assert all(value > 0 for name, value in figures.items() if name != "crowd_errors")
