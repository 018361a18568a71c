"""Opening files below a granted root by descriptors, with no moment between check and use.

The only way the platform opens files for callers. The kernel judged the path that was asked for; here the real path
of what was opened is judged again, before a byte moves. Hard links and mounts that others made beforehand are a stated
limit.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

from superagent.core.problems import Denied, InvalidInput, NotFound
from superagent.runtime.link_walk import locate
from superagent.runtime.os_problems import NotAFile, os_errors_about, printable
from superagent.runtime.protected import Inode, Protected, built_beside, inode_of, of_a_process
from superagent.runtime.system_calls import (
    O_PATH,
    RESOLVE_BENEATH,
    RESOLVE_IN_ROOT,
    RESOLVE_NO_MAGICLINKS,
    openat2,
    path_of,
)

LONGEST_NAME = 255  # bytes: NAME_MAX of every filesystem in common use
LONGEST_PATH = 4096  # PATH_MAX
_ROOTS_KEPT = 256

Judge = Callable[[str], None]
"""Takes a real path; raises a `Problem` when the caller may not touch it."""

# `openat2` cannot answer, or refuses a link that the walk may find to be harmless (an absolute one that stays inside)
_LET_THE_WALK_DECIDE = frozenset({errno.ENOSYS, errno.EPERM, errno.EXDEV, errno.ELOOP, errno.EAGAIN})


class Root:
    """A granted root directory, held open by descriptor for as long as somebody holds this object."""

    __slots__ = ("__weakref__", "fd", "inode", "path", "real")

    def __init__(self, path: str) -> None:
        self.path = path
        self.fd = os.open(path, O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        weakref.finalize(self, os.close, self.fd).atexit = False
        self.inode: Inode = inode_of(os.fstat(self.fd))
        real = path_of(self.fd)
        if real is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        self.real = real

    def stands(self) -> bool:
        """Say whether the path still leads to the very directory that is held open."""
        try:
            return inode_of(os.stat(self.path)) == self.inode and path_of(self.fd) == self.real
        except OSError:
            return False


class Roots:
    """The roots in use: each opened once, and anew when another directory took its place."""

    def __init__(self, most: int = _ROOTS_KEPT) -> None:
        self._most = most
        self._open: OrderedDict[str, Root] = OrderedDict()
        self._lock = threading.Lock()

    def at(self, path: str) -> Root:
        """Give the root at a path; `NotFound` when no directory is there, `Denied` when the system refuses it."""
        with self._lock, os_errors_about(path):
            root = self._open.pop(path, None)
            if root is None or not root.stands():
                root = Root(path)
            self._open[path] = root
            if len(self._open) > self._most:
                self._open.popitem(last=False)
            return root


@dataclass(slots=True)
class At:
    """One place below a root: the open directory that holds it and its name there. Use it in a `with` block.

    `path` is the one asked for, `real` the one it is; `stat` is what stood there (not followed), None for nothing.
    `name` is never a link if links were to be followed, and `.` for the root itself. `owned` says that the directory is
    this object's to close.
    """

    dir_fd: int
    name: str
    path: str
    real: str
    stat: os.stat_result | None
    protected: Protected
    owned: bool = True

    @property
    def exists(self) -> bool:
        """Say whether something stood there when it was resolved."""
        return self.stat is not None

    @property
    def is_dir(self) -> bool:
        """Say whether it was a directory."""
        return self.stat is not None and stat.S_ISDIR(self.stat.st_mode)

    def found(self) -> os.stat_result:
        """Give what stood there; `NotFound` for nothing."""
        if self.stat is None:
            raise NotFound(f"`{printable(self.path)}` does not exist")
        return self.stat

    def open(self) -> int:
        """Open the file for reading and give the descriptor, which the caller closes."""
        self.found()
        with os_errors_about(self.path):
            return open_file(self.dir_fd, self.name, self.protected)

    def open_directory(self) -> int:
        """Open the directory for reading and give the descriptor, which the caller closes."""
        self.found()
        with os_errors_about(self.path):
            return open_directory(self.dir_fd, self.name)

    def close(self) -> None:
        """Let go of the directory; a second time does nothing."""
        if self.owned and self.dir_fd >= 0:
            os.close(self.dir_fd)
            self.dir_fd = -1

    def __del__(self) -> None:
        self.close()  # a call that is cancelled while a thread resolves a place never gets to hold it

    def __enter__(self) -> At:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def resolve(
    root: Root,
    relative: str,
    *,
    judge: Judge,
    protected: Protected | None = None,
    follow: bool = True,
    changing: bool = False,
) -> At:
    """Find what stands at a path below a root and have its real path judged.

    `relative` is canonical: no `..`, no empty names; empty for the root itself. With `follow` a link at the end is
    followed (also one that leads to nothing yet), else the link itself is meant. With `changing` the directory that
    holds the name must be open to change too.
    Raises `NotFound` for what is not there, lies outside or is protected, and whatever `judge` raises.
    """
    path = f"{root.path.rstrip('/')}/{relative}" if relative else root.path
    _check(relative, path)
    if changing and not relative:
        raise Denied(f"`{path}` is the granted root itself", hint="change what lies in it")
    protected = protected or Protected()
    with os_errors_about(path):
        try:
            dir_fd, name, info = _locate(root, relative, follow)
        except OSError as error:
            # `EXDEV`: a link leads out, and what lies there is not this caller's to know
            if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.EXDEV):
                raise
            if changing:
                hint = "make it first with `files.mkdir`"
                raise NotFound(f"the folder that would hold `{printable(path)}` does not exist", hint=hint) from None
            raise NotFound(f"`{printable(path)}` does not exist") from None
        try:
            return _judged(dir_fd, name, info, path, judge, protected, changing)
        except BaseException:
            os.close(dir_fd)
            raise


def _check(relative: str, path: str) -> None:
    if "\0" in relative:
        raise InvalidInput("a path cannot hold a NUL character")
    try:
        parts = relative.encode().split(b"/") if relative else []
    except UnicodeEncodeError as error:
        raise InvalidInput("a path must be text that UTF-8 can write") from error
    if any(part in (b"", b".", b"..") for part in parts):
        raise InvalidInput(f"`{path}` is not canonical", hint="leave out `.`, `..` and doubled slashes")
    if len(path) >= LONGEST_PATH or any(len(part) > LONGEST_NAME for part in parts):
        raise InvalidInput(
            f"the path is longer than {LONGEST_PATH} characters, or a name in it than {LONGEST_NAME} bytes",
            hint="shorten it",
        )


def _locate(root: Root, relative: str, follow: bool) -> tuple[int, str, os.stat_result | None]:
    """Find the open directory, the name and what has it: by one `openat2`, or by the walk where that cannot tell."""
    if not relative:
        return (here := os.dup(root.fd)), ".", os.fstat(here)
    parent, _, name = relative.rpartition("/")
    # for the root of everything, "in root" means what paths always mean; for any other it would hide an escape
    rule = RESOLVE_IN_ROOT if root.real == "/" else RESOLVE_BENEATH
    try:
        fd = openat2(root.fd, parent or ".", O_PATH | os.O_DIRECTORY, rule | RESOLVE_NO_MAGICLINKS)
    except OSError as error:
        if error.errno not in _LET_THE_WALK_DECIDE:
            raise
        return _walked(root, relative, follow)
    try:
        info = look(fd, name)
    except BaseException:
        os.close(fd)
        raise
    if follow and info is not None and stat.S_ISLNK(info.st_mode):
        os.close(fd)
        return _walked(root, relative, follow)
    return fd, name, info


def _walked(root: Root, relative: str, follow: bool) -> tuple[int, str, os.stat_result | None]:
    dir_fd, name = locate(root.fd, root.real, relative, follow=follow)
    try:
        return dir_fd, name, look(dir_fd, name)
    except BaseException:
        os.close(dir_fd)
        raise


def _judged(
    dir_fd: int,
    name: str,
    info: os.stat_result | None,
    path: str,
    judge: Judge,
    protected: Protected,
    changing: bool,
) -> At:
    missing = FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
    hint = "nothing can be made or changed there; a relative path lies in your own workspace" if changing else None
    found = os.fstat(dir_fd)
    real_dir = path_of(dir_fd, found)
    if real_dir is None:
        raise missing
    real = real_dir if name == "." else f"{real_dir.rstrip('/')}/{name}"
    judge(real)
    if of_a_process(dir_fd, found, real_dir, name):
        raise missing
    if built_beside(real):
        raise NotFound(f"`{printable(path)}` does not exist", hint="choose another name: this is one of the platform's")
    if info is None or not stat.S_ISDIR(info.st_mode):
        closed = info is not None and inode_of(info) in protected.inodes
        changing = True  # for a directory counts where it is, for all else what it lies in
    else:
        closed = _holds_below(dir_fd, name, real, protected)
    if closed or (changing and protected.holds_at(dir_fd, inode_of(found), real_dir)):
        raise NotFound(f"`{printable(path)}` does not exist", hint=hint)
    return At(dir_fd, name, path, real, info, protected)


def _holds_below(dir_fd: int, name: str, real: str, protected: Protected) -> bool:
    inside = os.open(name, O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd)
    try:
        return protected.holds_at(inside, inode_of(os.fstat(inside)), real)
    finally:
        os.close(inside)


def look(dir_fd: int, name: str) -> os.stat_result | None:
    """Look at a name in a directory without following it; None when nothing is there."""
    try:
        return os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
    except FileNotFoundError:
        return None


def open_file(dir_fd: int, name: str, protected: Protected | None = None) -> int:
    """Open a regular file for reading, never a link, and never waiting on a FIFO or device.

    Raises `NotAFile` for what has no bytes of its own, `FileNotFoundError` for a protected file.
    """
    _expect_file(
        os.stat(name, dir_fd=dir_fd, follow_symlinks=False), name
    )  # opening some devices has effects: look first
    fd = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NOCTTY, dir_fd=dir_fd)
    try:
        info = os.fstat(fd)
        _expect_file(info, name)
        if protected is not None and inode_of(info) in protected.inodes:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
        os.set_blocking(fd, True)
    except BaseException:
        os.close(fd)
        raise
    return fd


def open_directory(dir_fd: int, name: str) -> int:
    """Open a directory for reading, never through a link."""
    return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd)


def kind_of(mode: int) -> str:
    """Name the kind of a thing by its mode: `file`, `directory`, `link`, `fifo`, `socket` or `device`."""
    return _KINDS.get(stat.S_IFMT(mode), "device")


_KINDS = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "link",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
}


def _expect_file(info: os.stat_result, name: str) -> None:
    if not stat.S_ISREG(info.st_mode):
        raise NotAFile(errno.EINVAL, f"a {kind_of(info.st_mode)}", name)
