"""What no grant can ever reach: the platform's own places, by device and inode, and running processes in procfs.

And by its name what the platform is building beside the place where it will stand.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from superagent.runtime.system_calls import is_procfs

Inode = tuple[int, int]
"""Device and inode number: what a thing is, whatever it is called."""

PROCFS_ROOT_INODE = 1  # fs/proc/root.c: PROC_ROOT_INO
_KERNEL_MEMORY = frozenset({"kcore", "vmcore", "kmsg", "self", "thread-self"})
_MOST_CLIMBED = 10_000
# as an accepted view, a file that is written or copied, and what undo puts back are called until they are whole
_BESIDE = re.compile(r"(?:^|/)\.superagent-(?:undo-)?[0-9a-f]{12}(?:[0-9a-f]{12}|-[0-9a-f]{16})(?:/|$)", re.IGNORECASE)
_DEEPEST = 1300  # `../` repeated must stay below PATH_MAX, 4,096 bytes


def inode_of(info: os.stat_result) -> Inode:
    """Give device and inode number of what was looked at."""
    return info.st_dev, info.st_ino


@dataclass(frozen=True, slots=True)
class Protected:
    """Directories and files that are closed with all they hold, and the places carved out of them.

    `carve_outs` maps a directory to how many levels beneath it things are reachable again: with 2 for `workspaces`,
    `workspaces/tenant` is closed and `workspaces/tenant/agent` is open. The nearest of the two wins.
    """

    inodes: frozenset[Inode] = frozenset()
    carve_outs: Mapping[Inode, int] = field(default_factory=dict[Inode, int])
    _climbed: dict[tuple[Inode, str], bool] = field(
        default_factory=dict[tuple[Inode, str], bool], init=False, repr=False, compare=False
    )

    @classmethod
    def of(cls, paths: Iterable[str], carve_outs: Mapping[str, int] | None = None) -> Protected:
        """Look each path up once; what does not exist is left out."""
        found = {path: inode_of(os.stat(path)) for path in (*paths, *(carve_outs or {})) if os.path.exists(path)}
        carved = {found[path]: levels for path, levels in (carve_outs or {}).items() if path in found}
        return cls(frozenset(found.values()) - carved.keys(), carved)

    def holds(self, dir_fd: int) -> bool:
        """Say whether a directory is protected or lies in a protected place, climbing from its descriptor upwards.

        Names play no part, so a link, another spelling or a bind mount of the protected directory changes nothing.
        """
        if not self.inodes:
            return False
        below: Inode | None = None
        for level in range(_DEEPEST):
            here = inode_of(os.stat("../" * level or ".", dir_fd=dir_fd))
            if here == below and here == inode_of(os.stat("/")):
                return False  # the topmost directory is its own parent; others look so where one is mounted on itself
            if level >= self.carve_outs.get(here, _DEEPEST):
                return False
            if here in self.inodes or here in self.carve_outs:
                return True
            below = here
        raise OSError(errno.ENAMETOOLONG, "the directory lies too deep to judge")

    def holds_at(self, dir_fd: int, inode: Inode, real: str) -> bool:
        """Say the same of a directory whose real path is known: where it still stands, nothing above it has moved."""
        place = inode, real
        closed = self._climbed.get(place)
        if closed is None:
            closed = self.holds(dir_fd)
            if len(self._climbed) >= _MOST_CLIMBED:
                self._climbed.clear()
            self._climbed[place] = closed
        return closed


def built_beside(path: str) -> bool:
    """Say whether a path leads to or through what is being built beside its place, under a hidden name.

    It was judged and approved for that place: whoever changed it on the way, or read it there, would get around both.
    """
    return _BESIDE.search(path) is not None


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
