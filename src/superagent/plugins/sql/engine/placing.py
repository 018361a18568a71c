"""A file that is written bit by bit and takes its place in one step, or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import stat
from collections.abc import Generator
from contextlib import contextmanager
from typing import BinaryIO

_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class TooMuch(Exception):
    """More was written than may be."""


class Measured:
    """Bytes on their way into a file: counted, bounded and summed up."""

    def __init__(self, file: BinaryIO, most: int) -> None:
        self._file = file
        self._most = most
        self._sum = hashlib.sha256()
        self.bytes = 0

    def write(self, data: bytes) -> None:
        """Write on. Raises `TooMuch` before the bound is passed."""
        self.bytes += len(data)
        if self.bytes > self._most:
            raise TooMuch
        self._sum.update(data)
        self._file.write(data)

    def reading(self) -> BinaryIO:
        """Open what was written so far, to be read."""
        self._file.flush()
        return open(f"/proc/self/fd/{self._file.fileno()}", "rb")

    @property
    def sha256(self) -> str:
        """Give the digest of all that was written, in hex."""
        return self._sum.hexdigest()


@contextmanager
def placed(dir_fd: int, name: str, present: os.stat_result | None, most: int, mode: int = 0o666) -> Generator[Measured]:
    """Give what writes a new file for a name; it stands there when the block ended well, durable, and never halfway.

    A file that takes the place of `present` keeps its rights and owner. Raises `OSError`.
    """
    # the name that a crash's leftovers are recognised by
    fresh = f".superagent-{hashlib.sha256(os.fsencode(name)).hexdigest()[:12]}-{secrets.token_hex(8)}"
    descriptor = os.open(fresh, _FLAGS, mode if present is None else 0o600, dir_fd=dir_fd)
    try:
        with open(descriptor, "wb", buffering=256 * 1024) as file:
            yield Measured(file, most)
            file.flush()
            if present is not None:
                _take_after(descriptor, present)
            os.fsync(descriptor)
        os.rename(fresh, name, src_dir_fd=dir_fd, dst_dir_fd=dir_fd)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(fresh, dir_fd=dir_fd)
        raise


def _take_after(descriptor: int, present: os.stat_result) -> None:
    if (present.st_uid, present.st_gid) != (os.geteuid(), os.getegid()):
        with contextlib.suppress(PermissionError):
            os.fchown(descriptor, present.st_uid, present.st_gid)
    os.fchmod(descriptor, stat.S_IMODE(present.st_mode) & ~(stat.S_ISUID | stat.S_ISGID))
