"""Nothing that came from outside acts on the terminal that shows it."""

from __future__ import annotations

import io
import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from superagent.core.neutral import laid_open, neutral, neutral_line
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


UNSEEN = (
    "\u00ad\u034f\u115f\u180b\u200b\u200c\u200d\u2060\u2063\u206f\u2800\u3164\ufe0f\ufffa\U000e0041\U000e007f\U000e01ef"
)
# what a reader sees of each is a mark of its own, and no way to hide something
SIGNS = "\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd"


def unseen(char: str) -> bool:
    """Ask the Unicode database, which has no property for the few fillers and unassigned ones that are not drawn."""
    return unicodedata.category(char) == "Cf" and char not in SIGNS


def test_what_nobody_sees_is_shown_by_its_number() -> None:
    assert [char for char in UNSEEN if not neutral(f"a{char}b").isascii()] == []
    assert neutral("pass\u200bword \U000e0069\U000e0067") == "pass\\u200bword \\U000e0069\\U000e0067"
    assert [hex(at) for at in range(0x110000) if unseen(chr(at)) and laid_open(chr(at)) == chr(at)] == []


@pytest.mark.parametrize(
    "text", ["می\u200cخواهم", "क्\u200dष", "👨\u200d👩\u200d👧", "❤\ufe0f\u200d🔥", "1\ufe0f\u20e3", "☎\ufe0e"]
)
def test_what_a_script_or_an_emoji_is_written_with_stays_in_a_text_and_is_shown_to_who_decides(text: str) -> None:
    assert neutral(text) == text
    assert laid_open(text) != text
    assert neutral_line(text) == laid_open(text)


@pytest.mark.parametrize(
    "text", ["pa\u200dy", "می\u200c", "\u200cم", "👨\u200d", "a\ufe0f", "❤\ufe0f\ufe0f", "م\u200c\u200cم"]
)
def test_the_same_characters_elsewhere_are_shown(text: str) -> None:
    assert "\\u" in neutral(text)


@given(st.text(), st.text())
def test_who_decides_never_sees_two_texts_as_one(one: str, other: str) -> None:
    """Of texts that hold no backslash, which would be read as one of ours."""
    one, other = one.replace("\\", ""), other.replace("\\", "")
    assert (laid_open(one) == laid_open(other)) == (one == other)


@given(st.text())
def test_json_output_is_the_same_text_and_acts_no_more_than_the_rest(text: str) -> None:
    printed = json_text({text: [text]})
    assert json.loads(printed) == {text: [text]}
    assert not [char for char in printed if acts(char)]


@pytest.mark.parametrize("char", UNSEEN)
def test_json_output_hides_nothing_either(char: str) -> None:
    printed = json_text({"said": f"a{char}b"})
    assert printed.isascii()
    assert json.loads(printed) == {"said": f"a{char}b"}


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
