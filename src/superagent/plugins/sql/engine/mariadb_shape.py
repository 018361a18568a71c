"""What a table of MariaDB is to a change: its key, its columns, and what stands against taking a change back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .names import Named
from .session import Child, Shape

Rows = Callable[..., list[list[Any]]]
_ACTING = ("CASCADE", "SET NULL", "SET DEFAULT")
_BOTH = "TABLE_SCHEMA = %s AND TABLE_NAME = %s"


def shape(rows: Rows, table: Named) -> Shape:
    """Read the catalogue of one table, which exists."""
    both = (table.schema, table.name)
    kind, engine = rows(f"SELECT TABLE_TYPE, ENGINE FROM information_schema.TABLES WHERE {_BOTH}", both)[0]
    columns = rows(
        f"SELECT COLUMN_NAME, DATA_TYPE, IS_GENERATED, COLUMN_KEY FROM information_schema.COLUMNS WHERE {_BOTH}"
        " ORDER BY ORDINAL_POSITION",
        both,
    )
    key = rows(
        f"SELECT COLUMN_NAME FROM information_schema.STATISTICS WHERE {_BOTH} AND INDEX_NAME = 'PRIMARY'"
        " ORDER BY SEQ_IN_INDEX",
        both,
    )
    triggers = rows(
        "SELECT 1 FROM information_schema.TRIGGERS WHERE EVENT_OBJECT_SCHEMA = %s AND EVENT_OBJECT_TABLE = %s", both
    )
    against = (
        "it is no plain table" if kind != "BASE TABLE"
        else f"its engine {engine} cannot roll back" if str(engine).lower() != "innodb"
        else "triggers change more than the statement says" if triggers
        else "it has no primary key" if not key
        else ""
    )  # fmt: skip
    return Shape(
        columns=tuple(row[0] for row in columns),
        stored=tuple(row[0] for row in columns if str(row[2]).upper() in ("NEVER", "NO")),
        key=tuple(row[0] for row in key),
        types={row[0]: str(row[1]).lower() for row in columns},
        children=_children(rows, both),
        against=against,
    )


def _children(rows: Rows, both: tuple[str, str]) -> tuple[Child, ...]:
    acting = rows(  # one way through the catalogue: to join these two views takes the server seconds
        "SELECT CONSTRAINT_SCHEMA, TABLE_NAME, CONSTRAINT_NAME, DELETE_RULE, UPDATE_RULE"
        " FROM information_schema.REFERENTIAL_CONSTRAINTS"
        " WHERE UNIQUE_CONSTRAINT_SCHEMA = %s AND REFERENCED_TABLE_NAME = %s",
        both,
    )
    found: list[Child] = []
    for schema, name, constraint, on_delete, on_update in acting:
        if on_delete not in _ACTING and on_update not in _ACTING:
            continue
        columns = rows(
            "SELECT COLUMN_NAME, REFERENCED_COLUMN_NAME FROM information_schema.KEY_COLUMN_USAGE"
            " WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s AND CONSTRAINT_NAME = %s"
            " AND REFERENCED_COLUMN_NAME IS NOT NULL ORDER BY ORDINAL_POSITION",
            (schema, name, constraint),
        )
        own, theirs = tuple(row[0] for row in columns), tuple(row[1] for row in columns)
        found.append(Child(Named(schema, name), own, theirs, on_delete in _ACTING, on_update in _ACTING))
    return tuple(found)
