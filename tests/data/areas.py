"""Areas under test: what every area of tables must keep to, asked of a real database file."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import Column, LargeBinary, Numeric, String, Table, Text

from superagent.data import migrate
from superagent.data.areas import Area, belongs_to_tenants
from superagent.data.database import Database, dialect_of, open_database
from superagent.data.sqlite import engine_of, writer
from superagent.data.transaction import InstanceTransaction, Transaction
from tests.where import beside, where


async def check_area(area: Area, folder: Path) -> None:
    """Check that migrations and definitions agree, and that no tenant reaches another's rows in any table."""
    await check_migrations(area, folder)
    await check_migrations_on_a_server(area, folder)
    database = await open_database(where(folder / "tenants.db"), [area])
    try:
        for table in area.metadata.sorted_tables:
            assert table.name.startswith(f"{area.name}_"), f"`{table.name}` does not say its area"
            if belongs_to_tenants(table):
                await check_tenants(database, table)
            else:
                await check_instance(database, table)
    finally:
        await database.close()


async def check_migrations(area: Area, folder: Path) -> None:
    """Check that a database made from the definitions is, to the letter, the one that the migrations make."""
    script = ScriptDirectory(str(folder), version_locations=[str(area.versions)])
    own = [one for one in script.walk_revisions() if area.name in one.branch_labels]
    assert [one.revision for one in own if one.is_head] == [area.head]
    assert all(re.fullmatch(rf"{area.name}_\d{{4}}", one.revision) for one in own)

    fresh, grown = folder / "fresh.db", folder / "grown.db"
    await (await open_database(fresh, [area])).close()
    engine = engine_of(grown)
    with writer(engine) as connection, connection.begin():
        migrate.VERSIONS.create(connection)
    await (await open_database(grown, [area])).close()
    assert schema_of(fresh) == schema_of(grown)


async def check_migrations_on_a_server(area: Area, folder: Path) -> None:
    """Check the same on PostgreSQL, where the test has one: columns, their types and order, keys and indexes."""
    fresh, grown = where(folder / "fresh.db"), where(folder / "grown.db")
    if isinstance(fresh, Path) or isinstance(grown, Path):
        return
    await (await open_database(fresh, [area])).close()
    dialect = dialect_of(grown)
    with dialect.writer() as connection, connection.begin():
        migrate.VERSIONS.create(connection)
    dialect.engine.dispose()
    await (await open_database(grown, [area], copies=folder)).close()
    assert columns_of(fresh) == columns_of(grown)


def columns_of(url: str) -> list[tuple[Any, ...]]:
    """Give what a PostgreSQL database says of its tables."""
    engine = dialect_of(url).engine
    with engine.connect() as connection:
        columns = connection.exec_driver_sql(
            "SELECT table_name, column_name, data_type, character_maximum_length, is_nullable, collation_name "
            "FROM information_schema.columns WHERE table_schema = 'public' AND table_name <> 'alembic_version'"
        ).all()
        indexes = connection.exec_driver_sql(
            "SELECT tablename, indexname, indexdef, '' FROM pg_indexes WHERE schemaname = 'public'"
        ).all()
    engine.dispose()
    return sorted([*map(tuple, columns), *map(tuple, indexes)], key=str)


@asynccontextmanager
async def older(path: Path, area: Area, head: str) -> AsyncGenerator[Callable[..., list[Any]]]:
    """Make a database as it was at an earlier migration, and give what fills it: `run(statement, *values)`."""
    dialect = dialect_of(where(path))
    with dialect.alone(), dialect.writer() as connection, connection.begin():
        migrate.VERSIONS.create(connection)
    dialect.engine.dispose()
    await (await open_database(where(path), [Area(area.name, head, area.versions)], copies=path.parent)).close()
    with beside(path) as run:
        yield run


def schema_of(path: Path) -> list[tuple[str, str, str]]:
    """Give every table and index as it was made, without the spaces, in an order that means nothing."""
    connection = sqlite3.connect(path)
    try:
        made = connection.execute("SELECT type, name, coalesce(sql, '') FROM sqlite_master").fetchall()
        heads = connection.execute("SELECT version_num FROM alembic_version ORDER BY 1").fetchall()
    finally:
        connection.close()
    tidy = [(kind, name, _tidy(sql)) for kind, name, sql in made if name != "alembic_version"]
    return sorted(tidy) + [("head", head, "") for (head,) in heads]


def _tidy(sql: str) -> str:
    return re.sub(r"\s*([(),])\s*", r"\1", re.sub(r"\s+", " ", sql)).replace('"', "")


async def check_tenants(database: Database, table: Table) -> None:
    """Check that a row of tenant `a` is neither seen, changed nor removed by tenant `b`, and cannot be made by it."""
    row = {column.name: _some(column) for column in table.c if column.name != "tenant"}
    changed = next((name for name in row if not table.c[name].primary_key), next(iter(row)))
    await database.write("a", lambda tx: tx.insert(table, **row))

    def stranger(tx: Transaction) -> None:
        assert tx.select(table) == []
        assert tx.first(table) is None
        assert tx.count(table) == 0
        assert tx.update(table, **{changed: row[changed]}) == 0
        assert tx.delete(table) == 0
        for make in (tx.insert, tx.insert_new):
            with pytest.raises(ValueError, match="no rows of another"):
                make(table, **row, tenant="a")
        with pytest.raises(ValueError, match="never moves"):
            tx.update(table, tenant="a")

    await database.write("b", stranger)
    assert await database.read("a", lambda tx: tx.count(table)) == 1


async def check_instance(database: Database, table: Table) -> None:
    """Check that no tenant reads or writes a table of the installation."""
    for use in (lambda tx: tx.select(table), lambda tx: tx.insert(table), lambda tx: tx.delete(table)):  # pyright: ignore[reportUnknownLambdaType, reportUnknownMemberType, reportUnknownVariableType]
        with pytest.raises(ValueError, match="belongs to the installation"):
            await database.write("a", use)  # pyright: ignore[reportUnknownArgumentType]

    def sweep(tx: InstanceTransaction) -> int:
        return tx.count(table)

    assert await database.read_instance(sweep) == 0


def _some(column: Column[Any]) -> Any:
    kind = column.type
    if isinstance(kind, String | Text):
        return "x"
    if isinstance(kind, LargeBinary):
        return b"x"
    return 1.0 if isinstance(kind, Numeric) else 1
