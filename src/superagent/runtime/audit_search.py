"""A search in the audit: which blocks may hold what is searched for, newest first, and which records fit."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, select, tuple_

from superagent.core.problems import InvalidInput
from superagent.data.dialect import holds
from superagent.data.transaction import Transaction
from superagent.runtime.audit_block import ON_TIME_S, Block, Found, tenant_of, time_in, written
from superagent.runtime.audit_rows import STANDS, block_of
from superagent.runtime.audit_tables import BLOCKS, STRAYS

Key = tuple[float, int]
"""Where a record stands in the order of pages: its time, and its number among those of the same time."""

LAST_NUMBER = 10**18 - 1
_MARGIN_S = 1.0
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

    def fits(self, found: Found) -> bool:
        """Tell whether a record is one of those."""
        return (
            tenant_of(found) == self.tenant
            and (not self.invocation or found.invocation == self.invocation)
            and (not self.actor or self.actor in (found.who, found.human))
            and (not self.operation or self._is_operation(found.operation))
            and (self.since is None or found.at >= self.since)
            and (self.until is None or found.at < self.until)
            and (not self.resource or any(name.startswith(self.resource) for name, _ in found.resources))
        )

    def needles(self) -> list[bytes]:
        """Give what stands in the line of every record that fits, the rarest first."""
        found = [f'"{written(self.invocation)}"'] if self.invocation else []
        found += [f'"{written(self.resource)}'] if self.resource else []
        found += [f'"{written(self.actor)}"'] if self.actor else []
        if self.operation and self.operation != "*":
            found.append(f'"{_named(self.operation)}')
        return [one.encode() for one in found]

    def where(self) -> list[ColumnElement[bool]]:
        """Give what is true of a block's row if a record in it fits."""
        block = BLOCKS.c
        where: list[ColumnElement[bool]] = []
        if self.since is not None:
            where.append(block.newest >= self.since)
        if self.until is not None:
            where.append(block.oldest < self.until)
        if self.actor:
            where.append(holds(block.actors, f"\n{written(self.actor)}\n"))
        if self.operation and self.operation != "*":
            where.append(holds(block.operations, f"\n{_named(self.operation, end=chr(10))}"))
        if self.invocation and (at := time_in(self.invocation)) is not None:
            slack = ON_TIME_S + _MARGIN_S
            near = (block.newest >= at - slack) & (block.oldest <= at + slack)
            strayed = select(STRAYS.c.number).where(
                STRAYS.c.tenant == self.tenant, STRAYS.c.invocation == self.invocation
            )
            where.append(near | block.number.in_(strayed))
        if self.resource:
            where.append(holds(block.resources, f"\n{written(self.resource)}"))
        return where

    def _is_operation(self, name: str) -> bool:
        assert self.operation
        return name.startswith(self.operation[:-1]) if self.operation.endswith("*") else name == self.operation


def blocks(
    tx: Transaction, where: Sequence[ColumnElement[bool]], below: Key | None, after: Block | None, most: int
) -> list[Block]:
    """Give up to so many blocks with records below a key, those with the newest first, behind the block `after`."""
    newest, number = BLOCKS.c.newest, BLOCKS.c.number
    rest: list[ColumnElement[bool]] = [] if below is None else [BLOCKS.c.oldest <= below[0]]
    if after is not None:
        rest += [newest <= after.newest, tuple_(newest, number) < tuple_(after.newest, after.number)]
    order = [newest.desc(), number.desc()]
    return [block_of(row) for row in tx.select(BLOCKS, *where, *rest, columns=STANDS, order=order, limit=most)]


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


def _named(operation: str, end: str = '"') -> str:
    return written(operation[:-1]) if operation.endswith("*") else written(operation) + end
