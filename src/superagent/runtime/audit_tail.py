"""The tail of the audit: read what stands in the segments and was not indexed yet, and find a record again."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from superagent.core.audit import UNREADABLE, parse
from superagent.runtime import audit_segment as files


class Found(msgspec.Struct, frozen=True, gc=False):
    """What of a record can be searched for."""

    seq: int
    kind: str
    at: float
    invocation: str = ""
    tenant: str = ""
    who: str = ""
    chain_of: tuple[str, ...] = ()
    operation: str = ""
    resources: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Place:
    """Where a line stands: chain, first number of its segment, bytes before it, and its length."""

    chain: str
    segment: int
    place: int
    length: int


@dataclass(frozen=True, slots=True)
class Position:
    """How far a chain was read; `ended` when nothing more will come."""

    segment: int = 0
    place: int = 0
    ended: bool = False


@dataclass(frozen=True, slots=True)
class Fresh:
    """What was read: records with their places, the new position of each chain, and whether more is there."""

    records: list[tuple[Found, Place]]
    positions: dict[str, Position]
    more: bool


_decode = msgspec.json.Decoder(Found).decode
_decode_any = msgspec.json.Decoder().decode


def read_fresh(directory: Path, positions: Mapping[str, Position], most: int) -> Fresh:
    """Read up to so many records behind these positions. Raises `OSError`."""
    records: list[tuple[Found, Place]] = []
    moved: dict[str, Position] = {}
    for folder in files.chain_folders(directory):
        start = positions.get(folder.name, Position())
        if start.ended:
            continue
        if len(records) >= most:
            return Fresh(records, moved, more=True)
        end = _read_chain(folder, start, records, most)
        if end != start:
            moved[folder.name] = end
    return Fresh(records, moved, more=len(records) >= most)


def _read_chain(folder: Path, start: Position, records: list[tuple[Found, Place]], most: int) -> Position:
    ended = not files.has_lock(folder)  # looked at first: what a living process adds later is read later
    segments = [path for path in files.segment_files(folder) if files.first_of(path) >= start.segment]
    now = start
    for path in segments:
        first = files.first_of(path)
        place = now.place if first == now.segment else 0
        for line in _whole_lines(path, place):
            if len(records) >= most:
                return Position(first, place)
            found = _found(line)
            if found is not None:
                records.append((found, Place(folder.name, first, place, len(line))))
            place += len(line)
        now = Position(first, place)
    return Position(now.segment, now.place, ended)


def _whole_lines(path: Path, place: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        file.seek(place)
        for line in file:
            if not line.endswith(b"\n"):
                return
            yield line


def _found(line: bytes) -> Found | None:
    """Give what can be searched for; None for headers and for lines that somebody made unreadable."""
    parsed = parse(line)
    try:
        found = _decode(parsed[0]) if parsed else None
    except UNREADABLE:
        return None
    return found if found and found.kind != "segment" else None


def read_lines(directory: Path, places: Iterable[Place]) -> Iterator[tuple[str, bytes] | None]:
    """Give the JSON text and the hash of each line; None where it does not stand there any more."""
    with ExitStack() as stack:
        files: dict[tuple[str, int], int | None] = {}
        for at in places:
            key = at.chain, at.segment
            if key not in files:
                files[key] = _descriptor(directory / at.chain / f"{at.segment:020d}.seg", stack)
            descriptor = files[key]
            parsed = parse(os.pread(descriptor, at.length, at.place)) if descriptor is not None else None
            try:
                yield (parsed[0].decode(), parsed[1]) if parsed else None
            except UnicodeDecodeError:
                yield None


def read_record(text: str, hash: bytes, chain: str) -> dict[str, Any] | None:
    """Give a record with its chain and hash; None when somebody made it unreadable."""
    try:
        record: dict[str, Any] = _decode_any(text)
        return {"chain": chain, **record, "hash": hash.hex()}
    except (TypeError, *UNREADABLE):
        return None


def _descriptor(path: Path, stack: ExitStack) -> int | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    stack.callback(os.close, descriptor)
    return descriptor
