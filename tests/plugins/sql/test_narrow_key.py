"""What a caller with leave for some tables tries to come by others, files or the catalogue: refused and audited."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.plugins.sql.databases import Database
from tests.plugins.sql.ground import Ground
from tests.promise import promise

HOSTS = {"hosts": ["127.0.0.1:*"], "paths": ["/**"]}


def shut(here: Ground, db: Database, *tables: str) -> None:
    """Let all be used but some tables."""
    here.grant(
        {"effect": "allow", "operations": ["sql.*"], "where": {"connections": ["db"], **HOSTS}},
        *(
            {"effect": "deny", "operations": ["sql.*"], "where": {"connections": [f"sql://db/{db.schema}.{one}"]}}
            for one in tables
        ),
    )


async def every_one_is_refused(here: Ground, statements: list[str], slugs: set[str]) -> None:
    for statement in statements:
        for operation in ("query", "explain"):
            refused = await here.refused(operation, statement)
            assert refused.slug in slugs, (statement, refused)


BY_A_DOT = [
    "SELECT ('/etc/passwd'::text).pg_read_file", "SELECT (5::float8).pg_sleep", "SELECT ((1::float8)).PG_SLEEP",
    "SELECT (ARRAY['/etc/passwd'])[1].pg_read_file", "SELECT :p.pg_sleep", "SELECT (CURRENT_DATE).\"pg_sleep\"",
    "SELECT u.pg_read_file FROM unnest(ARRAY['/etc/passwd']) u",
    "SELECT unnest.pg_read_file FROM unnest(ARRAY['/etc/passwd'])",
    "SELECT (SELECT unnest.pg_read_file FROM unnest(ARRAY['/etc/passwd'])) FROM orders AS unnest(a, b, c)",
    "SELECT g.pg_sleep FROM generate_series(1, 3) AS g(x)",
    "SELECT (SELECT s.pg_sleep FROM generate_series(1, 3) s) FROM orders s", "SELECT :p.pg_sleep FROM orders s",
    "SELECT id FROM orders WHERE id > (SELECT count(*) FROM (SELECT (1::float8).pg_sleep) x)",
    "SELECT id FROM orders LIMIT ((length(('/etc/passwd'::text).pg_read_file)))",
    "VALUES (('/etc/passwd'::text).pg_read_file)",
]  # fmt: skip


@promise("3.7a")
async def test_no_function_is_called_by_a_dot(here: Ground, on_pg: Database) -> None:
    for statement in BY_A_DOT:
        given = {"p": "1"} if ":p." in statement else None
        refused = await here.refused("query", statement, given)
        assert refused.slug == "denied", (statement, refused)


async def test_columns_and_tables_may_bear_the_names_of_functions(here: Ground, on_pg: Database) -> None:
    on_pg.run("CREATE TABLE version (id int PRIMARY KEY, version int, has_rows bool, pg_sleep int, stock_in int)")
    on_pg.run("INSERT INTO version VALUES (1, 2, true, 3, 4)")
    for text in (
        "SELECT v.version, v.has_rows, v.pg_sleep, v.stock_in FROM version v",
        "SELECT version.version, version.has_rows, version.pg_sleep, version.stock_in FROM public.version",
        "WITH v AS (SELECT * FROM version) SELECT v.version, v.has_rows, v.pg_sleep, v.stock_in FROM v",
        "SELECT x.version, x.has_rows, x.pg_sleep, x.stock_in FROM orders o, LATERAL (SELECT * FROM version) x LIMIT 1",
    ):
        assert (await here.do("query", text))["rows"] == [[2, True, 3, 4]], text
    await here.do("execute", "INSERT INTO version (id, version) VALUES (2, 3)")
    assert (await here.do("query", "SELECT (o).who, o.row_to_json FROM orders o WHERE id = 1"))["rows"][0][0] == "ada"


BUILT_IN = [
    "CREATE TABLE x (id int PRIMARY KEY, a text DEFAULT ('/etc/passwd'::text).pg_read_file)",
    "CREATE TABLE x (id int PRIMARY KEY, a text DEFAULT (ARRAY['/etc/passwd'])[1].pg_read_file)",
    "ALTER TABLE orders ADD COLUMN a text DEFAULT ('secret'::regclass)::text",
    "CREATE VIEW x AS SELECT u.pg_read_file FROM unnest(ARRAY['/etc/passwd']) u",
    "CREATE INDEX x ON orders ((('/etc/passwd'::text).pg_read_file))",
    "INSERT INTO orders (id, who) VALUES (9, ('/etc/passwd'::text).pg_read_file)",
]


@pytest.mark.slow
async def test_no_migration_builds_such_a_call_in(here: Ground, on_pg: Database, tmp_path: Path) -> None:
    for at, text in enumerate(BUILT_IN):
        folder = tmp_path / f"m{at}"
        folder.mkdir()
        (folder / "1_x.up.sql").write_text(text)
        refused = await here.refused("migrate_plan", folder=str(folder))
        assert refused.slug == "denied", (text, refused)


NAMES = [
    "SELECT 'public.secret'::regclass", "SELECT n::oid::regclass FROM generate_series(16384, 16420) n",
    "SELECT CAST(16390 AS \"regclass\")", "SELECT regclass '16390'", "SELECT regclassin('16390')",
    "SELECT regclassout(n) FROM generate_series(16384, 16400) n", "SELECT CAST('x' AS pg_catalog.regclass)",
    "SELECT '{16390}'::_regclass", "SELECT n::regrole FROM generate_series(10, 10) n", "SELECT 16390::regtype",
    "SELECT * FROM json_to_record('{\"a\": \"16390\"}') AS x(a regclass)",
    "SELECT * FROM xmltable('/a' PASSING '<a>16390</a>' COLUMNS x regclass PATH '.')",
    "SELECT '{postgres=r/postgres}'::aclitem[]", "SELECT acldefault('r', 10::oid)", "SELECT currval('secret')",
    "SELECT satisfies_hash_partition(16390::oid, 1, 0, 1)", "SELECT array_in('{16390}', 2205::oid, -1)",
    "SELECT oidvectortypes('16390 16391')", "SELECT (16390::oid).regclass",
]  # fmt: skip


async def test_the_catalogue_names_nothing(here: Ground, on_pg: Database) -> None:
    shut(here, on_pg, "secret")
    await every_one_is_refused(here, NAMES, {"denied"})


async def test_a_name_in_a_query_does_not_open_a_view_of_the_server(here: Ground, on_pg: Database) -> None:
    for name in ("pg_settings", "pg_hba_file_rules", "pg_locks", "pg_cursors", "PG_SETTINGS"):
        trick = f"SELECT * FROM (WITH {name} AS (SELECT 1) SELECT * FROM {name}) a, {name}"
        await every_one_is_refused(here, [trick], {"denied"})


async def test_types_and_operators_are_followed_to_tables_and_functions(here: Ground, on_pg: Database) -> None:
    for one in (
        "CREATE FUNCTION leak(int, int) RETURNS text LANGUAGE plpgsql SECURITY DEFINER IMMUTABLE AS"
        " $$ BEGIN RETURN (SELECT word FROM public.secret WHERE id = $1); END $$",
        "CREATE OPERATOR ### (LEFTARG = int, RIGHTARG = int, FUNCTION = leak)",
        "CREATE VIEW by_operator AS SELECT id OPERATOR(public.###) 1 AS w FROM orders",
        "CREATE DOMAIN probing AS int CHECK (public.leak(VALUE, 1) = 'sesame')",
        "CREATE TYPE holding AS (inside public.secret)",
        "CREATE TYPE mood AS ENUM ('sad', 'ok')",
    ):
        on_pg.run(one)
    on_pg.run("CREATE VIEW beneath AS SELECT word FROM through")
    shut(here, on_pg, "secret")
    assert "secret" not in ((await here.refused("query", "SELECT word FROM beneath")).detail or "")
    await every_one_is_refused(
        here,
        ["SELECT w FROM by_operator", "SELECT 1::public.probing", "SELECT '{1}'::public.probing[]"],
        {"denied"},
    )
    await every_one_is_refused(
        here,
        [
            "SELECT * FROM json_populate_record(NULL::public.secret, '{}')", "SELECT (NULL::public.SECRET).nosuch",
            "SELECT CAST(NULL AS public._secret)", "SELECT NULL::public.holding", "SELECT NULL::\"public\".\"secret\"",
        ],
        {"not-found"},
    )  # fmt: skip
    assert (await here.do("query", "SELECT 'ok'::public.mood"))["rows"] == [["ok"]]


async def test_a_type_does_not_tell_which_tables_there_are(here: Ground, on_pg: Database) -> None:
    on_pg.run("CREATE TYPE mood AS ENUM ('sad', 'ok')")
    only = {"effect": "allow", "operations": ["sql.*"], "where": {"connections": [on_pg.table("orders")], **HOSTS}}
    here.grant(only)
    said = set[str]()
    for name in ("secret", "nosuch", "_secret", '"Secret"'):
        for text in (
            f"SELECT NULL::public.{name}",
            f"SELECT public.{name} FROM orders",
            f"SELECT '{{}}'::public.{name}[]",
        ):
            refused = await here.refused("query", text)
            said.add(f"{refused.slug}: {refused.detail}")
    assert len(said) == 1, said
    for text in (
        "SELECT 'ok'::public.mood", "SELECT x.a FROM json_to_record('{\"a\": \"ok\"}') AS x(a text)",
        "SELECT 'ok' FROM orders WHERE orders.id = 1", "SELECT z.who FROM (SELECT 'ok' AS who) z",
    ):  # fmt: skip
        assert (await here.do("query", text))["rows"] == [["ok"]], text


@promise("3.7")
async def test_parts_of_a_table_that_are_chosen_as_it_runs_are_judged_beforehand(here: Ground, on_pg: Database) -> None:
    for one in (
        "CREATE TABLE part (k int, v text) PARTITION BY LIST (k)",
        "CREATE TABLE part_open PARTITION OF part FOR VALUES IN (0)",
        "CREATE TABLE part_shut PARTITION OF part FOR VALUES IN (1)",
        "INSERT INTO part VALUES (0, 'open'), (1, 'sesame')",
        "CREATE TABLE parent (v text)",
        "CREATE TABLE part_heir () INHERITS (parent)",
    ):
        on_pg.run(one)
    shut(here, on_pg, "part_shut", "part_heir")
    now = "extract(microseconds FROM statement_timestamp())::int % 2"
    for _ in range(6):  # the plan leaves out the one or the other, by the moment
        assert (await here.refused("query", f"SELECT v FROM part WHERE k = {now}")).slug == "not-found"
    assert (await here.refused("query", "SELECT v FROM parent")).slug == "not-found"
    assert (await here.do("query", "SELECT v FROM part WHERE k = 0"))["rows"] == [["open"]]


async def test_a_table_that_is_made_of_others_is_not_read(here: Ground, on_maria: Database) -> None:
    for one in (
        "CREATE TABLE below (id int) ENGINE=MyISAM",
        "CREATE TABLE above (id int) ENGINE=MERGE UNION=(below)",
        "INSERT INTO below VALUES (7)",
    ):
        on_maria.run(one)
    shut(here, on_maria, "below")
    assert (await here.refused("query", "SELECT id FROM above")).slug == "denied"


async def test_what_the_server_says_of_a_table_is_for_those_who_may_use_it(here: Ground, db: Database) -> None:
    only = {"effect": "allow", "operations": ["sql.*"], "where": {"connections": [db.table("orders")], **HOSTS}}
    here.grant(only)
    said = {
        (refused := await here.refused(operation, text)).slug: refused
        for operation, text in (
            ("query", "SELECT word FROM secret"), ("query", "SELECT nosuch FROM secret"),
            ("query", "SELECT * FROM nosuch"), ("query", "SELECT word FROM through"),
            ("explain", "SELECT nosuch FROM secret"), ("query", "SELECT exp(1000 * id) FROM secret WHERE id = 1"),
            ("execute", "DELETE FROM secret WHERE nosuch = 1"), ("execute", "UPDATE secret SET id = 5"),
            ("execute", "INSERT INTO secret (id, nosuch) VALUES (1, 2)"), ("execute", "DELETE FROM nosuch"),
            ("execute", "UPDATE orders SET who = (SELECT nosuch FROM secret)"),
        )
    }  # fmt: skip
    assert list(said) == ["not-found"], said
    assert (await here.refused("query", "SELECT nosuch FROM orders")).slug == "conflict"


@promise("3.7")
async def test_a_table_whose_name_differs_in_case_alone_is_another_one(here: Ground, db: Database) -> None:
    if db.kind == "sqlite":
        return
    name = '"Orders"' if db.kind == "postgresql" else "Orders"
    db.run(f"CREATE TABLE {name} (id int PRIMARY KEY, who varchar(50))")
    db.run(f"INSERT INTO {name} VALUES (1, 'capital')")
    here.grant(
        {"effect": "allow", "operations": ["sql.*"], "effects": ["READ"], "where": {"connections": ["db"], **HOSTS}},
        {"effect": "allow", "operations": ["sql.*"], "where": {"connections": [db.table("orders")], **HOSTS}},
    )
    before = db.checksum(name, "orders")
    # both are among the tables of each statement, in whatever order
    for text in (
        f"UPDATE {name} SET who = (SELECT max(o.who) FROM orders o)",
        f"INSERT INTO {name} (id, who) SELECT o.id + 10, o.who FROM orders o",
        f"DELETE FROM {name} WHERE id IN (SELECT o.id FROM orders o)",
    ):
        assert (await here.refused("execute", text)).slug in ("denied", "not-found"), text
    assert db.checksum(name, "orders") == before
    changed = await here.do("execute", f"UPDATE orders SET who = (SELECT max(o.who) FROM {name} o) WHERE id = 1")
    assert changed["table"] == db.table("orders")


OUT_OF_QUOTES = {
    "mariadb": [
        "SELECT CAST(who AS CHAR CHARACTER SET `utf8mb4), load_file('/etc/hostname'), cast(id AS char`) FROM orders",
        "SELECT CONVERT(who USING `utf8mb4), sleep(9), (id`) FROM orders",
        "SELECT CONVERT(who USING `utf8mb4), (SELECT word FROM {schema}.secret LIMIT 1), (id`) FROM orders",
        "SELECT TIMESTAMPADD(`DAY), sleep(9), (1`, 1, NOW())", "SELECT /*+ `sleep(9)` */ 1",
        "SELECT /*+ QB_NAME(x) */ id FROM orders", "SELECT EXTRACT(`DAY FROM NOW()), SLEEP(9), (1` FROM NOW())",
    ],
    "postgresql": [
        "SELECT EXTRACT(\"epoch FROM now()), pg_sleep(9), extract(epoch\" FROM now())",
        "SELECT DATE_PART('epoch FROM now()), pg_sleep(9), extract(epoch', now())",
        "SELECT CONVERT(who USING \"x), pg_sleep(9), (id\") FROM orders",
        "SELECT MAKE_INTERVAL(\"days\" => 1), MAKE_INTERVAL(\"days => 1), pg_sleep(9), make_interval(days\" => 1)",
        "SELECT CAST(who AS CHAR CHARACTER SET \"x), (SELECT word FROM secret LIMIT 1), (id\") FROM orders",
    ],
    "sqlite": [
        "SELECT CAST(id AS \"mine), (SELECT word FROM secret), (1\") FROM orders",
        "SELECT id::\"mine), load_extension('x'), (1\" FROM orders",
        "SELECT LAST_DAY(id, \"mine), (SELECT word FROM secret), (1\") FROM orders",
    ],
}  # fmt: skip


@promise("3.7a")
async def test_no_word_comes_out_of_its_quotes(here: Ground, db: Database) -> None:
    shut(here, db, "secret")
    for statement in OUT_OF_QUOTES[db.kind]:
        refused = await here.refused("query", statement.format(schema=db.schema))
        assert refused.slug in ("denied", "not-found", "conflict"), (statement, refused)
        assert "sesame" not in repr(refused)


async def test_foreign_keys_do_not_name_tables_that_nobody_may_know(here: Ground, db: Database) -> None:
    ends = " ENGINE=InnoDB" if db.kind == "mariadb" else ""
    db.run(f"CREATE TABLE plain (id int PRIMARY KEY, word varchar(50)){ends}")
    db.run(f"CREATE TABLE hidden_top (id int PRIMARY KEY){ends}")
    for name, acts in (("hidden_strict", ""), ("hidden_cascade", " ON DELETE CASCADE")):
        key = f"FOREIGN KEY (at) REFERENCES plain (id){acts}"
        db.run(f"CREATE TABLE {name} (id int PRIMARY KEY, at int, {key}){ends}")
    db.run(f"CREATE TABLE low (id int PRIMARY KEY, at int, FOREIGN KEY (at) REFERENCES hidden_top (id)){ends}")
    db.run("INSERT INTO plain VALUES (1, 'a'), (2, 'b'), (3, 'c')")
    db.run("INSERT INTO hidden_strict VALUES (1, 1)")
    db.run("INSERT INTO hidden_cascade VALUES (1, 2)")
    shut(here, db, "hidden*")
    before = db.checksum("plain", "hidden_strict", "hidden_cascade", "low")
    for text in (
        "DELETE FROM plain WHERE id = 1", "DELETE FROM plain WHERE id = 2", "INSERT INTO low (id, at) VALUES (1, 7)",
    ):  # fmt: skip
        refused = await here.refused("execute", text)
        assert "hidden" not in repr((refused.detail, refused.hint)), refused
    assert db.checksum("plain", "hidden_strict", "hidden_cascade", "low") == before
    assert "hidden" not in repr(here.records)
    # an undo that would reach them is refused, and does not name them either
    made = await here.call("execute", "INSERT INTO plain (id, word) VALUES (9, 'x')")
    assert made.problem is None
    db.run("INSERT INTO hidden_cascade VALUES (9, 9)")
    back = await here.call("undo.apply", ids=[made.invocation])
    assert back.problem is not None
    assert "hidden" not in repr((back.problem.detail, back.problem.hint))
    # whoever may know of them is told; SQLite lets no row go that such a key could take others with
    shut(here, db)
    assert db.kind == "sqlite" or "hidden_cascade" in (
        (await here.refused("execute", "DELETE FROM plain WHERE id = 2")).detail or ""
    )


async def test_defaults_and_checks_that_call_functions_change_more(here: Ground, on_pg: Database) -> None:
    writes = "BEGIN INSERT INTO public.secret VALUES (99, 'by a function'); RETURN {}; END"
    for one in (
        f"CREATE FUNCTION noted() RETURNS int LANGUAGE plpgsql AS $$ {writes.format(1)} $$",
        f"CREATE FUNCTION fine(int) RETURNS bool LANGUAGE plpgsql AS $$ {writes.format('true')} $$",
        "CREATE DOMAIN checked AS int CHECK (public.fine(VALUE))",
        "CREATE TABLE defaulted (id int PRIMARY KEY, at int DEFAULT noted())",
        "CREATE TABLE fitting (id int PRIMARY KEY CHECK (fine(id)))",
        "CREATE TABLE of_a_kind (id int PRIMARY KEY, at checked)",
        "CREATE TABLE plain (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), at timestamptz DEFAULT now(), n serial)",
    ):
        on_pg.run(one)
    for name in ("defaulted", "fitting", "of_a_kind"):
        refused = await here.refused("execute", f"INSERT INTO {name} (id) VALUES (1)")
        assert "function" in (refused.detail or ""), (name, refused)
    assert on_pg.run("SELECT count(*) FROM secret WHERE id = 99") == [(0,)]
    assert (await here.do("execute", "INSERT INTO plain (n) VALUES (1)"))["rows"] == 1


async def test_names_are_told_apart_as_sqlite_does(here: Ground, on_sqlite: Database) -> None:
    for name in ("ÉTAT", "état"):
        on_sqlite.run(f'CREATE TABLE "{name}" (id INTEGER PRIMARY KEY, v TEXT)')
        on_sqlite.run(f"INSERT INTO \"{name}\" VALUES (1, '{name}')")
    shut(here, on_sqlite, "%C3%89TAT")
    assert (await here.refused("query", 'SELECT * FROM "ÉTAT"')).slug == "not-found"
    assert (await here.refused("query", "SELECT * FROM Étât")).slug in ("conflict", "denied")
    assert (await here.do("query", "SELECT v FROM état"))["rows"] == [["état"]]
    assert (await here.do("query", "SELECT count(*) FROM ORDERS"))["tables"] == [on_sqlite.table("orders")]


async def test_a_table_that_stands_behind_in_tells_nothing(here: Ground, on_sqlite: Database) -> None:
    on_sqlite.run("CREATE TABLE lone (word TEXT)")
    shut(here, on_sqlite, "secret", "lone")
    said = set[str]()
    for name in ("secret", "lone", "nosuch", "main.secret", '"secret"', "pragma_table_info('secret')"):
        for text in (f"SELECT id IN {name} FROM orders", f"SELECT 1 WHERE ('x', 2) NOT IN {name}"):
            refused = await here.refused("query", text)
            said.add(f"{refused.slug}: {refused.detail}")
    assert len(said) == 1, said  # whether it is there, and how many columns it has, is for those who may use it
    assert (await here.refused("execute", "UPDATE orders SET who = 1 IN secret WHERE id = 1")).slug == "denied"
    assert (await here.do("query", "SELECT id IN (SELECT id FROM orders) FROM orders WHERE id = 1"))["rows"] == [[1]]


async def test_what_a_virtual_table_keeps_is_not_read_around_it(here: Ground, on_sqlite: Database) -> None:
    on_sqlite.run("CREATE VIRTUAL TABLE notes USING fts5(body)")
    on_sqlite.run("INSERT INTO notes VALUES ('sesame opens')")
    on_sqlite.run("CREATE TABLE notes_of_mine (id INTEGER PRIMARY KEY)")
    shut(here, on_sqlite, "notes")
    names = ["notes_content", "notes_data", "NOTES_IDX", "notes_docsize", "notes_config"]
    await every_one_is_refused(here, [f"SELECT * FROM {one}" for one in names], {"denied"})
    assert (await here.do("query", "SELECT * FROM notes_of_mine"))["rows"] == []


@pytest.mark.parametrize("place", ["UNIQUE ON CONFLICT REPLACE", "UNIQUE on /* so */ conflict  REPLACE"])
async def test_a_table_whose_rows_take_out_others_is_not_changed(here: Ground, on_sqlite: Database, place: str) -> None:
    on_sqlite.run(f"CREATE TABLE u (id INTEGER PRIMARY KEY, c TEXT {place})")
    on_sqlite.run("INSERT INTO u VALUES (1, 'a'), (2, 'b')")
    before = on_sqlite.checksum("u")
    for text in ("UPDATE u SET c = 'b' WHERE id = 1", "INSERT INTO u VALUES (5, 'b')"):
        assert "takes out" in ((await here.refused("execute", text)).detail or "")
    assert on_sqlite.checksum("u") == before
