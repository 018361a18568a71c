"""`sql.slow_queries` over servers that count, and over those that do not."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests import mariadb, postgresql
from tests.plugins.sql.databases import Database, OnMariaDB, OnPostgreSQL
from tests.plugins.sql.ground import PASSWORD, Ground, free_port
from tests.plugins.sql.insight import hide_secret, load


@pytest.fixture(scope="module")
def counting() -> Generator[postgresql.Server]:
    with postgresql.server("shared_preload_libraries=pg_stat_statements", port=free_port()) as started:
        yield started


@pytest.fixture(scope="module")
def measuring() -> Generator[mariadb.Server]:
    with mariadb.server(free_port(), PASSWORD, "--performance-schema=ON") as started:
        yield started


async def test_postgresql_names_what_took_most_without_values_and_without_denied_tables(
    here: Ground, counting: postgresql.Server
) -> None:
    db = OnPostgreSQL(counting, "slow")
    await db.connect(here)
    db.run("CREATE EXTENSION pg_stat_statements")
    load(db)
    await here.do("query", "SELECT count(*) FROM orders WHERE who = 'by-the-agent'")
    _whole(db, await here.do("slow_queries", limit=100), "pg_stat_statements")
    here.grant(*hide_secret(db))
    found = await here.do("slow_queries", limit=100)
    _hidden(db, found)
    # what the platform itself ran for its callers is there as well
    assert any(one["statement"].startswith("SELECT COUNT(*)") for one in found["statements"])


async def test_a_schema_that_was_not_named_hides_what_may_have_been_meant(
    here: Ground, counting: postgresql.Server
) -> None:
    db = OnPostgreSQL(counting, "elsewhere")
    await db.connect(here)
    db.run("CREATE EXTENSION pg_stat_statements")
    db.run("CREATE SCHEMA hidden")
    db.run("CREATE TABLE hidden.orders (id int, who text)")
    db.run("SELECT who FROM orders WHERE id = 5")
    db.run("SELECT id FROM public.orders WHERE id = 5")
    assert len((await here.do("slow_queries"))["statements"]) >= 2
    here.grant(
        *hide_secret(db),
        {"effect": "deny", "operations": ["sql.*"], "where": {"connections": ["sql://db/hidden.*"]}},
    )
    found = (await here.do("slow_queries"))["statements"]
    assert [one["statement"] for one in found if "orders" in one["statement"]] == [
        'SELECT id FROM "public"."orders" WHERE id = ?'
    ]


async def test_own_functions_are_not_seen_through_so_what_calls_them_is_not_shown(
    here: Ground, counting: postgresql.Server
) -> None:
    db = OnPostgreSQL(counting, "functions")
    await db.connect(here)
    db.run("CREATE EXTENSION pg_stat_statements")
    db.run("CREATE FUNCTION peek() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM public.secret'")
    db.run("SELECT id, public.peek() FROM orders")
    db.run("SELECT id, peek() FROM orders")
    db.run("SET search_path = 'not-shown'")
    assert "peek" not in repr(await here.do("slow_queries", limit=100))


async def test_without_the_extension_what_runs_now_is_named(here: Ground, on_pg: OnPostgreSQL) -> None:
    assert (await here.do("slow_queries"))["statements"] == []
    long = "SELECT count(*) FROM orders o, generate_series(1, 1000000000) WHERE who <> 'private'"
    with closing(psycopg.connect(on_pg.server.plain(on_pg.name))) as other:
        other.pgconn.send_query(long.encode())
        found = await here.do("slow_queries")
        other.cancel()
    assert found["source"] == "pg_stat_activity"
    assert [one["tables"] for one in found["statements"]] == [["sql://db/public.orders"]]
    assert "private" not in repr(found)


async def test_mariadb_names_them_from_its_performance_schema(here: Ground, measuring: mariadb.Server) -> None:
    db = OnMariaDB(measuring, "slow")
    await db.connect(here)
    load(db)
    _whole(db, await here.do("slow_queries", limit=100), "performance_schema")
    here.grant(*hide_secret(db))
    _hidden(db, await here.do("slow_queries", limit=100))


async def test_mariadb_names_them_from_its_table_of_slow_ones(here: Ground, on_maria: OnMariaDB) -> None:
    on_maria.run("SET GLOBAL log_output = 'TABLE'")
    on_maria.run("SET GLOBAL slow_query_log = 1")
    on_maria.run("SET SESSION slow_query_log = 1, long_query_time = 0")
    load(on_maria)
    try:
        _whole(on_maria, await here.do("slow_queries", limit=100), "mysql.slow_log")
        here.grant(*hide_secret(on_maria))
        _hidden(on_maria, await here.do("slow_queries", limit=100))
    finally:
        on_maria.run("SET GLOBAL slow_query_log = 0")
        on_maria.run("SET SESSION slow_query_log = 0, long_query_time = 10")


@pytest.mark.parametrize("kind", ["mariadb", "sqlite"])
async def test_a_server_that_counts_nothing_says_how_it_would(
    kind: str, here: Ground, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    from tests.plugins.sql.conftest import made_on

    await made_on(kind, here, request, tmp_path)
    problem = await here.refused("slow_queries")
    assert (problem.slug, bool(problem.hint)) == ("unavailable", True)


async def test_who_may_not_use_the_database_is_told_nothing_of_it(here: Ground, db: Database) -> None:
    here.grant({"effect": "deny", "operations": ["sql.slow_queries"], "where": {"connections": ["db"]}})
    assert (await here.refused("slow_queries")).slug in ("denied", "not-found")


def _whole(db: Database, found: dict[str, Any], source: str) -> None:
    assert found["source"] == source
    assert datetime.fromisoformat(found["since"]) <= datetime.now(UTC)
    tables = [one["tables"] for one in found["statements"]]
    assert [db.table("secret")] in tables
    told = repr(found)
    assert not [one for one in ("private-", "remark-", "hidden-", "joined", "by-the-agent") if one in told]


def _hidden(db: Database, found: dict[str, Any]) -> None:
    mine = [one for one in found["statements"] if one["tables"] == [db.table("orders")] and "paid" in one["statement"]]
    assert [one["calls"] for one in mine] == [3]
    assert mine[0]["mean_ms"] > 0
    assert mine[0]["total_ms"] >= mine[0]["mean_ms"]
    told = repr(found)
    assert not [one for one in ("secret", "twice", "through", "word", "private-", "hidden-") if one in told]
