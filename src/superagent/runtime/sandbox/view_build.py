"""Building what is to become real, out of a view, in a folder where nobody but this server reaches it.

Every byte is copied and compared with what was read for the diff: a descriptor that something in the sandbox still
holds must not lead into the real folder, and what was shown is what comes.
"""

from __future__ import annotations

import base64
import contextlib
import os
from dataclasses import dataclass

from superagent.core.problems import Conflict
from superagent.runtime.beneath import look, open_file
from superagent.runtime.file_state import attributes_of
from superagent.runtime.os_problems import printable
from superagent.runtime.sandbox.view_choice import Step
from superagent.runtime.sandbox.view_copy import copy_content
from superagent.runtime.sandbox.view_diff import Difference
from superagent.runtime.sandbox.view_places import open_beneath
from superagent.runtime.sandbox.view_rules import real_mode
from superagent.runtime.sandbox.view_sides import Tick, carried, user_attributes, users_own

CHANGED_MEANWHILE = "the view was changed while it was accepted"


@dataclass(slots=True)
class Builder:
    """Builds steps; `uid` and `gid` own what is new, what takes the place of something keeps that one's owner."""

    view_fd: int
    lower_fd: int
    into_fd: int
    uid: int
    gid: int
    tick: Tick

    def build(self, step: Step, name: str) -> None:
        """Build the new state of a step under a name that is free. Raises `Conflict`, `OSError`."""
        top = step.path
        folders: list[Difference] = []
        here = ""
        source = target = -1
        try:
            for one in step.parts:
                if one.after.kind == "absent":
                    continue
                self.tick()
                folder, _, leaf = one.path.rpartition("/")
                if source < 0 or folder != here:
                    _close(source, target)
                    source = target = -1
                    source, target = self._stand(folder, top, name)
                    here = folder
                self._make(one, source, leaf, target, leaf if one.path != top else name)
                if one.after.kind == "directory":
                    folders.append(one)
        finally:
            _close(source, target)
        for one in reversed(folders):  # what it holds comes first: making that changes a folder's time
            self._finish(one, top, name)

    def _stand(self, folder: str, top: str, name: str) -> tuple[int, int]:
        """Open the folder in the view and the one that is built of it."""
        source = open_beneath(self.view_fd, folder)
        try:
            inside = f"{name}{folder[len(top) :]}" if len(folder) >= len(top) else ""
            return source, open_beneath(self.into_fd, inside)
        except BaseException:
            os.close(source)
            raise

    def _make(self, one: Difference, source: int, leaf: str, target: int, name: str) -> None:
        after = one.after
        info = look(source, leaf)
        if after.kind == "directory":
            os.mkdir(name, 0o700, dir_fd=target)
            return
        if after.kind == "link":
            os.symlink(after.target, name, dir_fd=target)
            if os.geteuid() == 0:
                uid, gid = self._owner(one)
                os.chown(name, uid, gid, dir_fd=target, follow_symlinks=False)
        elif after.kind == "fifo":
            os.mkfifo(name, 0o600, dir_fd=target)
            self._dress(f"/proc/self/fd/{target}/{name}", one, {})
        else:
            self._make_file(one, source, leaf, target, name)
        if info is not None:
            os.utime(name, ns=(info.st_atime_ns, info.st_mtime_ns), dir_fd=target, follow_symlinks=False)

    def _make_file(self, one: Difference, source: int, leaf: str, target: int, name: str) -> None:
        content = open_file(source, leaf)
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            fd = os.open(name, flags, 0o600, dir_fd=target)
            try:
                digest = copy_content(content, fd, one.after.size, self.tick)
                self._require(digest == one.after.digest, one)
                self._dress(f"/proc/self/fd/{fd}", one, self._attributes(one, source, leaf))
            finally:
                os.close(fd)
        finally:
            os.close(content)

    def _finish(self, one: Difference, top: str, name: str) -> None:
        """Give a folder that is filled its owner, mode, attributes and time."""
        fd = open_beneath(self.into_fd, f"{name}{one.path[len(top) :]}")
        folder, _, leaf = one.path.rpartition("/")
        source = open_beneath(self.view_fd, folder)
        try:
            self._dress(f"/proc/self/fd/{fd}", one, self._attributes(one, source, leaf))
            info = look(source, leaf)
            if info is not None:
                os.utime(fd, ns=(info.st_atime_ns, info.st_mtime_ns))
        finally:
            _close(fd, source)

    def _attributes(self, one: Difference, source: int, leaf: str) -> dict[str, str]:
        """Give the attributes of users as they are in the view, and the system's as they are in the real folder."""
        self._require(user_attributes(source, leaf) == one.after.attributes, one)
        found = users_own(attributes_of(source, leaf))
        if one.before.kind == one.after.kind:
            folder, _, name = one.path.rpartition("/")
            with contextlib.suppress(OSError):
                real = open_beneath(self.lower_fd, folder)
                try:
                    stands = attributes_of(real, name)
                finally:
                    os.close(real)
                found |= {key: value for key, value in carried(stands).items() if not key.startswith("user.")}
        return found

    def _owner(self, one: Difference) -> tuple[int, int]:
        if one.before.kind == "absent":
            return self.uid, self.gid
        folder, _, name = one.path.rpartition("/")
        real = open_beneath(self.lower_fd, folder)
        try:
            info = look(real, name)
        finally:
            os.close(real)
        self._require(info is not None, one)
        assert info is not None
        return info.st_uid, info.st_gid

    def _dress(self, path: str, one: Difference, attributes: dict[str, str]) -> None:
        """Set owner, attributes and mode by a path that leads through an open descriptor."""
        if os.geteuid() == 0:
            os.chown(path, *self._owner(one))
        for attribute, value in attributes.items():
            with contextlib.suppress(OSError):  # some belong to the system alone
                os.setxattr(path, attribute, base64.b64decode(value))
        before = one.before.mode if one.before.kind == one.after.kind else None
        os.chmod(path, real_mode(one.after.kind, one.after.mode, before))

    @staticmethod
    def _require(holds: bool, one: Difference) -> None:
        if not holds:
            raise Conflict(f"`{printable(one.path)}`: {CHANGED_MEANWHILE}", hint="look at the diff again")


def _close(*fds: int) -> None:
    for fd in fds:
        if fd >= 0:
            os.close(fd)
