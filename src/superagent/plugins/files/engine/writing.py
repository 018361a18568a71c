"""Writing a whole file in one step: a reader sees the old or the new content, after a crash too."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
from dataclasses import dataclass

from .places import Differs, Unfit
from .reading import sha256_of
from .renames import aside, exchange, sync_directory, take_new


@dataclass(frozen=True, slots=True)
class Written:
    """What stands there now."""

    sha256: str
    bytes: int
    created: bool


def write(
    dir_fd: int,
    name: str,
    data: bytes,
    *,
    mode: int | None = None,
    create_only: bool = False,
    expected_hash: str | None = None,
) -> Written:
    """Replace or create a file with this content, durable on return.

    Mode, owner and attributes of what stood there stay, unless `mode` is given. `create_only` never replaces, not even
    what appeared this very moment.

    With `expected_hash` (SHA-256 in hex) the file is replaced only if it has that content: the new file is swapped in,
    then what was swapped out is compared, so the compared file is the replaced one; if it differs, they are swapped
    back. What remains: for the blink between the two swaps others can see the new content, and a program that still
    holds the old file open may write into it after it was compared. Where the filesystem cannot swap, the comparison
    comes just before the replacing instead.

    Raises `Differs` (nothing changed), `Unfit` where no file can stand, `OSError`.
    """
    present = _present(dir_fd, name)
    if present is not None and create_only:
        raise Differs("it exists already", "leave out `create_only` to replace it")
    if expected_hash is not None:
        _compare(dir_fd, name, present, expected_hash)
    fresh = aside(name)
    try:
        _fill(dir_fd, fresh, name, data, present, mode)
        if present is None:
            _create(dir_fd, fresh, name)
        elif expected_hash is None or not _swap(dir_fd, fresh, name, expected_hash):
            os.rename(fresh, name, src_dir_fd=dir_fd, dst_dir_fd=dir_fd)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(fresh, dir_fd=dir_fd)
        raise
    sync_directory(dir_fd)
    return Written(hashlib.sha256(data).hexdigest(), len(data), present is None)


def _present(dir_fd: int, name: str) -> os.stat_result | None:
    try:
        info = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(info.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), name)
    if not stat.S_ISREG(info.st_mode):
        raise Unfit("what stands there is no file", "delete it first, if that is what you mean")
    return info


def _compare(dir_fd: int, name: str, present: os.stat_result | None, expected: str) -> None:
    if present is None:
        raise Differs("there is no file to compare `expected_hash` with")
    fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=dir_fd)
    try:
        found = sha256_of(fd)
    finally:
        os.close(fd)
    if found != expected.lower():
        # which one it is now is not for who may write it only
        raise Differs("the file changed: its content has another SHA-256", "read it again, then decide")


def _fill(dir_fd: int, fresh: str, name: str, data: bytes, present: os.stat_result | None, mode: int | None) -> None:
    # the system's mask applies to a new file; one that takes another's place must never be more open than that was
    first = 0o666 if present is None and mode is None else 0o600
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, first, dir_fd=dir_fd)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
        if present is not None:
            if (present.st_uid, present.st_gid) != (os.geteuid(), os.getegid()):
                with contextlib.suppress(PermissionError):
                    os.fchown(fd, present.st_uid, present.st_gid)
            # the system takes these rights from a program that is written to; so do we
            os.fchmod(fd, stat.S_IMODE(present.st_mode) & ~(stat.S_ISUID | stat.S_ISGID))
            _copy_attributes(f"/proc/self/fd/{dir_fd}/{name}", fd)
        if mode is not None:
            os.fchmod(fd, mode)
        os.fsync(fd)
    finally:
        os.close(fd)


def _copy_attributes(path: str, fd: int) -> None:
    """Give an open file the extended attributes, access lists among them, of what stands at a path."""
    with contextlib.suppress(OSError, AttributeError):  # some belong to the system alone; some filesystems have none
        for attribute in os.listxattr(path, follow_symlinks=False):
            os.setxattr(fd, attribute, os.getxattr(path, attribute, follow_symlinks=False))


def _create(dir_fd: int, fresh: str, name: str) -> None:
    try:
        take_new(dir_fd, fresh, dir_fd, name)
    except FileExistsError as error:
        raise Differs("somebody else created it this very moment", "look at it, then decide") from error


def _swap(dir_fd: int, fresh: str, name: str, expected: str) -> bool:
    """Swap the new file in and the old out and compare it; False where that cannot be done."""
    ours = os.stat(fresh, dir_fd=dir_fd, follow_symlinks=False).st_ino
    if not exchange(dir_fd, fresh, dir_fd, name):
        return False
    try:
        _compare(dir_fd, fresh, _present(dir_fd, fresh), expected)
    except BaseException:
        exchange(dir_fd, fresh, dir_fd, name)
        if os.stat(fresh, dir_fd=dir_fd, follow_symlinks=False).st_ino != ours:
            # a third one wrote between the two swaps: theirs is the newest, so it stays
            os.rename(fresh, name, src_dir_fd=dir_fd, dst_dir_fd=dir_fd)
        raise
    os.unlink(fresh, dir_fd=dir_fd)
    return True
