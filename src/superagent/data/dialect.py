"""Dialect: the only place that knows which database this is; today SQLite, with PostgreSQL to come beside it."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, Table, create_engine, event, func
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool
from sqlalchemy.sql.dml import Insert

from superagent.core.problems import Overloaded, Problem, Unavailable

BUSY_S = 5.0
IMMEDIATE = "immediate"
_RESTORE = "put a copy back with `superagent restore`, or see `superagent doctor`"
# the primary result codes of SQLite that are states of the machine, not bugs of ours (https://www.sqlite.org/rescode.html)
_REASONS: dict[int, tuple[str, str]] = {
    sqlite3.SQLITE_FULL: ("the disk is full", "free space where the data folder lies, then call again"),
    sqlite3.SQLITE_READONLY: ("the database is read-only", "give the data folder back to the user that runs this"),
    sqlite3.SQLITE_PERM: ("the database may not be opened", "give the data folder back to the user that runs this"),
    sqlite3.SQLITE_CANTOPEN: ("the database cannot be opened", "see whether the data folder is there and writable"),
    sqlite3.SQLITE_IOERR: ("the disk fails under the database", "look at the system's log for faults of the disk"),
    sqlite3.SQLITE_CORRUPT: ("the database is damaged", _RESTORE),
    sqlite3.SQLITE_NOTADB: ("the database file is not a database", _RESTORE),
}


def path_of(url: str) -> Path:
    """Give the file of a database URL. Raises `Unavailable` for a database that this version does not speak to."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite" or not parsed.database or parsed.database == ":memory:":
        raise Unavailable(
            f"a database of the kind `{parsed.get_backend_name()}` is not supported yet",
            hint="set `SUPERAGENT_DATABASE__URL` to `sqlite:///<path of a file>`, or leave it empty",
        )
    return Path(parsed.database)


def engine_of(path: Path) -> Engine:
    """Give an engine whose connections are durable at each commit; it keeps none open by itself."""
    url = URL.create("sqlite", database=str(path))
    engine = create_engine(
        url,
        poolclass=NullPool,
        connect_args={"timeout": BUSY_S, "check_same_thread": False},
        hide_parameters=True,  # values of rows must not get into logs by way of an error
    )
    event.listen(engine, "connect", _configure)
    event.listen(engine, "begin", _begin)
    return engine


def _configure(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # transactions begin where we say so, not at the driver's guess
    for setting in (
        "journal_mode = WAL",
        "synchronous = FULL",  # WAL with NORMAL may lose the last commits when the power fails
        "foreign_keys = ON",
        "journal_size_limit = 67108864",
        "trusted_schema = OFF",
    ):
        connection.execute(f"PRAGMA {setting}").close()


def _begin(connection: Connection) -> None:
    # a writer takes the lock at once: a reader that becomes a writer half-way can only be refused
    kind = "IMMEDIATE" if connection.get_execution_options().get(IMMEDIATE) else "DEFERRED"
    connection.exec_driver_sql(f"BEGIN {kind}")


def writer(engine: Engine) -> Connection:
    """Open a connection that writes."""
    return engine.connect().execution_options(**{IMMEDIATE: True})


def reader(engine: Engine) -> Connection:
    """Open a connection that cannot write."""
    connection = engine.connect()
    connection.exec_driver_sql("PRAGMA query_only = ON")
    connection.rollback()
    return connection


def lost_transaction(connection: Connection) -> bool:
    """Tell whether the database itself ended the transaction; SQLite does so on a full disk and other faults."""
    return not _raw(connection).in_transaction


def savepoint(connection: Connection) -> None:
    """Mark a place in the transaction; straight to the driver, for it is 40 times as quick as by way of the engine."""
    _raw(connection).execute("SAVEPOINT one").close()


def keep_since(connection: Connection) -> None:
    """Keep what was done since the mark."""
    _raw(connection).execute("RELEASE SAVEPOINT one").close()


def undo_since(connection: Connection) -> None:
    """Undo what was done since the mark."""
    _raw(connection).execute("ROLLBACK TO SAVEPOINT one").close()
    keep_since(connection)


def prepare(path: Path) -> None:
    """Make the database file private before anything is in it. Raises `Unavailable`."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
    except OSError as error:
        raise Unavailable(
            f"the database cannot be opened: {error.strerror}", hint="see whether the data folder is there and writable"
        ) from error


def copy(connection: Connection, target: Path) -> None:
    """Copy the whole database as it stands now into a new private file, durable on return."""
    prepare(target)
    made = sqlite3.connect(target)
    try:
        made.execute("PRAGMA synchronous = FULL").close()
        _raw(connection).backup(made)
    finally:
        made.close()


@contextmanager
def schema_change(connection: Connection) -> Generator[None]:
    """Hold a transaction in which tables may be made anew; references are checked at its end instead of on the way."""
    _raw(connection).execute("PRAGMA foreign_keys = OFF").close()  # it has no effect in a transaction
    with connection.begin():
        yield
        broken = connection.exec_driver_sql("PRAGMA foreign_key_check").fetchone()
        if broken is not None:
            raise Unavailable(f"a migration would leave rows of `{broken[0]}` without what they refer to")


def insert_or_ignore(table: Table) -> Insert:
    """Build an insert that leaves a row alone whose key is taken."""
    return insert(table).on_conflict_do_nothing()


def holds(column: ColumnElement[str], text: str) -> ColumnElement[bool]:
    """Ask for values that hold a text; no pattern, which a caller could steer."""
    return func.instr(column, text) > 0


def is_busy(error: BaseException) -> bool:
    """Tell whether another process held the database for too long."""
    return isinstance(error, DBAPIError) and _code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def problem_of(error: BaseException) -> Problem | None:
    """Give the problem that a database error stands for; None when it is a fault of our own."""
    if not isinstance(error, DBAPIError):
        return None
    if is_busy(error):
        return Overloaded("other processes keep the database busy", hint="call again", retry_after_s=1.0)
    reason = _REASONS.get(_code(error))
    return Unavailable(reason[0], hint=reason[1]) if reason else None


def _code(error: DBAPIError) -> int:
    # the low byte is the primary code; the rest says more than anybody here needs
    return int(getattr(error.orig, "sqlite_errorcode", 0)) & 0xFF


def _raw(connection: Connection) -> Any:
    return connection.connection.dbapi_connection
