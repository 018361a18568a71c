"""A search in the audit index: which rows fit, newest first, page by page."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Row, Table, tuple_

from superagent.core.problems import InvalidInput
from superagent.data.transaction import Transaction
from superagent.runtime.audit_tables import RECORDS, RESOURCES

Key = tuple[float, int]
"""Where a record stands in the order of pages: its time, and its number among those of the same time."""

_CURSOR = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,20})?)-([0-9]{1,18})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Search:
    """What is searched for, within a tenant; None for anything."""

    tenant: str
    actor: str | None = None
    operation: str | None = None
    resource: str | None = None
    invocation: str | None = None
    since: float | None = None
    until: float | None = None

    @property
    def picks(self) -> bool:
        """Tell whether rows are picked from what an index gives, so that more must be asked for than are wanted."""
        return bool(self.resource and (self.actor or self.operation or self.invocation))

    def page(self, tx: Transaction, below: Key | None, most: int) -> tuple[list[Key], list[Row[Any]], bool]:
        """Give up to so many keys below one, the rows of those that fit, and whether more keys may follow."""
        if self.resource:
            where = _beginning(RESOURCES.c.resource, self.resource[:1024])
            found = _keys(tx, RESOURCES, [*where, *self._times(RESOURCES)], below, most)
        elif self.actor:  # two ranges of two indexes; asked for together, the database would sort all of both
            found = [
                *_keys(tx, RECORDS, [RECORDS.c.who == self.actor, *self._common()], below, most),
                *_keys(tx, RECORDS, [RECORDS.c.human == self.actor, *self._common()], below, most),
            ]
        else:
            found = _keys(tx, RECORDS, self._common(), below, most)
        keys = sorted(set(found), reverse=True)[:most]
        where = [RECORDS.c.number.in_([number for _, number in keys]), *self._common()]
        if self.actor:
            where.append((RECORDS.c.who == self.actor) | (RECORDS.c.human == self.actor))
        rows = sorted(tx.select(RECORDS, *where), key=lambda row: (row.at, row.number), reverse=True) if keys else []
        return keys, rows, len(found) >= most

    def _common(self) -> list[ColumnElement[bool]]:
        where = self._times(RECORDS)
        if self.operation and self.operation.endswith("*"):
            where += _beginning(RECORDS.c.operation, self.operation[:-1])
        elif self.operation:
            where.append(RECORDS.c.operation == self.operation)
        if self.invocation:
            where.append(RECORDS.c.invocation == self.invocation)
        return where

    def _times(self, table: Table) -> list[ColumnElement[bool]]:
        where: list[ColumnElement[bool]] = []
        if self.since is not None:
            where.append(table.c.at >= self.since)
        if self.until is not None:
            where.append(table.c.at < self.until)
        return where


def parse_cursor(cursor: str | None) -> Key | None:
    """Read a cursor; raises `InvalidInput` for one that `write_cursor` did not give."""
    if cursor is None:
        return None
    found = _CURSOR.fullmatch(cursor)
    if not found:
        raise InvalidInput("the cursor is not one that an earlier page gave", hint="ask for the first page again")
    return float(found[1]), int(found[2])


def write_cursor(key: Key) -> str:
    """Give the text that asks for what comes after this key."""
    return f"{key[0]!r}-{key[1]}"


def _keys(
    tx: Transaction, table: Table, where: Sequence[ColumnElement[bool]], below: Key | None, most: int
) -> list[Key]:
    at, number = table.c.at, table.c.number
    rest = [] if below is None else [at <= below[0], tuple_(at, number) < tuple_(*below)]
    rows = tx.select(table, *where, *rest, columns=[at, number], order=[at.desc(), number.desc()], limit=most)
    return [(row.at, row.number) for row in rows]


def _beginning(column: ColumnElement[str], beginning: str) -> list[ColumnElement[bool]]:
    """Ask for values that begin so: a range, which an index can answer, and no pattern, which a caller could steer."""
    return [column >= beginning, column < beginning + "\U0010ffff"] if beginning else []
