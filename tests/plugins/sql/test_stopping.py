"""What stops: a deadline and a cancelled call leave nothing running; a lost connection is told as it is."""

from __future__ import annotations

import asyncio

import pytest

from superagent.sdk import Unavailable
from tests.plugins.sql.databases import Database
from tests.plugins.sql.ground import Ground
from tests.promise import promise
from tests.until import until

# nested joins that take hours
LONG = "SELECT count(*) FROM " + ", ".join(f"orders o{n}" for n in range(24)) + " WHERE o0.id + o1.id + o23.id > 5"


def running(db: Database) -> list[object]:
    if db.kind == "postgresql":
        return db.run("SELECT query FROM pg_stat_activity WHERE application_name = 'superagent' AND state = 'active'")
    if db.kind == "mariadb":
        return db.run("SELECT INFO FROM information_schema.PROCESSLIST WHERE USER = 'app' AND INFO IS NOT NULL")
    return []


@promise("3.7a")
async def test_a_query_past_its_deadline_leaves_nothing_running_on_the_server(here: Ground, db: Database) -> None:
    late = await here.world.run("sql.query", {"connection": "db", "sql": LONG}, deadline_s=1.5)
    assert late.problem is not None
    assert late.problem.slug == "deadline"
    until(lambda: not running(db), "the end of the server's work")


async def test_a_cancelled_call_stops_the_server(here: Ground, db: Database) -> None:
    call = asyncio.ensure_future(here.call("query", LONG))
    if db.kind != "sqlite":
        async with asyncio.timeout(20):
            while not running(db):
                await asyncio.sleep(0.05)
    call.cancel()
    with pytest.raises((asyncio.CancelledError, AssertionError)):
        assert (await call).problem is None
    until(lambda: not running(db), "the end of the server's work")


async def test_a_connection_that_is_lost_at_the_commit_ends_as_unknown_and_is_not_repeated(
    here: Ground, on_pg: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    from superagent.plugins.sql.engine import postgres

    commits: list[str] = []
    commit = postgres.Postgres.commit

    def cut(self: postgres.Postgres) -> None:
        commits.append("once")
        on_pg.run(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'superagent'"
            " AND pid <> pg_backend_pid()"
        )
        commit(self)

    monkeypatch.setattr(postgres.Postgres, "commit", cut)
    before = on_pg.checksum("orders")
    outcome = await here.call("execute", "UPDATE orders SET who = 'x'")
    assert outcome.problem is not None
    assert (outcome.problem.slug, outcome.problem.changed) == (Unavailable.slug, "unknown")
    assert (commits, on_pg.checksum("orders")) == (["once"], before)
    # undo finds out by looking: it did not stand, and so there is nothing to put back
    monkeypatch.setattr(postgres.Postgres, "commit", commit)
    back = await here.call("undo.apply", ids=[outcome.invocation])
    assert (back.problem, on_pg.checksum("orders")) == (None, before)


async def test_a_change_that_stood_though_its_answer_was_lost_is_taken_back(
    here: Ground, on_pg: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    from superagent.plugins.sql.engine import postgres
    from superagent.plugins.sql.engine.session import Lost

    commit = postgres.Postgres.commit

    def lose(self: postgres.Postgres) -> None:
        commit(self)
        raise Lost("the answer")

    monkeypatch.setattr(postgres.Postgres, "commit", lose)
    before = on_pg.checksum("orders")
    outcome = await here.call("execute", "DELETE FROM orders")
    assert outcome.problem is not None
    assert (outcome.problem.changed, on_pg.run("SELECT count(*) FROM orders")) == ("unknown", [(0,)])
    monkeypatch.setattr(postgres.Postgres, "commit", commit)
    back = await here.call("undo.apply", ids=[outcome.invocation])
    assert (back.problem, on_pg.checksum("orders")) == (None, before)
