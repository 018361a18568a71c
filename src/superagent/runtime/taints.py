"""Taints: the marks of an installation in SQL, seen by every worker at its next look."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from hashlib import sha256
from pathlib import Path

import msgspec
from sqlalchemy import Column, Double, Index, Row, String, Text

from superagent.core.changes import Keep, unkept
from superagent.core.resources import beneath
from superagent.core.taint import Mark
from superagent.data.areas import Area
from superagent.data.database import Database
from superagent.data.transaction import InstanceTransaction, Transaction
from superagent.runtime.shared_map import Epoch

MOST_CACHED = 20_000
TASK_S = 7 * 86_400.0
PLACE = "place:"

AREA = Area("taint", "taint_0001", Path(__file__).parent / "migrations" / "versions")
MARKS = AREA.table(
    "taint_marks",
    Column("id", String(64), primary_key=True),  # SHA-256 of the subject, which may be a long path
    Column("kind", String(8), nullable=False),  # caller, task, place
    Column("subject", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("session", Text, nullable=False),
    Column("invocation", String(26), nullable=False),
    Column("at", Double, nullable=False),
    Index(None, "tenant", "kind"),
)


class SqlTaints:
    """Fill the port `Taints`. What was looked up holds until the epoch moves; it moves with every change."""

    def __init__(self, database: Database, epoch: Epoch, now: Callable[[], float]) -> None:
        self._database = database
        self._now = now
        self._epoch = epoch
        self._seen = -1
        self._marks: dict[tuple[str, str], Mark | None] = {}
        self._places: dict[str, list[Mark]] = {}

    def of(self, tenant: str, subjects: Iterable[str]) -> Mark | None:
        """Give the mark of one of these, None when all are clean."""
        self._follow()
        for subject in subjects:
            place = (tenant, subject)
            if place not in self._marks:
                if len(self._marks) >= MOST_CACHED:
                    self._marks.clear()
                self._marks[place] = self._database.read_now(tenant, lambda tx, named=subject: _get(tx, named))
            if (found := self._marks[place]) is not None:
                return found
        return None

    def left_in(self, tenant: str, folder: str) -> Mark | None:
        """Give the mark of a place that lies in a folder or contains it."""
        self._follow()
        places = self._places.get(tenant)
        if places is None:
            rows = self._database.read_now(tenant, lambda tx: tx.select(MARKS, MARKS.c.kind == "place"))
            places = self._places[tenant] = [_mark(row) for row in rows]
        for mark in places:
            place = mark.subject.removeprefix(PLACE)
            if beneath(place, folder) or beneath(folder, place):
                return mark
        return None

    async def add(self, tenant: str, marks: Iterable[Mark]) -> list[Mark]:
        """Mark those that are clean, durable and seen by every worker on return; gives the new ones."""
        wanted = list(marks)

        def write(tx: Transaction) -> list[Mark]:
            return [one for one in wanted if tx.insert_new(MARKS, **_row(one))]

        new = await self._database.write(tenant, write)
        self._epoch.bump()
        return new

    async def clear(self, tenant: str, subject: str, keep: Keep = unkept) -> Mark | None:
        """Take a mark away, everywhere at once; gives what it said."""

        def write(tx: Transaction) -> Mark | None:
            found = _get(tx, subject)
            tx.delete(MARKS, MARKS.c.id == _id(subject))
            if found is not None:
                keep(tx, subject, msgspec.structs.asdict(found))
            return found

        gone = await self._database.write(tenant, write)
        self._epoch.bump()
        return gone

    async def listed(self, tenant: str) -> list[Mark]:
        """Give the marks of a tenant, newest first."""
        rows = await self._database.read(tenant, lambda tx: tx.select(MARKS, order=[MARKS.c.at.desc()]))
        return [_mark(row) for row in rows]

    async def sweep(self) -> int:
        """Forget the marks of tasks whose process died before they could end."""
        before = self._now() - TASK_S

        def write(tx: InstanceTransaction) -> int:
            return tx.delete(MARKS, MARKS.c.kind == "task", MARKS.c.at < before)

        return await self._database.write_instance(write)

    def _follow(self) -> None:
        epoch = self._epoch.read()
        if epoch != self._seen:
            self._marks.clear()
            self._places.clear()
            self._seen = epoch


def _id(subject: str) -> str:
    return sha256(subject.encode("utf-8", "surrogateescape")).hexdigest()


def _row(mark: Mark) -> dict[str, object]:
    return {
        "id": _id(mark.subject), "kind": mark.subject.partition(":")[0], "subject": mark.subject,
        "source": mark.source, "session": mark.session, "invocation": mark.invocation, "at": mark.at,
    }  # fmt: skip


def _mark(row: Row[tuple[object, ...]]) -> Mark:
    return Mark(row.subject, row.source, row.at, row.invocation, row.session)


def _get(tx: Transaction, subject: str) -> Mark | None:
    row = tx.first(MARKS, MARKS.c.id == _id(subject))
    return None if row is None else _mark(row)
