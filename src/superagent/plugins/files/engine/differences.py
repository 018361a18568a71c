"""What differs between two texts or two trees."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass

from .hashes import of_file
from .listing import kind, mode
from .places import Entry, Tick, never

MOST_BYTES = 1024 * 1024
_MOST_LINES = 5000  # comparing takes the square of what differs, at worst
_HUNK = re.compile(r"@@ -(\d+)(,\d+)? \+(\d+)(,\d+)? @@")


def of_texts(before: str, after: str, old: str, new: str, context: int = 3) -> str:
    """Give a unified diff, empty for equal texts; what is too long to compare is only said to differ."""
    one, other = before.splitlines(keepends=True), after.splitlines(keepends=True)
    same = 0
    while same < min(len(one), len(other)) and one[same] == other[same]:
        same += 1
    tail = 0
    while tail < min(len(one), len(other)) - same and one[-1 - tail] == other[-1 - tail]:
        tail += 1
    skip, keep = max(same - context, 0), max(tail - context, 0)
    one, other = one[skip : len(one) - keep], other[skip : len(other) - keep]
    if max(len(one), len(other)) > _MOST_LINES:
        return f"--- {old}\n+++ {new}\nthe files differ in more than {_MOST_LINES} lines, too many to show\n"
    lines = difflib.unified_diff(one, other, old, new, n=context)
    return "".join(_ended(_moved(line, skip)) for line in lines)


def _moved(line: str, by: int) -> str:
    found = _HUNK.match(line)
    if not found:
        return line
    # an empty side counts from the line before it, so zero stays what it is only at the very beginning
    return f"@@ -{int(found[1]) + by}{found[2] or ''} +{int(found[3]) + by}{found[4] or ''} @@\n"


def _ended(line: str) -> str:
    return line if line.endswith("\n") else line + "\n\\ No newline at end of file\n"


@dataclass(frozen=True, slots=True)
class Thing:
    """One entry of a tree, as far as two trees are compared: kind, mode, and content checksum or link target."""

    kind: str
    mode: str
    content: str


@dataclass(frozen=True, slots=True)
class Compared:
    """Relative paths that only one of two trees has, and those where they differ."""

    removed: list[str]
    added: list[str]
    changed: list[str]


def things(entries: Iterable[Entry], tick: Tick = never) -> dict[str, Thing]:
    """Gather a walk that begins with its start, by relative path (empty for the start)."""
    found: dict[str, Thing] = {}
    start = None
    for entry in entries:
        start = len(entry.path) + 1 if start is None else start
        what, content = kind(entry.stat), ""
        if what == "file":
            fd = entry.open()
            try:
                content = of_file(fd, "sha256", tick)[0]
            finally:
                os.close(fd)
        elif what == "link":
            content = os.readlink(entry.name, dir_fd=entry.dir_fd)
        found[entry.path[start:]] = Thing(what, "" if what == "link" else mode(entry.stat), content)
    return found


def of_trees(before: dict[str, Thing], after: dict[str, Thing]) -> Compared:
    """Compare two gathered trees."""
    return Compared(
        sorted(before.keys() - after.keys()),
        sorted(after.keys() - before.keys()),
        sorted(path for path in before.keys() & after.keys() if before[path] != after[path]),
    )
