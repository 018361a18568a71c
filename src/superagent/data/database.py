"""The database of one process: one writer, a few readers, and transactions that know their tenant."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Connection
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from superagent.core.problems import Unavailable
from superagent.data.areas import Area
from superagent.data.dialect import POSTGRESQL, SQLITE, Dialect
from superagent.data.migrate import migrate
from superagent.data.sqlite import Sqlite
from superagent.data.transaction import InstanceTransaction, Transaction
from superagent.data.writer import Writer

T = TypeVar("T")
READERS = 4
_KNOWN = (
    "set `SUPERAGENT_DATABASE__URL` to `postgresql+psycopg://user:password@host/database` or to "
    "`sqlite:///<path of a file>`, or leave it empty"
)


class Database:
    """Reads and writes of one process on the installation's database; make it with `open_database`.

    A closure given to `write` runs in the writer's thread and may run only once; it must do nothing but use its
    transaction. When `write` returns, the change is on disk. Closures given to `read` see one moment of the database.
    `dialect` says which kind it is.
    """

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        self._writer = Writer(dialect)
        self._readers = ThreadPoolExecutor(READERS, "database-reader")
        self._connections: list[Connection] = []
        self._local = threading.local()

    async def write(self, tenant: str, work: Callable[[Transaction], T]) -> T:
        """Change rows of a tenant, durable on return.

        What the closure raises undoes its changes, and only its own. Raises `Unavailable` (full, damaged, read-only) or
        `Overloaded` (other processes hold the database); nothing was changed then.
        """
        return await self._writer.run(lambda connection: work(Transaction(connection, tenant)))

    async def write_instance(self, work: Callable[[InstanceTransaction], T]) -> T:
        """Change tables of the installation, or sweep over the rows of all tenants; otherwise as `write`."""
        return await self._writer.run(lambda connection: work(InstanceTransaction(connection)))

    async def read(self, tenant: str, work: Callable[[Transaction], T]) -> T:
        """Read rows of a tenant. Raises `Unavailable` or `Overloaded`."""
        return await self._read(lambda: self.read_now(tenant, work))

    async def read_instance(self, work: Callable[[InstanceTransaction], T]) -> T:
        """Read tables of the installation, or rows of all tenants; otherwise as `read`."""
        return await self._read(lambda: self.read_instance_now(work))

    def read_now(self, tenant: str, work: Callable[[Transaction], T]) -> T:
        """Read in the calling thread, for the few who cannot wait: some 0.1 ms in which the loop stands still."""
        return self._in_thread(lambda connection: work(Transaction(connection, tenant)))

    def read_instance_now(self, work: Callable[[InstanceTransaction], T]) -> T:
        """Read rows of all tenants in the calling thread; otherwise as `read_now`."""
        return self._in_thread(lambda connection: work(InstanceTransaction(connection)))

    async def close(self) -> None:
        """Let what was given be written, then close every connection. May be called twice."""
        await self._writer.close()
        await asyncio.to_thread(self._readers.shutdown)
        while self._connections:
            self._connections.pop().close()
        self.dialect.engine.dispose()

    async def _read(self, work: Callable[[], T]) -> T:
        try:
            running = asyncio.get_running_loop().run_in_executor(self._readers, work)
        except RuntimeError as closed:
            raise Unavailable("the platform is stopping", hint="call again when it has started") from closed
        return await running

    def _in_thread(self, work: Callable[[Connection], T]) -> T:
        kept = getattr(self._local, "connection", None)
        try:
            return self._once(kept or self._open(), work)
        except Exception as fault:
            if kept is not None and self.dialect.is_gone(fault):
                return self._again(work)  # it was lost while nobody needed it; nothing was changed by reading
            self._refuse(fault)
            raise

    def _again(self, work: Callable[[Connection], T]) -> T:
        self._forget()
        try:
            return self._once(self._open(), work)
        except Exception as fault:
            self._refuse(fault)
            raise

    def _once(self, connection: Connection, work: Callable[[Connection], T]) -> T:
        with connection.begin():
            return work(connection)

    def _open(self) -> Connection:
        connection = self._local.connection = self.dialect.reader()
        self._connections.append(connection)
        return connection

    def _refuse(self, fault: Exception) -> None:
        """Raise the problem that a fault stands for, if it does."""
        problem = self.dialect.problem_of(fault)
        if problem is not None:
            self._forget()
            raise problem from fault

    def _forget(self) -> None:
        connection: Connection | None = self._local.__dict__.pop("connection", None)
        if connection is not None:
            self._connections.remove(connection)
            connection.invalidate()
            connection.close()


async def open_database(place: Path | str, areas: Sequence[Area], copies: Path | None = None) -> Database:
    """Open a database, making or migrating it first; `place` is a file, or a URL as SQLAlchemy writes it.

    `copies` is the folder for what is kept before a migration, where the database is no file. Raises `Unavailable` when
    it cannot be used.
    """
    dialect = await asyncio.to_thread(dialect_of, place, copies)
    try:
        await asyncio.to_thread(migrate, dialect, areas)
    except Exception as fault:
        problem = dialect.problem_of(fault)
        if problem is not None:
            raise problem from fault
        raise
    return Database(dialect)


def dialect_of(place: Path | str, copies: Path | None = None) -> Dialect:
    """Give what speaks to a database. Raises `Unavailable` for a kind that this version does not know."""
    if isinstance(place, Path):
        return Sqlite(place)
    try:
        url = make_url(place)
    except (ArgumentError, ValueError):  # its text is not shown: it may hold a password
        raise Unavailable("`database.url` is not the URL of a database", hint=_KNOWN) from None
    kind = url.get_backend_name()
    if kind == SQLITE and url.database and url.database != ":memory:":
        return Sqlite(Path(url.database))
    if kind == POSTGRESQL and url.database:
        try:
            from superagent.data.postgresql import Postgresql  # its driver takes longer to load than a cold start may
        except ImportError as lacking:
            raise Unavailable(
                "the driver for PostgreSQL is not installed", hint="pip install 'superagent[postgresql]'"
            ) from lacking
        return Postgresql(url, copies or Path.cwd())
    raise Unavailable(f"a database of the kind `{kind}` is not supported", hint=_KNOWN)
