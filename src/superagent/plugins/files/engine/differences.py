"""What differs between two texts or two trees."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass

from superagent.sdk import lines_of, unified

from .hashes import of_file
from .listing import kind, mode
from .places import Entry, Tick, never

MOST_BYTES = 1024 * 1024


def of_texts(before: str, after: str, old: str, new: str, context: int = 3) -> str:
    """Give a unified diff, empty for equal texts; what is too long to show is only said to differ."""
    return unified(lines_of(before), lines_of(after), old, new, context)


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
