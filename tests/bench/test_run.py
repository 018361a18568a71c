"""A whole short run, against the real servers."""

from __future__ import annotations

import json

import pytest

from bench.__main__ import GROUPS, HISTORY, main, options
from bench.plan import Plan
from bench.rows import Row
from tests.needs import program


@pytest.mark.parametrize("flags", [["--only", "nothing"], ["--seconds", "0"], ["--rounds", "0"]])
def test_flags_that_make_no_sense_are_refused(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        options(flags)
    assert ended.value.code == 2
    assert "error:" in capsys.readouterr().err


def test_every_group_is_run_unless_some_are_named() -> None:
    assert options([]).groups == list(GROUPS)
    assert options(["--only", "whoami,cold"]).groups == ["whoami", "cold"]


def test_a_missed_floor_ends_a_strict_run_with_1(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(group: str, plan: Plan) -> list[Row]:
        return [Row(f"{group}.decide", plan.seconds, at_most=1)]

    monkeypatch.setattr("bench.__main__.run", run)
    assert main(["--only", "policy"]) == 0
    assert main(["--only", "policy", "--strict"]) == 1


def test_a_group_that_cannot_be_measured_hides_no_other_and_fails_the_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(group: str, plan: Plan) -> list[Row]:
        if group == "cold":
            raise RuntimeError("it did not start")
        return [Row(f"{group}.cost", plan.seconds)]

    monkeypatch.setattr("bench.__main__.run", run)
    assert main(["--only", "cold,policy"]) == 1
    said = capsys.readouterr()
    assert "policy.cost" in said.out
    assert "cold was not measured: it did not start" in said.err


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_one_short_round_measures_all_servers_without_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    program("wrk")
    program("nginx", "nginx-light")
    before = sorted(HISTORY.glob("*"))
    assert main(["--only", "whoami", "--seconds", "1", "--rounds", "1", "--json"]) == 0
    run = json.loads(capsys.readouterr().out)
    assert set(run["raw"]["whoami"]) == {"nginx", "starlette", "fastapi", "door", "superagent"}
    assert all(len(samples) == 1 and samples[0]["requests"] > 0 for samples in run["raw"]["whoami"].values())
    assert run["figures"]["whoami"]["errors"] == 0
    assert run["figures"]["connections_1000"]["errors"] == 0
    gated = {row["name"] for row in run["rows"] if row["verdict"] != "not gated"}
    assert {"whoami.rps_over_nginx", "whoami.cpu_over_nginx", "whoami.rps_over_fastapi"} <= gated
    assert sorted(HISTORY.glob("*")) == before, "a run of some groups is not kept"
