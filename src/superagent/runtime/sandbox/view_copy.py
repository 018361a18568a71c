"""A view that is a whole copy, for where no overlay can be mounted: within a size, sharing blocks where the disk can.

Owner, mode and attributes stay as they are, so that a command can do neither more nor less than in the folder itself.
Sockets, devices, other filesystems and what this server may not read are left out, and noted so that they do not count
as deleted.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field

from superagent.core.problems import Unavailable
from superagent.runtime.beneath import look, open_file
from superagent.runtime.file_restore import write_all
from superagent.runtime.file_state import attributes_of
from superagent.runtime.sandbox.view_origin import Mark, Marks
from superagent.runtime.sandbox.view_sides import Tick, carried
from superagent.runtime.tree_walk import Cursor

LEFT_OUT = Mark(0, 0, 0)
_FICLONE = 0x40049409  # linux/fs.h: share the blocks of another file
_CHUNK = 1024 * 1024
CURE = "let the sandbox mount overlays (bubblewrap 0.11, or unprivileged user namespaces), or work in a smaller folder"


@dataclass(frozen=True, slots=True)
class CopyBounds:
    """How much a copy may hold; bytes as they lie on the disk."""

    max_bytes: int = 1 << 30
    max_entries: int = 100_000


def copy_tree(lower_fd: int, upper_fd: int, bounds: CopyBounds | None = None, tick: Tick = lambda: None) -> Marks:
    """Copy what lies in one open folder into another, empty one, and note each entry; blocks.

    Raises `Unavailable` when it is more than may be copied, `OSError`.
    """
    device = os.fstat(lower_fd).st_dev
    with Cursor(os.dup(lower_fd)) as source, Cursor(os.dup(upper_fd)) as target:
        copying = _Copying(source, target, bounds or CopyBounds(), device, tick)
        copying.run()
    return copying.marks


@dataclass(slots=True)
class _Copying:
    source: Cursor
    target: Cursor
    bounds: CopyBounds
    device: int
    tick: Tick
    marks: Marks = field(default_factory=Marks)
    entries: int = 0
    bytes: int = 0
    clones: bool = True

    def run(self) -> None:
        levels: list[tuple[str, Iterator[str], os.stat_result | None]] = [("", self._names(), None)]
        while levels:
            path, names, info = levels[-1]
            name = next(names, None)
            if name is not None:
                found = look(self.source.fd, name)
                if found is not None and self._take(path, name, found):
                    levels.append((f"{path}/{name}" if path else name, self._names(), found))
                continue
            levels.pop()
            if info is not None:
                self._leave(info)

    def _names(self) -> Iterator[str]:
        return iter(sorted(os.listdir(self.source.fd)))

    def _take(self, path: str, name: str, info: os.stat_result) -> bool:
        """Copy one thing and note it; True when it is a folder that was entered."""
        self.tick()
        self.entries += 1
        self.bytes += min(info.st_size, info.st_blocks * 512) if stat.S_ISREG(info.st_mode) else 0
        if self.entries > self.bounds.max_entries or self.bytes > self.bounds.max_bytes:
            raise Unavailable(
                "a command here works on a copy, and the folder holds more than may be copied: "
                f"{self.bounds.max_entries} entries, {self.bounds.max_bytes} bytes",
                hint=CURE,
            )
        mark = LEFT_OUT
        with contextlib.suppress(PermissionError):
            mark = self._copied(name, info)
        self.marks.setdefault(path, {})[name] = mark
        return mark.is_dir

    def _copied(self, name: str, info: os.stat_result) -> Mark:
        kind = stat.S_IFMT(info.st_mode)
        if info.st_dev != self.device:
            return LEFT_OUT
        if kind == stat.S_IFDIR:
            self.source.down(name)
            os.mkdir(name, 0o700, dir_fd=self.target.fd)
            self.target.down(name)
            return Mark(info.st_mode, 0, 0)
        if kind == stat.S_IFLNK:
            os.symlink(os.readlink(name, dir_fd=self.source.fd), name, dir_fd=self.target.fd)
            if os.geteuid() == 0:
                os.chown(name, info.st_uid, info.st_gid, dir_fd=self.target.fd, follow_symlinks=False)
        elif kind == stat.S_IFREG:
            self._copy_file(name, info)
        elif kind == stat.S_IFIFO:
            os.mkfifo(name, 0o600, dir_fd=self.target.fd)
            _dress(f"/proc/self/fd/{self.target.fd}/{name}", info, {})
        else:
            return LEFT_OUT
        os.utime(name, ns=(info.st_atime_ns, info.st_mtime_ns), dir_fd=self.target.fd, follow_symlinks=False)
        made = os.stat(name, dir_fd=self.target.fd, follow_symlinks=False)
        return Mark(info.st_mode, made.st_ino, made.st_ctime_ns)

    def _copy_file(self, name: str, info: os.stat_result) -> None:
        content = open_file(self.source.fd, name)
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            fd = os.open(name, flags, 0o600, dir_fd=self.target.fd)
            try:
                self.clones = self.clones and _clone(content, fd)
                if not self.clones:
                    copy_content(content, fd, info.st_size, self.tick)
                _dress(f"/proc/self/fd/{fd}", info, attributes_of(self.source.fd, name))
            finally:
                os.close(fd)
        finally:
            os.close(content)

    def _leave(self, info: os.stat_result) -> None:
        attributes = attributes_of(self.source.fd, ".")
        self.source.up()
        fd = os.dup(self.target.fd)
        try:
            self.target.up()  # before the mode is set: it may forbid it
            _dress(f"/proc/self/fd/{fd}", info, attributes)
            os.utime(fd, ns=(info.st_atime_ns, info.st_mtime_ns))
        finally:
            os.close(fd)


def copy_content(source: int, target: int, size: int, tick: Tick) -> str:
    """Copy at most `size` bytes between two open files, leave holes where there are only zeros; give the SHA-256."""
    state, at = hashlib.sha256(), 0
    while chunk := os.read(source, min(_CHUNK, size - at)):
        tick()
        state.update(chunk)
        if chunk.strip(b"\0"):
            write_all(target, chunk)
        else:
            os.lseek(target, len(chunk), os.SEEK_CUR)
        at += len(chunk)
    os.ftruncate(target, at)
    return state.hexdigest()


def _clone(source: int, target: int) -> bool:
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError:  # this filesystem cannot, or the two lie on different ones
        return False
    return True


def _dress(path: str, info: os.stat_result, attributes: dict[str, str]) -> None:
    """Give a copy owner, mode and attributes of what it was made of; `path` leads to it by an open descriptor."""
    if os.geteuid() == 0:
        os.chown(path, info.st_uid, info.st_gid)
    for attribute, value in carried(attributes).items():
        with contextlib.suppress(OSError):  # some belong to the system alone
            os.setxattr(path, attribute, base64.b64decode(value))
    os.chmod(path, stat.S_IMODE(info.st_mode))
