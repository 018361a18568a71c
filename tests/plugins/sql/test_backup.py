"""`sql.backup` and `sql.restore` on each kind of database: only what a restore has shown counts as a backup."""

from __future__ import annotations

import os
import sqlite3
import threading
from contextlib import closing
from copy import copy
from dataclasses import replace
from pathlib import Path

import pytest

from superagent.core.invocation import Status
from superagent.testing import agent, person
from tests.plugins.sql.conftest import made_on
from tests.plugins.sql.databases import Database, OnMariaDB, OnPostgreSQL, OnSqlite
from tests.plugins.sql.ground import PASSWORD, Ground
from tests.plugins.sql.test_moving import fill
from tests.promise import promise


def made_by_us(db: Database) -> list[object]:
    if db.kind == "postgresql":
        return db.run("SELECT datname FROM pg_database WHERE datname LIKE 'superagent%'")
    if db.kind == "mariadb":
        return db.run("SELECT SCHEMA_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME LIKE 'superagent%'")
    return []


@promise("3.7c")
async def test_a_backup_is_encrypted_proven_and_leaves_nothing_else(here: Ground, db: Database, tmp_path: Path) -> None:
    before = db.checksum("orders", "secret")
    file = tmp_path / "orders.backup"
    done = await here.call("backup", path=str(file))
    assert done.problem is None, (done.problem.detail, done.problem.hint)
    told = done.result()
    data = file.read_bytes()
    assert (told["proven"], told["bytes"], file.stat().st_mode & 0o777) == (True, len(data), 0o600)
    assert sorted(told["rows"].values()) == [2, 4]
    assert not [word for word in (b"sesame", b"CREATE TABLE", b"orders", PASSWORD.encode()) if word in data]
    assert made_by_us(db) == []
    assert db.checksum("orders", "secret") == before
    assert (await here.call("undo.apply", ids=[done.invocation])).problem is None
    assert not file.exists()


@promise("3.7c")
async def test_a_restore_gives_every_row_back_in_a_database_of_its_own(
    here: Ground, db: Database, tmp_path: Path
) -> None:
    fill(db)
    file = tmp_path / "orders.backup"
    await here.do("backup", path=str(file))
    whole = db.checksum("orders", "secret")
    into = str(tmp_path / "again.db") if db.kind == "sqlite" else f"again_{db.schema[:20]}_{os.getpid()}"
    seen = await here.call("restore", path=str(file), into=into, dry_run=True)
    assert seen.problem is None, seen.problem.detail
    db.run("DELETE FROM orders")
    done = await here.call("restore", path=str(file), into=into)
    assert done.problem is None, (done.problem.detail, done.problem.hint)
    assert other(db, into).checksum("orders", "secret") == whole
    assert db.run("SELECT count(*) FROM orders") in ([(0,)], ((0,),))
    assert (await here.refused("restore", path=str(file), into=into)).slug == "conflict"
    assert (await here.call("undo.apply", ids=[done.invocation])).problem is None
    assert not there(db, into)


@promise("3.7c")
async def test_a_restore_in_the_place_of_the_present_database_can_be_taken_back(
    here: Ground, db: Database, tmp_path: Path
) -> None:
    file = tmp_path / "orders.backup"
    await here.do("backup", path=str(file))
    whole = db.checksum("orders", "secret")
    db.run("DELETE FROM orders WHERE id > 1")
    broken = db.checksum("orders", "secret")
    if db.kind == "mariadb":
        assert (await here.refused("restore", path=str(file), over=True)).slug == "unavailable"
        return
    done = await here.call("restore", path=str(file), over=True)
    assert done.problem is None, (done.problem.detail, done.problem.hint)
    assert db.checksum("orders", "secret") == whole
    assert (await here.call("undo.apply", ids=[done.invocation])).problem is None
    assert db.checksum("orders", "secret") == broken


@promise("3.7c")
async def test_what_a_restore_does_not_show_is_no_backup(here: Ground, db: Database, tmp_path: Path) -> None:
    file = tmp_path / "orders.backup"
    file.write_text("mine")
    if db.kind == "postgresql":  # what is checked looks at rows that come later in a restore
        db.run("CREATE FUNCTION known(int) RETURNS bool LANGUAGE sql AS 'SELECT $1 IN (SELECT id FROM public.secret)'")
        db.run("CREATE TABLE checked (id int CHECK (public.known(id)))")
        db.run("INSERT INTO checked VALUES (1)")
    elif db.kind == "mariadb":  # which writes six digits of a float into a dump
        db.run("CREATE TABLE floats (id int PRIMARY KEY, x float)")
        db.run("INSERT INTO floats VALUES (1, 16777215)")
    else:
        break_index(db)
    refused = await here.refused("backup", path=str(file))
    assert (refused.slug, file.read_text()) == ("conflict", "mine"), refused.detail
    assert made_by_us(db) == []
    assert [one.name for one in tmp_path.iterdir() if one.name.startswith(".superagent")] == []


async def test_a_backup_that_was_changed_cut_or_is_of_others_is_never_restored(
    here: Ground, db: Database, tmp_path: Path
) -> None:
    file = tmp_path / "orders.backup"
    await here.do("backup", path=str(file))
    data = file.read_bytes()
    before = db.checksum("orders", "secret")
    into = str(tmp_path / "again.db") if db.kind == "sqlite" else "again_never"
    places = (5, 30, 54, 90, len(data) // 2, len(data) - 3)
    forged = [data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :] for at in places]
    forged += [data[:-1], data[:60], data[:-37], data + b"x", b"", data[:52] + b"\xff" * 9]
    for one in forged:
        file.write_bytes(one)
        refused = await here.refused("restore", path=str(file), into=into)
        assert refused.slug in ("denied", "invalid-input"), refused.detail
    file.write_bytes(data)
    stranger = replace(person("eve"), tenant="other")
    assert (await here.call("restore", path=str(file), into=into, by=stranger)).problem is not None
    for name in ("x; DROP TABLE orders", "A", "", "../x", "a" * 64):
        await here.refused("restore", path=str(file), into=name)
    assert not there(db, into)
    assert db.checksum("orders", "secret") == before


async def test_who_may_not_read_a_table_neither_backs_it_up_nor_restores_it(
    here: Ground, db: Database, tmp_path: Path
) -> None:
    file = tmp_path / "orders.backup"
    await here.do("backup", path=str(file))
    by = agent("keeper")
    allow = {"effect": "allow", "subject": "*", "operations": ["sql.*"], "where": {
        "connections": ["db"], "hosts": ["**"], "paths": [f"{tmp_path}/**"]}}  # fmt: skip
    here.grant(
        allow,
        {"effect": "deny", "subject": "*", "operations": ["sql.*"], "where": {"connections": [db.table("secret")]}},
    )
    into = str(tmp_path / "again.db") if db.kind == "sqlite" else "again_denied"
    for operation, more in (("backup", {"path": str(tmp_path / "x")}), ("restore", {"path": str(file), "into": into})):
        told = await here.refused(operation, **more)
        assert told.slug in ("denied", "not-found")
    # what destroys is asked for first, when an agent does it that has read what others wrote
    here.grant(allow)
    assert (await here.call("query", "SELECT word FROM secret", by=by)).problem is None
    asked = await here.call("restore", path=str(file), over=True, by=by)
    assert asked.status is Status.WAITING
    assert not (tmp_path / "x").exists()
    assert not there(db, into)


async def test_a_backup_is_of_one_moment_while_others_write(here: Ground, db: Database, tmp_path: Path) -> None:
    if db.kind == "sqlite":
        return  # one writes at a time: who reads holds the file
    db.run("CREATE TABLE a (n int PRIMARY KEY)")
    db.run("CREATE TABLE b (n int PRIMARY KEY)")
    begun, ended = threading.Event(), threading.Event()

    def write() -> None:
        n = 0
        while not ended.is_set():
            n += 1
            db.run(f"INSERT INTO a VALUES ({n})")
            db.run(f"INSERT INTO b VALUES ({n})")
            begun.set()

    writer = threading.Thread(target=write)
    writer.start()
    assert begun.wait(30)
    try:
        told = await here.do("backup", path=str(tmp_path / "x.backup"))
    finally:
        ended.set()
        writer.join(30)
    (first,) = (rows for name, rows in told["rows"].items() if name.rpartition(".")[2] == "a")
    (second,) = (rows for name, rows in told["rows"].items() if name.rpartition(".")[2] == "b")
    assert first > 0
    assert first - second in (0, 1)


async def test_the_password_of_a_dump_stands_in_no_list_of_processes(
    here: Ground, on_maria: Database, tmp_path: Path
) -> None:
    seen: list[str] = []
    ended = threading.Event()

    def look() -> None:
        while not ended.is_set():
            for one in Path("/proc").glob("[0-9]*"):
                try:
                    words = (one / "cmdline").read_bytes()
                    if b"mariadb-dump" in words or b"--sandbox" in words:
                        seen.append((words + (one / "environ").read_bytes()).decode("utf-8", "replace"))
                except OSError:
                    continue

    looker = threading.Thread(target=look)
    looker.start()
    try:
        await here.do("backup", path=str(tmp_path / "x.backup"))
    finally:
        ended.set()
        looker.join(30)
    assert {one for text in seen for one in ("mariadb-dump", "--sandbox") if one in text} == {
        "mariadb-dump",
        "--sandbox",
    }
    assert not [text for text in seen if PASSWORD in text]
    assert PASSWORD not in repr(here.records)


NASTY = "it's \"#;\\ =a: %s"


async def test_any_password_opens_a_dump_and_stands_in_no_answer(
    here: Ground, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    for kind in ("postgresql", "mariadb"):
        db = await made_on(kind, here, request, tmp_path)
        if isinstance(db, OnPostgreSQL):
            rules = db.server.folder / "data" / "pg_hba.conf"
            rules.write_text("host all nasty 127.0.0.1/32 scram-sha-256\n" + rules.read_text())
            db.run("SELECT pg_reload_conf()")
            db.run("CREATE ROLE nasty SUPERUSER LOGIN PASSWORD '" + NASTY.replace("'", "''") + "'")
            endpoint = f"postgresql://127.0.0.1:{db.server.port}/{db.name}"
        else:
            assert isinstance(db, OnMariaDB)
            db.server.run("CREATE USER nasty@'127.0.0.1' IDENTIFIED BY %s", None, (NASTY,))
            db.run("GRANT ALL ON *.* TO nasty@'127.0.0.1'")
            endpoint = f"mysql://127.0.0.1:{db.server.port}/{db.name}"
        await here.connect(kind, endpoint, secret=NASTY, name=kind, user="nasty", tls="off")
        await here.do("backup", path=str(tmp_path / kind), connection=kind)
        await here.world.put("password", "another one")
        refused = await here.refused("backup", path=str(tmp_path / kind), connection=kind)
        assert NASTY not in repr((refused.document(), here.records))


async def test_no_copy_runs_a_function_of_others_as_the_account(here: Ground, on_pg: Database, tmp_path: Path) -> None:
    on_pg.run("CREATE ROLE planter LOGIN")
    on_pg.run("CREATE FUNCTION planted(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 1'")
    on_pg.run("ALTER FUNCTION planted OWNER TO planter")
    for operation, more in (("backup", {"path": str(tmp_path / "x")}), ("migrate_plan", {"folder": str(tmp_path)})):
        (tmp_path / "1_x.up.sql").write_text("CREATE TABLE harmless (id int)")
        refused = await here.refused(operation, **more)
        assert refused.slug == "denied"
        assert "planted" in refused.detail
    on_pg.run("DROP FUNCTION planted")
    on_pg.run("DROP ROLE planter")
    assert not (tmp_path / "x").exists()


def break_index(db: Database) -> None:
    """Let an index of the file say other things than its table."""
    assert isinstance(db, OnSqlite)
    with closing(sqlite3.connect(db.file, isolation_level=None)) as made:
        made.execute("CREATE INDEX who ON orders (who)")
        made.execute("PRAGMA writable_schema = ON")
        made.execute("UPDATE sqlite_schema SET sql = 'CREATE INDEX who ON orders (paid)' WHERE name = 'who'")


def other(db: Database, into: str) -> Database:
    """Give the database that something was restored into."""
    if isinstance(db, OnSqlite):
        made = copy(db)
        made.file = Path(into)
        return made
    assert isinstance(db, OnPostgreSQL | OnMariaDB)
    twin = copy(db)
    twin.name = into
    return twin


def there(db: Database, into: str) -> bool:
    if db.kind == "sqlite":
        return Path(into).exists()
    text = (
        "SELECT 1 FROM pg_database WHERE datname = '{}'" if db.kind == "postgresql"
        else "SELECT 1 FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = '{}'"
    )  # fmt: skip
    return bool(db.run(text.format(into)))
