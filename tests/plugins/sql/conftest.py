"""What the tests of the sql plugin share: servers that start once, and the same database on each kind."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import pytest
import pytest_asyncio

from tests import mariadb, postgresql
from tests.plugins.sql.databases import Database, OnMariaDB, OnPostgreSQL, OnSqlite
from tests.plugins.sql.ground import PASSWORD, Ground, free_port, ground


@pytest.fixture(scope="session")
def pg() -> Generator[postgresql.Server]:
    with postgresql.server(port=free_port()) as started:
        yield started


@pytest.fixture(scope="session")
def maria() -> Generator[mariadb.Server]:
    with mariadb.server(free_port(), PASSWORD) as started:
        yield started


@pytest_asyncio.fixture
async def here(tmp_path: Path) -> AsyncGenerator[Ground]:
    async with ground(tmp_path) as made:
        yield made


async def made_on(kind: str, here: Ground, request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    name = "t" + hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:20]
    if kind == "postgresql":
        made: Database = OnPostgreSQL(request.getfixturevalue("pg"), name)
    elif kind == "mariadb":
        made = OnMariaDB(request.getfixturevalue("maria"), name)
    else:
        made = OnSqlite(tmp_path / "orders.db")
    await made.connect(here)
    return made


@pytest_asyncio.fixture(params=["postgresql", "mariadb", "sqlite"])
async def db(request: pytest.FixtureRequest, here: Ground, tmp_path: Path) -> Database:
    return await made_on(request.param, here, request, tmp_path)


@pytest_asyncio.fixture
async def on_pg(request: pytest.FixtureRequest, here: Ground, tmp_path: Path) -> Database:
    return await made_on("postgresql", here, request, tmp_path)


@pytest_asyncio.fixture
async def on_maria(request: pytest.FixtureRequest, here: Ground, tmp_path: Path) -> Database:
    return await made_on("mariadb", here, request, tmp_path)


@pytest_asyncio.fixture
async def on_sqlite(request: pytest.FixtureRequest, here: Ground, tmp_path: Path) -> Database:
    return await made_on("sqlite", here, request, tmp_path)
