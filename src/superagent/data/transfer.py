"""Transfer: bring every row of one database into another, and prove that nothing was lost on the way."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import Column, Connection, MetaData, Row, String, Table, func, select
from sqlalchemy.types import TypeEngine

from superagent.data.dialect import POSTGRESQL

_AT_ONCE = 500
_MOST = 1 << 256


@dataclass(frozen=True, slots=True)
class Extent:
    """How many rows a table has, and a digest of them in which their order plays no part."""

    rows: int
    digest: str


def copy_all(source: Connection, target: Connection) -> dict[str, Extent]:
    """Make the tables of one database in an empty one of whatever kind, and copy them; gives what each holds."""
    metadata = MetaData()
    metadata.reflect(source)
    for table in metadata.tables.values():
        table.indexes.clear()
        for column in table.columns:
            column.type, column.server_default = _plain(column.type), None
    metadata.create_all(target)
    return copy_rows(source, target, metadata.sorted_tables)


def copy_rows(source: Connection, target: Connection, tables: Iterable[Table]) -> dict[str, Extent]:
    """Copy the rows of these tables into empty ones; gives what each holds.

    Raises `ValueError` when a table reads otherwise in the target than it did in the source.
    """
    found: dict[str, Extent] = {}
    for table in tables:
        names = list(table.columns.keys())
        for rows in _batches(source, table):
            target.execute(table.insert(), [dict(zip(names, row, strict=True)) for row in rows])
        found[table.name] = extent(source, table)
        if extent(target, table) != found[table.name]:
            raise ValueError(f"the rows of `{table.name}` do not read the same in the new database")
        if target.dialect.name == POSTGRESQL:
            _count_on(target, table)
    return found


def _plain(kind: TypeEngine[Any]) -> TypeEngine[Any]:
    """Give a type that every database knows, without the order in which this one sorts it."""
    generic = kind.as_generic()
    if isinstance(generic, String):
        generic.collation = None
    return generic


def extent(connection: Connection, table: Table) -> Extent:
    """Count the rows of a table and digest them: the sum of the SHA-256 of each."""
    count, total = 0, 0
    for rows in _batches(connection, table):
        count += len(rows)
        for row in rows:
            total += int.from_bytes(hashlib.sha256(msgspec.msgpack.encode(tuple(row))).digest(), "big")
    return Extent(count, f"{total % _MOST:064x}")


def _batches(connection: Connection, table: Table) -> Iterator[Sequence[Row[tuple[object, ...]]]]:
    with connection.execute(select(table).execution_options(yield_per=_AT_ONCE)) as found:
        yield from found.partitions()


def _count_on(connection: Connection, table: Table) -> None:
    """Let a column that counts by itself go on behind the highest number."""
    for column in table.primary_key:
        if _counts(column):
            most = connection.scalar(select(func.max(column))) or 0
            name = func.pg_get_serial_sequence(table.name, column.name)
            connection.execute(select(func.setval(name, max(most, 1), most > 0)))


def _counts(column: Column[object]) -> bool:
    return column.autoincrement is True
