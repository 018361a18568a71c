"""What servers count about indexes and tables: which index no read has used, and how many rows were written."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .names import Named
from .session import Session

_IDLE = """SELECT s.indexrelname, pg_catalog.pg_relation_size(s.indexrelid) FROM pg_catalog.pg_stat_all_indexes s
    JOIN pg_catalog.pg_index i ON i.indexrelid = s.indexrelid
    WHERE s.schemaname = %s AND s.relname = %s AND s.idx_scan = 0 AND i.indisvalid
    AND NOT i.indisunique AND NOT i.indisexclusion AND NOT i.indisreplident ORDER BY 2 DESC, 1"""
_WRITES = """SELECT n_tup_ins + n_tup_upd + n_tup_del FROM pg_catalog.pg_stat_all_tables
    WHERE schemaname = %s AND relname = %s"""
_SINCE = "SELECT stats_reset FROM pg_catalog.pg_stat_database WHERE datname = pg_catalog.current_database()"


@dataclass(frozen=True, slots=True)
class Idle:
    """An index that no read has used since the server began to count, and its size in bytes."""

    table: Named
    name: str
    size: int


def idle(session: Session, tables: Iterable[Named]) -> list[Idle]:
    """Give indexes of these tables that only cost: not those that keep rows unique; none where nothing is counted."""
    if session.dialect != "postgres":
        return []
    return [
        Idle(table, str(name), int(size))
        for table in sorted(tables)
        for name, size in session.run(_IDLE, (table.schema, table.name))[1]
    ]


def writes(session: Session, table: Named) -> int | None:
    """Give how many rows were put in, changed or removed; None where that is not counted."""
    if session.dialect != "postgres":
        return None
    rows = session.run(_WRITES, (table.schema, table.name))[1]
    return int(rows[0][0]) if rows else None


def since(session: Session) -> str | None:
    """Give when counting began, None where nobody tells: then since the database is there."""
    if session.dialect != "postgres":
        return None
    rows = session.run(_SINCE)[1]
    return rows[0][0].isoformat() if rows and rows[0][0] else None
