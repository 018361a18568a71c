"""Edits that cost no more than what they leave."""

from __future__ import annotations

import pytest

from superagent.plugins.files.engine import edits, patches
from superagent.plugins.files.engine.places import Differs, TooMuch


def test_what_would_become_too_large_is_refused_before_it_is_made() -> None:
    with pytest.raises(TooMuch, match="1600000000 characters"):
        edits.replace("a" * 4000, "a", "b" * 400_000, 4000, 32 * 1024 * 1024)


def test_what_nearly_fits_is_found_in_one_pass() -> None:
    text, old = " a\n" * 100_000, "a\n" * 50_000 + "b"
    with pytest.raises(Differs, match="does not occur"):
        edits.replace(text, old, "", 1, len(text))
    with pytest.raises(Differs) as told:
        edits.replace("x\n  a\n\tb\ny\n", "a\nb", "", 1, 100)
    assert "the lines from 2 are the same but for white space" in str(told.value.hint)


def test_a_hunk_is_found_elsewhere_and_what_is_read_for_that_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "".join(f"{at}\n" for at in range(1000)) + "end"
    moved = patches.Hunk(1, ["500\n", "501\n"], ["500\n", "new\n"])
    assert patches.apply(text, [moved]) == text.replace("501\n", "new\n", 1)
    last = patches.Hunk(1, ["999\n", "end"], ["the end"])
    assert patches.apply(text, [last]).endswith("998\nthe end")
    with pytest.raises(Differs, match="2 places or more"):
        patches.apply("a\nb\na\nb\nc\n", [patches.Hunk(5, ["a\n", "b\n"], [])])
    with pytest.raises(Differs, match="does not fit"):
        patches.apply(text, [patches.Hunk(1, ["50\n", "5\n"], [])])  # 50 and the beginning of 51 are no such lines

    monkeypatch.setattr(patches, "_MOST_SEARCHED", 10_000)
    many = [patches.Hunk(1, [f"{at}\n"], []) for at in range(3, 999, 2)]
    with pytest.raises(Differs, match="too many hunks"):
        patches.apply(text, many)
