"""`sql.migrate_*` on each kind of database: rehearsed on a copy, applied as planned, taken out, whole after a crash."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from superagent.testing import agent
from tests.plugins.sql.databases import Database
from tests.plugins.sql.ground import Ground
from tests.plugins.sql.test_backup import made_by_us
from tests.promise import promise

FIRST = (
    "-- items of orders\nCREATE TABLE items (id int PRIMARY KEY, order_id int NOT NULL, note varchar(40));\n"
    "INSERT INTO items SELECT id, id, 'of ' FROM orders; CREATE INDEX by_order ON items (order_id);",
    "DROP INDEX by_order{on}; DROP TABLE items;",
)
SECOND = ("ALTER TABLE orders ADD COLUMN seen int; UPDATE orders SET seen = 1;", "ALTER TABLE orders DROP COLUMN seen;")


@pytest.fixture
def folder(db: Database, tmp_path: Path) -> Path:
    made = tmp_path / "migrations"
    made.mkdir()
    on = " ON items" if db.kind == "mariadb" else ""
    for number, name, (up, down) in ((1, "items", FIRST), (2, "seen", SECOND)):
        (made / f"{number:03d}_{name}.up.sql").write_text(up)
        (made / f"{number:03d}_{name}.down.sql").write_text(down.format(on=on))
    return made


async def applied(here: Ground, folder: Path, **more: Any) -> Any:
    """Plan and apply."""
    plan = await here.do("migrate_plan", folder=str(folder))
    return await here.call("migrate_apply", folder=str(folder), plan=plan["digest"], **more)


def columns(db: Database) -> Any:
    return db.run("SELECT * FROM orders WHERE id = 1")


@promise("3.7b")
async def test_migrations_are_rehearsed_applied_and_taken_out(here: Ground, db: Database, folder: Path) -> None:
    before = db.checksum("orders", "secret")
    plan = await here.do("migrate_plan", folder=str(folder))
    assert (plan["versions"], plan["losses"]) == (["0001", "0002"], [])
    assert len(plan["statements"]) == 5
    if db.kind == "postgresql":
        (alter,) = (one for one in plan["statements"] if one["text"].startswith("ALTER"))
        assert (alter["holds"], plan["locks"]) == ({"public.orders": "reads and writes"}, "measured")
    assert (db.checksum("orders", "secret"), made_by_us(db)) == (before, [])
    done = await here.call("migrate_apply", folder=str(folder), plan=plan["digest"])
    assert done.problem is None, (done.problem.detail, done.problem.hint)
    assert done.result() == {"versions": ["0001", "0002"], "now": "0002"}
    assert len(db.run("SELECT * FROM items")) == 4
    assert columns(db)[0][3] == 1
    again = await here.do("migrate_plan", folder=str(folder))
    assert again["versions"] == []
    back = await here.call("migrate_rollback", folder=str(folder), to="1")
    assert back.problem is not None
    assert "seen" in back.problem.detail  # its values would be lost
    back = await here.call("migrate_rollback", folder=str(folder), to="0", allow_loss=True)
    assert back.problem is None, (back.problem.detail, back.problem.hint)
    assert db.checksum("orders", "secret") == before
    assert made_by_us(db) == []


@promise("3.7b")
@pytest.mark.slow
async def test_a_migration_that_loses_rows_in_its_rehearsal_is_refused(
    here: Ground, db: Database, tmp_path: Path
) -> None:
    losing = ["DROP TABLE secret", "DELETE FROM orders WHERE id = 1", "ALTER TABLE orders DROP COLUMN paid"]
    if db.kind == "sqlite":
        losing.append("CREATE TABLE n (id int); DROP TABLE orders; CREATE TABLE orders (id int)")
    before = db.checksum("orders", "secret")
    db.run("DROP VIEW twice")
    db.run("DROP VIEW through")
    folder, plan = tmp_path / "m", {"digest": ""}
    folder.mkdir()
    for text in losing:
        (folder / "1_x.up.sql").write_text(text)
        plan = await here.do("migrate_plan", folder=str(folder))
        assert len(plan["losses"]) >= 1, text
        refused = await here.refused("migrate_apply", folder=str(folder), plan=plan["digest"])
        assert refused.slug == "conflict"
        assert db.checksum("orders", "secret") == before, text
    done = await here.call("migrate_apply", folder=str(folder), plan=plan["digest"], allow_loss=True)
    assert done.problem is None, done.problem.detail


async def test_undo_takes_migrations_out_unless_rows_would_be_lost(here: Ground, db: Database, tmp_path: Path) -> None:
    folder = tmp_path / "m"
    folder.mkdir()
    (folder / "1_more.up.sql").write_text("CREATE TABLE more (id int PRIMARY KEY)")
    (folder / "1_more.down.sql").write_text("DROP TABLE more")
    done = await applied(here, folder)
    assert done.problem is None, done.problem.detail
    db.run("INSERT INTO more VALUES (1)")
    refused = await here.call("undo.apply", ids=[done.invocation])
    assert refused.problem is not None
    assert refused.problem.slug == "conflict", refused.problem.detail
    assert len(db.run("SELECT * FROM more")) == 1
    if db.kind == "mariadb":
        return
    db.run("DELETE FROM more")
    back = await here.call("undo.apply", ids=[done.invocation])
    assert back.problem is None, back.problem.detail
    assert (await here.do("migrate_plan", folder=str(folder)))["versions"] == ["0001"]


async def test_folders_and_databases_that_drifted_apart_are_refused(here: Ground, db: Database, folder: Path) -> None:
    stale = (await here.do("migrate_plan", folder=str(folder)))["digest"]
    (folder / "003_more.up.sql").write_text("CREATE TABLE more (id int PRIMARY KEY)")
    assert (await here.refused("migrate_apply", folder=str(folder), plan=stale)).slug == "conflict"
    assert (await applied(here, folder)).problem is None
    (folder / "003_more.up.sql").write_text("CREATE TABLE other (id int PRIMARY KEY)")
    assert (await here.refused("migrate_plan", folder=str(folder))).slug == "conflict"
    (folder / "003_more.up.sql").unlink()
    assert (await here.refused("migrate_plan", folder=str(folder))).slug == "conflict"
    (folder / "env.py").write_text("import os")
    for one in folder.glob("*.sql"):
        one.unlink()
    alembic = await here.refused("migrate_plan", folder=str(folder))
    assert alembic.slug == "unavailable"
    assert "alembic upgrade head --sql" in (alembic.hint or "")


HOSTILE = [
    "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'", "COPY orders TO PROGRAM 'touch /tmp/x'", "COMMIT",
    "GRANT ALL ON orders TO PUBLIC", "DROP DATABASE postgres", "SET ROLE postgres", "DO $$ BEGIN END $$", "VACUUM",
    "CREATE TABLE x (id int DEFAULT pg_read_file('/etc/passwd'))", "ATTACH DATABASE '/tmp/x' AS y", "PRAGMA foo = 1",
    "CREATE TABLE x AS SELECT * FROM pg_catalog.pg_authid", "/*!50000 DROP TABLE orders */", "DROP TABLE a CASCADE",
    "CREATE VIRTUAL TABLE x USING fts5(a)", "CREATE TABLE x (id int) ENGINE=FEDERATED CONNECTION='mysql://x'",
    "ALTER TABLE orders OWNER TO x", "CREATE TRIGGER t AFTER INSERT ON orders BEGIN SELECT 1; END", "SELECT 1",
    "ALTER TABLE orders SET SCHEMA x", "CREATE TABLE x (id int DEFAULT (SELECT max(id) FROM secret))",
    "CREATE EXTENSION dblink", "LOAD DATA INFILE '/etc/passwd' INTO TABLE orders", "CALL p()", "TRUNCATE orders",
    "CREATE TABLE mysql.x (id int)", "CREATE VIEW x AS SELECT load_file('/etc/passwd')", "UPDATE orders SET id = :a",
]  # fmt: skip


@promise("3.7b")
async def test_what_is_no_plain_migration_never_runs(here: Ground, db: Database, tmp_path: Path) -> None:
    before = db.checksum("orders", "secret")
    folder = tmp_path / "m"
    folder.mkdir()
    for text in HOSTILE:
        (folder / "1_x.up.sql").write_text("CREATE TABLE harmless (id int);\n" + text)
        refused = await here.refused("migrate_plan", folder=str(folder))
        assert refused.slug in ("denied", "invalid-input", "conflict", "not-found"), (text, refused.detail)
    assert (db.checksum("orders", "secret"), made_by_us(db)) == (before, [])


async def test_a_migration_reaches_only_granted_tables(here: Ground, db: Database, tmp_path: Path) -> None:
    folder = tmp_path / "m"
    folder.mkdir()
    allow = {"effect": "allow", "subject": "*", "operations": ["sql.*"], "where": {
        "connections": ["db"], "hosts": ["**"], "paths": [f"{tmp_path}/**"]}}  # fmt: skip
    deny = {"effect": "deny", "subject": "*", "operations": ["sql.*"], "where": {
        "connections": [db.table("secret")]}, "effects": ["CHANGE", "DESTROY"]}  # fmt: skip
    here.grant(allow, deny)
    for text in ("DROP TABLE secret", "ALTER TABLE secret ADD COLUMN x int", "UPDATE secret SET word = 'x'",
                 "CREATE INDEX i ON secret (word)"):  # fmt: skip
        (folder / "1_x.up.sql").write_text(text)
        told = await here.call("migrate_plan", folder=str(folder), by=agent("mover"))
        assert told.problem is not None, text
        assert told.problem.slug in ("denied", "not-found"), text
