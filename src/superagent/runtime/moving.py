"""Moving: bring a living installation's tables into another database, prove them there, and leave the old one shut."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, inspect
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from superagent.core.problems import Conflict, Unavailable
from superagent.data.areas import Area
from superagent.data.database import dialect_of
from superagent.data.dialect import Dialect
from superagent.data.migrate import MOVED, migrate
from superagent.data.sqlite import Sqlite
from superagent.data.transfer import Extent, copy_rows


@dataclass(frozen=True, slots=True)
class Moved:
    """Where it went, named without a login, and what each table holds."""

    place: str
    tables: dict[str, Extent]


def move(file: Path, url: str, areas: Sequence[Area]) -> Moved:
    """Move an installation's tables from its database file to a database server. Blocks.

    Whoever writes meanwhile waits, and hears `Overloaded` after five seconds; nothing is changed for them. The new
    database has to be empty. Every table is read back and compared, by the number of its rows and a digest of them,
    before the old one is left: from then on that refuses every read and write, also of servers that still run, and
    names the new one. Raises `Unavailable`, `Conflict` when the new one is not empty.
    """
    source, target = Sqlite(file), dialect_of(url, file.parent)
    if isinstance(target, Sqlite):
        raise Unavailable("a database file is moved by copying the data folder", hint="name a PostgreSQL database")
    if not file.is_file():
        raise Unavailable("there is no database file to move", hint=f"look for `{file.name}` in the state folder")
    try:
        migrate(source, areas)
        with source.writer() as old, old.begin():  # from here on nobody else writes
            _make(target, areas)
            return _copy(target, old, areas, _named(url))
    except Exception as fault:
        known = source.problem_of(fault) or target.problem_of(fault)  # also the driver's own, when its turn never came
        if known is None and not isinstance(fault, SQLAlchemyError):
            raise
        raise known or Unavailable(
            f"the tables could not be moved: {type(fault).__name__}", hint="nothing was changed"
        ) from fault
    finally:
        for one in (source, target):
            one.engine.dispose()


def _make(target: Dialect, areas: Sequence[Area]) -> None:
    with closing(target.reader()) as connection:
        there = inspect(connection).get_table_names()
    if there:
        raise Conflict(
            f"the new database is not empty: it has {len(there)} tables", hint="make another one with `createdb`"
        )
    migrate(target, areas)


def _copy(target: Dialect, old: Connection, areas: Sequence[Area], place: str) -> Moved:
    tables = [table for area in areas for table in area.metadata.sorted_tables]
    with target.writer() as new, new.begin():
        target.begun(new)
        found = copy_rows(old, new, tables)
        # all of it is there for good; what follows can only fail in a way that leaves the old one in force
    for table in inspect(old).get_table_names():
        if table != "alembic_version" and not table.startswith("sqlite_"):
            old.exec_driver_sql(f'ALTER TABLE "{table}" RENAME TO "moved_{table}"')
    MOVED.create(old)
    old.execute(MOVED.insert(), {"place": place})
    return Moved(place, found)


def _named(url: str) -> str:
    parsed = make_url(url)
    return f"{parsed.database} at {parsed.host or 'the local socket'}"[:200]
