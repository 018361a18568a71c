"""Backups and restores on servers and files: of one moment, and believed when a restore shows the same sums."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, BinaryIO, Protocol

from .archive import Head, Seals, read
from .names import Refused
from .session import Failed, Place, Session
from .shadows import characters, create, drop, fresh
from .sums import Sums, differing, sums

MOST_MEMORY = 512 * 1024 * 1024
Opener = Callable[[Place], Session]


class Program(Protocol):
    """A program that runs (`run_clients.Program`)."""

    def chunks(self) -> Iterator[bytes]:
        """Give what it writes."""
        ...

    def feed(self, chunks: Iterable[bytes]) -> None:
        """Let it read."""
        ...

    def kill(self) -> None:
        """End it."""
        ...


class Clients(Seals, Protocol):
    """The capability `clients`, as far as this uses it."""

    def dumping(self, kind: Any, server: Any, user: int | None, snapshot: str = "") -> Any:
        """Start a dump."""
        ...

    def loading(self, kind: Any, server: Any, user: int | None) -> Any:
        """Start a load."""
        ...


class NotProven(Exception):
    """A restore that did not show what was backed up."""


@dataclass(slots=True)
class Work:
    """One backup or restore: what it acts through, and the program under way, to be ended from outside."""

    kind: str
    clients: Clients
    user: int | None
    open: Opener
    program: Program | None = None
    stopped: bool = False

    def stop(self) -> None:
        """End the program that runs, and let none begin."""
        self.stopped = True
        if self.program is not None:
            self.program.kill()

    @contextmanager
    def running(self, started: Any) -> Generator[Program]:
        """Hold a program so that it can be ended."""
        with started as program:
            self.program = program
            if self.stopped:
                program.kill()
            try:
                yield program
            finally:
                self.program = None


@contextmanager
def dumped(
    work: Work, place: Place, session: Session, *, elsewhere: bool = False
) -> Generator[tuple[Sums, Iterator[bytes]]]:
    """Give the sums of a database and its dump, both of one moment. The session has begun to read.

    `elsewhere` says that it is not loaded on the same server. Raises `Refused`.
    """
    if work.kind == "sqlite":
        yield sums(session, "main"), _serialized(session)
    elif work.kind == "postgresql":
        if not elsewhere:
            _refuse_functions_of_others(session)
        snapshot = str(session.run("SELECT pg_catalog.pg_export_snapshot()")[1][0][0])
        found = sums(session, place.database)
        with work.running(work.clients.dumping(work.kind, place, work.user, snapshot)) as program:
            yield found, program.chunks()
    else:
        with _dumped_by_mariadb(work, place, session) as given:
            yield given


def prove(work: Work, file: BinaryIO, at: Place, like: list[Any]) -> Sums:
    """Restore a backup into a fresh database that is dropped again, and compare. Raises `NotProven`, `Failed`."""
    head, data = read(file, work.clients)
    if work.kind == "sqlite":
        _same(head.sums, _sums_of_bytes(b"".join(data)))
        return head.sums
    name = fresh("proof")
    with closing(work.open(at)) as session:
        try:
            create(session, name, like)
        except Failed as failed:
            raise NotProven(f"no database can be made to prove it in: {failed.message}") from None
        try:
            load(work, data, replace(at, database=name), head.sums)
        finally:
            drop(session, name)
    return head.sums


def load(work: Work, data: Iterator[bytes], into: Place, expected: Sums) -> None:
    """Load a dump into an empty database, and compare. Raises `NotProven`."""
    with work.running(work.clients.loading(work.kind, into, work.user)) as program:
        program.feed(data)
    with closing(work.open(into)) as session:
        session.begin(writes=False)
        _same(expected, sums(session, into.database))


def characters_of(work: Work, place: Place) -> list[Any]:
    """Give encoding and ordering of the database at a place, none for files."""
    if work.kind == "sqlite":
        return []
    with closing(work.open(place)) as session:
        return characters(session, place.database)


def check_bytes(data: bytes, head: Head) -> None:
    """Compare a file of SQLite with what it should hold. Raises `NotProven`."""
    _same(head.sums, _sums_of_bytes(data))


def _refuse_functions_of_others(session: Session) -> None:
    """Go on only if a copy runs no function of others as this account: checks, indexes and stored views call them."""
    found = session.run(
        "SELECT n.nspname || '.' || p.proname FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n"
        " ON n.oid = p.pronamespace JOIN pg_catalog.pg_roles r ON r.oid = p.proowner WHERE n.nspname NOT IN"
        " ('pg_catalog', 'information_schema') AND r.rolname <> current_user AND NOT r.rolsuper LIMIT 1"
    )[1]
    if found:
        raise Refused(
            f"the function `{found[0][0]}` is somebody else's, and a copy would run it with this account's rights",
            "let the owner of the database's functions be the account, or name another server as `prove_on`",
        )


@contextmanager
def _dumped_by_mariadb(work: Work, place: Place, session: Session) -> Generator[tuple[Sums, Iterator[bytes]]]:
    """Hold off all changes until the dump and this session have begun to read: then both see the same."""
    from .sums import tables_of

    with closing(work.open(place)) as holding:
        tables = [f"`{one.schema}`.`{one.name.replace('`', '``')}` READ" for one in tables_of(session, place.database)]
        session.run("COMMIT")
        if tables:
            holding.run(f"LOCK TABLES {', '.join(tables)}".replace("%", "%%"))
        session.run("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        session.run("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
        with work.running(work.clients.dumping(work.kind, place, work.user)) as program:
            chunks = program.chunks()
            begun: list[bytes] = []
            for data in chunks:  # its first table comes after its own snapshot
                begun.append(data)
                if b"CREATE TABLE" in b"".join(begun):
                    break
            holding.run("UNLOCK TABLES")
            yield sums(session, place.database), chain(begun, chunks)


def _serialized(session: Any) -> Iterator[bytes]:
    """Copy a file of SQLite by its backup API, within the session's own reading, and give the copy."""
    pages = int(session.run("PRAGMA page_count")[1][0][0]) * int(session.run("PRAGMA page_size")[1][0][0])
    if pages > MOST_MEMORY:
        raise NotProven(f"the file has more than {MOST_MEMORY} bytes")
    yield session.copied()


def _sums_of_bytes(data: bytes) -> Sums:
    from .sqlite import Sqlite

    with closing(Sqlite(Place(), data)) as session:
        found = session.run("PRAGMA integrity_check")[1]
        if found != [["ok"]]:
            raise NotProven("the copy is not whole")
        session.begin(writes=False)
        return sums(session, "main")


def _same(expected: Sums, found: Sums) -> None:
    other = differing(expected, found)
    if other:
        raise NotProven(f"after a restore these were not the same: {', '.join(other)[:300]}")
