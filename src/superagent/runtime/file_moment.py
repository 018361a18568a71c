"""File moments: the state of a file that whoever changes it must change, and when that can be relied on.

The state is what a file is (device, inode), its size, and the times of its last change of content and of anything. The
kernel sets the last one at each change, and nobody can set it to another: only to now. Two changes within one step of
its clock leave the same time, so a file counts only once its last change lies `SETTLED_S` back.

What this cannot see: stores through a shared memory map, which set the times when the kernel takes note of them, and a
system clock that was set back. On filesystems that others change from elsewhere, or that are programs, nothing counts.
"""

from __future__ import annotations

import os
import stat

from superagent.runtime.system_calls import (
    O_PATH,
    RESOLVE_NO_MAGICLINKS,
    RESOLVE_NO_SYMLINKS,
    filesystem_of,
    openat2,
)

SETTLED_S = 2.0
"""Longer than the coarsest step of a filesystem that counts (1 s: ext4 with small inodes), seconds."""

# linux/magic.h: ext2 to ext4, XFS, Btrfs, F2FS, ZFS (its own), overlayfs, tmpfs
_LOCAL = frozenset({0xEF53, 0x58465342, 0x9123683E, 0xF2F52010, 0x2FC12FC1, 0x794C7630, 0x01021994})

Moment = tuple[int, ...]


def moment_of(info: os.stat_result) -> Moment:
    """Give the state of a file from what `fstat` said of it."""
    return info.st_dev, info.st_ino, info.st_mode, info.st_size, info.st_mtime_ns, info.st_ctime_ns


def settled(fd: int, now: float) -> Moment | None:
    """Give the state of an open file if every later change will change it, None where that is not sure.

    `now` is in epoch seconds.
    """
    info = os.fstat(fd)
    if info.st_ctime > now - SETTLED_S or filesystem_of(fd) not in _LOCAL:
        return None
    return moment_of(info)


def at_path(path: str) -> Moment | None:
    """Give the state of the file at an absolute path in which nothing is a link; None for all else.

    Without a link, what is there is what was judged by that path.
    """
    try:
        fd = openat2(-100, path, O_PATH | os.O_NOFOLLOW, RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS)
    except OSError:
        return None
    try:
        info = os.fstat(fd)
        return moment_of(info) if stat.S_ISREG(info.st_mode) else None
    finally:
        os.close(fd)
