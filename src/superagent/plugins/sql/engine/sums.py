"""Checksums of all that a database holds, the same for equal rows in any order: what a restore is compared by."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

from .names import Named
from .parsing import quoted
from .session import Session
from .values import kept

Sums = dict[str, list[Any]]
_PG_TABLES = """SELECT n.nspname, c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n
    ON n.oid = c.relnamespace WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND n.nspname <> 'information_schema'
    AND n.nspname NOT LIKE 'pg~_%%' ESCAPE '~' ORDER BY 1, 2"""
_PG_SUMS = """SELECT count(*), coalesce(sum(CAST(CAST(CAST('x' || left(h, 16) AS bit(64)) AS bigint) AS numeric)), 0),
    coalesce(sum(CAST(CAST(CAST('x' || right(h, 16) AS bit(64)) AS bigint) AS numeric)), 0) FROM (
    SELECT encode(sha256(convert_to(CAST(ROW({one}.*) AS text), 'UTF8')), 'hex') FROM ONLY {place} {one}) x(h)"""
# by name and kind: how the server writes an expression may change when it is read back, though it means the same
_PG_OBJECTS = """SELECT c.relkind, n.nspname || '.' || c.relname, CAST(c.relnatts AS text) FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname NOT LIKE 'pg~_%%' ESCAPE '~'
    AND n.nspname <> 'information_schema' UNION ALL
    SELECT 'constraint', CAST(CAST(conrelid AS regclass) AS text) || '.' || conname, CAST(contype AS text)
    FROM pg_catalog.pg_constraint WHERE conrelid <> 0 AND connamespace NOT IN (CAST('pg_catalog' AS regnamespace),
    CAST('information_schema' AS regnamespace)) UNION ALL
    SELECT 'trigger', CAST(CAST(tgrelid AS regclass) AS text) || '.' || tgname, CAST(tgtype AS text)
    FROM pg_catalog.pg_trigger WHERE NOT tgisinternal UNION ALL
    SELECT 'function', n.nspname || '.' || p.proname, md5(p.prosrc) FROM pg_catalog.pg_proc p
    JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname NOT LIKE 'pg~_%%' ESCAPE '~'
    AND n.nspname <> 'information_schema' ORDER BY 1, 2"""
_MARIA_OBJECTS = """SELECT 'constraint', CONCAT(TABLE_NAME, '.', CONSTRAINT_NAME), CONSTRAINT_TYPE
    FROM information_schema.TABLE_CONSTRAINTS WHERE TABLE_SCHEMA = %s UNION ALL
    SELECT 'trigger', TRIGGER_NAME, ACTION_STATEMENT FROM information_schema.TRIGGERS
    WHERE TRIGGER_SCHEMA = %s UNION ALL
    SELECT 'index', CONCAT(TABLE_NAME, '.', INDEX_NAME, '.', SEQ_IN_INDEX), COLUMN_NAME
    FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = %s ORDER BY 1, 2"""


def tables_of(session: Session, database: str) -> list[Named]:
    """Give every table with rows of its own that a dump of the database holds, in order."""
    if session.dialect == "postgres":
        return [Named(*row) for row in session.run(_PG_TABLES)[1]]
    if session.dialect == "mysql":
        text = "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s AND TABLE_TYPE = 'BASE TABLE'"
        return [Named(database, str(row[0])) for row in session.run(f"{text} ORDER BY 1", (database,))[1]]
    text = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite~_%' ESCAPE '~' ORDER BY 1"
    return [Named("main", str(row[0])) for row in session.run(text)[1]]


def sums(session: Session, database: str, only: frozenset[Named] | None = None) -> Sums:
    """Give rows and checksum of each table, and a digest of the objects around them, within the open transaction."""
    found: Sums = {}
    for table in tables_of(session, database):
        if only is None or table in only:
            found[table.path if session.dialect == "postgres" else table.name] = _sum(session, table)
    if only is None:
        found["(objects)"] = objects(session, database)
    return found


def differing(one: Sums, other: Sums) -> list[str]:
    """Give the tables that differ, by name."""
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))


def _sum(session: Session, table: Named) -> list[Any]:
    if session.dialect == "sqlite":
        return _summed([kept(cell) for cell in row] for row in _rows(session, table))
    if session.dialect == "postgres":
        place = f"{_name(table.schema)}.{_name(table.name)}"
        text = _PG_SUMS.format(place=place, one="superagent_row")
    else:
        text = _maria_text(session, table)
    count, left, right = session.run(text)[1][0]
    return [int(count), f"{int(left)}:{int(right)}"]


def _maria_text(session: Session, table: Named) -> str:
    columns = session.run(
        "SELECT COLUMN_NAME, DATA_TYPE FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s"
        " ORDER BY ORDINAL_POSITION",
        (table.schema, table.name),
    )[1]
    cells: list[str] = []
    for name, kind in columns:
        own = quoted(str(name), "mysql").replace("%", "%%")
        exact = f"CAST({own} AS DOUBLE)" if str(kind).lower() == "float" else own
        cells.append(f"IFNULL(HEX(CONCAT('', {exact})), '-')")
    hashed = f"SHA2(CONCAT_WS(',', {', '.join(cells)}), 256)"
    place = ".".join(quoted(one, "mysql").replace("%", "%%") for one in (table.schema, table.name))
    parts = (f"SUM(CAST(CONV({side}(h, 16), 16, 10) AS DECIMAL(65)))" for side in ("LEFT", "RIGHT"))
    return f"SELECT COUNT(*), {', '.join(f'IFNULL({one}, 0)' for one in parts)} FROM (SELECT {hashed} h FROM {place}) x"


def objects(session: Session, database: str) -> list[Any]:
    """Give number and digest of what lies around the rows: columns, indexes, constraints, triggers, functions."""
    if session.dialect == "sqlite":
        return _summed(session.run("SELECT type, name, tbl_name, sql FROM sqlite_schema")[1])
    maria = session.dialect == "mysql"
    rows = session.run(_MARIA_OBJECTS, (database,) * 3)[1] if maria else session.run(_PG_OBJECTS)[1]
    mine = [one for one in session.columns() if not maria or one[0].schema == database]
    columns = [["column", one.name if maria else one.path, name, kind] for one, name, kind in mine]
    return _summed([*([str(cell) for cell in row] for row in rows), *columns])


def _rows(session: Session, table: Named) -> Iterator[list[Any]]:
    return iter(session.run(f"SELECT * FROM {quoted(table.name, 'sqlite')}")[1])


def _summed(rows: Any) -> list[Any]:
    count, total = 0, 0
    for row in rows:
        digest = hashlib.sha256(json.dumps(row).encode("utf-8", "surrogatepass")).digest()
        count, total = count + 1, (total + int.from_bytes(digest, "big")) % 2**256
    return [count, f"{total:x}"]


def _name(name: str) -> str:
    return quoted(name, "postgres").replace("%", "%%")
