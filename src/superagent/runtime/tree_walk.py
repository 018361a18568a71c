"""Walking a directory tree by descriptors: no link is followed, nothing denied is looked into, no depth is too deep."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import NamedTuple

from superagent.core.problems import TooLarge
from superagent.runtime.beneath import At, open_directory, open_file
from superagent.runtime.protected import PROCFS_ROOT_INODE, Inode, Protected, inode_of, names_a_process
from superagent.runtime.system_calls import is_procfs

May = Callable[[str, bool], bool]
"""Takes a real path and whether it is a directory; False keeps the entry and all beneath it out of sight."""

Skipped = Callable[[str, OSError], None]
"""Takes the real path that the operating system refused, and its error."""


class Cursor:
    """A place in a tree that moves down and up, holding one descriptor however deep it is."""

    __slots__ = ("_above", "fd", "inode")

    def __init__(self, fd: int) -> None:
        """Begin at a directory open for reading; the cursor closes it."""
        self.fd = fd
        self.inode: Inode = inode_of(os.fstat(fd))
        self._above: list[Inode] = []

    def down(self, name: str) -> None:
        """Move into a directory, never through a link."""
        child = open_directory(self.fd, name)
        try:
            # a directory without the right to search cannot be left again by `..`: then do not go in
            self._same(os.stat("..", dir_fd=child), self.inode)
            inode = inode_of(os.fstat(child))
        except BaseException:
            os.close(child)
            raise
        self._above.append(self.inode)
        self._stand_on(child, inode)

    def up(self) -> None:
        """Move back; `ESTALE` when the directory was meanwhile moved elsewhere."""
        parent = os.open("..", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self.fd)
        try:
            self._same(os.fstat(parent), self._above[-1])
        except BaseException:
            os.close(parent)
            raise
        self._stand_on(parent, self._above.pop())

    def close(self) -> None:
        """Let go of the directory."""
        os.close(self.fd)

    def __enter__(self) -> Cursor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _stand_on(self, fd: int, inode: Inode) -> None:
        os.close(self.fd)
        self.fd, self.inode = fd, inode

    @staticmethod
    def _same(info: os.stat_result, inode: Inode) -> None:
        if inode_of(info) != inode:
            raise OSError(errno.ESTALE, "a directory was moved while its tree was walked")


class Entry(NamedTuple):
    """Something met on a walk; `dir_fd` is open only until the walk goes on.

    `path` is real and `stat` is of the thing itself, not of what a link leads to. `depth` is 0 for the start of the
    walk. `leaving` marks the second meeting of a directory, after all it holds.
    """

    path: str
    dir_fd: int
    name: str
    stat: os.stat_result
    depth: int
    leaving: bool
    protected: Protected

    @property
    def is_dir(self) -> bool:
        """Say whether it is a directory."""
        return stat.S_ISDIR(self.stat.st_mode)

    def open(self) -> int:
        """Open the file for reading and give the descriptor, which the caller closes; raises `OSError`."""
        return open_file(self.dir_fd, self.name, self.protected)


class _Level(NamedTuple):
    names: Iterator[str]
    entry: Entry  # the directory as it was met in its parent; its path is dropped, since a deep tree would keep each
    top_of_procfs: bool


def walk(
    at: At,
    may: May,
    *,
    max_depth: int | None = None,
    max_entries: int | None = None,
    leaving: bool = False,
    itself: bool = False,
    skipped: Skipped | None = None,
) -> Iterator[Entry]:
    """Give what lies in a directory and beneath it, names in order, each directory before what it holds.

    `max_depth` 1 is the directory's own entries; None is no bound. `itself` gives the start first; it is all there is
    when the start is no directory. `leaving` gives each directory a second time, after its content.
    What vanishes meanwhile is left out. What the operating system refuses goes to `skipped`, or is raised without one.
    Raises `TooLarge` beyond `max_entries`; entries that `may` refuses are not counted.
    """
    start = Entry(at.real, at.dir_fd, at.name, at.found(), 0, False, at.protected)
    if itself:
        yield start
    if not start.is_dir:
        return
    with Cursor(open_directory(at.dir_fd, at.name)) as cursor:
        for entry in _beneath(cursor, start, may, max_depth, max_entries, skipped):
            if leaving or not entry.leaving:
                yield entry
    if itself and leaving:
        yield start._replace(leaving=True)


def _beneath(
    cursor: Cursor, start: Entry, may: May, max_depth: int | None, max_entries: int | None, skipped: Skipped | None
) -> Iterator[Entry]:
    levels = [_level(cursor, start)]
    here = start.path.rstrip("/")
    count = 0
    while levels:
        level = levels[-1]
        name = next(level.names, None)
        if name is None:
            levels.pop()
            if levels:
                cursor.up()
                yield level.entry._replace(path=here, dir_fd=cursor.fd, leaving=True)
                here = here[: -len(level.entry.name) - 1]
            continue
        if level.top_of_procfs and names_a_process(name):
            continue
        entry = _entry(cursor, f"{here}/{name}", name, len(levels), start.protected, skipped)
        if entry is None or not may(entry.path, entry.is_dir):
            continue
        count += 1
        if max_entries is not None and count > max_entries:
            raise TooLarge(f"more than {max_entries} entries lie under this directory", hint="begin further down")
        yield entry
        if entry.is_dir:
            if (max_depth is None or entry.depth < max_depth) and _descends(cursor, entry, skipped):
                levels.append(_level(cursor, entry))
                here = entry.path
            else:
                yield entry._replace(leaving=True)


def _entry(
    cursor: Cursor, path: str, name: str, depth: int, protected: Protected, skipped: Skipped | None
) -> Entry | None:
    try:
        info = os.stat(name, dir_fd=cursor.fd, follow_symlinks=False)
    except FileNotFoundError:
        return None
    except OSError as error:
        _skip(path, error, skipped)
        return None
    inode = inode_of(info)
    if inode in protected.inodes or inode in protected.carve_outs:
        return None
    return Entry(path, cursor.fd, name, info, depth, False, protected)


def _descends(cursor: Cursor, entry: Entry, skipped: Skipped | None) -> bool:
    try:
        cursor.down(entry.name)
        if cursor.inode == inode_of(entry.stat):
            return True
        cursor.up()
        raise OSError(errno.ESTALE, "another directory took this name while the tree was walked")
    except FileNotFoundError:
        return False
    except OSError as error:
        _skip(entry.path, error, skipped)
        return False


def _level(cursor: Cursor, entry: Entry) -> _Level:
    top_of_procfs = cursor.inode[1] == PROCFS_ROOT_INODE and is_procfs(cursor.fd)
    return _Level(iter(sorted(os.listdir(cursor.fd))), entry._replace(path=""), top_of_procfs)


def _skip(path: str, error: OSError, skipped: Skipped | None) -> None:
    if skipped is None:
        raise error
    skipped(path, error)
