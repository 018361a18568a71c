"""A copy of the whole audit log as one file, up to its newest checkpoint, for whoever verifies it elsewhere.

Layout and order are a promise of docs/audit-format.md. What was tampered with is copied as it stands, and not judged.
"""

from __future__ import annotations

import os
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from superagent.runtime import audit_segment as files
from superagent.runtime.checkpoints import Checkpoint, note_files, parse_checkpoint, read_notes

_CHUNK = 256 * 1024
_GZIP = 31  # zlib's window bits for the largest window in a gzip frame


class AuditCopy:
    """One moment of a log, which may go on being written. Blocks on the disk.

    `number` and `lines` are those of the newest checkpoint: its number, and the lines of all chains that it signs.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        # who ended before the notes were read is signed to its end; all others go as far as the notes say
        self._ended = {name for name in files.chain_names(directory) if not files.has_lock(directory / name)}
        *self._older, newest = note_files(directory / "checkpoints")
        self._newest = newest.name
        self._notes = b""
        self._heads: dict[str, int] = {}
        self.number = self.lines = 0
        for _, note in read_notes(newest):
            self._notes += f"{note}\n".encode()
            if (said := _parsed(note)) is not None:
                self.number, self.lines = said.number, said.size
                self._heads |= {head.chain: head.size for head in said.heads}

    def chunks(self) -> Iterator[bytes]:
        """Give the bytes of a gzipped tar: checkpoints, then chain by chain and segment by segment."""
        press = zlib.compressobj(level=6, wbits=_GZIP)
        gathered = bytearray()
        for piece in self._pieces():
            gathered += press.compress(piece)
            if len(gathered) >= _CHUNK:
                yield bytes(gathered)
                gathered.clear()
        yield bytes(gathered) + press.flush()

    def _pieces(self) -> Iterator[bytes]:
        for path in self._older:
            yield from _file(f"checkpoints/{path.name}", path)
        yield _head(f"checkpoints/{self._newest}", len(self._notes))
        yield self._notes
        yield _padding(len(self._notes))
        for name in files.chain_names(self._directory):
            yield from self._chain(name)
        yield bytes(2 * tarfile.BLOCKSIZE)

    def _chain(self, name: str) -> Iterator[bytes]:
        to = None if name in self._ended else self._heads.get(name, 0)
        for path in files.segment_files(self._directory / name):
            if to is None or files.first_of(path) <= to:
                yield from _file(f"{name}/{path.name}", path, to)


def _file(name: str, path: Path, to: int | None = None) -> Iterator[bytes]:
    """Give a file as a tar holds it; of a segment, as far as the line numbered `to`."""
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as file:
        size = os.fstat(file.fileno()).st_size if to is None else _length(file, to - files.first_of(path) + 1)
        yield _head(name, size)
        left = size
        while left:
            piece = file.read(min(_CHUNK, left))
            if not piece:
                raise OSError(f"{name} became shorter while it was copied")
            left -= len(piece)
            yield piece
        yield _padding(size)


def _length(file: BinaryIO, lines: int) -> int:
    """Give how many bytes so many lines have, and go back to the beginning."""
    size = sum(len(line) for _, line in zip(range(lines), file, strict=False))
    file.seek(0)
    return size


def _head(name: str, size: int) -> bytes:
    entry = tarfile.TarInfo(f"audit/{name}")
    entry.size, entry.mode = size, 0o600
    return entry.tobuf(tarfile.GNU_FORMAT)


def _padding(size: int) -> bytes:
    return bytes(-size % tarfile.BLOCKSIZE)


def _parsed(note: str) -> Checkpoint | None:
    try:
        return parse_checkpoint(note)
    except ValueError:
        return None
