"""`sql.execute` on each kind of database: rows change, are shown before, and come back exactly, or it says why not."""

from __future__ import annotations

from typing import Any

from tests.plugins.sql.databases import Database
from tests.plugins.sql.ground import Ground
from tests.plugins.sql.test_query import HOSTILE, HOSTS
from tests.promise import promise

CHANGES: list[tuple[str, dict[str, Any], int]] = [
    ("UPDATE orders SET who = :who, paid = paid * 2 WHERE id < 4", {"who": "x' --"}, 3),
    ("DELETE FROM orders WHERE who IS NULL OR id IN (SELECT id FROM secret)", {}, 3),
    ("INSERT INTO orders (id, who) VALUES (:id, 'new'), (12, NULL)", {"id": 11}, 2),
    ("INSERT INTO orders (id, who) SELECT id + 20, word FROM secret", {}, 2),
    ("UPDATE orders SET who = who", {}, 4),
    ("DELETE FROM orders", {}, 4),
]


async def test_a_change_is_shown_made_and_taken_back_exactly(here: Ground, db: Database) -> None:
    for statement, params, rows in CHANGES:
        before = db.checksum("orders")
        seen = (await here.call("execute", statement, params, dry_run=True)).result()
        assert db.checksum("orders") == before, statement
        done = await here.call("execute", statement, params)
        assert done.problem is None, (statement, done.problem.detail)
        assert (done.result()["rows"], done.result()["table"]) == (rows, db.table("orders"))
        assert (seen["diff"], seen["changes"]) == (done.result()["diff"], [db.table("orders")])
        assert (db.checksum("orders") != before) == ("who = who" not in statement)
        back = await here.call("undo.apply", ids=[done.invocation])
        assert back.problem is None, (statement, back.problem.detail)
        assert db.checksum("orders") == before, statement


async def test_undo_refuses_where_somebody_changed_a_row_since(here: Ground, db: Database) -> None:
    done = await here.call("execute", "UPDATE orders SET who = 'mine' WHERE id < 3")
    db.run("UPDATE orders SET who = 'theirs' WHERE id = 2")
    theirs = db.checksum("orders")
    refused = await here.call("undo.apply", ids=[done.invocation])
    assert refused.problem is not None
    assert (refused.problem.slug, db.checksum("orders")) == ("conflict", theirs)


async def test_a_change_of_another_number_of_rows_does_not_stand(here: Ground, db: Database) -> None:
    before = db.checksum("orders")
    assert (await here.refused("execute", "DELETE FROM orders", expected_rows=3)).slug == "conflict"
    assert (await here.refused("execute", "DELETE FROM orders", max_rows=3)).slug == "denied"
    assert db.checksum("orders") == before
    assert (await here.do("execute", "DELETE FROM orders", expected_rows=4))["rows"] == 4


async def test_what_is_no_single_change_of_rows_never_runs(here: Ground, db: Database) -> None:
    before = db.checksum("orders", "secret")
    more = [
        "UPDATE orders SET id = id + 1", "UPDATE orders SET who = 'x' RETURNING id", "DELETE FROM through", "SELECT 1",
        "DELETE FROM orders WHERE random() < 2 OR rand() < 2", "INSERT INTO orders SELECT 1, pg_read_file('x'), 1",
        "INSERT INTO orders (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET who = 'x'",
        "REPLACE INTO orders (id) VALUES (1)",
        "INSERT INTO orders (id) VALUES (1) ON DUPLICATE KEY UPDATE who = 'x'", "UPDATE orders, secret SET who = word",
        "UPDATE orders SET who = word FROM secret WHERE secret.id = orders.id", "DELETE FROM nothing",
        "WITH a AS (SELECT 1) DELETE FROM orders WHERE id IN (SELECT * FROM a)", "DELETE FROM sqlite_master",
        "INSERT OR REPLACE INTO orders (id) VALUES (1)", "DELETE FROM mysql.user", "DELETE FROM pg_catalog.pg_class",
        "MERGE INTO orders USING secret ON true WHEN MATCHED THEN DELETE",
    ]  # fmt: skip
    allowed = ("DELETE FROM orders", "INSERT INTO orders VALUES (9, 'x', 1)", "UPDATE orders SET who = 'x'")
    for statement in [*(one for one in HOSTILE if one not in allowed), *more]:
        refused = await here.refused("execute", statement or " ")
        assert refused.slug in ("denied", "invalid-input", "conflict"), statement
        assert db.checksum("orders", "secret") == before, statement


async def test_grants_on_tables_hold_for_changes(here: Ground, db: Database) -> None:
    before = db.checksum("orders", "secret")
    here.grant(
        {"effect": "allow", "operations": ["sql.*"], "where": {"connections": ["db"], **HOSTS}},
        {"effect": "deny", "operations": ["sql.*"], "where": {"connections": [f"sql://db/{db.schema}.secret"]}},
        {
            "effect": "deny", "operations": ["sql.*"], "effects": ["READ"],
            "where": {"connections": [f"sql://db/{db.schema}.orders"]},
        },
    )  # fmt: skip
    for statement in (
        "DELETE FROM secret", "INSERT INTO secret VALUES (9, 'x')",
        "INSERT INTO orders SELECT id + 50, word, 1 FROM secret",
        "UPDATE orders SET who = (SELECT max(word) FROM secret)", "UPDATE orders SET who = 'x' WHERE id = 1",
        "INSERT INTO orders SELECT id + 50, word, 1 FROM through", "DELETE FROM orders",
    ):  # fmt: skip
        for dry_run in (True, False):
            outcome = await here.call("execute", statement, dry_run=dry_run)
            assert outcome.problem is not None, statement
            assert outcome.problem.slug in ("denied", "not-found"), statement
    assert db.checksum("orders", "secret") == before
    done = await here.do("execute", "INSERT INTO orders VALUES (9, 'x', 1)")
    assert (done["rows"], done["diff"]) == (1, "")


MOMENT = {
    "postgresql": "extract(microseconds FROM statement_timestamp())::int",
    "mariadb": "EXTRACT(MICROSECOND FROM CURRENT_TIMESTAMP(6))",
    "sqlite": "CAST(1000 * strftime('%f', 'now') AS INTEGER)",
}


@promise("3.7")
async def test_rows_that_are_meant_for_a_moment_are_those_that_are_kept(here: Ground, db: Database) -> None:
    before = db.checksum("orders")
    for at in range(12):  # as many rows each time, but others
        change = "UPDATE orders SET who = 'x'" if at % 2 else "DELETE FROM orders"
        text = f"{change} WHERE {MOMENT[db.kind]} % 2 = id % 2"
        done = await here.call("execute", text)
        if done.problem is not None:
            assert (done.problem.slug, db.checksum("orders")) == ("conflict", before), done.problem.detail
            continue
        assert (await here.call("undo.apply", ids=[done.invocation])).problem is None
        assert db.checksum("orders") == before, text
