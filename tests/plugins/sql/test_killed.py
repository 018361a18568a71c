"""The platform itself killed (kill -9) in a change, at its commit, or in a backup: what stands then, and undo."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests import postgresql
from tests.crash.platform import Server, serving
from tests.plugins.sql.databases import OnMariaDB, OnPostgreSQL
from tests.plugins.sql.ground import PASSWORD, free_port
from tests.plugins.sql.test_backup_stops import dumping
from tests.promise import promise
from tests.until import until

CHANGE = "UPDATE orders SET who = 'changed' WHERE id <= 2"


def folder_of(tmp_path: Path) -> Path:
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    (data / "superagent.toml").write_text('[net]\nallow_private = ["127.0.0.0/8"]\n')
    return data


def connect(place: Server, db: OnPostgreSQL | OnMariaDB) -> None:
    if db.kind == "mariadb":
        place.call("secrets.put", name="password", value=PASSWORD)
    place.call(
        "connections.create",
        name="db",
        type=db.kind,
        endpoint=f"{'mysql' if db.kind == 'mariadb' else db.kind}://127.0.0.1:{db.server.port}/{db.name}",
        options={"user": "app" if db.kind == "mariadb" else "postgres", "tls": "off"},
        **({"secret": "password"} if db.kind == "mariadb" else {}),
    )


@contextmanager
def calling(place: Server, operation: str, **given: Any) -> Generator[None]:
    """Have a call under way for a block in which the server dies."""

    def call() -> None:
        with suppress(httpx.HTTPError), place.client() as client:
            client.post(f"/v1/operations/{operation}", json={"connection": "db", **given})

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    try:
        yield
    finally:
        thread.join(30)
        assert not thread.is_alive()


def working(db: OnPostgreSQL | OnMariaDB, text: str) -> bool:
    """Tell whether the platform runs a statement that begins so, or holds a transaction open."""
    if db.kind == "mariadb":
        return bool(db.run(f"SELECT 1 FROM information_schema.PROCESSLIST WHERE USER = 'app' AND INFO LIKE '{text}%'"))
    return bool(
        db.run(
            f"SELECT 1 FROM pg_stat_activity WHERE datname = '{db.name}' AND application_name = 'superagent'"
            f" AND state <> 'idle' AND query LIKE '{text}%'"
        )
    )


@pytest.mark.slow
@promise("3.7")
@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
def test_a_change_under_way_is_no_change(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    made = OnPostgreSQL if kind == "postgresql" else OnMariaDB
    db = made(request.getfixturevalue("pg" if kind == "postgresql" else "maria"), f"killed_{kind}")
    data, before = folder_of(tmp_path), db.checksum("orders")
    with serving(data) as place:
        connect(place, db)
        with db.holding("UPDATE orders SET paid = 9 WHERE id = 2"), calling(place, "sql.execute", sql=CHANGE):
            until(lambda: working(db, "SELECT"), "the change waits for a row")
            place.kill()
        until(lambda: not working(db, ""), "the end of what it did on the server", 60.0)
    assert db.checksum("orders") == before
    with serving(data) as place:
        assert place.call("sql.execute", connection="db", sql=CHANGE)["rows"] == 2
        (entry,) = [one for one in place.call("undo.list")["entries"] if one["operation"] == "sql.execute"]
        place.call("undo.apply", ids=[entry["invocation"]])
    assert db.checksum("orders") == before


@pytest.mark.slow
@promise("3.7")
def test_a_change_whose_commit_nobody_lived_to_see_is_taken_back(tmp_path: Path) -> None:
    data = folder_of(tmp_path)
    with postgresql.server(port=free_port()) as server:
        db = OnPostgreSQL(server, "killed_late")
        before = db.checksum("orders")
        with serving(data) as place:
            connect(place, db)
            # a commit is on disk then, and waits for a replica that there is not
            server.run("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
            server.run("SELECT pg_reload_conf()")
            with calling(place, "sql.execute", sql=CHANGE):
                until(lambda: working(db, "COMMIT"), "the commit waits")
                place.kill()
        server.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'superagent'")
        server.run("ALTER SYSTEM RESET synchronous_standby_names")
        server.run("SELECT pg_reload_conf()")
        until(lambda: db.run("SELECT count(*) FROM orders WHERE who = 'changed'") == [(2,)], "the change stands")
        with serving(data) as place:
            (entry,) = [one for one in place.call("undo.list")["entries"] if one["operation"] == "sql.execute"]
            assert entry["state"] == "unknown"
            place.call("undo.apply", ids=[entry["invocation"]])
            assert db.checksum("orders") == before


@pytest.mark.slow
@promise("3.7c")
def test_a_backup_under_way_is_no_backup(pg: postgresql.Server, tmp_path: Path) -> None:
    db = OnPostgreSQL(pg, "killed_backup")
    data, out = folder_of(tmp_path), tmp_path / "out"
    out.mkdir()
    file = out / "orders.backup"
    with serving(data) as place:
        connect(place, db)
        # what is on the way to the disk: the reading of every row, before which nothing of a dump is proven
        with db.holding("LOCK TABLE secret IN ACCESS EXCLUSIVE MODE"), calling(place, "sql.backup", path=str(file)):
            until(lambda: working(db, ""), "the backup waits for a table")
            place.kill()
        until(lambda: not working(db, "") and not dumping(), "the end of what it did on the server", 60.0)
    assert not file.exists()
    with serving(data) as place:
        place.call("sql.backup", connection="db", path=str(file))
        restored = place.call("sql.restore", connection="db", path=str(file), into="killed_again")
        assert restored
    assert [one.name for one in out.iterdir()] == ["orders.backup"]
    assert pg.run("SELECT word FROM secret ORDER BY 1", "killed_again") == [("alakazam",), ("sesame",)]
