"""Kernel calls that Python's `os` lacks: prctl, private mount namespaces, and mounts by descriptor."""

from __future__ import annotations

import ctypes
import os

_libc = ctypes.CDLL(None, use_errno=True)

# numbers since Linux 5.2, the same on every architecture (the tables were unified before them)
_OPEN_TREE, _MOVE_MOUNT = 428, 429
_AT_FDCWD, _AT_EMPTY_PATH, _OPEN_TREE_CLONE, _MOVE_MOUNT_F_EMPTY_PATH = -100, 0x1000, 1, 4
_CLONE_NEWNS, _MS_NOSUID, _MS_NODEV, _MS_REC, _MS_PRIVATE = 0x20000, 2, 4, 0x4000, 1 << 18
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS = 1, 4, 36, 38


def die_with_parent(number: int) -> None:
    """Have the kernel send this signal when the parent dies; a change of user forgets it."""
    _call(_libc.prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0), "prctl")


def adopt_orphans() -> None:
    """Become the parent of all that descends from this process and loses its own."""
    _call(_libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "prctl")


def not_dumpable() -> None:
    """Keep other processes of this user from looking into this one; what it executes can be looked into again."""
    _call(_libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0), "prctl")


def no_new_privileges() -> None:
    """Give up for good that a program's own rights could raise ours."""
    _call(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl")


def copy_of_mount(descriptor: int) -> int:
    """Give a mount, attached to nothing, of the folder that a descriptor points at; the caller closes it."""
    flags = _AT_EMPTY_PATH | _OPEN_TREE_CLONE | os.O_CLOEXEC
    return _call(_libc.syscall(_OPEN_TREE, descriptor, b"", flags), "open_tree")


def own_mounts() -> None:
    """Let this process have mounts of its own, which no other sees and which end with it."""
    _call(_libc.unshare(_CLONE_NEWNS), "unshare")
    _call(_libc.mount(None, b"/", None, _MS_REC | _MS_PRIVATE, None), "mount")


def mount_memory(path: str, options: str) -> None:
    """Put an empty file system in memory at a folder."""
    given = options.encode()
    _call(_libc.mount(b"superagent", os.fsencode(path), b"tmpfs", _MS_NOSUID | _MS_NODEV, given), "mount")


def attach(mount: int, path: str) -> None:
    """Attach a mount at a folder."""
    failed = _libc.syscall(_MOVE_MOUNT, mount, b"", _AT_FDCWD, os.fsencode(path), _MOVE_MOUNT_F_EMPTY_PATH)
    _call(failed, "move_mount")


def _call(result: int, name: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
    return result
