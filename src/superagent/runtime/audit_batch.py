"""A batch of audit lines: what goes to the disk together, and who waits until it is there."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable

from superagent.core.audit import AuditRecord, decode_record
from superagent.core.problems import AuditUnavailable
from superagent.runtime.audit_chain import Mark

Waiter = asyncio.Future[None]


class Batch:
    """Lines that go to the disk together, and what becomes true when they are there."""

    __slots__ = ("bytes", "done", "headers", "lines", "marks", "waiters")

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.bytes = 0
        self.done = 0  # so many of the lines are on the disk
        self.headers: list[int] = []  # which lines begin a segment
        self.marks: list[Mark] = []
        self.waiters: list[tuple[int, Waiter, AuditRecord | None]] = []  # who waits for which line

    def lost(self) -> list[AuditRecord]:
        """Give the records that did not get to the disk and that nobody waits for."""
        skip = {index for index, _, record in self.waiters if record}.union(self.headers)
        kept = (line for index, line in enumerate(self.lines) if index >= self.done and index not in skip)
        return [decode_record(line[:-66]) for line in kept]


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
