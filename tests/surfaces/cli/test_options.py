"""Times, durations and flags are read as people write them."""

from __future__ import annotations

import argparse

import pytest

from superagent.surfaces.cli.options import Parser, Shown, Usage, moment, seconds

NOW = 1_800_000_000.0


@pytest.mark.parametrize(
    ("text", "value"),
    [("90", 90), ("90s", 90), ("5m", 300), ("2h", 7200), ("30d", 2_592_000), ("1w", 604_800), ("1.5", 1.5)],
)
def test_a_duration_is_a_number_with_a_unit(text: str, value: float) -> None:
    assert seconds(text) == value
    assert isinstance(seconds("2h"), int)


@pytest.mark.parametrize("text", ["", "h", "-5", "5 m", "5y", "1e9", "٣", "nan"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="is no duration"):
        seconds(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2h", NOW - 7200),
        ("1700000000", 1_700_000_000),
        ("1700000000.5", 1_700_000_000.5),
        ("2026-01-31", 1_769_817_600),
        ("2026-01-31T12:00", 1_769_860_800),
        ("2026-01-31T12:00Z", 1_769_860_800),
        ("2026-01-31T12:00+02:00", 1_769_853_600),
    ],
)
def test_a_time_is_epoch_seconds_a_date_or_how_long_ago(text: str, value: float) -> None:
    assert moment(text, NOW) == value


def test_what_is_no_time_is_refused() -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="is no time"):
        moment("yesterday", NOW)


def test_flags_may_stand_before_and_after_the_command() -> None:
    before = Parser("", "x").read(["--json", "--data", "a"], argparse.Namespace())
    after = Parser("x", "x").read(["--data", "b"], before)
    assert (after.json, after.data) == (True, "b")


@pytest.mark.parametrize(
    ("typed", "detail", "hint"),
    [
        (["--jso=hidden"], "there is no flag `--jso`", "did you mean --json? `superagent x --help` lists the flags"),
        (["--serve", "u"], "there is no flag `--serve`", "did you mean --server?"),
        (["ls", "-la"], "there is no flag `-l`", "given as --FLAG=VALUE, after all flags and `--`, or in quotes with"),
        (["--quite-another"], "there is no flag `--quite-another`", "`superagent x --help` lists the flags"),
        (["--data", "-x"], "argument --data: expected one argument", "begins with a dash is given as --FLAG=VALUE"),
        (["a", "-phidden"], "there is no flag `-p`", "`superagent x --help` lists the flags"),
        (["--json=hidden"], "argument --json: takes no value", "`superagent x --help`"),
        (["a", "hidden"], "there is one value too many", "`superagent x --help`"),
        (["a", "b"], "there is one value too many", "`superagent x --help`"),
    ],
)
def test_what_does_not_fit_raises_instead_of_leaving_and_says_what_would(
    typed: list[str], detail: str, hint: str
) -> None:
    parser = Parser("x", "x")
    parser.add_argument("first", nargs="?")
    with pytest.raises(Usage) as wrong:
        parser.read(typed, argparse.Namespace())
    assert wrong.value.detail == detail
    assert hint in wrong.value.hint
    assert "hidden" not in f"{wrong.value.detail} {wrong.value.hint}"


def test_help_is_given_with_every_percent_sign_that_its_texts_have() -> None:
    parser = Parser("x", "100 % of %(prog)s", epilog="50 %")
    with pytest.raises(Shown, match=r"(?s)100 % of %\(prog\)s.*50 %"):
        parser.read(["-h"], argparse.Namespace())
