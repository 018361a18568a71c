"""Taking a name in one step: without replacing, by swapping, or whatever stands there."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import hashlib
import os
import secrets

_NOREPLACE = 1
_EXCHANGE = 2
_CANNOT = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP)
_libc = ctypes.CDLL(None, use_errno=True)


def aside(name: str) -> str:
    """Give a hidden name that nobody can guess, for what does not yet or no longer stand under `name`.

    It begins with a digest of that name, so that after a crash one can tell what was left of which change.
    """
    return f".superagent-{hashlib.sha256(os.fsencode(name)).hexdigest()[:12]}-{secrets.token_hex(8)}"


def exchange(one_fd: int, one: str, other_fd: int, other: str) -> bool:
    """Swap two names in one step; False where the filesystem or the system cannot."""
    try:
        _renameat2(one_fd, one, other_fd, other, _EXCHANGE)
    except OSError as error:
        if error.errno in _CANNOT:
            return False
        raise
    return True


def take_new(from_fd: int, name: str, to_fd: int, new: str) -> None:
    """Rename to a name that is free; `FileExistsError` if it is not, also when it was taken this very moment."""
    try:
        _renameat2(from_fd, name, to_fd, new, _NOREPLACE)
    except OSError as error:
        if error.errno not in _CANNOT:
            raise
        # a hard link is refused in one step too; what has none (a directory) is left to the check of `rename` itself
        with contextlib.suppress(PermissionError):
            os.link(name, new, src_dir_fd=from_fd, dst_dir_fd=to_fd, follow_symlinks=False)
            os.unlink(name, dir_fd=from_fd)
            return
        if exists(to_fd, new):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), new) from error
        os.rename(name, new, src_dir_fd=from_fd, dst_dir_fd=to_fd)


def take_over(from_fd: int, name: str, to_fd: int, new: str) -> bool:
    """Rename to a name whatever stands there; True when that lies under the first name now, to be removed."""
    try:
        os.rename(name, new, src_dir_fd=from_fd, dst_dir_fd=to_fd)
        return False
    except OSError as error:
        if error.errno not in (errno.EISDIR, errno.ENOTDIR, errno.ENOTEMPTY, errno.EEXIST):
            raise
    if not exchange(from_fd, name, to_fd, new):
        old = aside(new)
        os.rename(new, old, src_dir_fd=to_fd, dst_dir_fd=to_fd)
        os.rename(name, new, src_dir_fd=from_fd, dst_dir_fd=to_fd)
        os.rename(old, name, src_dir_fd=to_fd, dst_dir_fd=from_fd)
    return True


def exists(dir_fd: int, name: str) -> bool:
    """Say whether a name is taken, by anything."""
    try:
        os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def sync_directory(dir_fd: int) -> None:
    """Put on disk which names a directory holds."""
    fd = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=dir_fd)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_filesystem(fd: int) -> None:
    """Put on disk all that was written to the filesystem of this descriptor: for many files, one call."""
    if not hasattr(_libc, "syncfs"):  # pragma: no cover - macOS
        os.sync()
    elif _libc.syncfs(fd):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _renameat2(from_fd: int, name: str, to_fd: int, new: str, flags: int) -> None:
    call = getattr(_libc, "renameat2", None)
    if call is None:  # pragma: no cover - macOS and old C libraries
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    if call(from_fd, ctypes.c_char_p(os.fsencode(name)), to_fd, ctypes.c_char_p(os.fsencode(new)), flags):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), name)
