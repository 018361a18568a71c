"""A batch of audit records: what goes to the disk together, and who waits until it is there."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable

from superagent.core.audit import AuditRecord, decode_record
from superagent.core.problems import AuditUnavailable

Waiter = asyncio.Future[None]


Mark = tuple[int, str, bool]
"""Which record of a batch, its invocation, and whether it is an intent (else the outcome of one)."""


class Batch:
    """Records that go to the disk together, and what becomes true when they are there."""

    __slots__ = ("bodies", "bytes", "done", "marks", "waiters")

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.bytes = 0
        self.done = 0  # so many of them are on the disk
        self.marks: list[Mark] = []
        self.waiters: list[tuple[int, Waiter, AuditRecord | None]] = []  # who waits for which of them

    def add(self, body: bytes) -> int:
        """Take a record's JSON text; gives which of the batch it is."""
        self.bodies.append(body)
        self.bytes += len(body)
        return len(self.bodies) - 1

    def lost(self) -> list[AuditRecord]:
        """Give the records that did not get to the disk and that nobody waits for."""
        skip = {index for index, _, record in self.waiters if record}
        kept = (body for index, body in enumerate(self.bodies) if index >= self.done and index not in skip)
        return [decode_record(body) for body in kept]


def release(waiters: Iterable[Waiter], why: str = "") -> None:
    """Let those go who wait, each in the event loop it waits in; with a reason they are refused."""
    loops: dict[asyncio.AbstractEventLoop, list[Waiter]] = {}
    for waiter in waiters:
        loops.setdefault(waiter.get_loop(), []).append(waiter)
    for loop, own in loops.items():
        with contextlib.suppress(RuntimeError):  # a loop that has ended: nobody waits there any more
            loop.call_soon_threadsafe(_answer, own, why)


def _answer(waiters: list[Waiter], why: str) -> None:
    for waiter in waiters:
        if waiter.done():
            continue
        if why:
            waiter.set_exception(AuditUnavailable(f"the audit log cannot take the record: {why}"))
        else:
            waiter.set_result(None)
