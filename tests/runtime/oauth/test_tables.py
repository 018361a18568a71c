"""What is kept of authorization, and what is forgotten."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from superagent.data.database import open_database
from superagent.runtime.oauth.client_store import DAY_S, SqlClients
from superagent.runtime.oauth.tables import AREA, CLIENTS, CODES, CONSENTS, DEVICES, REFRESH
from superagent.testing import FakeClock
from tests.data.areas import check_area
from tests.where import where

pytestmark = pytest.mark.usefixtures("each_database")
NONE = cast(Any, None)


async def test_the_tables_are_what_the_migrations_make(tmp_path: Path) -> None:
    await check_area(AREA, tmp_path)


async def test_what_is_over_for_a_day_is_forgotten_and_clients_stay_that_somebody_used(tmp_path: Path) -> None:
    database, clock = await open_database(where(tmp_path / "db"), [AREA]), FakeClock()
    now = clock.now()
    clients = SqlClients(database, NONE, NONE, tmp_path, clock.now, NONE)
    client = {
        "kind": "application", "name": "x", "hint": "", "redirects": "[]", "flows": "[]", "scopes": "*",
        "workspace": "", "created_by": "", "created_at": now,
    }  # fmt: skip
    consent = {
        "client": "c",
        "client_name": "x",
        "person": "p",
        "flow": "f",
        "scopes": "*",
        "audiences": "[]",
        "why": "",
    }
    device = {
        "user_code": "x", "client": "c", "client_name": "x", "client_tenant": "-", "scopes": "*", "audiences": "[]",
        "created_at": now, "polled_at": 0.0, "interval_s": 5, "state": "waiting", "approved_in": "", "consent": "",
    }  # fmt: skip

    def write(tx: Any) -> None:
        tx.insert(CLIENTS, tenant="-", id="never used", **client)
        tx.insert(CLIENTS, tenant="-", id="used", last_used_at=now, **client)
        tx.insert(CLIENTS, tenant="default", id="registered", **client)
        tx.insert(CONSENTS, tenant="default", id="old", created_at=now, expires_at=now, **consent)
        tx.insert(CONSENTS, tenant="default", id="new", created_at=now, expires_at=now + 3 * DAY_S, **consent)
        for table, more in ((CODES, {"redirect": "r", "challenge": "c"}), (REFRESH, {})):
            tx.insert(table, tenant="default", digest="d", consent="old", client="c", expires_at=now, **more)
        tx.insert(DEVICES, digest="d", expires_at=now, **device)

    await database.write_instance(write)
    clock.advance(DAY_S - 1)
    assert await clients.sweep() == 0
    clock.advance(2)
    assert await clients.sweep() == 5

    rows = await database.read_instance(
        lambda tx: [row.id for table in (CLIENTS, CONSENTS) for row in tx.select(table)]
    )
    assert sorted(rows) == ["new", "registered", "used"]
    await database.close()
