"""Migrations: bring the database to the heads of this code, once, whoever starts first."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Column, Connection, MetaData, String, Table, event, inspect

from superagent.core.problems import Unavailable
from superagent.data.areas import Area, fitting, heads_of
from superagent.data.dialect import Dialect

# the table that Alembic keeps; named here so that a start can read it without loading Alembic
VERSIONS = Table("alembic_version", MetaData(), Column("version_num", String(32), primary_key=True))


MOVED = Table("moved", MetaData(), Column("place", String(200), primary_key=True))
"""Says in a database that was left where everything went; a login never stands in it."""


def migrate(dialect: Dialect, areas: Sequence[Area]) -> None:
    """Make the tables, or bring them up to date; a database that already fits costs a query or two.

    A fresh database is made from the definitions, which a test holds equal to what the migrations make. Before a
    migration a copy of the whole database is kept. Raises `Unavailable` when the database is newer than the code, or
    was left for another one.
    """
    with dialect.alone(), dialect.writer() as connection:
        with connection.begin():
            dialect.begun(connection)
            stored = _stored(connection)
            if stored is None:
                _create(connection, areas)
                return
            _refuse_moved(connection)
        if not heads_of(areas) <= stored:
            dialect.keep_copy(connection)
            _upgrade(dialect, connection, areas, stored)


def _refuse_moved(connection: Connection) -> None:
    if inspect(connection).has_table(MOVED.name):
        place = connection.execute(MOVED.select()).scalar_one()
        raise Unavailable(
            f"this installation was moved to the database {place}",
            hint="set `SUPERAGENT_DATABASE__URL` to it, or `database.url` in superagent.toml",
        )


def _stored(connection: Connection) -> frozenset[str] | None:
    """Give the revisions in the database; None when it is empty."""
    if not inspect(connection).has_table(VERSIONS.name):
        return None
    return frozenset(connection.execute(VERSIONS.select()).scalars())


def _create(connection: Connection, areas: Sequence[Area]) -> None:
    VERSIONS.create(connection)
    for area in areas:
        area.metadata.create_all(connection, checkfirst=False)
    connection.execute(VERSIONS.insert(), [{"version_num": head} for head in sorted(heads_of(areas))])


def _upgrade(dialect: Dialect, connection: Connection, areas: Sequence[Area], stored: frozenset[str]) -> None:
    """Run every migration that is still to do, all in one transaction."""
    # loading Alembic takes longer than a whole cold start may
    from alembic.migration import MigrationContext
    from alembic.operations import Operations
    from alembic.script import ScriptDirectory

    places = dict.fromkeys(str(area.versions) for area in areas)
    script = ScriptDirectory(str(Path(__file__).parent), version_locations=[*places])
    known = {one.revision for one in script.walk_revisions()}
    newer = sorted(one for one in stored - known if one.rpartition("_")[0] in {area.name for area in areas})
    if newer:
        raise Unavailable(
            f"the database was made by a newer version ({', '.join(newer)})",
            hint="install that version again, or `superagent restore` a copy from before it",
        )
    steps = script._upgrade_revs(tuple(heads_of(areas)), tuple(stored & known))  # pyright: ignore[reportPrivateUsage, reportArgumentType]
    with dialect.schema_change(connection):
        context = MigrationContext.configure(connection, opts={"fn": lambda *_: steps})  # pyright: ignore[reportUnknownLambdaType, reportUnknownArgumentType]
        with Operations.context(context), _fitting_types():
            context.run_migrations()


@contextmanager
def _fitting_types() -> Generator[None]:
    """Give every column that a migration makes the type that the definitions give it, see `areas.fitting`."""

    def fit(column: Column[Any], _table: object) -> None:
        column.type = fitting(column.type)

    event.listen(Column, "before_parent_attach", fit)
    try:
        yield
    finally:
        event.remove(Column, "before_parent_attach", fit)
