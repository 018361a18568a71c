"""Unified diffs of lines (POSIX `diff -u`), whose cost has an end whatever the lines are.

`difflib` takes the square of the number of lines, and their cube where many repeat. Here its work is counted before it
is done, and a part that would cost too much is shown as replaced whole: a diff as true as any, only longer.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import Match, SequenceMatcher
from itertools import accumulate
from typing import cast

from superagent.core.neutral import neutral_line

MOST_WORK = 1_500_000
"""Pairs of equal lines that are looked at for one diff; some tenths of a second."""

MOST_SHOWN = 4 * 1024 * 1024
"""Characters that are compared at all, both sides together and without what is the same at the ends."""

_LINE = re.compile(r"[^\n]*\n|[^\n]+")  # `splitlines` ends lines at characters at which no other program does


class _TooMuch(Exception):
    """Comparing would take more than it may."""


class _Counted(SequenceMatcher[str]):
    """A matcher that reckons what each step looks at, and stops before it does too much."""

    def __init__(self, before: Sequence[str], after: Sequence[str], most: int) -> None:
        super().__init__(None, before, after)
        self._left = most
        self._whole = len(before)
        # what one step costs: for each line of one side, all its places in the other
        places = cast("dict[str, list[int]]", vars(self)["b2j"])
        self._costs = [0, *accumulate(1 + len(places.get(line, ())) for line in before)]

    def find_longest_match(self, alo: int = 0, ahi: int | None = None, blo: int = 0, bhi: int | None = None) -> Match:
        """Find as `difflib` does. Raises `_TooMuch` instead when that would be too much in all."""
        self._left -= self._costs[self._whole if ahi is None else ahi] - self._costs[alo]
        if self._left < 0:
            raise _TooMuch
        return super().find_longest_match(alo, ahi, blo, bhi)


def lines_of(text: str) -> list[str]:
    """Split a text into lines that end in line feeds, as programs for diffs do; the last may lack its end."""
    return _LINE.findall(text)


def unified(
    before: Sequence[str], after: Sequence[str], old: str, new: str, context: int = 3, most_lines: int = 5000
) -> str:
    """Give the unified diff of two lists of lines, empty for equal ones.

    Where more than `most_lines` differ on a side, from the first to the last, it only says so. The names are made one
    line each: a name with line feeds would add lines of its own.
    """
    if before == after:
        return ""
    same = _alike(before, after)
    tail = _alike(before[same:][::-1], after[same:][::-1])
    skip, keep = max(same - context, 0), max(tail - context, 0)
    one, other = before[skip : len(before) - keep], after[skip : len(after) - keep]
    head = f"--- {neutral_line(old)}\n+++ {neutral_line(new)}\n"
    if max(len(one), len(other)) > most_lines:
        return f"{head}more than {most_lines} lines differ, too many to show\n"
    if sum(map(len, one)) + sum(map(len, other)) > MOST_SHOWN:
        return f"{head}what differs is too large to show\n"
    return head + "".join(_hunk(group, one, other, skip) for group in _groups(one, other, context))


_Step = tuple[str, int, int, int, int]


def _groups(one: Sequence[str], other: Sequence[str], context: int) -> list[list[_Step]]:
    try:
        return [list(group) for group in _Counted(one, other, MOST_WORK).get_grouped_opcodes(context)]
    except _TooMuch:
        same = _alike(one, other)
        tail = _alike(one[same:][::-1], other[same:][::-1])
        middle = ("replace", same, len(one) - tail, same, len(other) - tail)
        around = [("equal", 0, same, 0, same), middle, ("equal", middle[2], len(one), middle[4], len(other))]
        return [[step for step in around if step[2] > step[1] or step[4] > step[3]]]


def _hunk(group: list[_Step], one: Sequence[str], other: Sequence[str], skip: int) -> str:
    first, last = group[0], group[-1]
    parts = [f"@@ -{_range(first[1] + skip, last[2] + skip)} +{_range(first[3] + skip, last[4] + skip)} @@\n"]
    for kind, alo, ahi, blo, bhi in group:
        if kind == "equal":
            parts += [_ended(" " + line) for line in one[alo:ahi]]
            continue
        parts += [_ended("-" + line) for line in one[alo:ahi]]
        parts += [_ended("+" + line) for line in other[blo:bhi]]
    return "".join(parts)


def _range(start: int, stop: int) -> str:
    length = stop - start
    if length == 1:
        return str(start + 1)
    return f"{start + 1 if length else start},{length}"  # an empty side is numbered by the line before it


def _ended(line: str) -> str:
    return line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"


def _alike(one: Sequence[str], other: Sequence[str]) -> int:
    """Count the lines at the beginning that are the same."""
    count = 0
    for mine, yours in zip(one, other, strict=False):
        if mine != yours:
            break
        count += 1
    return count
