"""Putting a built step in place: swapped in, what came out compared, and swapped back if it is something else."""

from __future__ import annotations

import base64
import errno
import os
import stat
from dataclasses import dataclass

from superagent.runtime.beneath import At, kind_of, look, open_directory
from superagent.runtime.file_state import attributes_of
from superagent.runtime.protected import Protected
from superagent.runtime.sandbox.view_choice import Step
from superagent.runtime.sandbox.view_diff import CHANGED_SINCE, Difference
from superagent.runtime.sandbox.view_origin import stamp_of
from superagent.runtime.sandbox.view_places import open_beneath
from superagent.runtime.sandbox.view_rules import real_mode
from superagent.runtime.sandbox.view_sides import users_own
from superagent.runtime.system_calls import O_PATH, exchange_between, rename_new
from superagent.runtime.tree_walk import walk

_CANNOT = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP)


class Differs(Exception):
    """Something else stands there than was looked at; it is where it was."""


@dataclass(frozen=True, slots=True)
class Placer:
    """Puts steps in place; `staging_fd` is the folder in which they were built, on the same filesystem."""

    view_fd: int
    staging_fd: int
    lower: str

    def apply(self, step: Step, at: At, name: str) -> None:
        """Make the place what the step says, durable on return.

        What was built lies at `name` in the staging folder, and what is taken away lies there afterwards.

        Raises `Differs` when something else stands there than was looked at, and leaves that, `OSError`.
        """
        if at.real != f"{self.lower.rstrip('/')}/{step.path}":
            raise Differs("a link leads to it now")
        top = step.parts[0]
        if step.does == "mode":
            self._change_mode(top, at)
        elif step.does == "remove":
            os.rename(at.name, name, src_dir_fd=at.dir_fd, dst_dir_fd=self.staging_fd)
            if not self._expected(step, name):
                _rename_new(self.staging_fd, name, at.dir_fd, at.name)
                raise Differs(CHANGED_SINCE)
        elif top.before.kind == "absent":
            try:
                _rename_new(self.staging_fd, name, at.dir_fd, at.name)
            except FileExistsError:
                raise Differs(CHANGED_SINCE) from None
        else:
            self._swap(step, at, name)
        _sync(at.dir_fd)

    def _swap(self, step: Step, at: At, name: str) -> None:
        _exchange(self.staging_fd, name, at.dir_fd, at.name)
        if not self._expected(step, name):
            _exchange(self.staging_fd, name, at.dir_fd, at.name)
            raise Differs(CHANGED_SINCE)

    def _expected(self, step: Step, name: str) -> bool:
        """Tell whether what was taken out of its place is, with all it holds, what was looked at."""
        top = step.parts[0]
        info = look(self.staging_fd, name)
        if info is None or not as_looked_at(top, info, renamed=True):
            return False
        if not stat.S_ISDIR(info.st_mode):
            return True
        inner = {one.path[len(top.path) :]: one for one in step.parts[1:] if one.stamp is not None}
        there = At(self.staging_fd, name, "", "", info, Protected(), owned=False)
        for entry in walk(there, lambda path, is_dir: True):
            one = inner.pop(entry.path, None)
            if one is None or not as_looked_at(one, entry.stat):
                return False
        return not inner

    def _change_mode(self, one: Difference, at: At) -> None:
        """Change mode and attributes of the very thing that was looked at: by name, a link could be followed."""
        fd = os.open(at.name, O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=at.dir_fd)
        try:
            if not as_looked_at(one, os.fstat(fd), renamed=True):
                raise Differs(CHANGED_SINCE)
            path = f"/proc/self/fd/{fd}"
            if one.before.attributes != one.after.attributes:
                self._change_attributes(one, at, path)
            os.chmod(path, real_mode(one.after.kind, one.after.mode, one.before.mode))
        finally:
            os.close(fd)

    def _change_attributes(self, one: Difference, at: At, path: str) -> None:
        folder, _, leaf = one.path.rpartition("/")
        source = open_beneath(self.view_fd, folder)
        try:
            wanted = users_own(attributes_of(source, leaf))
        finally:
            os.close(source)
        for name in users_own(attributes_of(at.dir_fd, at.name)).keys() - wanted.keys():
            os.removexattr(path, name)
        for name, value in wanted.items():
            os.setxattr(path, name, base64.b64decode(value))


def as_looked_at(one: Difference, info: os.stat_result, *, renamed: bool = False) -> bool:
    """Tell whether this is still what the difference found in the real folder.

    The time of the last status change tells, but for what was `renamed` by us or changed in its other names or inner
    ones: there inode, kind, mode and, of a file, size and time of the last writing do.
    """
    if one.stamp is None or one.stamp[0] != info.st_ino or kind_of(info.st_mode) != one.before.kind:
        return False
    if not renamed and info.st_nlink == 1:
        return one.stamp == stamp_of(info)
    if one.before.kind == "file" and (info.st_size, info.st_mtime_ns) != (one.before.size, one.before.mtime_ns):
        return False
    return one.before.kind == "link" or stat.S_IMODE(info.st_mode) == one.before.mode


def _rename_new(from_fd: int, name: str, to_fd: int, new: str) -> None:
    try:
        rename_new(from_fd, name, to_fd, new)
    except OSError as error:
        if error.errno not in _CANNOT:
            raise
        if look(to_fd, new) is not None:  # this filesystem cannot look and rename in one step
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), new) from error
        os.rename(name, new, src_dir_fd=from_fd, dst_dir_fd=to_fd)


def _exchange(one_fd: int, one: str, other_fd: int, other: str) -> None:
    try:
        exchange_between(one_fd, one, other_fd, other)
    except OSError as error:
        if error.errno not in _CANNOT:
            raise
        # for a moment the name is missing
        aside = f"{one}-aside"
        os.rename(other, aside, src_dir_fd=other_fd, dst_dir_fd=one_fd)
        os.rename(one, other, src_dir_fd=one_fd, dst_dir_fd=other_fd)
        os.rename(aside, one, src_dir_fd=one_fd, dst_dir_fd=one_fd)


def _sync(dir_fd: int) -> None:
    fd = open_directory(dir_fd, ".")
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
