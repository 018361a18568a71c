"""Copying files and trees: built under a hidden name, verified by checksum, then put in place."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass

from .listing import kind
from .places import Cursor, Cursors, Differs, Entry, Tick, Unfit, never

_CHUNK = 1024 * 1024


@dataclass(slots=True)
class Copied:
    """What was copied."""

    files: int = 0
    bytes: int = 0


def copy_file(source: int, dir_fd: int, name: str, like: os.stat_result, tick: Tick = never) -> int:
    """Copy an open file to a new name with its mode and times; give the bytes.

    The copy is read back and compared by SHA-256. Raises `Differs` when it is not the same.
    """
    fd = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=dir_fd)
    try:
        wrote, count = hashlib.sha256(), 0
        while chunk := os.read(source, _CHUNK):
            tick()
            wrote.update(chunk)
            count += len(chunk)
            view = memoryview(chunk)
            while view:
                view = view[os.write(fd, view) :]
        os.fsync(fd)
        os.lseek(fd, 0, os.SEEK_SET)
        found = hashlib.sha256()
        while chunk := os.read(fd, _CHUNK):
            tick()
            found.update(chunk)
        if found.digest() != wrote.digest():
            raise Differs("the copy is not what was read", "try again; if it stays so, check the disk")
        dress(fd, like)
    finally:
        os.close(fd)
    return count


def copy_tree(entries: Iterable[Entry], dir_fd: int, name: str, cursors: Cursors, tick: Tick = never) -> Copied:
    """Build a new thing from a walk that begins with its start and gives each directory twice.

    Links are copied as links. Raises `Unfit` for a FIFO, socket or device.
    """
    done = Copied()
    cursor: Cursor | None = None
    depth = 0
    try:
        for entry in entries:
            into, new = (cursor.fd, entry.name) if cursor is not None else (dir_fd, name)
            if not entry.is_dir:
                _leaf(entry, into, new, done, tick)
            elif not entry.leaving:
                os.mkdir(new, 0o700, dir_fd=into)
                if cursor is None:
                    cursor = cursors(
                        os.open(new, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=into)
                    )
                else:
                    cursor.down(new)
                depth += 1
            else:
                assert cursor is not None
                depth -= 1
                _leave(cursor, entry.stat, up=depth > 0)
    finally:
        if cursor is not None:
            cursor.close()
    return done


def dress(fd: int, like: os.stat_result) -> None:
    """Give what is open the mode and times of another thing, but never its right to run as its owner.

    A copy belongs to whoever copies: with that right, a copied program would run as this server.
    """
    os.fchmod(fd, stat.S_IMODE(like.st_mode) & 0o1777)
    os.utime(fd, ns=(like.st_atime_ns, like.st_mtime_ns))


def _leaf(entry: Entry, dir_fd: int, name: str, done: Copied, tick: Tick) -> None:
    what = kind(entry.stat)
    if what == "link":
        os.symlink(os.readlink(entry.name, dir_fd=entry.dir_fd), name, dir_fd=dir_fd)
        with contextlib.suppress(OSError, NotImplementedError):
            os.utime(name, ns=(entry.stat.st_atime_ns, entry.stat.st_mtime_ns), dir_fd=dir_fd, follow_symlinks=False)
    elif what == "file":
        source = entry.open()
        try:
            done.bytes += copy_file(source, dir_fd, name, os.fstat(source), tick)
        finally:
            os.close(source)
        done.files += 1
    else:
        raise Unfit(f"`{entry.path}` is a {what}, which cannot be copied", "copy what lies beside it")


def _leave(cursor: Cursor, like: os.stat_result, up: bool) -> None:
    """Finish a directory; its mode is set after leaving, since it may forbid that."""
    fd = os.dup(cursor.fd)
    try:
        if up:
            cursor.up()
        dress(fd, like)
    finally:
        os.close(fd)
