"""SQLite: the database of one host, a file in the data folder."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from superagent.core.problems import Overloaded, Problem, Unavailable
from superagent.data import dialect
from superagent.data.dialect import free_name, raw

IMMEDIATE = "immediate"
_MARK = "SAVEPOINT one"
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


class Sqlite:
    """A database file. Its connections are durable at each commit, and none is kept open by itself."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.engine = engine_of(path)

    @contextmanager
    def alone(self) -> Generator[None]:
        """Hold the lock of all starts, with the file made private before anything is in it. Raises `Unavailable`."""
        prepare(self._path)
        descriptor = os.open(f"{self._path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def writer(self) -> Connection:
        """Open a connection that writes."""
        return writer(self.engine)

    def reader(self) -> Connection:
        """Open a connection that cannot write."""
        connection = self.engine.connect()
        connection.exec_driver_sql("PRAGMA query_only = ON")
        connection.rollback()
        return connection

    def begun(self, connection: Connection) -> str:
        """Mark the place. To begin was to have the turn, and a commit that failed is not there."""
        raw(connection).execute(_MARK).close()
        return ""

    def committed(self, name: str) -> bool:
        """Tell that it is not there."""
        del name
        return False

    def lost_transaction(self, connection: Connection) -> bool:
        """Tell whether SQLite ended the transaction, as it does on a full disk and other faults."""
        return not raw(connection).in_transaction

    def keep_since(self, connection: Connection) -> None:
        """Keep what was done since the mark, and mark this place; straight to the driver, 40 times as quick."""
        raw(connection).execute("RELEASE SAVEPOINT one").close()
        raw(connection).execute(_MARK).close()

    def undo_since(self, connection: Connection) -> None:
        """Undo what was done since the mark."""
        raw(connection).execute("ROLLBACK TO SAVEPOINT one").close()

    @contextmanager
    def schema_change(self, connection: Connection) -> Generator[None]:
        """Hold a transaction whose references are checked at its end instead of on the way."""
        raw(connection).execute("PRAGMA foreign_keys = OFF").close()  # it has no effect in a transaction
        with connection.begin():
            yield
            broken = connection.exec_driver_sql("PRAGMA foreign_key_check").fetchone()
            if broken is not None:
                raise Unavailable(f"a migration would leave rows of `{broken[0]}` without what they refer to")

    def keep_copy(self, connection: Connection) -> None:
        """Copy the file to `<name>.before-<number>` beside it."""
        target = free_name(self._path.parent, self._path.name)
        prepare(target)
        made = sqlite3.connect(target)
        try:
            made.execute("PRAGMA synchronous = FULL").close()
            raw(connection).backup(made)
        finally:
            made.close()

    def is_gone(self, error: BaseException) -> bool:
        """Tell that it was not lost: there is nobody at the other end."""
        del error
        return False

    def _was_left(self) -> bool:
        """Tell whether the tables went to another database while this process ran."""
        with self.engine.connect() as connection:
            found = connection.exec_driver_sql("SELECT 1 FROM sqlite_master WHERE name = 'moved'").first()
        return found is not None

    def problem_of(self, error: BaseException) -> Problem | None:
        """Give the problem that an error of SQLite stands for."""
        if not isinstance(error, DBAPIError):
            return None
        code = _code(error)
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return Overloaded("other processes keep the database busy", hint="call again", retry_after_s=1.0)
        if str(error.orig).startswith("no such table: ") and self._was_left():
            return Unavailable(
                "the tables were moved to another database", hint="set `SUPERAGENT_DATABASE__URL`, and start again"
            )
        reason = _REASONS.get(code)
        return Unavailable(reason[0], hint=reason[1]) if reason else None


def engine_of(path: Path) -> Engine:
    """Give an engine whose connections are durable at each commit; it keeps none open by itself."""
    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        poolclass=NullPool,
        connect_args={"timeout": dialect.BUSY_S, "check_same_thread": False},
        hide_parameters=True,  # values of rows must not get into logs by way of an error
    )
    event.listen(engine, "connect", _configure)
    event.listen(engine, "begin", _begin)
    return engine


def writer(engine: Engine) -> Connection:
    """Open a connection that writes."""
    return engine.connect().execution_options(**{IMMEDIATE: True})


def prepare(path: Path) -> None:
    """Make the database file private before anything is in it. Raises `Unavailable`."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
    except OSError as error:
        raise Unavailable(
            f"the database cannot be opened: {error.strerror}", hint="see whether the data folder is there and writable"
        ) from error


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


def _code(error: DBAPIError) -> int:
    # the low byte is the primary code; the rest says more than anybody here needs
    return int(getattr(error.orig, "sqlite_errorcode", 0)) & 0xFF
