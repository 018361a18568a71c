"""Kernel calls that Python's `os` lacks: `openat2`, `renameat2`, `syncfs`, a filesystem's type, a descriptor's path."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import sys
from functools import lru_cache

# openat2(2); the number is 437 on every architecture, since it came after the tables were unified
_OPENAT2 = 437
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08
RESOLVE_IN_ROOT = 0x10

_RENAME_NOREPLACE = 1
_RENAME_EXCHANGE = 2
_PROC_SUPER_MAGIC = 0x9FA0  # linux/magic.h

_libc = ctypes.CDLL(None, use_errno=True)

O_PATH = getattr(os, "O_PATH", os.O_RDONLY)
"""Open only to point at something; where the system lacks it, open for reading."""


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


_HOW_BYTES = ctypes.sizeof(_OpenHow)
_syscall = _libc["syscall"]  # its own, with the types of this one call: converting each argument costs more than it
_syscall.argtypes = (ctypes.c_long, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_size_t)


def openat2(dir_fd: int, path: str, flags: int, resolve: int) -> int:
    """Open a path below a descriptor under the kernel's own resolution rules (openat2(2), Linux ≥ 5.6).

    Raises `OSError`: `ENOSYS` where the kernel lacks it, `EXDEV` when the path leads out, `ELOOP` at a magic link.
    """
    fd = _syscall(_OPENAT2, dir_fd, path.encode(errors="surrogateescape"), _how(flags, resolve), _HOW_BYTES)
    if fd < 0:
        raise _failed(path)
    return fd


@lru_cache(256)
def _how(flags: int, resolve: int) -> object:
    return ctypes.byref(_OpenHow(flags | os.O_CLOEXEC, 0, resolve))  # the kernel only reads it


def exchange(dir_fd: int, one: str, other: str) -> None:
    """Swap two names of a directory in one step, so that neither is ever missing.

    Raises `OSError` with `EINVAL` or `ENOSYS` where the filesystem or the system cannot.
    """
    exchange_between(dir_fd, one, dir_fd, other)


def exchange_between(one_fd: int, one: str, other_fd: int, other: str) -> None:
    """Swap two names in two directories of one filesystem. Raises `OSError` as `exchange` does."""
    _renameat2(one_fd, one, other_fd, other, _RENAME_EXCHANGE)


def rename_new(from_fd: int, name: str, to_fd: int, new: str) -> None:
    """Rename without ever replacing: `EEXIST` if the new name is taken."""
    _renameat2(from_fd, name, to_fd, new, _RENAME_NOREPLACE)


def _renameat2(from_fd: int, name: str, to_fd: int, new: str, flags: int) -> None:
    call = getattr(_libc, "renameat2", None)
    if call is None:  # pragma: no cover - macOS and old C libraries
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    if call(from_fd, ctypes.c_char_p(os.fsencode(name)), to_fd, ctypes.c_char_p(os.fsencode(new)), flags):
        raise _failed(name)


def sync_filesystem(fd: int) -> None:
    """Put on disk all that was written to the filesystem on which this descriptor lies."""
    if not hasattr(_libc, "syncfs"):  # pragma: no cover - macOS
        os.sync()
    elif _libc.syncfs(fd):
        raise _failed("syncfs")


def is_procfs(fd: int, found: os.stat_result | None = None) -> bool:
    """Say whether a descriptor lies on a process filesystem, whose links and files lead into running processes.

    `found` is what `os.fstat` gave for it, where that is known.
    """
    if os.major((found or os.fstat(fd)).st_dev):
        return False  # on a block device: spare the second call
    if sys.platform == "darwin":  # pragma: no cover - has no such filesystem
        return False
    return filesystem_of(fd) in (None, _PROC_SUPER_MAGIC)  # what cannot be told is treated as the dangerous one


def filesystem_of(fd: int) -> int | None:
    """Give the type of the filesystem on which a descriptor lies, as linux/magic.h numbers them; None for unknown."""
    if sys.platform == "darwin":  # pragma: no cover - numbers them otherwise
        return None
    kind = (ctypes.c_long * 32)()  # struct statfs is 120 bytes; its first field is f_type
    return None if _libc.fstatfs(fd, ctypes.byref(kind)) else kind[0]


def path_of(fd: int, found: os.stat_result | None = None) -> str | None:
    """Give the real path of a descriptor as the kernel knows it; None when it has none any more.

    A deleted thing has none, nor has one that lies outside this process's root or deeper than 4,096 bytes. `found` is
    what `os.fstat` gave for it a moment ago.
    """
    if sys.platform == "darwin":  # pragma: no cover - F_GETPATH is what Linux's procfs is there
        return os.fsdecode(fcntl.fcntl(fd, fcntl.F_GETPATH, bytes(1024)).rstrip(b"\0"))
    if (found or os.fstat(fd)).st_nlink == 0:
        return None
    try:
        path = os.readlink(f"/proc/self/fd/{fd}")
    except OSError:  # its path is longer than the kernel will say
        return None
    return path if path.startswith("/") else None


def _failed(path: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number), path)
