"""What no grant can ever reach: the platform's own places, by device and inode, and running processes in procfs."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from superagent.runtime.system_calls import is_procfs

Inode = tuple[int, int]
"""Device and inode number: what a thing is, whatever it is called."""

PROCFS_ROOT_INODE = 1  # fs/proc/root.c: PROC_ROOT_INO
_KERNEL_MEMORY = frozenset({"kcore", "vmcore", "kmsg", "self", "thread-self"})
_DEEPEST = 1300  # `../` repeated must stay below PATH_MAX, 4,096 bytes


def inode_of(info: os.stat_result) -> Inode:
    """Give device and inode number of what was looked at."""
    return info.st_dev, info.st_ino


@dataclass(frozen=True, slots=True)
class Top:
    """A directory of which it is known how many levels beneath it, itself being the first, are closed."""

    inode: Inode
    closed: int


@dataclass(frozen=True, slots=True)
class Protected:
    """Directories and files that are closed with all they hold, and the places carved out of them.

    `carve_outs` maps a directory to how many levels beneath it things are reachable again: with 2 for `workspaces`,
    `workspaces/tenant` is closed and `workspaces/tenant/agent` is open. The nearest of the two wins.
    """

    inodes: frozenset[Inode] = frozenset()
    carve_outs: Mapping[Inode, int] = field(default_factory=dict[Inode, int])

    @classmethod
    def of(cls, paths: Iterable[str], carve_outs: Mapping[str, int] | None = None) -> Protected:
        """Look each path up once; what does not exist is left out."""
        found = {path: inode_of(os.stat(path)) for path in (*paths, *(carve_outs or {})) if os.path.exists(path)}
        carved = {found[path]: levels for path, levels in (carve_outs or {}).items() if path in found}
        return cls(frozenset(found.values()) - carved.keys(), carved)

    def holds(self, dir_fd: int, top: Top | None = None) -> bool:
        """Say whether a directory is protected or lies in a protected place, climbing from its descriptor upwards.

        Names play no part, so a link, another spelling or a bind mount of the protected directory changes nothing. What
        lies above `top` is not looked at again.
        """
        if not self.inodes:
            return False
        level, closed = self._climb(dir_fd, top)
        return level < closed

    def top(self, dir_fd: int) -> Top:
        """Climb from a directory once, for all that will be looked up beneath it while it stays where it is."""
        level, closed = self._climb(dir_fd, None) if self.inodes else (0, 0)
        return Top(inode_of(os.fstat(dir_fd)), max(0, closed - level))

    def _climb(self, dir_fd: int, top: Top | None) -> tuple[int, int]:
        """Give the levels up to what decides, and how many levels beneath that are closed."""
        below: Inode | None = None
        for level in range(_DEEPEST):
            here = inode_of(os.stat("../" * level, dir_fd=dir_fd) if level else os.fstat(dir_fd))
            if top is not None and here == top.inode:
                return level, top.closed
            if here in self.carve_outs:
                return level, self.carve_outs[here]
            if here in self.inodes:
                return level, _DEEPEST
            if here == below and here == inode_of(os.stat("/")):
                return level, 0  # the topmost directory is its own parent; others look so where mounted on themselves
            below = here
        raise OSError(errno.ENAMETOOLONG, "the directory lies too deep to judge")


def of_a_process(dir_fd: int, found: os.stat_result, real_dir: str, name: str) -> bool:
    """Say whether `name` in a directory is, or belongs to, a running process in procfs, or is the kernel's memory.

    Through them anybody who may read `/proc` would read this server's memory, environment and open files. `found` is
    what the directory is, `real_dir` its real path; only its last parts are used, as far as the filesystem reaches.
    """
    if not is_procfs(dir_fd, found):
        return False
    level = 0
    while os.stat("../" * level or ".", dir_fd=dir_fd).st_ino != PROCFS_ROOT_INODE:
        level += 1
    return names_a_process(real_dir.split("/")[-level] if level else name)


def names_a_process(name: str) -> bool:
    """Say whether a name at the top of a procfs is a process or the kernel's memory."""
    return name.isdecimal() or name in _KERNEL_MEMORY
