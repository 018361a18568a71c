"""`sql.query` on each kind of database: what it gives, what it refuses, and what grants on tables hold."""

from __future__ import annotations

import asyncio

import pytest

from tests.plugins.sql.databases import Database
from tests.plugins.sql.ground import Ground
from tests.promise import promise

HOSTS = {"hosts": ["127.0.0.1:*"], "paths": ["/**"]}


async def test_a_query_gives_rows_and_names_the_tables_that_it_read(here: Ground, db: Database) -> None:
    found = await here.do("query", "SELECT id, who, paid FROM orders WHERE id <= :most ORDER BY id", {"most": 2})
    assert found["columns"] == ["id", "who", "paid"]
    assert [[row[0], row[1], float(row[2])] for row in found["rows"]] == [[1, "ada", 1.5], [2, "bo", 3.0]]
    assert (found["tables"], found["next"]) == ([db.table("orders")], None)


async def test_values_are_values_whatever_stands_in_them(here: Ground, db: Database) -> None:
    for value in ("x' OR '1'='1", "%s %(who)s %%", ":who", "\\' OR 1=1 -- ", 'a"b', "ünï \u2028"):
        found = await here.do("query", "SELECT :who AS said, id FROM orders WHERE who LIKE '%a%'", {"who": value})
        assert found["rows"] == [[value, 1]]


async def test_a_connection_to_a_database_is_tried(here: Ground, db: Database) -> None:
    outcome = await here.call("connections.test", name="db")
    assert outcome.problem is None, outcome.problem.detail
    assert f"{db.kind} answered at" in outcome.result()["said"]


async def test_rows_come_in_pages(here: Ground, db: Database) -> None:
    first = await here.do("query", "SELECT id FROM orders ORDER BY id", max_rows=3)
    second = await here.do("query", "SELECT id FROM orders ORDER BY id", max_rows=3, skip=first["next"])
    assert (first["rows"], first["next"], second["rows"], second["next"]) == ([[1], [2], [3]], 3, [[4]], None)


async def test_bytes_are_bounded(here: Ground, db: Database) -> None:
    long = "repeat(who, 600)" if db.kind != "sqlite" else "hex(zeroblob(900))"
    found = await here.do("query", f"SELECT id, {long} FROM orders WHERE id < 4 ORDER BY id", max_bytes=2048)
    assert 1 <= len(found["rows"]) < 3
    assert found["next"] == len(found["rows"])


HIDDEN = [
    "SELECT * FROM secret", "SELECT count(*) FROM secret", "SELECT 1 FROM SECRET WHERE 1 = 0",
    "SELECT word FROM through", "SELECT * FROM twice", "WITH a AS (SELECT * FROM secret) SELECT 1 FROM a",
    "SELECT id FROM orders WHERE EXISTS (SELECT 1 FROM secret)", "SELECT id FROM orders UNION SELECT id FROM secret",
    "SELECT (SELECT max(word) FROM secret) FROM orders", "SELECT * FROM orders, secret",
    "SELECT o.id FROM orders o LEFT JOIN secret s ON s.id = o.id",
    "SELECT * FROM (SELECT id FROM (SELECT * FROM secret) b) a",
    "WITH orders AS (SELECT * FROM secret) SELECT * FROM orders", "SELECT * FROM {schema}.secret",
]  # fmt: skip


@promise("3.7")
async def test_a_denied_table_is_neither_read_nor_counted(here: Ground, db: Database) -> None:
    here.grant(
        {"effect": "allow", "operations": ["sql.*"], "where": {"connections": ["db"], **HOSTS}},
        {"effect": "deny", "operations": ["sql.*"], "where": {"connections": [f"sql://db/{db.schema}.secret"]}},
    )
    assert (await here.do("query", "SELECT count(*) FROM orders"))["rows"] == [[4]]
    for statement in HIDDEN:
        for operation in ("query", "explain"):
            refused = await here.refused(operation, statement.format(schema=db.schema))
            assert refused.slug in ("denied", "not-found"), statement
    assert "sesame" not in repr(here.records)


async def test_a_grant_of_one_table_opens_the_connection_for_it_alone(here: Ground, db: Database) -> None:
    here.grant({"effect": "allow", "operations": ["sql.query"], "where": {"connections": [db.table("ord*")], **HOSTS}})
    assert (await here.do("query", "SELECT count(*) FROM orders"))["rows"] == [[4]]
    assert (await here.refused("query", "SELECT count(*) FROM secret")).slug == "not-found"
    assert (await here.refused("query", "SELECT count(*) FROM through")).slug == "not-found"


async def test_the_schema_shows_what_may_be_read_and_nothing_else(here: Ground, db: Database) -> None:
    here.grant(
        {"effect": "allow", "operations": ["sql.*"], "where": {"connections": ["db"], **HOSTS}},
        {"effect": "deny", "operations": ["sql.*"], "where": {"connections": [f"sql://db/{db.schema}.secret"]}},
    )
    found = (await here.do("schema"))["tables"]
    mine = [one for one in found if one["table"].startswith(f"sql://db/{db.schema}.")]
    assert [one["table"] for one in mine] == [db.table("orders"), db.table("through"), db.table("twice")]
    assert [one["name"] for one in mine[0]["columns"]] == ["id", "who", "paid"]


@pytest.mark.slow
async def test_locks_tell_who_waits_for_whom(here: Ground, db: Database) -> None:
    if db.kind == "sqlite":
        assert (await here.refused("locks")).slug == "denied"
        return
    with db.holding("UPDATE orders SET who = 'held' WHERE id = 1"):
        waiting = asyncio.ensure_future(here.call("execute", "DELETE FROM orders WHERE id = 1"))
        async with asyncio.timeout(20):
            while not (found := (await here.do("locks"))["locks"]):
                await asyncio.sleep(0.05)
        assert found[0]["waits"] != found[0]["held_by"]
    assert (await waiting).status is not None


HOSTILE = [
    "SELECT 1; DROP TABLE orders", "SELECT 1; SELECT 2", "DROP TABLE orders", "DELETE FROM orders",
    "INSERT INTO orders VALUES (9, 'x', 1)", "UPDATE orders SET who = 'x'", "TRUNCATE TABLE orders",
    "SELECT 1 /* */ ; -- \n DELETE FROM orders", "COPY orders TO PROGRAM 'touch /tmp/x'",
    "COPY orders FROM '/etc/passwd'",
    "SELECT pg_read_file('/etc/passwd')", "SELECT * FROM pg_read_file('/etc/passwd')", "SELECT pg_sleep(100)",
    "SELECT * FROM pg_ls_dir('.')", "SELECT lo_import('/etc/passwd')", "SELECT set_config('search_path', 'x', false)",
    "SELECT query_to_xml('select * from secret', true, true, '')",
    "SELECT table_to_xml('public.secret', true, true, '')",
    "SELECT pg_terminate_backend(1)", "SELECT nextval('x')", "SELECT dblink('x', 'y')", "SELECT public.f()",
    "SELECT load_file('/etc/passwd')", "SELECT sleep(100)", "SELECT benchmark(1000000000, md5('x'))",
    "LOAD DATA INFILE '/etc/passwd' INTO TABLE orders", "SELECT * FROM orders INTO OUTFILE '/tmp/x'",
    "SELECT 'x' INTO DUMPFILE '/tmp/x'", "SELECT id INTO @x FROM orders", "SET GLOBAL x = 1", "SELECT @@datadir",
    "ATTACH DATABASE '/tmp/x.db' AS y", "SELECT load_extension('x')", "PRAGMA writable_schema = 1",
    "VACUUM INTO '/tmp/x'",
    "SELECT * FROM pragma_table_info('secret')", "SELECT * FROM sqlite_master", "SELECT * FROM pg_catalog.pg_class",
    "SELECT * FROM information_schema.tables", "SELECT * FROM mysql.user", "EXPLAIN ANALYZE DELETE FROM orders",
    "WITH gone AS (DELETE FROM orders RETURNING *) SELECT * FROM gone", "SELECT * FROM orders FOR UPDATE",
    "SELECT * INTO copied FROM orders", "CREATE TABLE x AS SELECT * FROM orders", "CALL p()", "DO $$ BEGIN END $$",
    "GRANT ALL ON orders TO PUBLIC", "BEGIN", "COMMIT", "SELECT $1", "SELECT ?", "", "  -- nothing", "\0",
    "SELECT 1 OPERATOR(public.+) 2", "HANDLER orders OPEN", "LOCK TABLES orders WRITE", "PREPARE x AS SELECT 1",
    "/*!50000 DELETE FROM orders */", "SELECT has_table_privilege('secret', 'select')", "SHOW TABLES",
]  # fmt: skip


@promise("3.7a")
async def test_what_is_no_plain_read_never_runs(here: Ground, db: Database) -> None:
    before = db.checksum("orders", "secret")
    for statement in HOSTILE:
        refused = await here.refused("query", statement or " ")
        assert refused.slug in ("denied", "invalid-input", "conflict"), statement
    assert db.checksum("orders", "secret") == before
