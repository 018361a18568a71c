"""Nothing that came from outside acts on the terminal that shows it."""

from __future__ import annotations

import io
import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from superagent.core.neutral import neutral, neutral_line
from superagent.surfaces.cli import terminal
from superagent.surfaces.cli.terminal import Screen, json_text
from tests.until import until

ACTING = "\x1b]0;title\x07\x1b[2J\r\x08\x7f\x9b31m\u202e\u2066\u200f\u2028\ufeff\udc9b"


def acts(char: str) -> bool:
    """Ask the Unicode database: controls, halves of pairs, separators, and what turns the direction of text."""
    turning = {"LRE", "RLE", "PDF", "LRO", "RLO", "LRI", "RLI", "FSI", "PDI"}
    return unicodedata.category(char) in {"Cc", "Cs", "Zl", "Zp"} or unicodedata.bidirectional(char) in turning


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@given(st.text())
def test_whatever_text_comes_nothing_that_acts_is_left_of_it(text: str) -> None:
    shown = neutral_line(text)
    assert not [char for char in shown if acts(char)]
    shown.encode()


def test_what_acts_is_shown_as_what_it_is() -> None:
    assert neutral(ACTING).isascii()
    assert neutral("a\x1b[31mb\tc\nd") == "a\\x1b[31mb\tc\nd"
    assert neutral_line("a\tb\nc") == "a\\tb\\nc"
    assert neutral("grüße 世界 👋") == "grüße 世界 👋"


@given(st.text())
def test_json_output_is_the_same_text_and_acts_no_more_than_the_rest(text: str) -> None:
    printed = json_text({text: [text]})
    assert json.loads(printed) == {text: [text]}
    assert not [char for char in printed if acts(char)]


def test_waiting_is_shown_on_a_terminal_and_wiped_when_it_is_over() -> None:
    err = Terminal()
    with Screen(out=io.StringIO(), err=err).waiting("files.grep\x1b[2J"):
        until(lambda: " s" in err.getvalue(), "the count")
    assert err.getvalue().startswith("\rfiles.grep\\x1b[2J … 1 s")
    assert err.getvalue().endswith("\r\x1b[K")


def test_waiting_goes_on_counting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal, "QUIET_S", 0.0)
    monkeypatch.setattr(terminal, "STEP_S", 0.01)
    err = Terminal()
    with Screen(out=io.StringIO(), err=err).waiting("files.grep"):
        until(lambda: err.getvalue().count("\r") > 2, "three counts")


def test_what_is_over_at_once_shows_no_waiting() -> None:
    err = Terminal()
    with Screen(out=io.StringIO(), err=err).waiting("access.whoami"):
        pass
    assert err.getvalue() == ""


def test_where_nobody_looks_no_waiting_is_shown() -> None:
    err = io.StringIO()
    with Screen(out=io.StringIO(), err=err).waiting("access.whoami") as waiting:
        assert waiting._thread is None  # pyright: ignore[reportPrivateUsage]
    assert err.getvalue() == ""
