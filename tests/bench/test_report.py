"""The table shows gated figures first, and the history holds what later runs and `make proof` read."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bench import machine, report
from bench.rows import Row
from docs.proof import latest_figures

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ROWS = [Row("nginx.rps", 104_000, "/s"), Row("whoami.rps_over_nginx", 0.1234567, at_least=0.08, source="speed floor")]


def test_gated_figures_come_first_with_their_floor_and_whether_it_is_kept() -> None:
    lines = report.table(ROWS).splitlines()
    assert lines[2].split() == ["whoami.rps_over_nginx", "0.1235", "≥", "0.08", "met", "speed", "floor"]
    assert lines[3].split() == ["nginx.rps", "104,000", "/s"]
    assert all(line == line.rstrip() for line in lines)


def test_a_missed_floor_cannot_be_overlooked() -> None:
    assert "MISSED" in report.table([Row("a", 1, at_least=2)])


@pytest.mark.parametrize(
    ("value", "text"),
    [(math.nan, "none"), (0, "0"), (12345.6, "12,346"), (12.34, "12.3"), (1.234, "1.23"), (0.08341, "0.0834")],
)
def test_numbers_have_the_digits_that_they_deserve(value: float, text: str) -> None:
    assert report.number(value) == text


def test_a_kept_run_is_found_again_by_the_dotted_name_of_a_figure(tmp_path: Path) -> None:
    run = report.document(ROWS, AT, "abc1234", False, {"cores": 2}, {"whoami": {"nginx": []}})
    file = report.keep(tmp_path / "history", run, AT)
    assert file.name == "2026-01-02T03-04-05-abc1234.json"
    assert json.loads(file.read_text())["rows"][1]["verdict"] == "met"
    assert latest_figures(tmp_path / "history")["whoami.rps_over_nginx"] == "0.1235"


def test_a_run_never_replaces_another_one(tmp_path: Path) -> None:
    run = report.document(ROWS, AT, "abc1234", False, {}, {})
    report.keep(tmp_path, run, AT)
    with pytest.raises(FileExistsError):
        report.keep(tmp_path, run, AT)


def test_the_share_that_the_host_took_is_told() -> None:
    before = machine.parse_ticks("cpu  100 0 50 1000 10 0 5 20 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n")
    after = machine.parse_ticks("cpu  160 0 65 1100 10 0 5 45 0 0\n")
    assert before == machine.Ticks(busy=155, idle=1010, stolen=20)
    assert after.stolen_since(before) == 0.25
    assert after.stolen_since(after) == 0.0


def test_a_run_says_where_and_of_what_it_was_measured() -> None:
    place = machine.describe()
    assert place["cores"] >= 1
    assert place["versions"]["superagent"]
    short, dirty = machine.commit()
    assert short
    assert dirty in (True, False)
