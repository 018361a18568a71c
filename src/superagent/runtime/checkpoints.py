"""Checkpoints: signed statements of how far every chain of the audit log reaches (C2SP tlog-checkpoint style).

Each is chained to the one before, so none can be taken out or changed unseen; what only an anchor outside can show is
that the newest ones were cut off together with the records they speak of. Format: docs/audit-format.md.
"""

from __future__ import annotations

import base64
import errno
import fcntl
import hashlib
import os
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from superagent.runtime.key_files import sync_folder
from superagent.runtime.signed_notes import Signer

Anchor = Callable[[str], None]

_MOVE = "move that file to a safe place, and the next checkpoint begins a new one"
_FILE_BYTES = 1024 * 1024  # what a starting process reads at most


@dataclass(frozen=True, slots=True)
class Head:
    """How far one chain reaches: number and hash of its last line.

    `open_from` is the first line that may hold an intent still open: where a recovery begins to read.
    """

    chain: str
    size: int
    hash: bytes
    open_from: int


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What one note says; `prev` is the hash of the whole note before it, `heads` are those that are new in it."""

    origin: str
    size: int
    root: bytes
    number: int
    prev: bytes
    at: float
    heads: tuple[Head, ...]

    def text(self) -> str:
        """Give the text that is signed."""
        lines = [self.origin, str(self.size), _b64(self.root)]
        lines += [f"number {self.number}", f"prev {_b64(self.prev)}", f"at {self.at:.3f}"]
        lines += [f"chain {one.chain} {one.size} {_b64(one.hash)} {one.open_from}" for one in self.heads]
        return "".join(f"{line}\n" for line in lines)


def parse_checkpoint(note: str) -> Checkpoint:
    """Read a note; raises `ValueError` when it is not a checkpoint."""
    origin, size, root, *lines = note.partition("\n\n")[0].split("\n")
    number, prev, at = (line.partition(" ") for line in lines[:3])
    if (number[0], prev[0], at[0]) != ("number", "prev", "at"):
        raise ValueError("lines are missing")
    heads: list[Head] = []
    for line in lines[3:]:
        word, chain, length, digest, open_from = line.split(" ")
        if word != "chain":
            raise ValueError(f"`{word}` is not known")
        heads.append(Head(chain, int(length), _bytes(digest), int(open_from)))
    return Checkpoint(origin, int(size), _bytes(root), int(number[2]), _bytes(prev[2]), float(at[2]), tuple(heads))


def note_hash(note: str) -> bytes:
    """Give the SHA-256 of a note as it stands in the file, signature lines included."""
    return hashlib.sha256(note.encode()).digest()


def root_of(heads: Iterable[Head]) -> bytes:
    """Give the Merkle tree hash (RFC 6962, 2.1) over `chain size hash` of every chain, in the order of their names."""
    ordered = sorted(heads, key=lambda head: head.chain)
    level = [hashlib.sha256(f"\0{one.chain} {one.size} {_b64(one.hash)}".encode()).digest() for one in ordered]
    while len(level) > 1:  # an odd one at the end moves up as it is, which gives the tree of the RFC
        pairs = [
            hashlib.sha256(b"\1" + left + right).digest() for left, right in zip(level[::2], level[1::2], strict=False)
        ]
        level = pairs + level[2 * len(pairs) :]
    return level[0] if level else hashlib.sha256().digest()


def read_notes(path: Path, offset: int = 0) -> Iterator[tuple[int, str]]:
    """Give each whole note of a file and the offset behind it; a note that is not finished is not given."""
    with path.open("rb") as file:
        file.seek(offset)
        kept: list[bytes] = []
        blanks = 0
        for line in file:
            offset += len(line)
            kept.append(line)
            blanks += line == b"\n"
            if blanks == 2:  # the first divides text and signatures, the second ends the note
                yield offset, b"".join(kept[:-1]).decode("utf-8", "replace")
                kept, blanks = [], 0


def note_files(directory: Path) -> list[Path]:
    """Give the files of a checkpoint folder, oldest first."""
    return sorted(directory.glob("*.notes"))


class Checkpoints:
    """Append checkpoints to one folder, which all processes of a host share. Not thread-safe; blocks on the disk."""

    def __init__(self, directory: Path, signer: Signer, anchor: Anchor | None = None, file_bytes: int = _FILE_BYTES):
        directory.mkdir(mode=0o700, exist_ok=True)
        self._directory = directory
        self._signer = signer
        self._anchor = anchor
        self._file_bytes = file_bytes
        self._file: Path | None = None
        self._seen = 0  # bytes of that file
        self._number = 0
        self._prev = bytes(32)
        self._heads: dict[str, Head] = {}
        self.anchor_error = ""

    def heads(self) -> dict[str, Head]:
        """Give the last checkpointed head of every chain."""
        with self._locked():
            self._read_others()
        return dict(self._heads)

    def write(self, heads: Sequence[Head], at: float, durable: bool = False) -> None:
        """Append a checkpoint that brings these chains up to date.

        A periodic one is not forced to the disk: the records it speaks of are there already, and losing it in a power
        cut only makes the unsigned end longer. Raises `OSError`; an anchor's `OSError` is kept in `anchor_error`.
        """
        with self._locked():
            self._read_others()
            self._heads.update({head.chain: head for head in heads})
            fresh = self._file is None or self._seen >= self._file_bytes
            everything = self._heads.values()
            said = Checkpoint(
                origin=self._signer.name,
                size=sum(one.size for one in everything),
                root=root_of(everything),
                number=self._number + 1,
                prev=self._prev,
                at=at,
                # the first of a file says all, so that who starts has to read one file only
                heads=tuple(sorted(everything, key=lambda one: one.chain) if fresh else heads),
            )
            note = self._signer.sign(said.text())
            self._append(note, fresh, durable)
        if self._anchor:
            try:
                self._anchor(note)
                self.anchor_error = ""
            except OSError as error:
                self.anchor_error = str(error)

    def _append(self, note: str, fresh: bool, durable: bool) -> None:
        path = self._directory / f"{self._number + 1:012d}.notes" if fresh or self._file is None else self._file
        data = f"{note}\n".encode()
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600), "ab", 0) as file:
            start = os.fstat(file.fileno()).st_size
            try:
                if file.write(data) != len(data):
                    raise OSError(errno.ENOSPC, "the disk took only a part of a checkpoint")
                if durable or fresh:
                    os.fdatasync(file.fileno())
            except OSError:
                os.ftruncate(file.fileno(), start)
                raise
        if fresh:
            sync_folder(self._directory)
        self._file, self._seen = path, start + len(data)
        self._number, self._prev = self._number + 1, note_hash(note)

    def _read_others(self) -> None:
        """Take in what other processes appended, and cut off a note that a dead one left unfinished.

        What this process saw already it does not unlearn: if the files say less than before, somebody took from them,
        and the next checkpoint will not fit to the one before it in the file.
        """
        newest = max(note_files(self._directory), default=None)
        if newest is None or (self._file is not None and newest.name < self._file.name):
            return
        if newest != self._file:
            self._file, self._seen = newest, 0
        for end, note in read_notes(newest, self._seen):
            self._seen = end
            try:
                said = parse_checkpoint(note)
            except ValueError:
                continue  # not ours; the check will tell
            if said.number > self._number:
                self._number, self._prev = said.number, note_hash(note)
                self._heads.update({head.chain: head for head in said.heads})
        if newest.stat().st_size > self._seen:
            os.truncate(newest, self._seen)

    @contextmanager
    def _locked(self) -> Generator[None]:
        with (self._directory / "lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def anchor_file(path: Path, directory: Path) -> Anchor:
    """Give an anchor that keeps the newest checkpoint of a folder in a file, best on another disk or host.

    It is replaced whole, and only by what continues it: an older backup that is started must not cover what the anchor
    has seen since, which is the one proof of what was lost. Then it raises `OSError`.
    """

    def keep(note: str) -> None:
        try:
            present = path.read_text("utf-8", "replace")
        except FileNotFoundError:
            present = ""
        if present.strip() and not _continues(note, present, directory):
            return
        spare = path.with_name(f".{path.name}.{os.getpid()}")
        spare.write_text(note, "utf-8")
        spare.replace(path)

    return keep


def _continues(note: str, present: str, directory: Path) -> bool:
    """Tell whether a note continues the present one, False where another process has put a newer one.

    Raises `OSError` where the present one is none of this log's.
    """
    try:
        seen = parse_checkpoint(present)
    except ValueError:
        raise OSError(f"what the anchor holds is no checkpoint, and it is left alone; {_MOVE}") from None
    said = parse_checkpoint(note)
    if said.prev == note_hash(present):
        return True
    named = [path for path in note_files(directory) if path.stem <= f"{seen.number:012d}"]
    if not any(one.strip() == present.strip() for path in named[-1:] for _, one in read_notes(path)):
        raise OSError(
            f"the anchor saw checkpoint {seen.number} of {seen.size} lines, which this log does not hold: it was set"
            f" back, as by starting an older backup. The anchor is left as it is: it proves what was lost; {_MOVE}"
        )
    return seen.number < said.number


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)
