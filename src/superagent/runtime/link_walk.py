"""Resolving a path below a root one name at a time: the way where `openat2` is missing, and the judge of links.

Each step opens one name with `O_NOFOLLOW`, so a link is never followed by the kernel; this file reads it and goes on
from there, counting and never leaving the root. A name that is swapped in between makes a step fail; it cannot make it
escape.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass

from superagent.runtime.system_calls import O_PATH, is_procfs

MOST_LINKS = 40  # as path_resolution(7)
_DIRECTORY = O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def locate(root_fd: int, root_real: str, relative: str, *, follow: bool) -> tuple[int, str]:
    """Find a path below a root: a new descriptor of the directory that holds it, and the name in it.

    The name need not exist; it is `.` for the root itself. It is not a link at this moment, unless `follow` is False.
    Absolute links count from the root's own path, so one that stays inside works.
    Raises `OSError`: `EXDEV` when a link leads out, `ELOOP` after 40 links, `ENOENT` at a link of procfs.
    """
    walk = _Walk(root_fd, root_real, os.dup(root_fd), [], relative.split("/")[::-1])
    try:
        name = walk.to_the_leaf(follow)
        if name is None:  # it ended on a directory, by `..` or a link to the root: name it in its parent
            name = walk.trail.pop() if walk.trail else "."
            walk.again()
    except BaseException:
        os.close(walk.fd)
        raise
    return walk.fd, name


@dataclass(slots=True)
class _Walk:
    root_fd: int
    root_real: str
    fd: int  # where we are
    trail: list[str]  # the names from the root to where we are, each a real directory
    todo: list[str]  # the names still to go, last first
    links: int = 0

    def to_the_leaf(self, follow: bool) -> str | None:
        """Go on until one name is left and give it; None when the path ended on the directory where we are."""
        while self.todo:
            name = self.todo.pop()
            if name in ("", "."):
                continue
            if name == "..":
                self._up()
            elif any(part not in ("", ".") for part in self.todo):
                self._into(name)
            elif not (follow and self._follow(name)):
                return name
        return None

    def _into(self, name: str) -> None:
        try:
            child = os.open(name, _DIRECTORY, dir_fd=self.fd)
        except OSError as error:
            if error.errno in (errno.ENOTDIR, errno.ELOOP) and self._follow(name):
                return
            raise
        self._stand_on(child)
        self.trail.append(name)

    def _follow(self, name: str) -> bool:
        """Put a link's target in place of its name; False when it is no link."""
        try:
            target = os.readlink(name, dir_fd=self.fd)
        except OSError:
            return False  # no link, not there, or refused: whatever comes next on this name says which
        if is_procfs(self.fd):
            raise FileNotFoundError(errno.ENOENT, "a link of procfs", name)
        self.links += 1
        if self.links > MOST_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), name)
        if target.startswith("/"):
            target = self._below_root(target)
            self.trail.clear()
            self.again()
        self.todo.extend(target.split("/")[::-1])
        return True

    def _below_root(self, target: str) -> str:
        prefix = self.root_real.rstrip("/") + "/"
        if not (target + "/").startswith(prefix):
            raise OSError(errno.EXDEV, "the link leads out of the root", target)
        return target[len(prefix) :]

    def _up(self) -> None:
        if self.trail:
            self.trail.pop()
            self.again()
        elif self.root_real != "/":  # the parent of the topmost directory is itself
            raise OSError(errno.EXDEV, "the path leads out of the root", "..")

    def again(self) -> None:
        """Stand where the trail leads; opening `..` could lead elsewhere if the directory was moved meanwhile."""
        self._stand_on(os.dup(self.root_fd))
        for name in self.trail:
            self._stand_on(os.open(name, _DIRECTORY, dir_fd=self.fd))

    def _stand_on(self, fd: int) -> None:
        os.close(self.fd)
        self.fd = fd
