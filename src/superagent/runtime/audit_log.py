"""The audit log: records become lines of this process's own chain, many with one disk write, or nothing is done.

`note` and `durable` take records in the order in which they come; a writer thread numbers and hashes what has gathered
and brings it to the disk with one fdatasync (group commit), while the next batch gathers. When the disk fails, or does
not answer, the log refuses.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

import msgspec

from superagent.core.audit import AuditRecord, clean, encode
from superagent.core.problems import AuditUnavailable
from superagent.runtime.audit_batch import Batch, Waiter, release
from superagent.runtime.audit_chain import ChainOnDisk
from superagent.runtime.checkpoints import Anchor, Checkpoints
from superagent.runtime.key_files import private_folder
from superagent.runtime.signed_notes import Signer

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class AuditLimits:
    """What bounds the log. `linger_s` is how long a batch that nobody waits for may gather: the stated loss window.

    A checkpoint is due `checkpoint_s` after the first record without one, or after `checkpoint_records`; the latter not
    more often than each `checkpoint_least_s`.
    """

    segment_bytes: int = 32 * 1024 * 1024
    buffer_records: int = 65_536
    buffer_bytes: int = 32 * 1024 * 1024
    reserve_bytes: int = 1024 * 1024
    stuck_s: float = 5.0
    linger_s: float = 0.05
    checkpoint_s: float = 10.0
    checkpoint_records: int = 1000
    checkpoint_least_s: float = 1.0
    retry_s: float = 1.0


class AuditLog:
    """Keep this process's chain of audit records. `node`, `worker` and `epoch` (a ULID) make its name.

    `clock` gives epoch seconds. `note` may be called from any thread, `durable` from any event loop.
    """

    def __init__(
        self,
        directory: Path,
        signer: Signer,
        clock: Callable[[], float],
        *,
        node: str,
        worker: str,
        epoch: str,
        limits: AuditLimits | None = None,
        anchor: Anchor | None = None,
    ) -> None:
        self._limits = limits = limits or AuditLimits()
        self._clock = clock
        self._checkpoints = Checkpoints(private_folder(directory) / "checkpoints", signer, anchor)
        self._disk = ChainOnDisk(
            directory,
            (node, worker, epoch),
            clock,
            self._checkpoints,
            limits.checkpoint_s,
            limits.segment_bytes,
            limits.reserve_bytes,
        )
        self._lock = threading.Lock()  # guards all that follows
        self._batch, self._flying = Batch(), Batch()  # what gathers, and what is on its way to the disk
        self._owed: list[AuditRecord] = []
        self._announced: set[str] = set()  # invocations whose intent was taken and whose outcome was not yet
        self._down: str | None = "it was not started"
        self._stuck = self._closing = self._awake = False
        self._busy_since: float | None = None
        self._wake, self._urgent = threading.Event(), threading.Event()
        self._watches: dict[asyncio.AbstractEventLoop, asyncio.TimerHandle] = {}
        self._unfinished: tuple[AuditRecord, ...] = ()
        self._thread = threading.Thread(target=self._run, name="audit-writer", daemon=True)

    # --- for callers ---------------------------------------------------------------------------------------------

    def note(self, record: AuditRecord) -> None:
        """Take a record that rides the next batch. Raises `AuditUnavailable` when the log cannot take it."""
        body = encode(clean(record) if record.detail else record)
        with self._lock:
            self._add(record, body)
        if not self._awake:
            self._awake = True
            self._wake.set()

    def note_text(self, text: bytes) -> None:
        """Take the text of an outcome that no intent announced; otherwise as `note`."""
        with self._lock:
            if self._refuses():
                raise AuditUnavailable(f"the audit log takes no records: {self.trouble or 'its buffer is full'}")
            self._batch.bodies.append(text)
            self._batch.bytes += len(text)
        if not self._awake:
            self._awake = True
            self._wake.set()

    async def durable(self, record: AuditRecord) -> None:
        """Take a record and return when it is on the disk.

        Raises `AuditUnavailable` when it cannot be, or not within `stuck_s`. When that happens to an intent, or the
        wait is cancelled, what it announced must not be done; an outcome that says so follows it wherever it gets to.
        """
        loop = asyncio.get_running_loop()
        waiter: Waiter = loop.create_future()
        body = encode(clean(record))
        with self._lock:
            self._add(record, body)
            if self._down is not None:
                raise AuditUnavailable(f"the audit log cannot take the record yet: {self._down}")
            self._batch.waiters.append((len(self._batch.bodies) - 1, waiter, record))
        self._urgent.set()
        if not self._awake:
            self._awake = True
            self._wake.set()
        if loop not in self._watches:
            self._watches[loop] = loop.call_later(self._limits.stuck_s, self._look, loop)
        try:
            await waiter
        except asyncio.CancelledError:
            with self._lock:
                self._take_back(record, "cancelled", "cancelled")
            raise

    async def flush(self) -> None:
        """Return when all that was taken until now is on the disk, or when it cannot be within `stuck_s`."""
        waiter: Waiter = asyncio.get_running_loop().create_future()
        with self._lock:
            batch = self._batch if self._batch.bodies else self._flying
            if self._down is not None or not batch.bodies or (batch is self._flying and self._busy_since is None):
                return
            batch.waiters.append((len(batch.bodies) - 1, waiter, None))
            self._urgent.set()
        with contextlib.suppress(AuditUnavailable, TimeoutError):
            await asyncio.wait_for(waiter, self._limits.stuck_s)

    async def sign(self) -> None:
        """Return when a checkpoint speaks of all that was taken until now, or when it cannot within `stuck_s`."""
        await self.flush()
        began, disk = monotonic(), self._disk
        while self._down is None and disk.unsigned and disk.signed_at < began:
            if monotonic() > began + self._limits.stuck_s:
                return
            disk.sign_at = 0.0
            self._awake = True
            self._urgent.set()
            self._wake.set()
            await asyncio.sleep(0.01)

    @property
    def trouble(self) -> str:
        """Give why the log takes no records, empty when it does."""
        since = self._busy_since
        if self._down is not None:
            return self._down
        late = since is not None and monotonic() - since > self._limits.stuck_s
        return "the disk does not answer" if self._stuck or late else ""

    @property
    def healthy(self) -> bool:
        """Tell whether the log takes records; `trouble` says why not."""
        return not self.trouble

    @property
    def anchor_trouble(self) -> str:
        """Give why the last checkpoint did not reach its anchor outside, empty when it did or there is none."""
        return self._checkpoints.anchor_error

    def unfinished(self) -> tuple[AuditRecord, ...]:
        """Give the intents that dead processes left without an outcome; `start` recorded each as `unknown`."""
        return self._unfinished

    def start(self) -> None:
        """Begin the chain, recover those of dead processes, and take records from now on. Blocks on the disk.

        Raises `AuditUnavailable` when the folder cannot be written.
        """
        try:
            self._unfinished = self._disk.begin()
        except OSError as error:
            raise AuditUnavailable(f"the audit log cannot be started: {error}") from error
        self._down = None
        self._thread.start()

    async def close(self) -> None:
        """Write what is left, sign it, and end the chain in order. Does nothing when it is not running.

        Raises `AuditUnavailable` when the last records could not be written; the next start then recovers the chain.
        """
        if not self._end():
            return
        await asyncio.to_thread(self._thread.join)
        for watch in self._watches.values():
            watch.cancel()
        lost, self._down = self._down, "it is closed"
        if lost is not None:
            self._disk.abandon()
            raise AuditUnavailable(f"the last records could not be written: {lost}", changed="unknown")

    def cut_off(self, last: AuditRecord, within_s: float) -> None:
        """Write what is left and a last record, and end the chain, from any thread of a process that must exit now.

        Blocks for so many seconds at most. Intents that are still open are left to the next process to start.
        """
        with contextlib.suppress(AuditUnavailable):
            self.note(last)
        self._end()
        if self._thread.ident:
            self._thread.join(within_s)

    def _end(self) -> bool:
        """Let the writer end after what it has taken; False when it was told so already, or never ran."""
        with self._lock:
            if self._closing or not self._thread.ident:
                return False
            self._closing = True
        self._urgent.set()
        self._wake.set()
        return True

    # --- taking records, under the lock --------------------------------------------------------------------------

    def _refuses(self) -> bool:
        batch, limits = self._batch, self._limits
        return (
            self._down is not None
            or self._stuck
            or self._closing
            or len(batch.bodies) >= limits.buffer_records
            or batch.bytes >= limits.buffer_bytes
        )

    def _add(self, record: AuditRecord, body: bytes) -> None:
        if self._refuses():
            # the effect of an intent on the disk is there already, so its outcome is taken as long as anybody can
            if self._closing or record.kind != "outcome" or record.invocation not in self._disk.open:
                raise AuditUnavailable(f"the audit log takes no records: {self.trouble or 'its buffer is full'}")
            if self._down is not None:
                self._owed.append(record)
                return
        self._append(record, body)

    def _append(self, record: AuditRecord, body: bytes) -> None:
        at = self._batch.add(body)
        if record.kind == "intent":
            self._announced.add(record.invocation)
            self._batch.marks.append((at, record.invocation, True))
        elif record.kind == "outcome" and record.invocation in self._announced:
            self._announced.discard(record.invocation)
            self._batch.marks.append((at, record.invocation, False))

    def _take_back(self, intent: AuditRecord, status: str, problem: str) -> None:
        """Say behind an intent, whether or not it gets to the disk, that it was not followed."""
        if intent.kind != "intent":
            return
        outcome = msgspec.structs.replace(
            intent, kind="outcome", at=self._clock(), status=status, problem=problem, changed="nothing"
        )
        if self._down is None:
            self._append(outcome, encode(clean(outcome)))
            self._wake.set()
        elif intent.invocation in self._disk.open:  # else it was dropped with the batch that failed
            self._owed.append(outcome)
        else:
            self._announced.discard(intent.invocation)

    # --- the event loop's watch over the writer ------------------------------------------------------------------

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        """Refuse all who wait when the disk has not answered for `stuck_s`; else look again while somebody waits."""
        del self._watches[loop]
        with self._lock:
            waiting = self._flying.waiters + self._batch.waiters
            if not waiting:
                return
            left = self._limits.stuck_s - (monotonic() - self._busy_since if self._busy_since is not None else 0.0)
            if left > 0:
                self._watches[loop] = loop.call_later(left, self._look, loop)
                return
            self._stuck = True
            self._flying.waiters, self._batch.waiters = [], []
            for _, _, record in waiting:
                if record:
                    self._take_back(record, "failed", AuditUnavailable.slug)
        release([waiter for _, waiter, _ in waiting], "the disk does not answer")

    # --- the writer thread ---------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while True:
                self._rest()
                closing = self._closing  # looked at before the batch is taken: what came before it is in the batch
                if self._down is not None:
                    self._mend()
                if self._down is None:
                    self._write(self._take())
                if closing:
                    break
            if self._down is None:
                self._disk.end()
        except BaseException as error:
            _log.exception("the audit writer failed")
            self._fall(f"its writer failed: {error!r}")

    def _rest(self) -> None:
        """Wait until there is something to do."""
        # while records come, this thread looks by itself: each wake-up of it is a struggle with the event loop's thread
        # for the interpreter, and costs more than the records of the time
        if self._down is not None:
            self._urgent.wait(self._limits.retry_s)
        elif self._awake:
            self._urgent.wait(self._limits.linger_s)
        elif self._wake.wait(max(0.0, self._disk.sign_at - monotonic()) if self._disk.unsigned else None):
            self._urgent.wait(self._limits.linger_s)  # nobody waits yet: let more gather

    def _take(self) -> Batch:
        with self._lock:
            self._flying, self._batch = self._batch, Batch()
            self._urgent.clear()
            if not self._flying.bodies:
                self._awake = False
                self._wake.clear()
            self._busy_since = monotonic()
            return self._flying

    def _write(self, batch: Batch) -> None:
        try:
            while batch.done < len(batch.bodies):
                self._bring(batch)
            with self._lock:
                waiters, batch.waiters = batch.waiters, []
                self._busy_since, self._stuck = None, False
            release([waiter for _, waiter, _ in waiters])
            if self._disk.is_due(self._limits.checkpoint_records, self._limits.checkpoint_least_s):
                self._disk.sign()
        except OSError as error:
            self._fall(error.strerror or str(error))

    def _bring(self, batch: Batch) -> None:
        """Bring a batch to the disk, or as much of it as one segment takes."""
        begin, end = batch.done, self._disk.append(batch.bodies, batch.done)
        first = self._disk.at.seq - (end - begin) + 1
        for at, invocation, opens in batch.marks:
            if begin <= at < end:
                self._disk.settle(first + at - begin, invocation, opens=opens)
        batch.done = end

    def _fall(self, why: str) -> None:
        """Refuse from now on: drop what somebody waits for, keep the rest for when the disk is right again."""
        with self._lock:
            batches = self._flying, self._batch
            self._batch = Batch()
            self._flying = Batch()
            self._owed += [record for batch in batches for record in batch.lost()]
            refused = [(waiter, index < batch.done) for batch in batches for index, waiter, _ in batch.waiters]
            self._announced.difference_update(
                record.invocation
                for batch in batches
                for index, _, record in batch.waiters
                if record and index >= batch.done
            )
            self._down, self._busy_since, self._stuck = why, None, False
            self._urgent.clear()
        release([waiter for waiter, done in refused if done])
        release([waiter for waiter, done in refused if not done], why)

    def _mend(self) -> None:
        why = self._down or ""
        try:
            self._disk.mend(why)
            with self._lock:
                owed = list(self._owed)
            self._disk.mended(owed)
        except OSError as error:
            self._down = error.strerror or str(error)
            return
        with self._lock:
            self._down = None
            late, self._owed = self._owed[len(owed) :], []
            for record in late:
                self._append(record, encode(record))
