"""Migrations tried on a copy of the whole database: what each statement locks, its time, which rows are lost."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any

from .ddl import Step
from .names import Named, Refused
from .parsing import quoted
from .proving import Work, dumped, load
from .session import Place, Session
from .shadows import characters, create, drop, fresh
from .sums import Sums, sums
from .versions import Version, Watch, Way, ensure, move, records

Read = Callable[[str], list[Version]]
"""Reads the migrations for the schema that they run in."""
_LOCKS = """SELECT n.nspname || '.' || c.relname, l.mode FROM pg_catalog.pg_locks l
    JOIN pg_catalog.pg_class c ON c.oid = l.relation JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE l.pid = pg_catalog.pg_backend_pid() AND l.granted AND c.relkind IN ('r', 'p', 'v', 'm')
    AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg~_%%' ESCAPE '~'"""
_BLOCKS = {
    "AccessExclusiveLock": "reads and writes", "ExclusiveLock": "writes", "ShareRowExclusiveLock": "writes",
    "ShareLock": "writes", "ShareUpdateExclusiveLock": "changes of the table itself",
}  # fmt: skip


@dataclass(slots=True)
class Tried:
    """What one statement did in the rehearsal: the tables that it holds up and for whom, and its seconds."""

    version: str
    text: str
    holds: dict[str, str] = field(default_factory=dict[str, str])
    seconds: float = 0.0


@dataclass(slots=True)
class Report:
    """What a rehearsal showed: each statement, rows that are lost, and all tables that were read."""

    tried: list[Tried] = field(default_factory=list[Tried])
    losses: list[str] = field(default_factory=list[str])
    reads: set[Named] = field(default_factory=set[Named])


def rehearse(
    work: Work, place: Place, session: Session, versions: Read, numbers: Sequence[str], way: Way, most_bytes: int
) -> Report:
    """Copy the database, migrate the copy, compare, and drop it. The session has begun to read."""
    size = _size(session, place)
    if size > most_bytes:
        raise Refused(f"the database has {size} bytes, too many to be rehearsed on a copy", "let `max_bytes` be more")
    if work.kind == "sqlite":
        from .sqlite import Sqlite

        assert isinstance(session, Sqlite)
        with closing(Sqlite(Place(), session.copied())) as shadow:
            return tried(shadow, "main", versions("main"), numbers, way)
    name = fresh("shadow")
    with closing(work.open(place)) as making:
        create(making, name, characters(making, place.database))
        try:
            there = replace(place, database=name)
            with dumped(work, place, session) as (found, chunks):
                load(work, chunks, there, found)
            with closing(work.open(there)) as shadow:
                schema = name if work.kind == "mariadb" else session.schema
                report = tried(shadow, schema, versions(schema), numbers, way)
        finally:
            drop(making, name)
    report.reads = {replace(one, schema=place.database) if one.schema == name else one for one in report.reads}
    return report


def tried(session: Session, schema: str, versions: list[Version], numbers: Sequence[str], way: Way) -> Report:
    """Migrate and compare before with after."""
    report = Report()
    ensure(session, schema)
    _require_known(records(session, schema).keys(), versions, way)
    before = sums(session, schema)
    ahead = {one.number: one for one in versions}
    moved: dict[str, str] = {}
    touched: set[str] = set()
    for number in numbers:
        version = ahead[number]
        move(session, schema, version, way, _Watching(session, report, number), 30.0)
        for step in (version.up if way == "up" else version.down) or ():
            _note(session, step, touched, moved)
    report.losses += lost(before, sums(session, schema), touched, moved, {one.book for one in versions})
    return report


def _note(session: Session, step: Step, touched: set[str], moved: dict[str, str]) -> None:
    """Note which tables a statement may change, and which it gives another name."""
    touched |= {_key(session, one) for one in (*step.changes, *step.gone)}
    if step.renames is not None:
        old = _key(session, step.table)
        first = next((name for name, now in moved.items() if now == old), old)
        moved[first] = _key(session, step.renames)


def lost(before: Sums, after: Sums, touched: set[str], moved: dict[str, str], books: Collection[str]) -> list[str]:
    """Say which tables have fewer rows, or other rows though no statement names them; `books` only keep versions."""
    found: list[str] = []
    for name, (rows, digest) in before.items():
        now = after.get(moved.get(name, name))
        if name.startswith("(") or name.rpartition(".")[2] in ("superagent_migrations", *books):
            continue
        if now is None:
            found += [f"`{name}` goes with {rows} row(s)"] if rows else []
        elif now[0] < rows:
            found.append(f"`{name}` has {now[0]} row(s) instead of {rows}")
        elif name not in touched and now != [rows, digest]:
            found.append(f"rows of `{name}` change, which no statement names")
    return found


class _Watching(Watch):
    """Keeps the time, and looks at what a statement reads, drops and holds."""

    def __init__(self, session: Session, report: Report, number: str) -> None:
        self._session = session
        self._report = report
        self._number = number
        self._held: dict[str, str] = {}
        self._began = 0.0

    def before(self, step: Step) -> None:
        """Look at what it reads, and what a column holds that it drops."""
        if step.statement is not None:
            self._report.reads |= self._session.relations(step.statement, {})
        self._report.reads |= step.reads
        for name in step.dropped:
            rows = _count(self._session, step.table, name)
            if rows:
                self._report.losses.append(f"column `{name}` of `{step.table.name}` goes with {rows} value(s)")
        self._began = time.monotonic()

    def after(self, step: Step) -> None:
        """Note its time and the locks that came with it."""
        seconds = round(time.monotonic() - self._began, 3)
        held = _held(self._session)
        fresh = {name: whom for name, whom in held.items() if self._held.get(name) != whom}
        self._held = held
        self._report.tried.append(Tried(self._number, step.text, fresh, seconds))


def _held(session: Session) -> dict[str, str]:
    if session.dialect != "postgres":
        return {}
    return {str(name): _BLOCKS[str(mode)] for name, mode in session.run(_LOCKS)[1] if str(mode) in _BLOCKS}


class Lossless(Watch):
    """Ends a migration before its commit if it loses rows, by what `refuse` raises."""

    def __init__(self, session: Session, schema: str, refuse: Callable[[list[str]], None], book: str = "") -> None:
        self._book = book
        self._session = session
        self._schema = schema
        self._refuse = refuse
        self._report = Report()
        self._watching = _Watching(session, self._report, "")
        self._sums: Sums | None = None
        self._touched: set[str] = set()
        self._moved: dict[str, str] = {}

    def before(self, step: Step) -> None:
        """Look at what stands there."""
        if self._sums is None:
            self._sums = sums(self._session, self._schema)
        self._watching.before(step)
        _note(self._session, step, self._touched, self._moved)

    def end(self) -> None:
        """Compare."""
        after = sums(self._session, self._schema)
        losses = self._report.losses + lost(self._sums or {}, after, self._touched, self._moved, (self._book,))
        if losses:
            self._refuse(losses)


def _count(session: Session, table: Named, column: str) -> int:
    names = [quoted(one, session.dialect) for one in (table.schema, table.name, column)]
    schema, name, own = names if session.dialect == "sqlite" else [one.replace("%", "%%") for one in names]
    return int(session.run(f"SELECT count({own}) FROM {schema}.{name}")[1][0][0])


def _key(session: Session, table: Named) -> str:
    return table.path if session.dialect == "postgres" else table.name


def _require_known(numbers: Any, versions: list[Version], way: Way) -> None:
    missing = sorted(set(numbers) - {one.number for one in versions})
    if missing:
        raise Refused(f"the database has the version `{missing[0]}`, which the folder does not")


def _size(session: Session, place: Place) -> int:
    if session.dialect == "postgres":
        return int(session.run("SELECT pg_catalog.pg_database_size(current_database())")[1][0][0])
    if session.dialect == "mysql":
        text = "SELECT COALESCE(SUM(DATA_LENGTH + INDEX_LENGTH), 0) FROM information_schema.TABLES"
        return int(session.run(f"{text} WHERE TABLE_SCHEMA = %s", (place.database,))[1][0][0])
    return int(session.run("PRAGMA page_count")[1][0][0]) * int(session.run("PRAGMA page_size")[1][0][0])
