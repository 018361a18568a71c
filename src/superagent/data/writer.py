"""The writer: one thread, one connection; whatever waits while a commit runs shares the next one."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, RootTransaction

from superagent.core.problems import Changed, Overloaded, Unavailable
from superagent.data.dialect import Dialect

MOST_WAITING = 10_000
MOST_AT_ONCE = 256


@dataclass(slots=True, eq=False)
class Job:
    """One closure on its way; `dropped` says that nobody waits for it any more."""

    work: Callable[[Connection], Any]
    waiter: asyncio.Future[Any]
    result: Any = None
    fault: BaseException | None = None
    dropped: bool = False


class Writer:
    """Run closures in transactions, many in one commit, each alone in its failure."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._loop = asyncio.get_running_loop()
        self._queue: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._waiting = 0
        self._closed = False
        self._thread = threading.Thread(target=self._serve, name="database-writer", daemon=True)
        self._thread.start()

    async def run(self, work: Callable[[Connection], Any]) -> Any:
        """Run a closure and return once it is committed.

        A caller that is cancelled still waits for a closure that has begun, so nothing happens unseen; one that has not
        begun is dropped. Raises `Overloaded` when too many wait, `Unavailable` when the database cannot take it.
        """
        if self._closed:
            raise Unavailable("the platform is stopping", hint="call again when it has started")
        if self._waiting >= MOST_WAITING:
            raise Overloaded("too much waits to be written", hint="call again", retry_after_s=1.0)
        job = Job(work, self._loop.create_future())
        self._waiting += 1
        self._queue.put(job)
        try:
            return await asyncio.shield(job.waiter)
        except asyncio.CancelledError:
            job.dropped = True
            while not job.waiter.done():  # however often it is told
                with suppress(asyncio.CancelledError):
                    await asyncio.wait([job.waiter])
            if not job.waiter.cancelled():
                job.waiter.exception()  # looked at, so that it is not reported as lost
            raise

    async def close(self) -> None:
        """End the thread after what already waits."""
        if not self._closed:
            self._closed = True
            self._queue.put(None)
        await asyncio.to_thread(self._thread.join)

    # ---- in the thread

    def _serve(self) -> None:
        connection: Connection | None = None
        while jobs := self._next():
            connection = self._batch(connection, jobs)
            self._loop.call_soon_threadsafe(self._settle, jobs)
        if connection is not None:
            connection.close()

    def _next(self) -> list[Job]:
        """Wait for a job and take along what waits behind it; empty when the writer is to end."""
        jobs: list[Job] = []
        job = self._queue.get()
        while job is not None:
            jobs.append(job)
            if len(jobs) == MOST_AT_ONCE or self._queue.empty():
                return jobs
            job = self._queue.get_nowait()
        if jobs:
            self._queue.put(None)  # the end comes after these
        return jobs

    def _batch(self, connection: Connection | None, jobs: list[Job]) -> Connection | None:
        """Run jobs in one transaction and give the connection for the next; None when this one is no longer sound."""
        name = ""
        try:
            connection, transaction, name = self._begin(connection)
            with transaction:
                for job in jobs:
                    if not job.dropped:
                        self._one(connection, job, last=job is jobs[-1])
        except Exception as fault:
            self._fail(jobs, fault, name)
            _drop(connection)
            return None
        return connection

    def _begin(self, connection: Connection | None) -> tuple[Connection, RootTransaction, str]:
        """Have the turn to write; on a fresh connection when the one at hand was lost while nobody needed it."""
        if connection is not None:
            transaction = connection.begin()
            try:
                return connection, transaction, self._dialect.begun(connection)
            except Exception as fault:
                if not self._dialect.is_gone(fault):
                    raise
                _drop(connection)
        connection = self._dialect.writer()
        try:
            transaction = connection.begin()
            return connection, transaction, self._dialect.begun(connection)
        except BaseException:
            _drop(connection)
            raise

    def _fail(self, jobs: list[Job], fault: Exception, name: str) -> None:
        """Say to each, in an exception of its own, why nothing of the whole batch is there, or that it is."""
        changed: Changed = "nothing"
        if name and self._dialect.is_gone(fault):
            try:
                if self._dialect.committed(name):
                    return
            except Exception:
                changed = "unknown"
        for job in jobs:
            problem = self._dialect.problem_of(fault) or Unavailable("the database does not answer")
            problem.changed = changed
            job.fault = job.fault or problem

    def _one(self, connection: Connection, job: Job, last: bool) -> None:
        try:
            job.result = job.work(connection)
        except Exception as fault:
            job.fault = self._dialect.problem_of(fault) or fault
            if self._dialect.lost_transaction(connection):
                raise
            self._dialect.undo_since(connection)
        else:
            if not last:
                self._dialect.keep_since(connection)

    # ---- back on the loop

    def _settle(self, jobs: list[Job]) -> None:
        self._waiting -= len(jobs)
        for job in jobs:
            if job.fault is not None:
                job.waiter.set_exception(job.fault)
            else:
                job.waiter.set_result(job.result)


def _drop(connection: Connection | None) -> None:
    """Close a connection that may be in any state."""
    if connection is not None and not connection.closed:
        connection.invalidate()
        connection.close()
