"""The database of one process: one writer, a few readers, and transactions that know their tenant."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Connection, Engine

from superagent.core.problems import Unavailable
from superagent.data.areas import Area
from superagent.data.dialect import engine_of, problem_of, reader, writer
from superagent.data.migrate import migrate
from superagent.data.transaction import InstanceTransaction, Transaction
from superagent.data.writer import Writer

T = TypeVar("T")
READERS = 4


class Database:
    """Reads and writes of one process on the installation's database; make it with `open_database`.

    A closure given to `write` runs in the writer's thread and may run only once; it must do nothing but use its
    transaction. When `write` returns, the change is on disk. Closures given to `read` see one moment of the database.
    """

    def __init__(self, engine: Engine, writing: Writer) -> None:
        self._engine = engine
        self._writer = writing
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
        self._engine.dispose()

    async def _read(self, work: Callable[[], T]) -> T:
        try:
            running = asyncio.get_running_loop().run_in_executor(self._readers, work)
        except RuntimeError as closed:
            raise Unavailable("the platform is stopping", hint="call again when it has started") from closed
        return await running

    def _in_thread(self, work: Callable[[Connection], T]) -> T:
        try:
            connection = getattr(self._local, "connection", None)
            if connection is None:
                connection = self._local.connection = reader(self._engine)
                self._connections.append(connection)
            with connection.begin():
                return work(connection)
        except Exception as fault:
            problem = problem_of(fault)
            if problem is not None:
                self._forget()
                raise problem from fault
            raise

    def _forget(self) -> None:
        connection: Connection | None = self._local.__dict__.pop("connection", None)
        if connection is not None:
            self._connections.remove(connection)
            connection.invalidate()
            connection.close()


async def open_database(path: Path, areas: Sequence[Area]) -> Database:
    """Open a database file, making or migrating it first. Raises `Unavailable` when it cannot be used."""
    engine = engine_of(path)
    try:
        await asyncio.to_thread(migrate, engine, path, areas)
    except Exception as fault:
        problem = problem_of(fault)
        if problem is not None:
            raise problem from fault
        raise
    return Database(engine, Writer(lambda: writer(engine)))
