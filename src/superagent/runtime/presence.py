"""Presence: which processes of this host are alive, as a lock that the kernel drops when its holder dies."""

from __future__ import annotations

import fcntl
import os
import secrets
import struct
from pathlib import Path

_OPEN = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW


class Presence:
    """This process's own name, for as long as it lives, and the question whether another's still does.

    The name is a random place in an empty file, on which an open-file-description lock is held (Linux, fcntl(2)): no
    heartbeat, no clock, and after `kill -9` the answer is right at once.
    """

    def __init__(self, path: Path) -> None:
        self._held = os.open(path, _OPEN, 0o600)
        self._asking = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        place = secrets.randbits(62)
        self.name = f"{place:016x}"
        fcntl.fcntl(self._held, fcntl.F_OFD_SETLK, byte_lock(fcntl.F_WRLCK, place))

    def alive(self, name: str) -> bool:
        """Tell whether the process of this name still lives."""
        asked = fcntl.fcntl(self._asking, fcntl.F_OFD_GETLK, byte_lock(fcntl.F_WRLCK, int(name, 16)))
        return struct.unpack(_FLOCK, asked)[0] != fcntl.F_UNLCK

    def leave(self) -> None:
        """Give the name up, as death would."""
        os.close(self._held)
        os.close(self._asking)


_FLOCK = "hhqqi4x"  # struct flock on Linux with 64-bit offsets: type, whence, start, length, pid


def byte_lock(kind: int, place: int) -> bytes:
    """Give the `struct flock` that locks (or with `F_UNLCK` frees) one byte at a place."""
    return struct.pack(_FLOCK, kind, os.SEEK_SET, place, 1, 0)
