"""An installation of the first days, with rows in each of its tables: it is brought up to date, and nothing is lost."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Boolean, Column, Connection, LargeBinary, MetaData, Numeric, String, Table

from superagent.app import open_installation
from superagent.core.invocation import Call
from superagent.core.principal import Credential, Facts, Secret
from superagent.data import migrate
from superagent.data.areas import Area
from superagent.data.database import dialect_of, open_database
from superagent.runtime import work_tables
from superagent.runtime.api_keys import mint, public_half
from superagent.runtime.first_start import write_secret
from superagent.runtime.places import prepare
from superagent.runtime.stores import AREAS, DATABASE
from superagent.settings import load
from tests.data.areas import older
from tests.where import where

pytestmark = [pytest.mark.usefixtures("each_database"), pytest.mark.slow]

OWNER, BUILDER, EARLIER = mint(), mint(), mint()
NEVER = 4e9  # in epoch seconds: what ends then is there for these tests
GRANT = {"effect": "allow", "subject": "agent:builder", "operations": ["files.*"], "where": {"paths": ["/srv/**"]}}
WENT_TO = {"undo_usage": "undo_shares"}
"""Tables that are no more, by the one that holds their rows now."""

PASSING = ("audit_", "epochs_", "work_outbox")
"""What repeats the segments is read anew from them; counters and the queue say nothing that lasts."""


def key(token: str, **more: Any) -> dict[str, Any]:
    half = public_half(token)
    return {
        "id": half.id, "public": half.public, "kind": "agent", "principal": "builder", "role": "agent",
        "created_by": "owner", "hint": token[-4:], "workspace": "/srv/builder", "created_at": 1.0, "expires_at": None,
        "revoked_at": None, "last_used_at": None,
    } | more  # fmt: skip


ROWS: dict[str, list[dict[str, Any]]] = {
    "identity_tenants": [{"id": "system"}, {"id": "default"}],
    "identity_people": [{"id": "owner", "roles": json.dumps(["owner", "instance-owner"]), "state": "active"}],
    "identity_keys": [
        key(OWNER, kind="human", principal="owner", role=None, workspace=""),
        key(EARLIER, revoked_at=2.0),  # a name was free again once its key had ended
        key(BUILDER, created_at=3.0),
    ],
    "identity_grants": [{"id": "grant_1", "body": json.dumps(GRANT | {"id": "grant_1"}), "revoked_at": None}],
    "policy_versions": [{"number": 1, "digest": "0" * 64}],
    "policy_spans": [{"grant_id": "grant_1", "since": 1, "until": None}],
    "policy_proposals": [{"state": "withdrawn", "chain": "[]", "added": "[]", "removed": "[]", "version": None}],
    "work_invocations": [{"id": "01HZZZZZZZZZZZZZZZZZZZZZZ1", "state": "done", "until": NEVER}],
    "work_timers": [{"invocation": "01HZZZZZZZZZZZZZZZZZZZZZZ1", "kind": "forget", "due": NEVER}],
    "work_outbox": [{"invocation": "01HZZZZZZZZZZZZZZZZZZZZZZ0"}],  # of what is gone: nothing is taken up
    "sandbox_users": [],
}
"""What must be as the platform writes it; all else is filled by the types of its columns."""


def some(column: Column[Any], at: int) -> Any:
    kind = column.type
    if column.name in ("until", "due", "expires_at") or column.name.endswith("_until"):
        return NEVER
    if column.name == "tenant":
        return "default"
    if isinstance(kind, LargeBinary):
        return b"kept %d" % at
    if isinstance(kind, String):
        return f"{column.name}{at}"[: kind.length]
    if isinstance(kind, Boolean):
        return True
    return 1.5 + at if isinstance(kind, Numeric) else 1 + at


def fill(connection: Connection, table: Table) -> list[dict[str, Any]]:
    """Put rows into a table and give them."""
    only = [one.name for one in table.primary_key] == ["tenant"]
    given = ROWS.get(table.name, [{}] if only else [{}, {}])
    rows = [{one.name: some(one, at) for one in table.c} | row for at, row in enumerate(given)]
    if rows:
        connection.execute(table.insert(), rows)
    return rows


async def an_old_database(path: Path) -> dict[str, list[dict[str, Any]]]:
    """Make a database as the first migration of each area made it, and give its rows by table."""
    dialect = dialect_of(where(path))
    with dialect.alone(), dialect.writer() as connection, connection.begin():
        migrate.VERSIONS.create(connection)
    first = [Area(one.name, f"{one.name}_0001", one.versions) for one in AREAS]
    await (await open_database(where(path), first, copies=path.parent)).close()
    found = MetaData()
    with dialect.writer() as connection, connection.begin():
        found.reflect(connection)
        tables = [one for one in found.sorted_tables if one.name != migrate.VERSIONS.name]
        rows = {one.name: fill(connection, one) for one in tables}
    dialect.engine.dispose()
    return rows


def rows_now(path: Path, names: list[str]) -> dict[str, list[dict[str, Any]]]:
    dialect = dialect_of(where(path))
    found = MetaData()
    with dialect.writer() as connection, connection.begin():
        found.reflect(connection)
        rows = {
            name: [dict(row._mapping) for row in connection.execute(found.tables[name].select())]  # pyright: ignore[reportPrivateUsage]
            for name in names
            if name in found.tables
        }
    dialect.engine.dispose()
    return rows


async def test_an_installation_of_the_first_days_starts_with_all_it_had(tmp_path: Path) -> None:
    data = tmp_path / "data"
    places = prepare(data)
    path = places.state / DATABASE
    before = await an_old_database(path)
    assert len(before) > 25
    write_secret(places.owner_key, OWNER + "\n")
    os.makedirs(places.workspaces / "default" / "owner", exist_ok=True)
    url = where(path)
    settings = load(data, {} if isinstance(url, Path) else {"database.url": url}, environ={})

    async with open_installation(settings) as here:
        owner = await here.owner()
        told = (await here.kernel.run(Call("access.whoami", {}), owner, "cli")).result()
        assert told["id"] == "owner"
        assert (await here.kernel.run(Call("audit.verify", {}), owner, "cli")).result()["ok"]
        builder = await here.kernel.identify(Credential("bearer", Secret(BUILDER), Facts("127.0.0.1", "", "http")))
        assert (builder.id, builder.kind, builder.workspace) == ("builder", "agent", "/srv/builder")
        with pytest.raises(Exception, match="revoked"):
            await here.kernel.identify(Credential("bearer", Secret(EARLIER), Facts("127.0.0.1", "", "http")))
        asked = Call(
            "policy.explain", {"operation": "files.read", "input": {"path": "/srv/x"}, "actor": "agent:builder"}
        )
        assert (await here.kernel.run(asked, owner, "cli")).result()["verdict"] == "allow"
    async with open_installation(settings) as here:
        assert (await here.owner()).id == "owner"

    after = rows_now(path, [*before, *WENT_TO.values()])
    for name, rows in before.items():
        if name.startswith(PASSING):
            continue
        for row in rows:
            rows_of = after[WENT_TO.get(name, name)]
            kept = [one for one in rows_of if row.items() <= {**one, **_moved(name, row)}.items()]
            assert kept, f"a row of `{name}` is gone or changed: {row}; there are {rows_of[:3]}"


async def test_whoever_waited_for_an_approval_goes_on_seeing_that(tmp_path: Path) -> None:
    async with older(tmp_path / "old.db", work_tables.AREA, "work_0002") as run:
        run("INSERT INTO work_requests (tenant, invocation, principal, mark, asked) VALUES ('a', 'i', 'ada', 'm', 1)")
    await (await open_database(where(tmp_path / "old.db"), [work_tables.AREA], copies=tmp_path)).close()
    held = rows_now(tmp_path / "old.db", ["work_holders"])["work_holders"]
    assert held == [{"tenant": "a", "person": "ada", "invocation": "i"}]


def _moved(name: str, row: dict[str, Any]) -> dict[str, Any]:
    """Give what a running installation itself changes in such a row."""
    return {"last_used_at": row["last_used_at"]} if name == "identity_keys" else {}
