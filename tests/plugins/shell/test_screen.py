"""Text of a session is plain: whatever was printed, nothing is left that a terminal would act upon."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from superagent.plugins.shell.screen import plain, pressed, typed
from superagent.sdk import InvalidInput

ACTING = st.sampled_from(
    ["\x1b", "\x1b[", "\x9b", "\x1b]", "\x9d", "\x1bP", "\x07", "\x9c", "\x1b\\", "m", ";", "\r", "\n", "8"]
)


@given(st.lists(ACTING | st.characters(), max_size=60).map("".join))
def test_nothing_that_a_terminal_acts_upon_is_left(text: str) -> None:
    assert not {one for one in plain(text) if unicodedata.category(one) == "Cc"} - {"\n", "\t"}


@given(st.text(st.characters(exclude_categories=["Cc"]), max_size=60))
def test_text_stays_as_it_is(text: str) -> None:
    assert plain(text) == text


@pytest.mark.parametrize(
    ("printed", "shown"),
    [
        ("a\x1b[1;31mred\x1b[0m b", "ared b"), ("\x1b]0;title\x07x", "x"), ("\x1b]52;c;aGk=\x1b\\x", "x"),
        ("\x1bPsixel\x1b\\x", "x"), ("\x1b(Bx\x1b=", "x"), ("one\r\ntwo\rthree\b", "one\ntwothree"),
        ("\x1b]never closed\nnext", "\nnext"), ("\x9b31mx\x9d0;t\x9cy", "xy"), ("tab\tstays", "tab\tstays"),
    ],
)  # fmt: skip
def test_sequences_are_left_out_whole(printed: str, shown: str) -> None:
    assert plain(printed) == shown


def test_keys_are_what_an_xterm_sends() -> None:
    assert pressed(["up", "ctrl-c", "ctrl-z", "enter", "ctrl-backslash"]) == b"\x1b[A\x03\x1a\r\x1c"


def test_input_may_be_bytes() -> None:
    assert typed("/wA=", "base64") == b"\xff\x00"
    assert typed(None, "utf-8") == b""
    with pytest.raises(InvalidInput):
        typed("?", "base64")
