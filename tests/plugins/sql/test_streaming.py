"""`sql.stream`: rows of any length as they come, judged like a query, and nothing left on the server when it ends."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from superagent.core.invocation import Call, Outcome, Status
from superagent.core.principal import Principal
from superagent.plugins.sql.streaming import PAGE_ROWS
from superagent.surfaces.http import followed
from tests.plugins.sql.databases import Database
from tests.plugins.sql.ground import Ground
from tests.plugins.sql.test_stopping import LONG, running
from tests.promise import promise
from tests.runtime.secret_world import ADA
from tests.until import until, until_async

HOSTS = {"hosts": ["127.0.0.1:*"], "paths": ["/**"]}
# 4 ** 6 rows
MANY = "SELECT o0.id FROM " + ", ".join(f"orders o{n}" for n in range(6))


class Follower:
    """Somebody who follows a stream; with `most`, nothing more is taken after so many pages."""

    def __init__(self, most: int = 10**9) -> None:
        self.pages: list[dict[str, Any]] = []
        self._most = most

    async def tell(self, event: bytes) -> None:
        if len(self.pages) >= self._most:
            await asyncio.Event().wait()
        self.pages.append(msgspec.json.decode(event))

    @property
    def rows(self) -> list[list[Any]]:
        return [row for page in self.pages for row in page["rows"]]


async def follow(here: Ground, by: Follower, sql: str, caller: Principal = ADA, **more: Any) -> Outcome:
    call = Call("sql.stream", {"connection": "db", "sql": sql, **more})
    return await here.world.world.kernel.follow(call, caller, "test", by.tell)


def open_on(db: Database) -> list[object]:
    """Give what the platform has open on a server, at work or not."""
    if db.kind == "postgresql":
        return db.run(
            "SELECT pid FROM pg_stat_activity WHERE application_name = 'superagent' AND datname = current_database()"
        )
    if db.kind == "mariadb":
        return db.run("SELECT ID FROM information_schema.PROCESSLIST WHERE USER = 'app'")
    return []


@promise("3.7a")
async def test_rows_come_page_by_page_and_are_on_record_before_the_first(here: Ground, db: Database) -> None:
    by = Follower()
    outcome = await follow(here, by, MANY)
    assert outcome.problem is None, outcome.problem.detail
    first = by.pages[0]
    assert (first["columns"], first["tables"], first["rows"]) == (["id"], [db.table("orders")], [])
    assert len(by.rows) == 4**6
    assert max(len(page["rows"]) for page in by.pages) <= PAGE_ROWS
    told = [one.kind for one in here.records if one.invocation == outcome.invocation]
    assert told[0] == "intent"
    assert told[-1] == "outcome"
    until(lambda: not open_on(db), "the end of the session")


async def test_a_stream_is_judged_as_a_query_is(here: Ground, db: Database) -> None:
    here.grant(
        {"effect": "allow", "operations": ["sql.*"], "where": {"connections": ["db"], **HOSTS}},
        {"effect": "deny", "operations": ["sql.*"], "where": {"connections": [f"sql://db/{db.schema}.secret"]}},
    )
    for statement in ("SELECT * FROM secret", "SELECT word FROM twice", "DELETE FROM orders", "SELECT 1; SELECT 2"):
        by = Follower()
        outcome = await follow(here, by, statement)
        assert outcome.problem is not None, statement
        assert outcome.problem.slug in ("denied", "not-found", "invalid-input"), statement
        assert by.pages == []
        told = [one for one in here.records if one.invocation == outcome.invocation and one.problem]
        assert [one.problem for one in told][-1:] == [outcome.problem.slug]
    assert "sesame" not in repr(here.records)


async def test_more_than_was_asked_for_ends_it(here: Ground, db: Database) -> None:
    by = Follower()
    outcome = await follow(here, by, MANY, max_rows=1200)
    assert outcome.problem is not None
    assert (outcome.problem.slug, len(by.rows) <= 1200) == ("too-large", True)
    outcome = await follow(here, Follower(), MANY, max_bytes=1024)
    assert outcome.problem is not None
    assert outcome.problem.slug == "too-large"
    until(lambda: not open_on(db), "the end of the sessions")


@promise("3.7a")
async def test_who_stops_following_leaves_nothing_open_on_the_server(here: Ground, db: Database) -> None:
    by = Follower(most=2)
    call = asyncio.ensure_future(follow(here, by, MANY))
    await until_async(lambda: len(by.pages) == 2, "the second page")
    call.cancel()  # between two pages: nothing runs on the server, but its cursor is open
    outcome = await call
    assert outcome.status is Status.CANCELLED
    until(lambda: not open_on(db), "the end of the session")
    if db.kind == "sqlite":
        return
    call = asyncio.ensure_future(follow(here, Follower(), LONG))
    await until_async(lambda: bool(running(db)), "the start of the server's work")
    call.cancel()
    assert (await call).status is Status.CANCELLED
    until(lambda: not running(db), "the end of the server's work")


async def test_a_right_that_is_taken_away_ends_a_stream(here: Ground, db: Database) -> None:
    by = Follower(most=2)
    taken = asyncio.Event()

    async def tell(event: bytes) -> None:
        if len(by.pages) == 2:
            await taken.wait()
        by.pages.append(msgspec.json.decode(event))

    kernel = here.world.world.kernel
    call = asyncio.ensure_future(
        kernel.follow(Call("sql.stream", {"connection": "db", "sql": MANY}), ADA, "test", tell)
    )
    await until_async(lambda: len(by.pages) == 2, "the second page")
    here.grant({"effect": "deny", "operations": ["sql.stream"]})
    taken.set()
    outcome = await call
    assert outcome.problem is not None
    assert (outcome.problem.slug, len(by.pages) <= 3) == ("denied", True)
    until(lambda: not open_on(db), "the end of the session")


async def test_who_reads_nothing_for_long_holds_no_cursor(
    here: Ground, on_pg: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(followed, "UNREAD_S", 0.2)
    over: list[str] = []

    async def receive() -> dict[str, Any]:
        await asyncio.Event().wait()  # it stays
        return {}

    async def write(line: bytes) -> None:
        await asyncio.Event().wait()  # and reads nothing

    asked = Call("sql.stream", {"connection": "db", "sql": MANY})
    reply = followed.followed(here.world.world.kernel, asked, ADA, "", receive, lambda: over.append("over"))
    assert reply.stream is not None
    await reply.stream(write)
    assert over == ["over"]
    until(lambda: not open_on(on_pg), "the end of the session")


async def test_a_view_that_changes_meanwhile_is_judged_anew(here: Ground, on_pg: Database) -> None:
    here.grant(
        {"effect": "allow", "operations": ["sql.*"], "where": {"connections": ["db"], **HOSTS}},
        {"effect": "deny", "operations": ["sql.*"], "where": {"connections": [f"sql://db/{on_pg.schema}.secret"]}},
    )
    on_pg.run("CREATE VIEW turns AS SELECT id, who FROM orders")
    assert len((await here.do("query", "SELECT who FROM turns"))["rows"]) == 4
    on_pg.run("CREATE OR REPLACE VIEW turns AS SELECT id, word AS who FROM secret")
    assert (await here.refused("query", "SELECT who FROM turns")).slug in ("denied", "not-found")
    # and a table of another name in the place of the one that was judged
    assert len((await here.do("query", "SELECT id FROM orders"))["rows"]) == 4
    on_pg.run("ALTER TABLE orders RENAME TO kept")
    on_pg.run("ALTER TABLE secret RENAME TO orders")
    assert len((await here.do("query", "SELECT id FROM orders"))["rows"]) == 2
    on_pg.run("ALTER TABLE orders RENAME TO secret")
    assert (await here.refused("query", "SELECT id FROM secret")).slug in ("denied", "not-found")
    await here.refused("query", "SELECT id FROM orders")


@pytest.mark.parametrize("order", ["heirs", "function"])
async def test_what_a_plan_comes_to_beyond_the_names_in_the_text_is_judged(
    here: Ground, on_pg: Database, order: str
) -> None:
    here.grant(
        {"effect": "allow", "operations": ["sql.*"], "where": {"connections": ["db"], **HOSTS}},
        {"effect": "deny", "operations": ["sql.*"], "where": {"connections": [f"sql://db/{on_pg.schema}.late"]}},
    )
    if order == "heirs":
        on_pg.run("CREATE TABLE late () INHERITS (orders)")
        statement = "SELECT id FROM orders"
    else:
        on_pg.run("CREATE TABLE late (id int)")
        on_pg.run("CREATE VIEW beneath AS SELECT id FROM late")
        statement = "SELECT id FROM beneath"
    assert (await here.refused("query", statement)).slug in ("denied", "not-found")


async def test_names_of_any_kind_are_asked_for_as_they_are(here: Ground, on_pg: Database) -> None:
    for name in ('o"d', "{a,b}", "back\\slash", "NULL", "with space", "ünï", "'"):
        quoted = '"' + name.replace('"', '""') + '"'
        on_pg.run(f"CREATE TABLE {quoted} (id int)")
        on_pg.run(f"INSERT INTO {quoted} VALUES (7)")
        assert (await here.do("query", f"SELECT id FROM {quoted}"))["rows"] == [[7]]
