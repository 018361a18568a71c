"""Check the audit log: read every line, every checkpoint and the anchor, and say what was tampered with, and where.

Needs the folder and public keys only. May run while writers write; holds no more than 1 KiB per checkpoint in memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from superagent.core.audit import UNREADABLE, ZERO, decode_header, decode_numbered, hash_of, parse
from superagent.runtime import audit_segment as files
from superagent.runtime.checkpoints import (
    Checkpoint,
    Head,
    note_files,
    note_hash,
    parse_checkpoint,
    read_notes,
    root_of,
)
from superagent.runtime.signed_notes import signed_by

FaultKind = Literal[
    "changed",  # a line is not what was written
    "removed",  # lines are missing before this one
    "inserted",  # a line stands where it was not written: put in, copied or moved
    "truncated",  # the end of a chain is missing
    "rewritten",  # the lines fit to each other, but not to what was signed
    "foreign",  # the segment belongs to another chain or place
    "unsigned",  # lines that no checkpoint speaks of, though their process has ended
    "chain-missing",
    "checkpoint-forged",  # not signed by a key of this log, or not readable
    "checkpoint-removed",
    "checkpoint-changed",  # it contradicts those before it
    "anchor",  # the log does not contain what the anchor saw
]

MOST = 1000  # faults that are told one by one


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong: in which chain and segment, from which line number on, and what.

    For checkpoints, `segment` is the file of notes and `seq` the number of the checkpoint.
    """

    kind: FaultKind
    chain: str
    segment: str
    seq: int
    what: str


@dataclass(frozen=True, slots=True)
class Report:
    """What was read and what was found. `faults` holds the first thousand of `fault_count`.

    `waiting` are chains of processes that died and that nobody has recovered yet: their unsigned end is no fault.
    """

    ok: bool
    records: int
    checkpoints: int
    chains: int
    faults: tuple[Fault, ...]
    fault_count: int
    waiting: tuple[str, ...]


def verify(directory: Path, verifiers: Sequence[str], anchor: str | None = None) -> Report:
    """Check a whole audit log against the public keys and, if given, the newest checkpoint that an anchor kept.

    Without an anchor nobody can tell that the newest checkpoints were cut off together with the lines they speak of.
    """
    check = _Check(directory, verifiers, anchor)
    if any(fault.chain in check.living for fault in check.faults):
        # a chain was written while it was read: what is really wrong is still wrong at a second look
        seen = {(fault.kind, fault.chain, fault.segment) for fault in check.faults}
        check = _Check(directory, verifiers, anchor)
        check.keep(seen)
    return check.report()


class _Check:
    """One pass over everything: the checkpoints first, so that chains can only have grown since."""

    def __init__(self, directory: Path, verifiers: Sequence[str], anchor: str | None) -> None:
        self.faults: list[Fault] = []
        self.living, self.waiting = files.not_ended(directory)
        self._claims: dict[str, list[tuple[int, bytes, int]]] = {}  # lines, hash of the last, number of the checkpoint
        self._heads: dict[str, Head] = {}
        self._records = self._checkpoints = self._chains = self._count = 0
        self._read_checkpoints(directory / "checkpoints", verifiers, anchor)
        folders = files.chain_folders(directory)
        for folder in folders:
            self._read_chain(folder)
        for name in sorted(self._heads.keys() - {one.name for one in folders}):
            self.fault("chain-missing", name, "", 1, f"the chain of {self._heads[name].size} lines is gone")

    def keep(self, seen: set[tuple[str, str, str]]) -> None:
        """Forget the faults that an earlier look did not see: kind, chain and segment."""
        told = len(self.faults)
        self.faults = [one for one in self.faults if (one.kind, one.chain, one.segment) in seen]
        self._count -= told - len(self.faults)

    def report(self) -> Report:
        """Give what was found."""
        return Report(
            ok=not self.faults,
            records=self._records,
            checkpoints=self._checkpoints,
            chains=self._chains,
            faults=tuple(self.faults),
            fault_count=self._count,
            waiting=tuple(sorted(self.waiting)),
        )

    # --- checkpoints ---------------------------------------------------------------------------------------------

    def _read_checkpoints(self, folder: Path, verifiers: Sequence[str], anchor: str | None) -> None:
        anchored = _anchored(anchor, verifiers)
        number, prev, sure = 0, bytes(32), True
        for path in note_files(folder):
            full = True  # the first note of a file speaks of every chain
            for _, note in read_notes(path):
                self._checkpoints += 1
                said = _parsed(note)
                if said is None or not signed_by(note, verifiers):
                    what = "not signed by a key of this log" if said else "not readable"
                    self.fault("checkpoint-forged", "", path.name, number + 1, what)
                    number, prev, sure = number + 1, note_hash(note), False
                    continue
                if said.number != number + 1:
                    what = f"after checkpoint {number} comes {said.number}"
                    self.fault("checkpoint-removed", "", path.name, min(number + 1, said.number), what)
                    sure = False
                elif said.prev != prev:
                    what = "it does not name the note that stands before it"
                    self.fault("checkpoint-changed", "", path.name, said.number, what)
                    sure = False
                self._take_in(said, path.name, sure=sure or full, full=full)
                if anchored and anchored.number == said.number and anchor and anchor.strip() != note.strip():
                    self.fault("anchor", "", path.name, said.number, "it is not the checkpoint that the anchor saw")
                number, prev, sure, full = said.number, note_hash(note), sure or full, False
        if anchor is not None and anchored is None:
            self.fault("anchor", "", "", 0, "the anchor is not a checkpoint that a key of this log signed")
        elif anchored and anchored.number > number:
            what = f"the anchor saw checkpoint {anchored.number} of {anchored.size} lines; the log ends at {number}"
            self.fault("anchor", "", "", number + 1, what)

    def _take_in(self, said: Checkpoint, segment: str, *, sure: bool, full: bool) -> None:
        heads = {head.chain: head for head in said.heads}
        after = heads if full else self._heads | heads
        shrunk = [name for name, head in self._heads.items() if name not in after or after[name].size < head.size]
        if shrunk:
            self.fault("checkpoint-changed", "", segment, said.number, f"it takes lines back from {', '.join(shrunk)}")
        elif sure and (root_of(after.values()) != said.root or sum(one.size for one in after.values()) != said.size):
            self.fault(
                "checkpoint-changed", "", segment, said.number, "its root is not that of the chains it speaks of"
            )
        self._heads |= heads
        for head in said.heads:
            claims = self._claims.setdefault(head.chain, [])
            if not claims or claims[-1][0] < head.size:
                claims.append((head.size, head.hash, said.number))

    # --- chains --------------------------------------------------------------------------------------------------

    def _read_chain(self, folder: Path) -> None:
        self._chains += 1
        name, known = folder.name, self._heads.get(folder.name)
        signed = known.size if known else 0
        reader = _ChainReader(self, name, iter(self._claims.get(name, ())))
        segments = files.segment_files(folder)
        for index, path in enumerate(segments, 1):
            # what a living or dead process has not finished, and nobody signed, is no fault
            open_end = index == len(segments) and name in self.living | self.waiting
            reader.segment(path, lenient_after=signed if open_end else None)
        self._records += reader.records
        last = reader.expected - 1
        if last < signed:
            what = f"lines {last + 1} to {signed} are missing at the end"
            self.fault("truncated", name, segments[-1].name if segments else "", last + 1, what)
        elif last > signed and (name not in self.living | self.waiting or (not signed and last > 1)):
            what = f"no checkpoint speaks of lines {signed + 1} to {last}"
            self.fault("unsigned", name, segments[-1].name, signed + 1, what)

    def fault(self, kind: FaultKind, chain: str, segment: str, seq: int, what: str) -> None:
        """Take down a fault; the first thousand are kept."""
        self._count += 1
        if len(self.faults) < MOST:
            self.faults.append(Fault(kind, chain, segment, seq, what))


class _ChainReader:
    """Follow one chain line by line; after a fault it goes on from what stands there, so that each is told once."""

    def __init__(self, check: _Check, chain: str, claims: Iterator[tuple[int, bytes, int]]) -> None:
        self.expected = 1
        self.records = 0
        self._check = check
        self._chain = chain
        self._heads: tuple[bytes, ...] = (ZERO,)  # what the next line may go on from; none: anything
        self._claims = claims
        self._claim = next(claims, None)
        self._agreed = 0
        self._rewritten = False

    def segment(self, path: Path, lenient_after: int | None) -> None:
        """Read one segment; beyond line `lenient_after` an end that is not whole is no fault."""
        strays = 0
        with path.open("rb") as file:
            for number, line in enumerate(file):
                parsed = _numbered(line)
                lenient = lenient_after is not None and self.expected > lenient_after
                if lenient and (parsed is None or not self._fits(parsed[0], parsed[1])):
                    return
                if parsed is None:
                    self._fault("changed", path, self.expected, "the line cannot be read")
                    self.expected, self._heads = self.expected + 1, ()
                    continue
                text, digest, seq, kind = parsed
                if number == 0:
                    self._header(path, text, seq)
                if seq < self.expected:
                    strays += 1
                    if strays == 1:
                        what = f"a line numbered {seq} stands where {self.expected} belongs"
                        self._fault("inserted", path, seq, what)
                    continue
                strays = 0
                self._line(path, text, digest, seq)
                self.records += kind != "segment"

    def _line(self, path: Path, text: bytes, digest: bytes, seq: int) -> None:
        if seq > self.expected:
            self._fault("removed", path, self.expected, f"lines {self.expected} to {seq - 1} are missing")
            self._heads = (digest,)
        elif self._fits(text, digest):
            self._heads = (digest,)
        else:
            self._fault("changed", path, seq, "the line is not what was written, or the one before it is not")
            # either its text was changed or its hash: the next line fits to one of the two
            self._heads = (digest, *(hash_of(head, text) for head in self._heads))
        self.expected = seq + 1
        while self._claim and self._claim[0] <= seq:
            size, signed, number = self._claim
            self._claim = next(self._claims, None)
            if size < seq or self._rewritten:
                continue
            if signed in self._heads:
                self._agreed = seq
                continue
            self._rewritten = True
            what = f"lines {self._agreed + 1} to {seq} are not those that checkpoint {number} signed"
            self._fault("rewritten", path, self._agreed + 1, what)

    def _fits(self, text: bytes, digest: bytes) -> bool:
        return not self._heads or any(hash_of(head, text) == digest for head in self._heads)

    def _header(self, path: Path, text: bytes, seq: int) -> None:
        try:
            header = decode_header(text)
            prev = bytes.fromhex(header.prev)
        except UNREADABLE:
            self._fault("foreign", path, seq, "the segment does not begin with a header")
            return
        if header.chain != self._chain:
            self._fault("foreign", path, seq, f"the segment was written for the chain {header.chain}")
        elif seq != files.first_of(path):
            self._fault("foreign", path, seq, "the segment has the name of another")
        if not self._heads:
            self._heads = (prev,)

    def _fault(self, kind: FaultKind, path: Path, seq: int, what: str) -> None:
        self._check.fault(kind, self._chain, path.name, seq, what)


def _numbered(line: bytes) -> tuple[bytes, bytes, int, str] | None:
    parsed = parse(line)
    try:
        found = decode_numbered(parsed[0]) if parsed else None
    except UNREADABLE:
        return None
    return (*parsed, found.seq, found.kind) if parsed and found else None


def _parsed(note: str) -> Checkpoint | None:
    try:
        return parse_checkpoint(note)
    except ValueError:
        return None


def _anchored(anchor: str | None, verifiers: Sequence[str]) -> Checkpoint | None:
    return _parsed(anchor) if anchor and signed_by(anchor, verifiers) else None
