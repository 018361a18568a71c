"""How many bytes tables take, with their indexes."""

from __future__ import annotations

from .lacking import Lacking
from .names import Named
from .session import Failed, Session

_PG = """SELECT n.nspname, c.relname, pg_catalog.pg_total_relation_size(c.oid) FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'm')
    AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg\\_temp\\_%%'"""
_MARIADB = """SELECT TABLE_SCHEMA, TABLE_NAME, DATA_LENGTH + INDEX_LENGTH FROM information_schema.TABLES
    WHERE TABLE_TYPE = 'BASE TABLE' AND DATA_LENGTH IS NOT NULL
    AND TABLE_SCHEMA NOT IN ('mysql', 'information_schema', 'performance_schema', 'sys')"""
_SQLITE = """SELECT 'main', s.tbl_name, SUM(d.pgsize) FROM dbstat d JOIN sqlite_schema s ON s.name = d.name
    WHERE s.tbl_name NOT LIKE 'sqlite~_%' ESCAPE '~' GROUP BY s.tbl_name"""


def sizes(session: Session) -> dict[Named, int]:
    """Ask the server, in a transaction that only reads. Raises `Lacking`."""
    text = {"postgres": _PG, "mysql": _MARIADB}.get(session.dialect, _SQLITE)
    try:
        rows = session.run(text)[1]
    except Failed:
        if session.dialect != "sqlite":
            raise
        raise Lacking(
            "this SQLite cannot tell how large tables are", "build it with SQLITE_ENABLE_DBSTAT_VTAB"
        ) from None
    return {Named(str(row[0]), str(row[1])): int(row[2] or 0) for row in rows}
