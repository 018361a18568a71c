"""Kept content: bytes named by their SHA-256, durable before `put` returns, each kept once."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import secrets
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from superagent.core.problems import Unavailable
from superagent.runtime.key_files import private_folder, sync_folder

_CHUNK = 1024 * 1024
_DIGEST = re.compile(r"[0-9a-f]{64}")


class KeptContent:
    """A folder of contents, spread over 256 folders by the first two letters.

    Each `put` makes a content young again, so a sweep by age takes none that a younger entry needs. A lock on the
    folder keeps the sweep of one process from the `put` of another.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = private_folder(folder)

    def put(self, source: int | bytes) -> str:
        """Keep bytes, or all that a descriptor gives from where it stands; give the SHA-256 in hex.

        Raises `Unavailable` when the disk cannot take it.
        """
        fresh = self._folder / f"new-{secrets.token_hex(16)}"
        try:
            digest = self._write(fresh, source)
            place = self._place(digest)
            if not place.parent.exists():
                place.parent.mkdir(mode=0o700, exist_ok=True)
                sync_folder(self._folder)
            with _locked(place.parent, fcntl.LOCK_SH):
                try:
                    os.utime(place)
                except FileNotFoundError:
                    _sync(fresh)
                    os.rename(fresh, place)
                sync_folder(place.parent)  # also when it was there: who put it may not have come so far yet
            return digest
        except OSError as error:
            raise Unavailable(
                f"what stands there could not be kept: {error.strerror}",
                hint="free space where the data folder lies, then call again",
            ) from error
        finally:
            with suppress(FileNotFoundError):
                os.unlink(fresh)

    def _write(self, path: Path, source: int | bytes) -> str:
        state = hashlib.sha256()
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb", 0) as file:
            for chunk in _chunks(source):
                state.update(chunk)
                left = memoryview(chunk)
                while left:
                    left = left[file.write(left) :]
        return state.hexdigest()

    def open(self, digest: str) -> int:
        """Give a descriptor at the beginning of a content, for the caller to close; a lost one is `Unavailable`."""
        try:
            return os.open(self._place(digest), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError as error:
            raise Unavailable(
                "what was kept for undo is no longer there",
                hint="it is kept for 7 days; after that a backup may have it",
            ) from error

    def sweep(self, before: float) -> int:
        """Remove contents last put before a time (epoch seconds), and what crashes left; give how many."""
        return sum(self._sweep(folder, before) for folder in (self._folder, *self._folder.glob("[0-9a-f][0-9a-f]")))

    def _sweep(self, folder: Path, before: float) -> int:
        with _locked(folder, fcntl.LOCK_EX), os.scandir(folder) as entries:
            return sum(_removed(one, before) for one in entries)

    def _place(self, digest: str) -> Path:
        if not _DIGEST.fullmatch(digest):
            raise ValueError("not a SHA-256 in hex")
        return self._folder / digest[:2] / digest


def _removed(entry: os.DirEntry[str], before: float) -> bool:
    """Remove a file that is older; one still being written may go, or get its place, while it is looked at."""
    try:
        if not entry.is_file() or entry.stat().st_mtime >= before:
            return False
        os.unlink(entry)
    except FileNotFoundError:
        return False
    return True


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _chunks(source: int | bytes) -> Iterator[bytes]:
    if isinstance(source, bytes):
        yield source
        return
    while chunk := os.read(source, _CHUNK):
        yield chunk


@contextmanager
def _locked(folder: Path, how: int) -> Generator[None]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, how)
        yield
    finally:
        os.close(descriptor)
