"""Dialect: what differs between the databases that the platform can stand on, and the expressions that hide it."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import ColumnElement, Connection, Engine, Table
from sqlalchemy.dialects import sqlite
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.dml import Insert
from sqlalchemy.sql.expression import FunctionElement
from sqlalchemy.types import Boolean

from superagent.core.problems import Problem

BUSY_S = 5.0
"""So long a writer waits for its turn while other processes write, before its callers hear `Overloaded`."""

SQLITE = "sqlite"
POSTGRESQL = "postgresql"


class Dialect(Protocol):
    """One kind of database. Connections that write exclude one another, so a closure sees nobody else's half-way."""

    engine: Engine

    def alone(self) -> AbstractContextManager[None]:
        """Hold the lock of all starts on this database. Raises `Unavailable`."""
        ...

    def writer(self) -> Connection:
        """Open a connection that writes."""
        ...

    def reader(self) -> Connection:
        """Open a connection that cannot write, and that sees one moment in each transaction."""
        ...

    def begun(self, connection: Connection) -> str:
        """Have the turn to write in the transaction that has just begun, and mark the place.

        Gives the transaction's name, empty when it needs none.
        """
        ...

    def committed(self, name: str) -> bool:
        """Tell whether a transaction whose commit was not answered is there all the same."""
        ...

    def lost_transaction(self, connection: Connection) -> bool:
        """Tell whether the database itself ended the transaction."""
        ...

    def keep_since(self, connection: Connection) -> None:
        """Keep what was done since the mark, and mark this place."""
        ...

    def undo_since(self, connection: Connection) -> None:
        """Undo what was done since the mark."""
        ...

    def schema_change(self, connection: Connection) -> AbstractContextManager[None]:
        """Hold a transaction in which tables may be made anew."""
        ...

    def keep_copy(self, connection: Connection) -> None:
        """Keep a copy of the whole database as it stands now, durable on return."""
        ...

    def is_gone(self, error: BaseException) -> bool:
        """Tell whether the connection was lost, which another one may mend."""
        ...

    def problem_of(self, error: BaseException) -> Problem | None:
        """Give the problem that a database error stands for; None when it is a fault of our own."""
        ...


def insert_or_ignore(table: Table, dialect: str) -> Insert:
    """Build an insert that leaves a row alone whose key is taken; `dialect` is SQLAlchemy's name of it."""
    if dialect == POSTGRESQL:
        from sqlalchemy.dialects import postgresql  # takes longer to load than a cold start may, as its driver does

        return postgresql.insert(table).on_conflict_do_nothing()
    return sqlite.insert(table).on_conflict_do_nothing()


class holds(FunctionElement[bool]):  # noqa: N801 - an expression, used as a function
    """Ask for values of a column that hold a text; no pattern, which a caller could steer."""

    type = Boolean()
    inherit_cache = True

    def __init__(self, column: ColumnElement[str], text: str) -> None:
        super().__init__(column, text)


@compiles(holds, SQLITE)
def _holds_in_sqlite(element: holds, compiler: SQLCompiler, **options: Any) -> str:
    return f"instr({compiler.process(element.clauses, **options)}) > 0"


@compiles(holds, POSTGRESQL)
def _holds_in_postgresql(element: holds, compiler: SQLCompiler, **options: Any) -> str:
    return f"strpos({compiler.process(element.clauses, **options)}) > 0"


def raw(connection: Connection) -> Any:
    """Give the driver's own connection."""
    return connection.connection.dbapi_connection


def free_name(folder: Path, name: str) -> Path:
    """Give a path that is not taken, for the next copy of a database: `<name>.before-<number>`."""
    numbers = [int(one.name.rpartition("-")[2]) for one in folder.glob(f"{name}.before-*")]
    return folder / f"{name}.before-{max(numbers, default=0) + 1}"
