"""Segment files: the folder of one chain, its lock, its numbered files, and a reserve for a full disk."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Generator
from contextlib import contextmanager
from io import BufferedWriter
from pathlib import Path

from superagent.runtime.key_files import sync_folder

_LOCK, _RESERVE = "lock", "reserve"
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


def segment_files(folder: Path) -> list[Path]:
    """Give the segments of a chain, oldest first."""
    return [folder / name for name in sorted(os.listdir(folder)) if name.endswith(".seg")]


def first_of(segment: Path) -> int:
    """Give the number of a segment's first line, which is its name; 0 when it is not a number."""
    return int(segment.stem) if segment.stem.isdecimal() else 0


def chain_names(directory: Path) -> list[str]:
    """Give the names of all chains of an audit log; there may be thousands, and the index looks every half second."""
    with os.scandir(directory) as entries:
        return sorted(one.name for one in entries if one.is_dir() and one.name != "checkpoints")


def chain_folders(directory: Path) -> list[Path]:
    """Give the folders of all chains of an audit log."""
    return [directory / name for name in chain_names(directory)]


@contextmanager
def starting(directory: Path) -> Generator[None]:
    """Hold back other processes that start, recover or ask who lives, for the time of the block."""
    with (directory / "starting.lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def hold(folder: Path, make: bool = False) -> BufferedWriter | None:
    """Take a chain's lock, which its process holds for as long as it lives.

    None when another process has it, or when the chain was ended in order and has no lock any more. `make` starts a
    chain. To be called within `starting`.
    """
    if not make and not (folder / _LOCK).exists():
        return None
    lock = (folder / _LOCK).open("ab")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        return None
    return lock


def end(folder: Path, lock: BufferedWriter) -> None:
    """Say that nothing is left to recover in a chain: it has no lock any more."""
    (folder / _RESERVE).unlink(missing_ok=True)
    (folder / _LOCK).unlink()
    sync_folder(folder)
    lock.close()


def has_lock(folder: Path) -> bool:
    """Tell whether more may come in a chain: its process lives, or died and waits for recovery."""
    return (folder / _LOCK).exists()


def not_ended(directory: Path) -> tuple[set[str], set[str]]:
    """Give the chains whose process lives, and those whose process died and that wait for recovery. Changes nothing."""
    living: set[str] = set()
    waiting: set[str] = set()
    try:
        lock = (directory / "starting.lock").open("rb")
    except FileNotFoundError:
        return living, waiting
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # a starting process must not take our look for a holder
        for folder in chain_folders(directory):
            with contextlib.suppress(FileNotFoundError), (folder / _LOCK).open("rb") as held:
                try:
                    fcntl.flock(held, fcntl.LOCK_SH | fcntl.LOCK_NB)
                    waiting.add(folder.name)
                except BlockingIOError:
                    living.add(folder.name)
    return living, waiting


class Segment:
    """One segment that is being written. `size` is how far it is known to be on the disk; blocks; raises `OSError`."""

    def __init__(self, path: Path, descriptor: int, size: int = 0) -> None:
        self.path = path
        self.size = size
        self._descriptor = descriptor

    @classmethod
    def create(cls, folder: Path, first: int) -> Segment:
        """Begin a segment; one of the same name can only hold what never became durable."""
        path = folder / f"{first:020d}.seg"
        descriptor = os.open(path, _FLAGS | os.O_TRUNC, 0o600)
        sync_folder(folder)
        return cls(path, descriptor)

    @classmethod
    def from_reserve(cls, folder: Path, first: int, data: bytes) -> Segment:
        """Begin a segment with these lines in the blocks that were set aside, so that it works on a full disk."""
        descriptor = os.open(folder / _RESERVE, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        segment = cls(folder / f"{first:020d}.seg", descriptor)
        try:
            segment._put(data)
            os.ftruncate(descriptor, segment.size)
            os.fsync(descriptor)
            os.replace(folder / _RESERVE, segment.path)  # readers never see the zeros behind the lines
            sync_folder(folder)
        except OSError:
            segment.close()
            raise
        return segment

    def append(self, data: bytes) -> None:
        """Write bytes and bring them to the disk; refuses when the file is not as this process left it."""
        found = os.fstat(self._descriptor)
        if not found.st_nlink or found.st_size != self.size:
            raise OSError(errno.ESTALE, "the segment was changed or removed behind the log's back")
        self._put(data)

    def _put(self, data: bytes) -> None:
        view = memoryview(data)
        at = self.size
        while view:
            done = os.pwrite(self._descriptor, view, at)
            view, at = view[done:], at + done
        os.fdatasync(self._descriptor)
        self.size = at

    def cut(self) -> None:
        """Take away what is not known to be on the disk, and the whole file when nothing is."""
        if not self.size:
            self.path.unlink(missing_ok=True)
            sync_folder(self.path.parent)
            return
        if os.fstat(self._descriptor).st_size > self.size:  # a shorter one was cut by somebody else: leave the evidence
            os.ftruncate(self._descriptor, self.size)
            os.fsync(self._descriptor)

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


def set_aside(folder: Path, size: int) -> None:
    """Make the reserve: blocks of the disk that only a full disk lets us use."""
    path = folder / _RESERVE
    descriptor = os.open(path, _FLAGS, 0o600)
    try:
        os.posix_fallocate(descriptor, 0, size)
    except OSError:
        path.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)
