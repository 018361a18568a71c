"""Recovery: what processes that died left of their audit chains, and which of their intents had no end."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from io import BufferedWriter
from pathlib import Path

import msgspec

from superagent.core.audit import (
    UNREADABLE,
    ZERO,
    AuditRecord,
    decode_header,
    decode_numbered,
    decode_record,
    hash_of,
    parse,
)
from superagent.runtime import audit_segment as files
from superagent.runtime.checkpoints import Head
from superagent.runtime.key_files import sync_folder


@dataclass(slots=True)
class Dead:
    """A chain whose process died: how far it reaches, what was torn off its end, and its intents without an outcome.

    `head` is None when the chain has no line, or when `damage` says that lines were wrong which had been signed.
    `answered` are intents of other chains that this process had recorded as unknown before it died itself.
    """

    folder: Path
    lock: BufferedWriter
    head: Head | None = None
    torn: str = ""
    damage: str = ""
    intents: dict[str, tuple[int, AuditRecord]] = field(default_factory=dict[str, tuple[int, AuditRecord]])
    answered: set[str] = field(default_factory=set[str])

    def event(self, at: float) -> AuditRecord:
        """Give the record that says that this chain was recovered, and how it was found."""
        found = {
            "chain": self.folder.name,
            "lines": self.head.size if self.head else 0,
            "torn": self.torn,
            "damage": self.damage,
            "unfinished": len(self.intents),
        }
        detail = {name: value for name, value in found.items() if value}
        return AuditRecord(kind="event", at=at, tenant="system", operation="audit.recover", detail=detail)


def dead_chains(directory: Path, heads: Mapping[str, Head], own: Path) -> list[Dead]:
    """Find the chains whose process died, cut torn ends off, and read what was open. To be called within `starting`.

    Each comes with its lock held. Only lines since the oldest intent that was open at the chain's last checkpoint are
    read. Raises `OSError`.
    """
    found: list[Dead] = []
    for folder in files.chain_folders(directory):
        if folder != own and (lock := files.hold(folder)):
            dead = Dead(folder, lock)
            _read(dead, heads.get(folder.name))
            found.append(dead)
    return found


def unknown(intent: AuditRecord, at: float, chain: str, seq: int) -> AuditRecord:
    """Give the outcome of an intent whose end nobody saw."""
    where = {"intent": {"chain": chain, "seq": seq}}
    return msgspec.structs.replace(intent, kind="outcome", at=at, status="unknown", changed="unknown", detail=where)


def _read(dead: Dead, signed: Head | None) -> None:
    segments = files.segment_files(dead.folder)
    open_from = signed.open_from if signed else 1
    begin = max((index for index, one in enumerate(segments) if files.first_of(one) <= open_from), default=0)
    seq, head, damage = files.first_of(segments[begin]) - 1 if segments else 0, b"", ""
    for segment in segments[begin:]:
        for offset, line in _lines(segment):
            parsed = parse(line)
            head = head or _head_before(parsed)
            if parsed is None or hash_of(head, parsed[0]) != parsed[1]:
                if segment == segments[-1] and not damage and seq >= (signed.size if signed else 0):
                    dead.torn = _cut(segment, offset)
                    break
                damage = damage or f"line {seq + 1} in {segment.name} is not what was written"
            seq, head = seq + 1, parsed[1] if parsed else head
            if parsed and seq >= open_from:
                _take_in(dead, parsed[0], seq)
    if signed and seq < signed.size:
        damage = damage or f"lines {seq + 1} to {signed.size} are missing"
    dead.damage = damage
    if seq and not damage:
        # what is open here ends in the chain of the process that recovers
        dead.head = Head(dead.folder.name, seq, head, seq + 1)


def _lines(segment: Path) -> Iterator[tuple[int, bytes]]:
    offset = 0
    with segment.open("rb") as file:
        for line in file:
            yield offset, line
            offset += len(line)


def _head_before(parsed: tuple[bytes, bytes] | None) -> bytes:
    """Give the hash that the first line read goes on from, which its header names."""
    try:
        return bytes.fromhex(decode_header(parsed[0]).prev) if parsed else ZERO
    except UNREADABLE:
        return ZERO


def _take_in(dead: Dead, text: bytes, seq: int) -> None:
    try:
        kind = decode_numbered(text).kind
        if kind == "intent":
            record = decode_record(text)
            dead.intents[record.invocation] = (seq, record)
        elif kind == "outcome":
            record = decode_record(text)
            dead.intents.pop(record.invocation, None)
            if record.status == "unknown":
                dead.answered.add(record.invocation)
    except UNREADABLE:
        return  # a line that somebody changed; the chain is reported as damaged


def _cut(segment: Path, offset: int) -> str:
    """Put what stands behind the last whole line aside and take it out of the segment; gives what was done."""
    size = segment.stat().st_size
    aside = segment.with_name(f"{segment.name}.torn")
    with segment.open("r+b") as file, aside.open("wb") as rest:
        file.seek(offset)
        shutil.copyfileobj(file, rest)
        rest.flush()
        os.fsync(rest.fileno())
        file.truncate(offset)
        os.fsync(file.fileno())
    if not offset:
        segment.unlink()
    sync_folder(segment.parent)
    return f"{size - offset} bytes at {offset} in {segment.name}"
