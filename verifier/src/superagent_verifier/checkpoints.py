"""Checkpoints: read the signed notes in order, and know what they say of every chain."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO

from superagent_verifier.entries import Entry
from superagent_verifier.keys import Keys
from superagent_verifier.report import Report

_DASH = "\u2014"
_LONGEST = 1 << 16  # of a line in a note
_MOST = 1 << 26  # bytes of a note: what is longer is none


@dataclass(frozen=True)
class Claim:
    """What a checkpoint says of a chain: its line of this number has this hash."""

    size: int
    hash: bytes
    checkpoint: int


@dataclass(frozen=True)
class _Note:
    number: int
    prev: bytes
    size: int
    root: bytes
    heads: dict[str, tuple[int, str]]


@dataclass
class Checkpoints:
    """Take in the files of notes one by one; `claims` then holds what was signed, oldest first, for each chain."""

    keys: Keys
    report: Report
    anchor: bytes | None = None
    claims: dict[str, list[Claim]] = field(default_factory=dict[str, list[Claim]])
    _heads: dict[str, tuple[int, str]] = field(default_factory=dict[str, tuple[int, str]])
    _number: int = 0
    _prev: bytes = bytes(32)
    _complete: bool = True  # every note that could have changed `_heads` was seen
    _rest: tuple[str, bytes] = ("", b"")  # what stands behind the last whole note of the last file

    def read(self, entry: Entry) -> None:
        """Read one file of notes."""
        self._left_over()
        if entry.bytes is None:
            return
        first = True
        for raw, whole in _notes(entry.bytes):
            if whole:
                self._take(raw, entry.name, first)
                first = False
            else:
                self._rest = (entry.name, raw)

    def end(self, *, exported: bool) -> None:
        """Say that all notes were read. In an export, the last must be whole too."""
        if exported:
            self._left_over()
        if not self.report.checkpoints:
            self.report.fault("checkpoint-removed", "there is no checkpoint", line=1)
        self.report.newest_checkpoint = self._number
        if self.anchor is not None and not self.report.anchored:
            self.report.fault("anchor", f"the log, which ends with checkpoint {self._number}, does not hold it")

    def signed(self, chain: str) -> int:
        """Give the number of the last line of a chain that a checkpoint speaks of, 0 for none."""
        return self._heads.get(chain, (0, ""))[0]

    @property
    def named(self) -> set[str]:
        """Give the names of all chains that a checkpoint speaks of."""
        return set(self._heads)

    def _left_over(self) -> None:
        file, rest = self._rest
        if rest:
            self.report.fault("checkpoint-changed", "a note is not finished", file=file, line=self._number + 1)
        self._rest = ("", b"")

    def _take(self, raw: bytes, file: str, first: bool) -> None:
        self.report.checkpoints += 1
        if self.anchor is not None and raw.strip() == self.anchor.strip():
            self.report.anchored = True
        note = _read_note(raw, self.keys)
        if isinstance(note, str):
            self.report.fault("checkpoint-forged", note, file=file, line=self._number + 1)
            self._number, self._prev, self._complete = self._number + 1, hashlib.sha256(raw).digest(), False
            return
        if note.number != self._number + 1:
            what = f"after checkpoint {self._number} comes {note.number}"
            self.report.fault("checkpoint-removed", what, file=file, line=self._number + 1)
            self._complete = False
        elif note.prev != self._prev:
            what = "it does not name the note that stands before it"
            self.report.fault("checkpoint-changed", what, file=file, line=note.number)
            self._complete = False
        elif first and file != f"{note.number:012d}.notes":
            what = f"the file is named for another checkpoint than {note.number}, its first"
            self.report.fault("foreign", what, file=file, line=note.number)
        self._weigh(note, file, complete=self._complete or first, whole=first)
        self._complete |= first  # the first of a file speaks of all chains
        self._number, self._prev = note.number, hashlib.sha256(raw).digest()

    def _weigh(self, note: _Note, file: str, *, complete: bool, whole: bool) -> None:
        known = note.heads if whole else self._heads | note.heads
        for chain, (size, _) in self._heads.items():
            if known.get(chain, (0, ""))[0] < size:
                what = f"it takes lines of {chain} back, of which there were {size}"
                self.report.fault("checkpoint-changed", what, file=file, line=note.number)
                break
        else:
            fits = _root(known) == note.root and sum(size for size, _ in known.values()) == note.size
            if complete and not fits:
                what = "its root and count are not those of the chains that it speaks of"
                self.report.fault("checkpoint-changed", what, file=file, line=note.number)
        for chain, (size, digest) in note.heads.items():
            own = self.claims.setdefault(chain, [])
            if not own or own[-1].size < size:
                own.append(Claim(size, base64.b64decode(digest), note.number))
            if size > self.signed(chain):
                self._heads[chain] = (size, digest)


def _notes(file: IO[bytes]) -> Iterator[tuple[bytes, bool]]:
    """Give each note, and whether it is whole; the last may not be, and is empty in most files."""
    lines: list[bytes] = []
    empty = size = 0
    while line := file.readline(_LONGEST):
        lines.append(line)
        size += len(line)
        empty += line == b"\n"
        if empty == 2 or size > _MOST:  # the first empty line divides text and signatures, the second ends the note
            yield b"".join(lines[:-1]), True
            lines, empty, size = [], 0, 0
    yield b"".join(lines), False


def _read_note(raw: bytes, keys: Keys) -> _Note | str:
    """Give what a note says, or why it is none of this log's."""
    text, _, signatures = raw.partition(b"\n\n")
    text += b"\n"
    try:
        origin, size, root, *rest = text.decode().removesuffix("\n").split("\n")
        number, prev, _ = (_after(word, line) for word, line in zip(("number", "prev", "at"), rest[:3], strict=True))
        heads = dict(_head(line) for line in rest[3:])
        note = _Note(_count(number), _hash(prev), _count(size), _hash(root), heads)
    except ValueError:
        return "the note cannot be read"
    for line in signatures.decode(errors="replace").splitlines():
        dash, _, signer = line.partition(" ")
        name, _, encoded = signer.partition(" ")
        try:
            signature = base64.b64decode(encoded, validate=True)
        except ValueError:
            continue  # a signature of another kind says nothing
        if dash == _DASH and name == origin and keys.signed(text, name, signature):
            return note
    return "none of the keys signed the note"


def _after(word: str, line: str) -> str:
    if not line.startswith(f"{word} "):
        raise ValueError(word)
    return line[len(word) + 1 :]


def _head(line: str) -> tuple[str, tuple[int, str]]:
    chain, size, digest, _ = _after("chain", line).split(" ")
    _hash(digest)
    return chain, (_count(size), digest)


def _count(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 20):
        raise ValueError(text)
    return int(text)


def _hash(text: str) -> bytes:
    found = base64.b64decode(text, validate=True)
    if len(found) != 32:
        raise ValueError(text)
    return found


def _root(heads: dict[str, tuple[int, str]]) -> bytes:
    """Give the Merkle tree hash (RFC 6962, 2.1) over the chains in the order of their names."""
    return _tree([f"{chain} {size} {digest}".encode() for chain, (size, digest) in sorted(heads.items())])


def _tree(leaves: list[bytes]) -> bytes:
    if not leaves:
        return hashlib.sha256().digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\0" + leaves[0]).digest()
    left = 1
    while left * 2 < len(leaves):
        left *= 2
    return hashlib.sha256(b"\1" + _tree(leaves[:left]) + _tree(leaves[left:])).digest()
