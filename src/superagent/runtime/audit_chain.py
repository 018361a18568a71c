"""One audit chain on the disk: its segments, its open intents and its checkpoints. Blocks; one thread at a time."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from pathlib import Path
from time import monotonic

from superagent.core.audit import FORMAT, AuditRecord, Chain, SegmentHeader, encode, encode_any
from superagent.runtime import audit_segment as files
from superagent.runtime.audit_recovery import dead_chains, unknown
from superagent.runtime.audit_segment import Segment
from superagent.runtime.checkpoints import Checkpoints, Head

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")


class ChainOnDisk:
    """Write one chain. `at` is how far it is known to be on the disk; every method may raise `OSError`.

    After an error nothing is lost but what was being written: `mend` cuts that off and goes on in a new segment.
    """

    def __init__(
        self,
        directory: Path,
        names: tuple[str, str, str],
        clock: Callable[[], float],
        checkpoints: Checkpoints,
        checkpoint_s: float,
        segment_bytes: int,
        reserve_bytes: int,
    ) -> None:
        self.name = "-".join(names)
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"`{self.name}` cannot name a chain: letters, digits, `.`, `_` and `-` only")
        self.at = Chain()
        self.open: dict[str, int] = {}  # intents on the disk without an outcome there, oldest first
        self.unsigned = 0
        self.sign_at = 0.0  # monotonic: when the next checkpoint is due, and when the last was made
        self.signed_at = 0.0
        self._directory = directory
        self._folder = directory / self.name
        self._names = names
        self._clock = clock
        self._checkpoints = checkpoints
        self._checkpoint_s = checkpoint_s
        self._segment_bytes = segment_bytes
        self._reserve_bytes = reserve_bytes
        self._told = False

    def begin(self) -> tuple[AuditRecord, ...]:
        """Make the chain, and bring those of dead processes to an end; gives the intents that they left open."""
        with files.starting(self._directory):
            self._folder.mkdir(mode=0o700)
            self._lock = files.hold(self._folder, make=True)
            self._segment = self._fresh_segment("")
            files.set_aside(self._folder, self._reserve_bytes)
            self.sign(durable=True)  # known before its first record, so that nobody can slip a chain in
            return self._recover()

    def header(self, line: Chain, after: str = "") -> bytes:
        """Give the first line of the segment that goes on from here; `after` says what trouble made it necessary."""
        node, worker, epoch = self._names
        prev, at = line.head.hex(), self._clock()
        head = SegmentHeader(
            kind="segment",
            format=FORMAT,
            chain=self.name,
            node=node,
            worker=worker,
            epoch=epoch,
            at=at,
            prev=prev,
            after=after,
        )
        return line.append(encode_any(head))

    def append(self, bodies: Sequence[bytes], begin: int = 0) -> int:
        """Bring records to the disk, from one of them on to as many as the segment has room for; gives where it ended.

        A segment that is full is followed by the next; the last record brought has the number `at.seq`.
        """
        if begin >= len(bodies):
            return begin
        line, lines = Chain(self.at.seq, self.at.head), list[bytes]()
        if self._segment.size >= self._segment_bytes:
            segment = Segment.create(self._folder, line.seq + 1)
            self._segment.close()
            self._segment = segment
            lines.append(self.header(line))
        room = max(1, self._segment_bytes - self._segment.size)  # a header may have filled it: one record at least
        more, count = line.lines(islice(bodies, begin, None), room)
        self._segment.append(b"".join(lines + more))
        self._moved(line)
        return begin + count

    def settle(self, seq: int, invocation: str, *, opens: bool) -> None:
        """Take in that the line of this number, which is on the disk now, opened or ended an intent."""
        if opens:
            self.open[invocation] = seq
        else:
            self.open.pop(invocation, None)

    def is_due(self, records: int, least_s: float) -> bool:
        """Tell whether a checkpoint is due: by its time, or after so many records, if the last was so long ago."""
        if not self.unsigned:
            return False
        now = monotonic()
        return now >= self.sign_at or (self.unsigned >= records and now >= self.signed_at + least_s)

    def sign(self, durable: bool = False) -> None:
        """Write a checkpoint of this chain."""
        self._checkpoints.write([self._head()], self._clock(), durable)
        self.unsigned, self.signed_at = 0, monotonic()

    def mend(self, why: str) -> None:
        """Make the chain fit to be written again after an error; raises `OSError` while the disk is not right.

        What failed is told first, in blocks that were set aside for it; only when as much could be set aside again is
        the disk believed.
        """
        self._segment.cut()
        if not self._told:
            failing = AuditRecord(
                kind="event", at=self._clock(), tenant="system", operation="audit.failing", detail={"why": why}
            )
            segment = self._fresh_segment(why, failing)
            self._segment.close()
            self._segment = segment
            self._told = True
        files.set_aside(self._folder, self._reserve_bytes)

    def mended(self, owed: Sequence[AuditRecord]) -> None:
        """Write what is owed since the error, and that it is over."""
        numbers = self._write(
            [*owed, AuditRecord(kind="event", at=self._clock(), tenant="system", operation="audit.recovered")]
        )
        for seq, one in zip(numbers, owed, strict=False):
            if one.kind in ("intent", "outcome"):
                self.settle(seq, one.invocation, opens=one.kind == "intent")
        self._told = False

    def end(self) -> None:
        """Sign the last line and give up the lock; intents still open are left to the next process to start."""
        self.sign(durable=True)
        self._segment.close()
        if self.open:
            self.abandon()
        else:
            assert self._lock
            files.end(self._folder, self._lock)

    def abandon(self) -> None:
        """Give up the chain as it is; the next process to start recovers it."""
        assert self._lock
        self._lock.close()

    def _fresh_segment(self, after: str, *records: AuditRecord) -> Segment:
        """Begin a segment with its header and these records, in the reserve if there is one."""
        line = Chain(self.at.seq, self.at.head)
        data = b"".join([self.header(line, after), *(line.append(encode(one)) for one in records)])
        try:
            segment = Segment.from_reserve(self._folder, self.at.seq + 1, data)
        except OSError:
            segment = Segment.create(self._folder, self.at.seq + 1)
            try:
                segment.append(data)
            except OSError:
                segment.close()
                raise
        self._moved(line)
        return segment

    def _write(self, records: Iterable[AuditRecord]) -> list[int]:
        """Bring all of these records to the disk; gives their numbers."""
        bodies, numbers = [encode(one) for one in records], list[int]()
        while len(numbers) < len(bodies):
            count = self.append(bodies, len(numbers)) - len(numbers)
            numbers += range(self.at.seq - count + 1, self.at.seq + 1)
        return numbers

    def _moved(self, at: Chain) -> None:
        if not self.unsigned:
            self.sign_at = monotonic() + self._checkpoint_s
        self.unsigned += at.seq - self.at.seq
        self.at = at

    def _head(self) -> Head:
        return Head(self.name, self.at.seq, self.at.head, next(iter(self.open.values()), self.at.seq + 1))

    def _recover(self) -> tuple[AuditRecord, ...]:
        dead = dead_chains(self._directory, self._checkpoints.heads(), own=self._folder)
        if not dead:
            return ()
        answered = {invocation for one in dead for invocation in one.answered}
        now = self._clock()
        unfinished = [
            (record, unknown(record, now, one.folder.name, seq))
            for one in dead
            for invocation, (seq, record) in one.intents.items()
            if invocation not in answered
        ]
        self._write([one.event(now) for one in dead])
        self._write([outcome for _, outcome in unfinished])
        self._checkpoints.write([self._head(), *(one.head for one in dead if one.head)], now, durable=True)
        self.unsigned = 0
        for one in dead:
            files.end(one.folder, one.lock)
        return tuple(record for record, _ in unfinished)
