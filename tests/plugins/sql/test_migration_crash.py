"""Migrations in the middle of which something dies: a process of the platform, or the server itself, by kill -9."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
import pytest

from tests import postgresql
from tests.plugins.sql.databases import Database, OnMariaDB, OnPostgreSQL
from tests.plugins.sql.ground import PASSWORD, Ground, free_port
from tests.promise import promise
from tests.until import until

ONE = "CREATE TABLE first (id int PRIMARY KEY)"
# the second version does something before it waits for the rows that the test holds
TWO = "CREATE TABLE second (id int PRIMARY KEY); INSERT INTO second VALUES (1); UPDATE orders SET who = 'moved'"
MOVER = """
import sys
from superagent.plugins.sql.engine.ddl import steps
from superagent.plugins.sql.engine.session import Place
from superagent.plugins.sql.engine.versions import Version, Watch, ensure, move
from superagent.plugins.sql.folders import Script
kind, port, database, user, password, *texts = sys.argv[1:]
place = Place("127.0.0.1", "127.0.0.1", int(port), database, user, password, tls=False, timeout_s=60)
if kind == "postgresql":
    from superagent.plugins.sql.engine.postgres import Postgres
    session, schema = Postgres(place, "public"), "public"
else:
    from superagent.plugins.sql.engine.mariadb import MariaDB
    session, schema = MariaDB(place, database), database
ensure(session, schema)
for at, text in enumerate(texts):
    script = Script(f"{at + 1:04d}", "x", text, None)
    made = tuple(steps(text, session.dialect, schema))
    move(session, schema, Version(script.number, "x", script.digest, made, None), "up", Watch(), 60)
"""


@contextmanager
def mover(db: Database) -> Generator[subprocess.Popen[bytes]]:
    """Migrate in a process of its own."""
    assert isinstance(db, OnPostgreSQL | OnMariaDB)
    user, password = ("postgres", "") if db.kind == "postgresql" else ("app", PASSWORD)
    words = [db.kind, str(db.server.port), db.name, user, password, ONE, TWO]
    process = subprocess.Popen([sys.executable, "-c", MOVER, *words], stderr=subprocess.PIPE)
    try:
        yield process
    finally:
        process.kill()
        process.wait(30)
        assert process.stderr is not None
        process.stderr.close()


def waits(db: Database) -> bool:
    if db.kind == "postgresql":
        return bool(db.run("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'UPDATE%'"))
    text = "SELECT 1 FROM information_schema.PROCESSLIST WHERE USER = 'app' AND INFO LIKE 'UPDATE `%orders%'"
    return bool(db.run(text))


def write(folder: Path) -> None:
    folder.mkdir()
    (folder / "1_x.up.sql").write_text(ONE)
    (folder / "2_x.up.sql").write_text(TWO)


async def goes_on(here: Ground, folder: Path, expected: list[str]) -> None:
    """Plan again and apply: it goes on where it ended."""
    plan = await here.do("migrate_plan", folder=str(folder))
    assert plan["versions"] == expected
    done = await here.call("migrate_apply", folder=str(folder), plan=plan["digest"])
    assert done.problem is None, (done.problem.detail, done.problem.hint)
    assert done.result()["now"] == "0002"


@promise("3.7b")
async def test_a_process_killed_in_the_middle_leaves_whole_versions_and_the_next_goes_on(
    here: Ground, on_pg: Database, tmp_path: Path
) -> None:
    write(tmp_path / "m")
    before = on_pg.checksum("orders")
    with on_pg.holding("UPDATE orders SET who = 'held' WHERE id = 1"), mover(on_pg) as process:
        until(lambda: waits(on_pg), "the second version waits")
        os.kill(process.pid, signal.SIGKILL)
        process.wait(30)
    gone = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'superagent' AND state <> 'idle'"
    until(lambda: not on_pg.run(gone), "the end of what it did on the server")
    assert on_pg.run("SELECT version, state FROM superagent_migrations") == [("0001", "applied")]
    assert on_pg.run("SELECT to_regclass('public.first') IS NULL, to_regclass('public.second') IS NULL") == [
        (False, True)
    ]
    assert on_pg.checksum("orders") == before
    await goes_on(here, tmp_path / "m", ["0002"])
    assert on_pg.run("SELECT DISTINCT who FROM orders") == [("moved",)]


@promise("3.7b")
@pytest.mark.slow
async def test_a_server_killed_in_the_middle_leaves_whole_versions_and_the_next_goes_on(
    here: Ground, tmp_path: Path
) -> None:
    write(tmp_path / "m")
    with postgresql.server(port=free_port()) as server:
        db = OnPostgreSQL(server, "crashed")
        await db.connect(here)
        before = db.checksum("orders")
        # what held the rows is gone with the server
        with suppress(psycopg.Error), db.holding("UPDATE orders SET who = 'held' WHERE id = 1"), mover(db) as process:
            until(lambda: waits(db), "the second version waits")
            assert server.process is not None
            end_all(server.process.pid)
            server.process.wait(30)
            process.wait(30)
        (server.folder / "data" / "postmaster.pid").unlink(missing_ok=True)
        server.begin()
        assert db.run("SELECT version, state FROM superagent_migrations") == [("0001", "applied")]
        assert db.run("SELECT to_regclass('public.second') IS NULL") == [(True,)]
        assert db.checksum("orders") == before
        await goes_on(here, tmp_path / "m", ["0002"])


@promise("3.7b")
async def test_mariadb_which_commits_in_between_is_taken_up_at_the_very_statement(
    here: Ground, on_maria: Database, tmp_path: Path
) -> None:
    write(tmp_path / "m")
    with on_maria.holding("UPDATE orders SET who = 'held' WHERE id = 1"), mover(on_maria) as process:
        until(lambda: waits(on_maria), "the second version waits")
        os.kill(process.pid, signal.SIGKILL)
        process.wait(30)
    until(lambda: not waits(on_maria), "the end of what it did on the server")
    assert on_maria.run("SELECT version, state, step FROM superagent_migrations ORDER BY 1") == [
        ("0001", "applied", 1), ("0002", "up", 2),
    ]  # fmt: skip
    # the way back is refused while it stands between two statements
    assert (await here.refused("migrate_rollback", folder=str(tmp_path / "m"), to="1")).slug == "conflict"
    await goes_on(here, tmp_path / "m", ["0002"])
    assert on_maria.run("SELECT count(*) FROM second") == [(1,)]  # not a second time
    assert on_maria.run("SELECT DISTINCT who FROM orders") == [("moved",)]


@promise("3.7b")
async def test_mariadb_tells_a_statement_that_was_done_from_one_that_was_not(
    here: Ground, on_maria: Database, tmp_path: Path
) -> None:
    """Whoever died between a statement and its record: the tables say which it was."""
    folder = tmp_path / "m"
    folder.mkdir()
    (folder / "1_x.up.sql").write_text(f"{ONE}; CREATE INDEX by_who ON orders (who)")
    plan = await here.do("migrate_plan", folder=str(folder))
    assert (await here.call("migrate_apply", folder=str(folder), plan=plan["digest"])).problem is None
    # as it stood after the index was made and before that was recorded, by the platform's own way of naming the state
    on_maria.run("UPDATE superagent_migrations SET state = 'up', step = 1, was = 'another state'")
    again = await here.do("migrate_plan", folder=str(folder))
    assert (await here.call("migrate_apply", folder=str(folder), plan=again["digest"])).problem is None
    assert on_maria.run("SELECT state FROM superagent_migrations") == [("applied",)]


def end_all(pid: int) -> None:
    """End a server and all that it started, at once."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    for one in (pid, *map(int, children)):
        os.kill(one, signal.SIGKILL)
