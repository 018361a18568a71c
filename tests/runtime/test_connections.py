"""Connections as they are kept: what was read holds until somebody changes it, in whatever process, and no longer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from superagent.core.connections import Connected
from superagent.core.problems import Unavailable
from superagent.runtime import connections
from superagent.runtime.connections import ENTRIES, SqlConnections
from tests.runtime.stores import Stores, stores


def made(host: str, **options: str) -> Connected:
    return Connected("db", "postgresql", f"postgresql://{host}/x", f"{host}:5432", "", dict(options))


def one_of(at: Stores) -> SqlConnections:
    """Give the store as another process on the same host has it."""
    return SqlConnections(at.database, at.shared.connections, at.clock)


async def leads(to: SqlConnections, tenant: str = "default") -> str:
    found = await to.find(tenant, "db")
    return "" if found is None else found.host


@pytest.mark.usefixtures("each_database")
async def test_a_change_in_another_process_is_seen_at_the_next_look(tmp_path: Path) -> None:
    async with stores(tmp_path) as at:
        mine, other = one_of(at), one_of(at)
        await mine.write("default", made("one"), "", "ada")
        assert await leads(other) == "one:5432"
        assert await leads(other, "others") == ""
        await mine.write("default", made("two"), "", "ada")
        assert await leads(other) == "two:5432"
        await mine.restore("default", "db", None)
        assert await leads(other) == ""
        await mine.write("others", made("three"), "", "bo")
        assert (await leads(other), await leads(other, "others")) == ("", "three:5432")


async def test_a_change_that_nobody_told_of_is_seen_once_the_time_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "HELD_S", 0.0)
    async with stores(tmp_path) as at:
        mine = one_of(at)
        await mine.write("default", made("one"), "", "ada")
        assert await leads(mine) == "one:5432"
        await at.database.write("default", lambda tx: tx.update(ENTRIES, host="two:5432"))
        assert await leads(mine) == "two:5432"


async def test_a_change_that_failed_is_looked_at_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with stores(tmp_path) as at:
        mine = one_of(at)
        await mine.write("default", made("one"), "", "ada")
        assert await leads(mine) == "one:5432"
        write = at.database.write

        async def lost(tenant: str, work: Any) -> None:
            await write(tenant, work)
            raise Unavailable("the answer was lost", changed="unknown")

        monkeypatch.setattr(at.database, "write", lost)
        with pytest.raises(Unavailable):
            await mine.restore("default", "db", None)
        assert await leads(mine) == ""


async def test_what_one_caller_does_with_options_is_not_in_the_next_answer(tmp_path: Path) -> None:
    async with stores(tmp_path) as at:
        mine = one_of(at)
        await mine.write("default", made("one", user="app"), "", "ada")
        (await mine.get("default", "db")).connected().options["user"] = "postgres"
        assert (await mine.get("default", "db")).options == {"user": "app"}
