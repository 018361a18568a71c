"""Migrations: bring the database to the heads of this code, once, whoever starts first."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Column, Connection, Engine, MetaData, String, Table, inspect

from superagent.core.problems import Unavailable
from superagent.data.areas import Area, heads_of
from superagent.data.dialect import copy, prepare, schema_change, writer

# the table that Alembic keeps; named here so that a start can read it without loading Alembic
VERSIONS = Table("alembic_version", MetaData(), Column("version_num", String(32), primary_key=True))


def migrate(engine: Engine, path: Path, areas: Sequence[Area]) -> None:
    """Make the tables, or bring them up to date; a database that already fits costs one query.

    A fresh database is made from the definitions, which a test holds equal to what the migrations make. Before a
    migration the whole database is copied to `<name>.before-<number>`. Raises `Unavailable` when the database is newer
    than the code.
    """
    prepare(path)
    with _alone(path), writer(engine) as connection:
        with connection.begin():
            stored = _stored(connection)
            if stored is None:
                _create(connection, areas)
                return
        if not heads_of(areas) <= stored:
            copy(connection, _free_name(path))
            _upgrade(connection, areas, stored)


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


def _upgrade(connection: Connection, areas: Sequence[Area], stored: frozenset[str]) -> None:
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
    with schema_change(connection):
        context = MigrationContext.configure(connection, opts={"fn": lambda *_: steps})  # pyright: ignore[reportUnknownLambdaType, reportUnknownArgumentType]
        with Operations.context(context):
            context.run_migrations()


@contextmanager
def _alone(path: Path) -> Generator[None]:
    """Hold the lock of all starts on this database."""
    descriptor = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _free_name(path: Path) -> Path:
    numbers = [int(one.name.rpartition("-")[2]) for one in path.parent.glob(f"{path.name}.before-*")]
    return path.with_name(f"{path.name}.before-{max(numbers, default=0) + 1}")
