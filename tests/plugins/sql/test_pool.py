"""Connections at rest: taken again by the same tenant over the same connection and by nobody else, and never dirty."""

from __future__ import annotations

import asyncio
import re
import threading
from contextlib import suppress
from types import SimpleNamespace
from typing import Any, cast

import pytest

from superagent.core.connections import Connected
from superagent.core.principal import Principal, Secret
from superagent.plugins.sql import pool
from superagent.plugins.sql.engine.mariadb import MariaDB
from superagent.plugins.sql.engine.postgres import Postgres
from superagent.plugins.sql.engine.session import Failed, Place, Session
from superagent.plugins.sql.operations import sql
from superagent.runtime.net.guard import permitting
from tests.plugins.sql.conftest import made_on
from tests.plugins.sql.databases import Database, OnMariaDB, OnPostgreSQL
from tests.plugins.sql.ground import PASSWORD, Ground
from tests.plugins.sql.test_stopping import LONG, running
from tests.promise import promise
from tests.until import until

Server = OnPostgreSQL | OnMariaDB
COUNT = "SELECT count(*) FROM orders"
OF_BO = Principal("bo", "human", "other")


@pytest.fixture(params=["postgresql", "mariadb"])
async def on(request: pytest.FixtureRequest, here: Ground, tmp_path: Any) -> Any:
    made = await made_on(request.param, here, request, tmp_path)
    assert isinstance(made, Server)
    until(lambda: not sessions(made), "the end of what other tests had open")
    return made


def sessions(db: Server) -> list[int]:
    """Give the sessions of the platform that the server knows, by its own numbers."""
    if isinstance(db, OnPostgreSQL):
        rows = db.run(
            "SELECT pid FROM pg_stat_activity WHERE application_name = 'superagent' AND datname = current_database()"
        )
    else:
        rows = db.run("SELECT ID FROM information_schema.PROCESSLIST WHERE USER IN ('app', 'other')")
    return sorted(int(row[0]) for row in rows)


def end(db: Server, session: int) -> None:
    db.run(f"SELECT pg_terminate_backend({session})" if isinstance(db, OnPostgreSQL) else f"KILL {session}")


async def test_reads_take_the_connection_of_the_one_before(here: Ground, on: Server) -> None:
    await here.do("query", COUNT)
    (first,) = sessions(on)
    for _ in range(3):
        assert (await here.do("query", COUNT))["rows"] == [[4]]
        await here.do("explain", COUNT)
        await here.do("schema")
    assert sessions(on) == [first]
    # what is refused, fails or changes something leaves none behind, and does not take one either
    await here.refused("query", "SELECT * FROM nowhere")
    until(lambda: sessions(on) == [], "the end of a session in doubt")
    await here.do("query", COUNT)
    (second,) = sessions(on)
    await here.do("execute", "UPDATE orders SET who = 'x' WHERE id = 1")
    until(lambda: sessions(on) == [second], "the end of the session that changed something")


@promise("3.7")
async def test_nobody_else_takes_it(here: Ground, on: Server) -> None:
    await here.do("query", COUNT)
    (first,) = sessions(on)
    # another tenant, with a connection of the same name to the same place as the same account
    made = (await here.world.connections.get("default", "db")).connected()
    await here.world.secrets.put("other", "password", Secret(PASSWORD), None, "bo")
    entry = await here.world.secrets.entry("other", "password")
    await here.world.connections.write("other", made, entry, "bo")
    outcome = await here.call("query", COUNT, by=OF_BO)
    assert outcome.problem is None, outcome.problem.detail
    assert len(sessions(on)) == 2
    assert first in sessions(on)
    # another password under the same name, which this server does not even look at: the old session ends
    (second,) = set(sessions(on)) - {first}
    if isinstance(on, OnPostgreSQL):
        await here.world.put("password", "another one")
        await here.do("query", COUNT)
        assert first not in sessions(on)
        assert second in sessions(on)
    else:
        await here.world.put("password", "a wrong one")
        assert (await here.refused("query", COUNT)).slug in ("conflict", "unavailable")  # the old one is of no use
        await here.world.put("password", PASSWORD)
        until(lambda: sessions(on) == [second], "the end of what another password had opened")
    # another account in the same connection, and then another place
    await here.do("query", COUNT)
    mine = set(sessions(on)) - {second}
    on.run("CREATE ROLE other LOGIN SUPERUSER" if isinstance(on, OnPostgreSQL) else
           f"GRANT ALL ON *.* TO other@'127.0.0.1' IDENTIFIED BY '{PASSWORD}'")  # fmt: skip
    try:
        changed = Connected(
            made.name, made.type, made.endpoint, made.host, made.secret, made.options | {"user": "other"}
        )
        mine_entry = await here.world.secrets.entry("default", "password")
        await here.world.connections.write("default", changed, mine_entry, "ada")
        assert "other" in (await here.do("connect_test"))["account"]
        await here.do("query", COUNT)
        until(lambda: not mine & set(sessions(on)), "the end of what another account had opened")
    finally:
        await here.world.connections.restore("default", "db", None)
        for one in sessions(on):
            end(on, one)
        until(lambda: not sessions(on), "the end of all sessions")
        on.run("DROP ROLE other" if isinstance(on, OnPostgreSQL) else "DROP USER other@'127.0.0.1'")


async def test_a_connection_that_was_taken_away_opens_nothing(here: Ground, on: Server) -> None:
    await here.do("query", COUNT)
    closed = {"connections": [f"sql://db/{on.schema}.orders"]}
    for grants in (
        [{"effect": "deny", "operations": ["sql.*"], "where": closed}, _allowed("127.0.0.1:*")],
        [_allowed("10.0.0.1:*")],
    ):
        here.grant(*grants)
        assert (await here.refused("query", COUNT)).slug in ("denied", "not-found")
    await here.world.connections.restore("default", "db", None)
    here.grant(_allowed("127.0.0.1:*"))
    assert (await here.refused("query", COUNT)).slug == "not-found"


def _allowed(hosts: str) -> dict[str, Any]:
    return {"effect": "allow", "operations": ["sql.*"], "where": {"connections": ["db"], "hosts": [hosts]}}


REDEFINED = {
    "a view": (
        "CREATE VIEW shown AS SELECT id, who FROM orders",
        "SELECT * FROM shown",
        "CREATE OR REPLACE VIEW shown AS SELECT id, word AS who FROM secret",
    ),
    "a view beneath a view": (
        "CREATE VIEW deep AS SELECT id, who FROM orders; CREATE VIEW shown AS SELECT * FROM deep",
        "SELECT * FROM shown",
        "CREATE OR REPLACE VIEW deep AS SELECT id, word AS who FROM secret",
    ),
    "a table that becomes a view": (
        "CREATE TABLE shown (id int, who varchar(100))",
        "SELECT * FROM shown",
        "DROP TABLE shown; CREATE VIEW shown AS SELECT id, word AS who FROM secret",
    ),
}
ON_POSTGRESQL = {
    "an heir": (
        "CREATE TABLE shown (id int, word varchar(100))",
        "SELECT word FROM shown",
        "ALTER TABLE secret INHERIT shown",
    ),
    "a rule": (
        "CREATE TABLE shown (id int, word varchar(100))",
        "SELECT word FROM shown",
        'DROP TABLE shown; CREATE TABLE shown (id int, word varchar(100)); CREATE RULE "_RETURN" AS ON SELECT TO shown'
        " DO INSTEAD SELECT id, word FROM secret",
    ),
    "a function in a view": (
        "CREATE VIEW shown AS SELECT id, who FROM orders",
        "SELECT * FROM shown",
        "CREATE FUNCTION told() RETURNS varchar LANGUAGE sql AS 'SELECT word FROM public.secret LIMIT 1';"
        " CREATE OR REPLACE VIEW shown AS SELECT id, told()::varchar(100) AS who FROM orders",
    ),
}


@promise("3.7a")
async def test_what_was_judged_once_is_judged_anew(here: Ground, db: Database) -> None:
    here.grant(
        {"effect": "allow", "operations": ["sql.*"],
         "where": {"connections": ["db"], "hosts": ["127.0.0.1:*"], "paths": ["/**"]}},
        {"effect": "deny", "operations": ["sql.*"], "where": {"connections": [f"sql://db/{db.schema}.secret"]}},
    )  # fmt: skip
    tricks = REDEFINED | (ON_POSTGRESQL if db.kind == "postgresql" else {})
    for name, (before, text, after) in tricks.items():
        await _again(here, db, before, text, after, name)
        for one in ("VIEW deep", "VIEW shown", "TABLE shown"):
            with suppress(Exception):
                db.run(f"DROP {one}{' CASCADE' if db.kind == 'postgresql' else ''}")
        if name == "an heir":  # which went with what it inherits from
            db.run("CREATE TABLE secret (id int PRIMARY KEY, word varchar(100))")


async def _again(here: Ground, db: Database, before: str, text: str, after: str, name: str) -> None:
    for one in before.split("; "):
        db.run(one)
    for _ in range(7):  # so often that a server or a driver would prepare it
        await here.do("query", text)
    if db.kind == "sqlite":
        after = re.sub(r"CREATE OR REPLACE VIEW (\w+)", r"DROP VIEW \1; CREATE VIEW \1", after)
    for one in after.split("; "):
        db.run(one)
    refused = await here.refused("query", text)
    assert refused.slug in ("denied", "not-found"), name
    assert "sesame" not in repr(refused)


async def test_a_session_comes_back_clean(on: Server) -> None:
    made = opened(on)
    try:
        before = _begun(made)
        assert made.reset()
        for one in DIRT[made.dialect]:
            made.run(one)
        assert state(made) != before
        assert _begun(made) == before
        with pytest.raises(Failed):
            made.run(f"INSERT INTO {on.schema}.orders VALUES (99, 'x', 1)")
        assert _begun(made) == before
    finally:
        made.close()


def _begun(made: Session) -> list[Any]:
    assert made.reset()
    assert made.renew(30.0)
    made.begin(writes=False)
    return state(made)


DIRT = {
    "postgres": (
        "SET search_path = public", "SET ROLE pg_read_all_data", "SET statement_timeout = 7000",
        "CREATE TEMP TABLE t (x int)",
        "PREPARE p AS SELECT 1", "SELECT pg_advisory_lock(7)", "LISTEN somebody", "SET my.own = 'left'",
        "DECLARE c CURSOR WITH HOLD FOR SELECT 1", "SET default_transaction_read_only = off",
    ),
    "mysql": (
        "SET @left = 7", "SET SESSION sql_mode = ''", "SET NAMES latin1", "SET SESSION max_statement_time = 0.5",
        "SET SESSION time_zone = '+05:00'", "CREATE TEMPORARY TABLE test.t (x int)", "SET autocommit = 0",
        "SELECT GET_LOCK('left', 0)", "PREPARE p FROM 'SELECT 1'",
    ),
}  # fmt: skip


def opened(db: Server) -> Session:
    with permitting(("127.0.0.1", db.server.port)):
        return _opened(db)


def _opened(db: Server) -> Session:
    if isinstance(db, OnPostgreSQL):
        return Postgres(Place("127.0.0.1", "127.0.0.1", db.server.port, db.name, "postgres", "", tls=False), "public")
    db.run("CREATE DATABASE IF NOT EXISTS test")
    return MariaDB(Place("127.0.0.1", "127.0.0.1", db.server.port, db.name, "app", PASSWORD, tls=False), db.name)


def state(made: Session) -> list[Any]:
    """Give what a session has that another one would see."""
    if made.dialect == "postgres":
        looks = (
            "SELECT name, setting FROM pg_settings WHERE name NOT LIKE 'transaction%%' AND name <> 'in_hot_standby'"
            " AND name NOT IN ('statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout')",
            "SELECT current_user, coalesce(current_setting('my.own', true) = 'left', false)",
            "SELECT name FROM pg_prepared_statements",
            "SELECT objid FROM pg_locks WHERE locktype = 'advisory'", "SELECT pg_listening_channels()",
            "SELECT name FROM pg_cursors", "SELECT count(*) FROM pg_class WHERE relname = 't' AND relpersistence = 't'",
        )  # fmt: skip
    else:
        looks = (
            "SELECT @left, @@sql_mode, @@character_set_client, @@character_set_results, @@time_zone, @@autocommit",
            "SELECT @@collation_connection, @@max_statement_time, @@innodb_lock_wait_timeout, DATABASE()",
            "SELECT IS_USED_LOCK('left')",
        )
    found: list[Any] = [made.run(one)[1] for one in looks]
    if made.dialect == "mysql":
        with suppress(Failed):
            found.append(made.run("SELECT * FROM test.t")[1])
        with suppress(Failed):
            found.append(made.run("EXECUTE p")[1])
    return found


async def test_one_that_broke_is_noticed(here: Ground, on: Server) -> None:
    await here.do("query", COUNT)
    (first,) = sessions(on)
    end(on, first)
    until(lambda: not sessions(on), "the end of the session")
    assert (await here.do("query", COUNT))["rows"] == [[4]]
    assert sessions(on) != [first]


async def test_who_stops_a_call_never_stops_the_one_after(here: Ground, on: Server) -> None:
    held = pool.Held(opened(on), None)
    with permitting(("127.0.0.1", on.server.port)):
        held.cancel()
    assert not held.end()  # somebody stopped it: it is not used again
    held.session.close()
    held = pool.Held(opened(on), None)
    assert held.end()
    held.cancel()  # too late: whoever has the session now is not concerned
    assert held.end()
    held.session.close()


async def test_a_deadline_is_that_of_the_call_and_leaves_nothing(here: Ground, on: Server) -> None:
    brief = await here.world.run("sql.query", {"connection": "db", "sql": COUNT}, deadline_s=4.0)
    assert brief.problem is None
    until(lambda: sessions(on) == [], "the end of a session with little time, which nobody is to inherit")
    await here.do("query", COUNT)
    assert len(sessions(on)) == 1
    late = await here.world.run("sql.query", {"connection": "db", "sql": LONG}, deadline_s=0.7)
    assert late.problem is not None
    assert late.problem.slug == "deadline"
    until(lambda: not running(on), "the end of the server's work")
    until(lambda: sessions(on) == [], "the end of a session that was stopped")
    assert (await here.do("query", COUNT))["rows"] == [[4]]


async def test_it_rests_not_for_long_nor_longer_than_the_platform(
    here: Ground, on: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "IDLE_S", 0.09)
    await here.do("query", COUNT)
    async with asyncio.timeout(20):
        while sessions(on):
            await asyncio.sleep(0.03)
    monkeypatch.setattr(pool, "IDLE_S", 600.0)
    some = [asyncio.ensure_future(here.call("query", COUNT)) for _ in range(12)]
    assert all(one.problem is None for one in await asyncio.gather(*some))
    until(lambda: 1 <= len(sessions(on)) <= pool.MOST_EACH, "the end of those that are too many")
    (lifespan,) = sql.lifespans
    stopping = lifespan()
    await stopping.__aenter__()
    await stopping.__aexit__(None, None, None)
    until(lambda: not sessions(on), "the end of all of them")


async def test_a_connection_is_recorded_once_with_its_bytes_and_each_call_says_where_it_went(
    here: Ground, on: Server
) -> None:
    def crossed() -> list[Any]:
        return [one for one in here.egress if one.operation == "egress.connection"]

    place = f"host://-/127.0.0.1:{on.server.port}"
    before = len(crossed())
    calls = [await here.call("query", COUNT) for _ in range(3)]
    told = [one for one in here.records if one.operation == "sql.query" and one.kind == "outcome"][-3:]
    assert [one.invocation for one in told] == [one.invocation for one in calls]
    assert all(place in dict(one.resources) for one in told), told
    assert len(crossed()) == before  # it stands
    # one who must not go there is refused, though what goes there is open: the host is judged by each call
    here.grant(_allowed("10.0.0.1:*"))
    assert (await here.refused("query", COUNT)).slug in ("denied", "not-found")
    here.grant(_allowed("127.0.0.1:*"))
    for one in sessions(on):
        end(on, one)
    until(lambda: not sessions(on), "the end of the session")
    await here.do("query", COUNT)  # notices that the old one has ended
    (ended,) = crossed()[before:]
    assert (ended.invocation, ended.resources[0][0], ended.detail["calls"]) == (calls[0].invocation, place, 3)
    assert ended.detail["sent"] > 200
    assert ended.detail["received"] > 200
    assert ended.bytes == ended.detail["sent"] + ended.detail["received"]
    # what opens one for itself has it recorded as it ends
    await here.do("execute", "UPDATE orders SET who = 'x' WHERE id = 1")
    (_, own) = crossed()[before:]
    assert "calls" not in own.detail
    assert own.detail["received"] > 200


def test_who_lets_go_of_a_session_does_not_wait_for_a_server_that_is_asked_to_stop_it() -> None:
    begun, answers = threading.Event(), threading.Event()

    def cancel() -> None:
        begun.set()
        assert answers.wait(30)
        raise Failed("the server went")

    held = pool.Held(cast("Session", SimpleNamespace(cancel=cancel)), None)
    stopping = threading.Thread(target=held.cancel)
    stopping.start()
    assert begun.wait(30)

    assert not held.end()  # what was stopped never rests

    assert stopping.is_alive()
    answers.set()
    stopping.join(30)
    assert not stopping.is_alive()
    held.cancel()  # nothing any more
