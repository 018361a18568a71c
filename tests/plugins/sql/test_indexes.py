"""Indexes: the right one is proposed, built beside others' work, measured, withdrawn when it does not help, undone."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from tests.plugins.sql.databases import Database, OnMariaDB, OnPostgreSQL
from tests.plugins.sql.ground import Ground
from tests.plugins.sql.insight import hide_secret, seed

BY_CUSTOMER = "SELECT id, kind FROM events WHERE customer = :who"
LATEST = "SELECT id FROM events WHERE kind = :kind ORDER BY created LIMIT 10"


def indexes(db: Database) -> list[Any]:
    if db.kind == "postgresql":
        return db.run("SELECT indexname FROM pg_indexes WHERE tablename = 'events' ORDER BY 1")
    if db.kind == "mariadb":
        return db.run(
            "SELECT DISTINCT INDEX_NAME FROM information_schema.STATISTICS"
            f" WHERE TABLE_SCHEMA = '{db.schema}' AND TABLE_NAME = 'events' ORDER BY 1"
        )
    return db.run("SELECT name FROM sqlite_schema WHERE type = 'index' AND tbl_name = 'events' ORDER BY 1")


def table_of(db: Database) -> str:
    return f"{db.schema}.events"


async def test_the_right_index_is_proposed_and_nothing_is_changed(here: Ground, on_pg: OnPostgreSQL) -> None:
    seed(on_pg, 20_000)
    on_pg.run("CREATE EXTENSION hypopg")
    on_pg.run("CREATE INDEX nobody ON events (note)")
    on_pg.run("CREATE UNIQUE INDEX keeps ON events (id, note)")
    on_pg.run("CREATE INDEX hidden ON secret (word)")
    before = indexes(on_pg)
    found = await here.do("index_suggest", BY_CUSTOMER, {"who": 7})
    assert found["unit"] == "planner cost"
    # what writers pay for already, and would pay for
    assert [(one["index"], one["table"]) for one in found["unused"]] == [("nobody", "sql://db/public.events")]
    assert found["unused"][0]["bytes"] > 8192
    assert found["indexes"][0]["writes"] >= 20_000
    assert [(one["table"], one["columns"]) for one in found["indexes"]] == [("sql://db/public.events", ["customer"])]
    best = found["indexes"][0]
    assert best["cost_before"] == found["cost"] > 4 * best["cost_after"]
    assert best["bytes"] > 0
    assert found["now"]["work"] > 100
    assert indexes(on_pg) == before
    both = await here.do("index_suggest", "SELECT id FROM events WHERE customer = 7 AND created > 19000")
    assert both["indexes"][0]["columns"] == ["customer", "created"]
    joined = "SELECT e.id FROM orders o JOIN events e ON e.customer = o.id WHERE o.who = 'ada'"
    assert (await here.do("index_suggest", joined))["indexes"][0]["columns"] == ["customer"]
    assert (await here.do("index_suggest", "DELETE FROM events WHERE customer = 7"))["indexes"]
    assert (await here.do("index_suggest", "SELECT * FROM events WHERE id = 7"))["indexes"] == []


async def test_sqlite_tries_them_on_a_copy(here: Ground, tmp_path: Any, request: pytest.FixtureRequest) -> None:
    from tests.plugins.sql.conftest import made_on

    db = await made_on("sqlite", here, request, tmp_path)
    seed(db, 20_000)
    found = await here.do("index_suggest", BY_CUSTOMER, {"who": 7})
    assert found["unit"] == "steps"
    assert [one["columns"] for one in found["indexes"]] == [["customer"]]
    assert found["indexes"][0]["cost_before"] > 10 * found["indexes"][0]["cost_after"]
    assert not [one for one in indexes(db) if "sqlite_autoindex" not in one[0]]


async def test_what_cannot_be_supposed_is_said_with_the_cure(here: Ground, db: Database) -> None:
    if db.kind == "sqlite":
        pytest.skip("SQLite tries them on a copy")
    problem = await here.refused("index_suggest", "SELECT * FROM orders WHERE who = 'x'")
    assert problem.slug == "unavailable"
    assert ("hypopg" if db.kind == "postgresql" else "index_build") in str(problem.hint)


async def test_an_index_that_helps_stands_and_undo_drops_it(here: Ground, db: Database) -> None:
    seed(db, 30_000)
    before = indexes(db)
    call: dict[str, Any] = {"table": table_of(db), "columns": ["customer"], "params": {"who": 7}}
    seen = await here.call("index_build", BY_CUSTOMER, dry_run=True, **call)
    assert "would build" in seen.result()["summary"]
    assert indexes(db) == before
    done = await here.call("index_build", BY_CUSTOMER, **call)
    assert done.problem is None, (done.problem.detail, done.problem.hint)
    built = done.result()
    assert (built["stands"], built["why"]) == (True, "")
    assert built["before"][0]["work"] >= 10 * max(1, built["after"][0]["work"])
    assert (built["index"],) in indexes(db)
    again = await here.refused("index_build", BY_CUSTOMER, **call)
    assert (again.slug, len(indexes(db))) == ("denied", len(before) + 1)
    back = await here.call("undo.apply", ids=[done.invocation])
    assert back.problem is None, back.problem.detail
    assert indexes(db) == before


async def test_an_index_that_nobody_uses_is_withdrawn(here: Ground, db: Database) -> None:
    seed(db, 5_000)
    before = indexes(db)
    done = await here.call(
        "index_build", BY_CUSTOMER, {"who": 7}, table=table_of(db), columns=["note"]
    )  # fmt: skip
    assert done.problem is None, done.problem.detail
    assert (done.result()["stands"], done.result()["why"]) == (False, "the statement does not use it")
    assert indexes(db) == before
    assert done.effects == ()


async def test_a_harmful_index_is_measured_and_withdrawn(here: Ground, on_pg: OnPostgreSQL) -> None:
    seed(on_pg, 60_000)
    await withdrawn(here, on_pg)


async def withdrawn(here: Ground, db: OnPostgreSQL) -> float:
    """Have an index built that makes a statement slower; gives how many times as much work it did."""
    db.run("CREATE INDEX by_kind ON events (kind)")
    db.run("ANALYZE events")
    before = indexes(db)
    # the planner believes in it, for it knows nothing of how kinds and times go together
    plan = await here.do("explain", LATEST, {"kind": "rare"})
    done = await here.call("index_build", LATEST, {"kind": "rare"}, table="public.events", columns=["created"])
    assert done.problem is None, done.problem.detail
    built = done.result()
    assert built["stands"] is False, plan
    assert "more work" in built["why"]
    more = built["after"][0]["work"] / built["before"][0]["work"]
    assert more > 2
    assert indexes(db) == before
    return more


async def test_an_index_that_harms_another_statement_is_withdrawn(here: Ground, on_pg: OnPostgreSQL) -> None:
    seed(on_pg, 60_000)
    on_pg.run("CREATE INDEX by_kind ON events (kind)")
    on_pg.run("ANALYZE events")
    before = indexes(on_pg)
    helped = "SELECT id FROM events WHERE created = 17"
    done = await here.do(
        "index_build", helped, table="public.events", columns=["created"],
        beside=[{"sql": LATEST, "params": {"kind": "rare"}}],
    )  # fmt: skip
    assert (done["stands"], "beside" in done["why"]) == (False, True)
    assert done["before"][0]["work"] > 10 * done["after"][0]["work"]
    assert indexes(on_pg) == before


async def test_writers_go_on_while_an_index_is_built(here: Ground, on_pg: OnPostgreSQL) -> None:
    seed(on_pg, 120_000)
    written, ended = 0, threading.Event()

    def write() -> None:
        nonlocal written
        while not ended.is_set():
            on_pg.run(f"UPDATE events SET note = 'w' WHERE id = {written % 1000 + 1}")
            written += bool(on_pg.run("SELECT 1 FROM pg_stat_progress_create_index WHERE relid = 'events'::regclass"))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        done = await here.do("index_build", BY_CUSTOMER, {"who": 7}, table="public.events", columns=["customer"])
    finally:
        ended.set()
        await asyncio.to_thread(writer.join)
    assert done["stands"] is True
    assert written > 0


@pytest.mark.slow
async def test_a_build_that_is_cut_off_while_others_hold_the_table_is_dropped_by_undo(
    here: Ground, on_pg: OnPostgreSQL
) -> None:
    seed(on_pg, 2_000)
    before = indexes(on_pg)
    with on_pg.holding("UPDATE events SET note = 'held' WHERE id = 1"):
        # a concurrent build waits for the transactions of others, and its time runs out
        late = await here.world.run(
            "sql.index_build",
            {
                "connection": "db", "table": "public.events", "columns": ["customer"], "sql": BY_CUSTOMER,
                "params": {"who": 7},
            },
            deadline_s=3.0,
        )  # fmt: skip
    assert late.problem is not None
    assert late.problem.slug == "deadline", here.world.world.faults
    assert (late.problem.changed == "partly") == (indexes(on_pg) != before)
    back = await here.call("undo.apply", ids=[late.invocation])
    assert back.problem is None
    assert indexes(on_pg) == before


async def test_a_build_that_fails_takes_away_what_it_left(
    here: Ground, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    from superagent.plugins.sql.engine import building
    from superagent.plugins.sql.engine.session import Failed

    seed(db, 2_000)
    before = indexes(db)

    def lost(*_: Any) -> str:
        assert indexes(db) != before or db.kind == "sqlite"  # there it is in a transaction that nobody else sees
        raise Failed("in the middle")

    monkeypatch.setattr(building, "against", lost)
    refused = await here.refused("index_build", BY_CUSTOMER, {"who": 7}, table=table_of(db), columns=["customer"])
    assert (refused.slug, refused.changed) == ("conflict", "nothing")
    assert indexes(db) == before


async def test_an_index_of_somebody_else_is_not_dropped_by_undo(here: Ground, on_pg: OnPostgreSQL) -> None:
    seed(on_pg, 20_000)
    done = await here.call("index_build", BY_CUSTOMER, {"who": 7}, table="public.events", columns=["customer"])
    name = done.result()["index"]
    on_pg.run(f"DROP INDEX {name}")
    on_pg.run(f"CREATE INDEX {name} ON events (kind)")
    refused = await here.call("undo.apply", ids=[done.invocation])
    assert refused.problem is not None
    assert (refused.problem.slug, (name,) in indexes(on_pg)) == ("conflict", True)


async def test_grants_on_tables_hold_for_indexes(here: Ground, db: Database) -> None:
    here.grant(*hide_secret(db))
    on_secret = {"table": f"{db.schema}.secret", "columns": ["word"]}
    for statement in ("SELECT * FROM secret WHERE word = 'x'", "SELECT id FROM orders WHERE who = 'x'"):
        assert (await here.refused("index_build", statement, **on_secret)).slug in ("denied", "not-found")
    beside = {"table": f"{db.schema}.orders", "columns": ["who"], "beside": [{"sql": "SELECT count(*) FROM secret"}]}
    assert (await here.refused("index_build", "SELECT * FROM orders WHERE who = 'x'", **beside)).slug in (
        "denied", "not-found",
    )  # fmt: skip
    assert (await here.refused("index_suggest", "SELECT * FROM twice WHERE word = 'x'")).slug in ("denied", "not-found")
    assert "sesame" not in repr(here.records)


async def test_no_text_of_a_caller_gets_into_the_statement_that_builds(here: Ground, db: Database) -> None:
    before = db.checksum("orders")
    for table, columns in (
        (f"{db.schema}.orders", ["who); DROP TABLE orders; --"]), (f"{db.schema}.orders", ['who"']),
        (f"{db.schema}.ORDERS", ["who"]), (f"{db.schema}.orders%3B", ["who"]), (f'{db.schema}."orders"', ["who"]),
        ("orders", ["who"]), (f"{db.schema}.orders", ["who", "who"]), (f"{db.schema}.through", ["word"]),
        (f"{db.schema}.orders", ["lower(who)"]),
    ):  # fmt: skip
        refused = await here.refused(
            "index_build", "SELECT * FROM orders WHERE who = 'x'", table=table, columns=columns
        )
        assert refused.slug in ("denied", "invalid-input"), (table, columns)
    assert db.checksum("orders") == before


async def test_names_that_need_quoting_get_it(here: Ground, on_maria: OnMariaDB) -> None:
    on_maria.run("CREATE TABLE `a.b%s ``x` (id int PRIMARY KEY, `c %d ``y` int)")
    on_maria.run("INSERT INTO `a.b%s ``x` SELECT seq, seq FROM seq_1_to_100000")
    done = await here.do(
        "index_build", "SELECT id FROM `a.b%s ``x` WHERE `c %d ``y` = 17",
        table=f"{on_maria.schema}.a%2Eb%25s%20%60x", columns=["c %d `y"],
    )  # fmt: skip
    assert done["stands"] is True
