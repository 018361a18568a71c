"""Run times: what cron fields mean on a clock that is set forward and back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from superagent.core.problems import InvalidInput
from superagent.runtime.run_times import cron_times, moment
from tests.promise import promise

BERLIN = ZoneInfo("Europe/Berlin")


def at(*date: int, zone: ZoneInfo = BERLIN) -> float:
    return datetime(*date, tzinfo=zone).timestamp()  # type: ignore[arg-type]


def shown(cron: str, after: float, count: int, zone: str = "Europe/Berlin") -> list[str]:
    found = cron_times(cron, zone, after, count)
    return [datetime.fromtimestamp(one, ZoneInfo(zone)).strftime("%d. %H:%M %z") for one in found]


@promise("6.3")
def test_what_falls_into_the_gap_runs_right_after_it() -> None:
    assert shown("30 2 * * *", at(2026, 3, 28, 12), 2) == ["29. 03:00 +0200", "30. 02:30 +0200"]


@promise("6.3")
def test_what_comes_twice_runs_the_first_time() -> None:
    assert shown("30 2 * * *", at(2026, 10, 24, 12), 2) == ["25. 02:30 +0200", "26. 02:30 +0100"]


def test_what_runs_every_hour_runs_in_both_hours_and_in_none_that_is_not_there() -> None:
    assert shown("30 * * * *", at(2026, 10, 25, 1), 4) == [
        "25. 01:30 +0200", "25. 02:30 +0200", "25. 02:30 +0100", "25. 03:30 +0100",
    ]  # fmt: skip
    assert shown("30 * * * *", at(2026, 3, 29, 1), 2) == ["29. 01:30 +0100", "29. 03:30 +0200"]


def test_the_same_fields_come_at_other_times_elsewhere() -> None:
    start = at(2026, 1, 1, zone=ZoneInfo("UTC"))
    assert cron_times("0 9 * * *", "UTC", start)[0] - cron_times("0 9 * * *", "Asia/Kolkata", start)[0] == 5.5 * 3600


def test_leap_days_and_last_days_are_found() -> None:
    assert shown("0 0 29 2 *", at(2026, 1, 1), 1, "UTC") == ["29. 00:00 +0000"]
    assert shown("0 0 L * *", at(2026, 2, 1), 1, "UTC") == ["28. 00:00 +0000"]


@pytest.mark.parametrize(
    "cron",
    ["", "* * * *", "* * * * * *", "61 * * * *", "0 0 31 2 *", "a b c d e", "*/0 * * * *", "@daily", "\0 * * * *"],
)
def test_what_is_no_cron_or_never_comes_is_refused(cron: str) -> None:
    with pytest.raises(InvalidInput):
        cron_times(cron, "UTC", 0.0)


@pytest.mark.parametrize("zone", ["", "Mars/Base", "../../etc/passwd", "/etc/localtime", "Europe", "a\0b"])
def test_what_is_no_time_zone_is_refused(zone: str) -> None:
    with pytest.raises(InvalidInput):
        cron_times("* * * * *", zone, 0.0)


def test_a_moment_is_read_in_its_own_offset_or_in_the_zone() -> None:
    assert moment("2026-12-24T18:00", "Europe/Berlin") == at(2026, 12, 24, 18)
    assert moment("2026-12-24T18:00+02:00", "Europe/Berlin") == at(2026, 12, 24, 17)
    with pytest.raises(InvalidInput):
        moment("tomorrow", "UTC")


@given(
    st.integers(1_577_836_800, 2_000_000_000),
    st.sampled_from(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe"]),
)
def test_times_only_grow_and_lie_in_the_future(after: int, zone: str) -> None:
    found = cron_times("17 */3 * * *", zone, float(after), 20)
    assert all(one < other for one, other in zip([float(after), *found], found, strict=False))
    assert found[-1] - after < timedelta(days=4).total_seconds()
    assert datetime.fromtimestamp(found[0], UTC).second == 0
