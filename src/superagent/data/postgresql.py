"""PostgreSQL: the database of an installation with several hosts, or of one that has a server anyway."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from superagent.core.problems import InvalidInput, Overloaded, Problem, Unavailable
from superagent.data import dialect
from superagent.data.dialect import free_name, raw
from superagent.data.sqlite import engine_of as file_engine
from superagent.data.sqlite import prepare
from superagent.data.transfer import copy_all

# keys of advisory locks in this database; any numbers do, as long as nobody else there uses them
_STARTING = 0x5375706572416701
_WRITING = 0x5375706572416702
_CONNECT_S = 10
_QUERY_S = 30
_MARK = "SAVEPOINT one"
_LOOK = "look at the database server's log, then call again"
# states of the server by SQLSTATE, not bugs of ours (PostgreSQL manual, appendix A); the longest beginning counts
_REASONS: dict[str, tuple[str, str]] = {
    "08": ("the connection to the database was lost", _LOOK),
    "25006": ("the database is read-only", "point `SUPERAGENT_DATABASE__URL` at the primary server"),
    "28": ("the database refuses the login", "see user and password in `SUPERAGENT_DATABASE__URL`"),
    "3D": ("there is no such database", "make it with `createdb`, or see `SUPERAGENT_DATABASE__URL`"),
    "42501": ("the login may not do this in the database", "make it the owner of the database or of its schema"),
    "53100": ("the disk of the database is full", "free space on the database server, then call again"),
    "57P": ("the database is stopping", _LOOK),
    "58": ("the system fails under the database", _LOOK),
    "XX": ("the database is damaged", _LOOK),
}

_GONE = ("08", "57P")
_BUSY = {"55P03", "40P01", "40001", "53300", "57014"}


class Postgresql:
    """A database on a server. Copies that are made before a migration lie in `copies` as SQLite files."""

    def __init__(self, url: URL, copies: Path) -> None:
        self._copies = copies
        busy, query = int(dialect.BUSY_S * 1000), _QUERY_S * 1000
        self.engine: Engine = create_engine(
            url.set(drivername="postgresql+psycopg"),
            poolclass=NullPool,
            connect_args={
                "connect_timeout": _CONNECT_S,
                "application_name": "superagent",
                "options": f"-c lock_timeout={busy} -c statement_timeout={query} -c timezone=UTC "
                f"-c idle_in_transaction_session_timeout={query} -c synchronous_commit=on",
            },
            hide_parameters=True,  # values of rows must not get into logs by way of an error
        )

    @contextmanager
    def alone(self) -> Generator[None]:
        """Hold the lock of all starts. Raises `Unavailable`."""
        with self.engine.connect() as connection:
            connection.exec_driver_sql("SET lock_timeout = '120s'")
            connection.exec_driver_sql("SET statement_timeout = '120s'")
            connection.exec_driver_sql(f"SELECT pg_advisory_lock({_STARTING})")
            connection.commit()
            yield  # the lock is the session's, and ends with it

    def writer(self) -> Connection:
        """Open a connection that writes; `begun` begins its transactions."""
        return self.engine.connect().execution_options(isolation_level="AUTOCOMMIT")

    def reader(self) -> Connection:
        """Open a connection that cannot write, and that sees one moment in each transaction."""
        return self.engine.connect().execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)

    def begun(self, connection: Connection) -> str:
        """Wait for the turn to write: one writes at a time, as in a database file (decision 48)."""
        # each way to the server costs a tenth of a millisecond and more: begin, wait and mark in one
        steps = f"BEGIN; SELECT pg_advisory_xact_lock({_WRITING}), pg_current_xact_id()::text; {_MARK}"
        cursor = raw(connection).execute(steps)
        cursor.nextset()
        return str(cursor.fetchone()[1])

    def committed(self, name: str) -> bool:
        """Ask on another connection what became of a transaction. Raises what that connection raises."""
        with self.engine.connect() as connection:
            state = connection.exec_driver_sql("SELECT pg_xact_status(%s::xid8)", (name,)).scalar_one()
            if state == "in progress":  # its server process has not heard yet that we are gone
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_WRITING})")
                state = connection.exec_driver_sql("SELECT pg_xact_status(%s::xid8)", (name,)).scalar_one()
            return state == "committed"

    def lost_transaction(self, connection: Connection) -> bool:
        """Tell whether the connection is gone, and the transaction with it."""
        if connection.invalidated:
            return True
        own = raw(connection)
        return own.closed or own.info.transaction_status.name in ("IDLE", "UNKNOWN")

    def keep_since(self, connection: Connection) -> None:
        """Keep what was done since the mark, and mark this place."""
        raw(connection).execute(f"RELEASE SAVEPOINT one; {_MARK}")

    def undo_since(self, connection: Connection) -> None:
        """Undo what was done since the mark."""
        raw(connection).execute("ROLLBACK TO SAVEPOINT one")

    @contextmanager
    def schema_change(self, connection: Connection) -> Generator[None]:
        """Hold a transaction; PostgreSQL takes back changed tables as it does rows."""
        with connection.begin():
            self.begun(connection)
            yield

    def keep_copy(self, connection: Connection) -> None:
        """Copy all tables into a database file."""
        target = free_name(self._copies, "superagent.postgresql")
        prepare(target)
        engine = file_engine(target)
        with engine.connect() as made, made.begin(), connection.begin():
            self.begun(connection)
            copy_all(connection, made)
        engine.dispose()

    def is_gone(self, error: BaseException) -> bool:
        """Tell whether the connection was lost."""
        original = _original(error)
        return original is not None and (_silent(original) or _state(original).startswith(_GONE))

    def problem_of(self, error: BaseException) -> Problem | None:
        """Give the problem that an error of PostgreSQL or its driver stands for."""
        original = _original(error)
        if original is None:
            return None
        state = _state(original)
        if isinstance(original, psycopg.DataError) and not state:  # the driver says so, before anything is sent
            return InvalidInput("a text has a NUL character, which the database cannot keep")
        if state in _BUSY:
            return Overloaded("other processes keep the database busy", hint="call again", retry_after_s=1.0)
        for length in (5, 3, 2):
            if reason := _REASONS.get(state[:length]):
                return Unavailable(reason[0], hint=reason[1])
        if _silent(original):
            return Unavailable("the database does not answer", hint=f"see `SUPERAGENT_DATABASE__URL`; {_LOOK}")
        return None


def _original(error: BaseException) -> psycopg.Error | None:
    """Give the driver's own error; None for errors that are not its."""
    found = error.orig if isinstance(error, DBAPIError) else error
    return found if isinstance(found, psycopg.Error) else None


def _state(error: psycopg.Error) -> str:
    return error.sqlstate or ""


def _silent(error: psycopg.Error) -> bool:
    """Tell whether no server said so: it was not reached, or is no longer."""
    return not error.sqlstate and isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
