"""Checksums of files and trees."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass

from .listing import kind
from .places import Entry, Tick, never

_CHUNK = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Hashed:
    """A checksum in hex, over how many bytes of how many files."""

    digest: str
    bytes: int
    files: int


def of_file(fd: int, algorithm: str, tick: Tick = never) -> tuple[str, int]:
    """Give the checksum in hex and the number of bytes that an open file gives from where it stands."""
    state = hashlib.new(algorithm, usedforsecurity=False)
    count = 0
    while chunk := os.read(fd, _CHUNK):
        tick()  # a file of holes costs nothing to make and would take days to read
        state.update(chunk)
        count += len(chunk)
    return state.hexdigest(), count


def of_tree(entries: Iterable[Entry], algorithm: str, tick: Tick = never) -> Hashed:
    """Give one checksum over kinds, names, link targets and contents of a walk that begins with its start.

    A file alone has the checksum of its content. Of a tree it is the checksum of a line per entry in the walk's order:
    `kind`, depth, length of the name, name, then content checksum or link target. Modes, owners and times do not count.
    """
    lines = hashlib.new(algorithm, usedforsecurity=False)
    total = files = 0
    alone = ""
    for entry in entries:
        what = kind(entry.stat)
        extra = ""
        if what == "file":
            fd = entry.open()
            try:
                extra, count = of_file(fd, algorithm, tick)
            finally:
                os.close(fd)
            total, files = total + count, files + 1
            alone = extra if entry.depth == 0 else ""
        elif what == "link":
            extra = os.readlink(entry.name, dir_fd=entry.dir_fd)
        name = os.fsencode(entry.name) if entry.depth else b""
        lines.update(b"%s %d %d %s %s\n" % (what.encode(), entry.depth, len(name), name, os.fsencode(extra)))
    return Hashed(alone or lines.hexdigest(), total, files)
