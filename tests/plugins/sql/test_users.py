"""Accounts on real servers: made, changed, given rights and dropped through the line, and taken back."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import psycopg
import pytest

from superagent.testing import agent
from tests.plugins.sql.databases import Database, OnMariaDB, OnPostgreSQL, OnSqlite
from tests.plugins.sql.ground import Ground
from tests.plugins.sql.insight import hide_secret

_CONNECT = """import pymysql, sys
pymysql.connect(host="127.0.0.1", port=int(sys.argv[1]), user=sys.argv[2], password=sys.argv[3], connect_timeout=5)"""
NEW, OTHER = "a new \"one\" with 'quotes' %s", "another-one"


@pytest.fixture(params=["postgresql", "mariadb"])
async def server(request: pytest.FixtureRequest, here: Ground, tmp_path: Any) -> Database:
    from tests.plugins.sql.conftest import made_on

    db = await made_on(request.param, here, request, tmp_path)
    await here.world.put("new", NEW)
    await here.world.put("other", OTHER)
    if isinstance(db, OnPostgreSQL):  # the server of the tests trusts everybody else
        hba = db.server.folder / "data" / "pg_hba.conf"
        hba.write_text(f"host all {account_of(db)} 127.0.0.1/32 scram-sha-256\n" + hba.read_text())
        db.run("SELECT pg_reload_conf()")
    else:
        db.run("GRANT ALL ON *.* TO app@'127.0.0.1' WITH GRANT OPTION")
    return db


def account_of(db: Database) -> str:
    name = "zz" + (db.name if isinstance(db, OnPostgreSQL | OnMariaDB) else "")[:12]
    return name if db.kind == "postgresql" else f"{name}@127.0.0.1"


def spelled(db: Database) -> str:
    """Give the account as a statement names it."""
    name, _, host = account_of(db).partition("@")
    return f"'{name}'@'{host}'" if host else name


def opens(db: Database, password: str) -> bool:
    """Try to open the database as the account."""
    name = account_of(db).partition("@")[0]
    if isinstance(db, OnPostgreSQL):
        try:
            psycopg.connect(
                host="127.0.0.1", port=db.server.port, user=name, dbname=db.name, password=password, connect_timeout=5
            ).close()
        except psycopg.OperationalError:
            return False
        return True
    assert isinstance(db, OnMariaDB)
    # in a process of its own: within this one, no driver but a call's connects
    words = [sys.executable, "-c", _CONNECT, str(db.server.port), name, password]
    return subprocess.run(words, capture_output=True, timeout=30).returncode == 0


async def shown(here: Ground, db: Database) -> dict[str, Any] | None:
    found = (await here.do("users"))["users"]
    return next((one for one in found if one["account"] == account_of(db)), None)


async def change(here: Ground, operation: str, db: Database, **more: Any) -> str:
    outcome = await here.call(operation, account=account_of(db), **more)
    assert outcome.problem is None, (operation, outcome.problem.detail, outcome.problem.hint)
    return outcome.invocation


async def test_an_account_lives_from_making_to_dropping(here: Ground, server: Database) -> None:
    db = server
    table = f"{db.schema}.orders"
    made = await change(here, "user_create", db, password="new")
    assert opens(db, NEW)
    assert not opens(db, OTHER)
    await change(here, "user_password", db, password="other")
    assert opens(db, OTHER)
    assert not opens(db, NEW)

    given = await change(here, "user_grant", db, table=table, privileges=["SELECT", "UPDATE"])
    account = await shown(here, db)
    assert account is not None
    assert account["grants"] == [{"table": db.table("orders"), "privileges": ["SELECT", "UPDATE"]}]
    assert (account["login"], account["powers"]) == (True, False)
    assert (await here.refused("user_drop", account=account_of(db))).slug == "denied"  # it has rights
    refused = await here.call("undo.apply", ids=[made])
    assert refused.problem is not None
    assert refused.problem.slug == "conflict"
    taken = await change(here, "user_revoke", db, table=table, privileges=["SELECT", "INSERT"])
    account = await shown(here, db)
    assert account is not None
    assert account["grants"] == [{"table": db.table("orders"), "privileges": ["UPDATE"]}]
    for one in (taken, given):
        assert (await here.call("undo.apply", ids=[one])).problem is None
    account = await shown(here, db)
    assert account is not None
    assert account["grants"] == []

    closed = await change(here, "user_alter", db, login=False, max_connections=3)
    assert not opens(db, OTHER)
    assert (await here.call("undo.apply", ids=[closed])).problem is None
    assert opens(db, OTHER)

    seen = await here.call("user_drop", account=account_of(db), dry_run=True)
    assert seen.problem is None
    assert await shown(here, db) is not None
    gone = await change(here, "user_drop", db)
    assert await shown(here, db) is None
    assert (await here.call("undo.apply", ids=[gone])).problem is None
    account = await shown(here, db)
    assert account is not None
    assert account["login"] is False
    assert not opens(db, OTHER)
    db.run(f"DROP {'ROLE' if db.kind == 'postgresql' else 'USER'} {spelled(db)}")
    everything = repr(here.records) + repr(vars(here.world.world.undo))
    assert NEW not in everything
    assert OTHER not in everything
    assert "SCRAM" not in everything


async def test_an_account_without_a_password_is_closed_and_undo_drops_it(here: Ground, server: Database) -> None:
    made = await change(here, "user_create", server)
    assert not opens(server, "")
    assert (await here.refused("user_create", account=account_of(server))).slug == "conflict"
    assert (await here.call("undo.apply", ids=[made])).problem is None
    assert await shown(here, server) is None


async def test_accounts_with_powers_and_the_own_one_are_left_alone(here: Ground, server: Database) -> None:
    own = "postgres" if server.kind == "postgresql" else "app@127.0.0.1"
    tried: list[tuple[str, dict[str, Any]]] = [
        ("user_alter", {"login": False}), ("user_drop", {}), ("user_password", {"password": "new"}),
        ("user_grant", {"table": f"{server.schema}.orders", "privileges": ["SELECT"]}),
    ]  # fmt: skip
    for operation, more in tried:
        assert (await here.refused(operation, account=own, **more)).slug == "denied", operation


async def test_nobody_gives_rights_on_a_table_that_are_not_granted_to_them(here: Ground, server: Database) -> None:
    made = await change(here, "user_create", server)
    here.grant(*hide_secret(server))
    refused = await here.refused(
        "user_grant", account=account_of(server), table=f"{server.schema}.secret", privileges=["SELECT"]
    )
    assert refused.slug in ("denied", "not-found")
    here.grant(
        *hide_secret(server),
        {
            "effect": "deny", "operations": ["sql.*"], "effects": ["CHANGE"],
            "where": {"connections": [server.table("orders")]},
        },
    )  # fmt: skip
    table = f"{server.schema}.orders"
    refused = await here.refused("user_grant", account=account_of(server), table=table, privileges=["DELETE"])
    assert refused.slug in ("denied", "not-found")
    user = await shown(here, server)
    assert user is not None
    assert user["grants"] == []
    # and what is granted on a table that is hidden is not told
    server.run(f"GRANT SELECT ON secret TO {spelled(server)}")
    assert "secret" not in repr(await here.do("users"))
    server.run(f"REVOKE SELECT ON secret FROM {spelled(server)}")
    here.grant({"effect": "allow", "operations": ["*"]})
    assert (await here.call("undo.apply", ids=[made])).problem is None


async def test_no_name_gets_into_a_statement_but_a_plain_one(here: Ground, server: Database) -> None:
    before = await here.do("users")
    for name in (
        'x"; DROP TABLE orders; --', "x' OR 1", "pg_monitor", "public", "PUBLIC", "x SUPERUSER", "", "x\n", "a@b@c'",
        "x`", "%", "@", "x@'%'", "\u0430dmin", "x@h' IDENTIFIED BY 'y", "x" * 64,
    ):  # fmt: skip
        refused = await here.refused("user_create", account=name)
        assert refused.slug in ("denied", "invalid-input"), name
    assert await here.do("users") == before


async def test_an_agent_needs_a_person_for_accounts(here: Ground, server: Database) -> None:
    here.grant({"effect": "allow", "operations": ["sql.*"], "max_risk": "HIGH"})
    refused = await here.refused("user_create", by=agent("builder"), account=account_of(server))
    assert refused.slug in ("denied", "not-found")


async def test_sqlite_has_no_accounts_and_says_so(here: Ground, tmp_path: Any) -> None:
    await OnSqlite(tmp_path / "orders.db").connect(here)
    for operation, more in (("users", {}), ("user_create", {"account": "x"})):
        assert (await here.refused(operation, **more)).slug == "unavailable"
