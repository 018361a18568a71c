"""What a command wrote to its view in memory, brought to the view's folder on the disk: marks, links and holes kept.

The command has ended, so nothing changes here any more; still nothing is followed, and how much there is was bounded
by the memory that it lay in. Files with several names stay one file, and holes stay holes: neither may grow here.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field

from superagent.core.problems import TooLarge
from superagent.runtime.beneath import look, open_file
from superagent.runtime.file_state import attributes_of
from superagent.runtime.os_problems import os_errors_about
from superagent.runtime.sandbox.view import View
from superagent.runtime.sandbox.view_sides import Tick
from superagent.runtime.tree_walk import Cursor
from superagent_launcher.overlay_mount import UPPER

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CHUNK = 1024 * 1024


def bring_out(memory: int, view: View, tick: Tick = lambda: None) -> None:
    """Copy what lies in the memory into the view's `upper`; blocks, and closes neither.

    Raises `Unavailable` or `TooLarge` where the disk cannot hold it.
    """
    with (
        os_errors_about(view.folder),
        Cursor(os.open(UPPER, _DIRECTORY, dir_fd=memory)) as source,
        Cursor(os.open(view.upper, _DIRECTORY)) as target,
    ):
        top = os.open(view.upper, _DIRECTORY)
        try:
            _Bringing(source, target, top, tick).run()
        finally:
            os.close(top)


def is_full(memory: int) -> bool:
    """Tell whether the memory held no more when the command ended, in bytes or in files."""
    state = os.fstatvfs(memory)
    return not state.f_bavail or not state.f_favail


@dataclass(slots=True)
class _Bringing:
    source: Cursor
    target: Cursor
    top: int
    tick: Tick
    linked: dict[int, str] = field(default_factory=dict[int, str])

    def run(self) -> None:
        info = os.fstat(self.source.fd)
        levels: list[tuple[str, Iterator[str], os.stat_result]] = [("", self._names(), info)]
        while levels:
            path, names, info = levels[-1]
            name = next(names, None)
            if name is None:
                levels.pop()
                self._leave(info, deeper=bool(levels))
                continue
            self.tick()
            found = look(self.source.fd, name)
            here = f"{path}/{name}" if path else name
            if found is not None and self._take(here, name, found):
                levels.append((here, self._names(), found))

    def _names(self) -> Iterator[str]:
        return iter(sorted(os.listdir(self.source.fd)))

    def _take(self, path: str, name: str, info: os.stat_result) -> bool:
        """Bring one thing; True when it is a folder that was entered."""
        kind, into = stat.S_IFMT(info.st_mode), self.target.fd
        if kind == stat.S_IFDIR:
            self._open(name, info, 0o700)
            self.source.down(name)
            os.mkdir(name, 0o700, dir_fd=into)
            self.target.down(name)
            return True
        if info.st_nlink > 1 and (first := self.linked.get(info.st_ino)) is not None:
            self._link(first, name)
            return False
        if kind == stat.S_IFLNK:
            os.symlink(os.readlink(name, dir_fd=self.source.fd), name, dir_fd=into)
            if os.geteuid() == 0:
                os.chown(name, info.st_uid, info.st_gid, dir_fd=into, follow_symlinks=False)
        elif kind == stat.S_IFREG:
            self._open(name, info, 0o600)
            self._bring_file(name, info)
        else:  # a mark that says what is gone (a device 0/0, which anybody may make), a pipe, a socket
            os.mknod(name, kind | 0o600, info.st_rdev, dir_fd=into)
            if kind != stat.S_IFCHR:
                _dress(f"/proc/self/fd/{into}/{name}", info, {})
        os.utime(name, ns=(info.st_atime_ns, info.st_mtime_ns), dir_fd=into, follow_symlinks=False)
        if info.st_nlink > 1:
            self.linked[info.st_ino] = path
        return False

    def _open(self, name: str, info: os.stat_result, needed: int) -> None:
        """Open what is closed to its owner, for the copy; there it is closed again."""
        if stat.S_IMODE(info.st_mode) & needed != needed and os.geteuid():
            os.chmod(name, stat.S_IMODE(info.st_mode) | needed, dir_fd=self.source.fd)

    def _link(self, first: str, name: str) -> None:
        try:
            os.link(first, name, src_dir_fd=self.top, dst_dir_fd=self.target.fd, follow_symlinks=False)
        except OSError as error:
            if error.errno != errno.ENAMETOOLONG:
                raise
            raise TooLarge("a file with several names lies too deep", hint="discard it") from error

    def _bring_file(self, name: str, info: os.stat_result) -> None:
        content = open_file(self.source.fd, name)
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            fd = os.open(name, flags, 0o600, dir_fd=self.target.fd)
            try:
                self._bring_data(content, fd, info.st_size)
                _dress(f"/proc/self/fd/{fd}", info, attributes_of(self.source.fd, name))
            finally:
                os.close(fd)
        finally:
            os.close(content)

    def _bring_data(self, source: int, target: int, size: int) -> None:
        at = 0
        while at < size:
            try:
                at = os.lseek(source, at, os.SEEK_DATA)
            except OSError as error:
                if error.errno != errno.ENXIO:
                    raise
                break  # nothing but a hole to the end
            end = os.lseek(source, at, os.SEEK_HOLE)
            os.lseek(target, at, os.SEEK_SET)
            while at < end and (count := os.sendfile(target, source, at, min(_CHUNK, end - at))):
                at += count
                self.tick()
        os.ftruncate(target, size)

    def _leave(self, info: os.stat_result, *, deeper: bool) -> None:
        attributes = attributes_of(self.source.fd, ".")
        fd = os.dup(self.target.fd)
        try:
            if deeper:  # before the mode is set: it may forbid it
                self.source.up()
                self.target.up()
            _dress(f"/proc/self/fd/{fd}", info, attributes)
            os.utime(fd, ns=(info.st_atime_ns, info.st_mtime_ns))
        finally:
            os.close(fd)


def _dress(path: str, info: os.stat_result, attributes: dict[str, str]) -> None:
    """Give owner, attributes (the overlay's marks among them) and mode; `path` leads through an open descriptor."""
    if os.geteuid() == 0:
        os.chown(path, info.st_uid, info.st_gid)
    for attribute, value in attributes.items():
        with contextlib.suppress(OSError):  # some belong to the system alone
            os.setxattr(path, attribute, base64.b64decode(value))
    os.chmod(path, stat.S_IMODE(info.st_mode))
