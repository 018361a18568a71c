"""A backup as a file: a head and chunks, each sealed, bound to its backup and its place in it; the last one says so."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, BinaryIO, Protocol

_MAGIC = b"superagent-backup 1\n"
_CHUNK = 1024 * 1024
_LONGEST = 4 * _CHUNK
Sums = dict[str, list[Any]]
"""For each table how many rows it has, and a checksum of all of them in any order."""


class Seals(Protocol):
    """What encrypts (`Clients`)."""

    def seal(self, about: tuple[str, ...], data: bytes) -> bytes:
        """Encrypt."""
        ...

    def open(self, about: tuple[str, ...], sealed: bytes) -> bytes:
        """Decrypt."""
        ...


class NoBackup(Exception):
    """A file that is no backup, or not all of one."""


@dataclass(frozen=True, slots=True)
class Head:
    """What a backup holds: of which database, when (epoch seconds), and the sums that a restore must show."""

    type: str
    connection: str
    database: str
    at: float
    sums: Sums
    tables: list[list[str]]  # schema and name


def write(write: Callable[[bytes], None], seals: Seals, head: Head, chunks: Iterable[bytes]) -> None:
    """Write a backup."""
    id = secrets.token_hex(16)
    write(_MAGIC + id.encode())

    def frame(kind: str, at: int, data: bytes) -> None:
        sealed = seals.seal((id, kind, str(at)), data)
        write(len(sealed).to_bytes(4, "big") + sealed)

    frame("head", 0, json.dumps(asdict(head)).encode())
    at = 0
    for data in chunks:
        for begin in range(0, len(data), _CHUNK):
            frame("data", at, data[begin : begin + _CHUNK])
            at += 1
    frame("end", at, b"")


def read(file: BinaryIO, seals: Seals) -> tuple[Head, Iterator[bytes]]:
    """Give the head of a backup and what gives its data to the end. Raises `NoBackup`, and as `Seals.open` does."""
    if file.read(len(_MAGIC)) != _MAGIC:
        raise NoBackup("it is no backup")
    id = file.read(32).decode("ascii", "replace")
    head = seals.open((id, "head", "0"), _frame(file))
    return Head(**json.loads(head)), _data(file, seals, id)


def _data(file: BinaryIO, seals: Seals, id: str) -> Iterator[bytes]:
    at = 0
    while True:
        sealed, place = _frame(file), file.tell()
        last = not file.read(1)
        file.seek(place)
        data = seals.open((id, "end" if last else "data", str(at)), sealed)  # a cut file ends with another kind
        if last:
            return
        yield data
        at += 1


def _frame(file: BinaryIO) -> bytes:
    size = int.from_bytes(file.read(4), "big")
    if not 0 < size <= _LONGEST:
        raise NoBackup("it was cut, or is no backup")
    sealed = file.read(size)
    if len(sealed) != size:
        raise NoBackup("it was cut")
    return sealed
