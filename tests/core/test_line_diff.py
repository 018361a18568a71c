"""Diffs of lines: as `diff -u` and `difflib` give them, at a cost that has an end."""

from __future__ import annotations

import difflib
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from superagent.core import line_diff
from superagent.core.line_diff import lines_of, unified

LINES = st.lists(st.sampled_from(["a\n", "b\n", "c\n", "d\n", "\n"]), max_size=30)


def by_difflib(before: list[str], after: list[str]) -> str:
    """Give what the library gives for the same, without the marks of missing line ends."""
    return "".join(difflib.unified_diff(before, after, "x", "y"))


@given(LINES, LINES)
def test_it_leads_from_the_one_to_the_other(before: list[str], after: list[str]) -> None:
    assert patched(before, unified(before, after, "x", "y")) == after


@given(LINES, LINES)
def test_it_does_so_also_when_comparing_would_cost_too_much(before: list[str], after: list[str]) -> None:
    old = line_diff.MOST_WORK
    line_diff.MOST_WORK = 0
    try:
        assert patched(before, unified(before, after, "x", "y")) == after
    finally:
        line_diff.MOST_WORK = old


@given(LINES.map(lambda lines: ["first\n", *lines, "last\n"]), LINES)
def test_it_is_what_difflib_gives(before: list[str], after: list[str]) -> None:
    # with different ends nothing is taken off before the comparison, which can change which of several is shown
    after = ["other\n", *after, "end\n"]
    assert unified(before, after, "x", "y") == by_difflib(before, after)


def patched(before: list[str], diff: str) -> list[str]:
    """Apply a diff by its own words alone."""
    out: list[str] = []
    at = 0
    for line in diff.splitlines(keepends=True)[2:]:
        if line.startswith("@@"):
            start, _, length = line.split()[1][1:].partition(",")
            first = int(start) - (0 if length == "0" else 1)
            out += before[at:first]
            at = first
        elif line.startswith("+"):
            out.append(line[1:])
        else:
            assert before[at] == line[1:]
            at += 1
            out += [line[1:]] if line.startswith(" ") else []
    return out + before[at:]


def test_the_program_patch_takes_it(tmp_path: Path) -> None:
    before, after = "one\ntwo\nthree\n" * 50 + "end", "one\n2\nthree\n" * 50 + "the end"
    (tmp_path / "x").write_text(before, "utf-8")
    done = subprocess.run(
        ["git", "apply", "--unsafe-paths", "-"], cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False,
        input=unified(lines_of(before), lines_of(after), "a/x", "b/x"),
    )  # fmt: skip
    assert (done.returncode, (tmp_path / "x").read_text("utf-8")) == (0, after), done.stderr


@pytest.mark.parametrize(("kinds", "length"), [(104, 4900), (2, 4900), (1, 4000)])
def test_the_work_has_an_end(kinds: int, length: int, monkeypatch: pytest.MonkeyPatch) -> None:
    before = ["x\n", *(f"{at % kinds}\n" for at in range(length))]
    after = [*(f"{(at * 7 + at // 3) % kinds}\n" for at in range(length)), "y\n"]
    looked = 0
    find = difflib.SequenceMatcher[str].find_longest_match

    def counted(self: difflib.SequenceMatcher[str], alo: int, ahi: int, blo: int, bhi: int) -> difflib.Match:
        nonlocal looked
        places: dict[str, list[int]] = vars(self)["b2j"]
        looked += sum(len(places.get(line, ())) for line in before[alo:ahi])
        return find(self, alo, ahi, blo, bhi)

    monkeypatch.setattr(difflib.SequenceMatcher, "find_longest_match", counted)
    shown = unified(before, after, "x", "y")

    assert looked <= line_diff.MOST_WORK
    assert patched(before, shown) == after


def test_what_is_too_long_or_too_large_is_said() -> None:
    assert "too many to show" in unified(["a\n"] * 6000, ["b\n"] * 6000, "x", "y")
    assert "too large to show" in unified(["a" * line_diff.MOST_SHOWN], ["b"], "x", "y")
    assert unified(["a\n"], ["a\n"], "x", "y") == ""
    assert unified(["a\n"], ["b\n"], "x\n+y", "z").startswith("--- x\\n+y\n")
