"""Each tenant has a user of its own, for good."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from superagent.core.problems import SandboxUnavailable
from superagent.data.database import open_database
from superagent.runtime.sandbox.users import AREA, TenantUsers
from tests.needs import missing
from tests.ordinary_user import open_folder, ordinary_user
from tests.where import where

pytestmark = pytest.mark.usefixtures("each_database")


async def test_tenants_get_different_users_that_they_keep(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        missing("only root can change users")
    database = await open_database(where(tmp_path / "db"), (AREA,))
    users = TenantUsers(database, 5000, 10)

    found = {tenant: await users.of(tenant) for tenant in ("a", "b", "c")}
    again = {tenant: await TenantUsers(database, 5000, 10).of(tenant) for tenant in ("c", "b", "a")}

    assert sorted(one for one in found.values() if one) == [5001, 5002, 5003]
    assert found == again
    assert users.probe == 5000  # nobody's
    await database.close()


async def test_two_workers_that_ask_at_once_give_no_user_twice(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        missing("only root can change users")
    one = await open_database(where(tmp_path / "db"), (AREA,))
    other = await open_database(where(tmp_path / "db"), (AREA,))
    users = [TenantUsers(one, 5000, 100), TenantUsers(other, 5000, 100)]

    found = await asyncio.gather(*(users[at % 2].of(f"t{at // 2}") for at in range(20)))

    assert found[::2] == found[1::2]
    assert len(set(found)) == 10
    await one.close()
    await other.close()


async def test_when_the_range_is_used_up_it_says_so_and_another_range_goes_on(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        missing("only root can change users")
    database = await open_database(where(tmp_path / "db"), (AREA,))
    small = TenantUsers(database, 5000, 2)
    assert await small.of("a") == 5001

    with pytest.raises(SandboxUnavailable, match="no user left"):
        await small.of("b")

    assert await TenantUsers(database, 7000, 2).of("b") == 7001
    assert await TenantUsers(database, 7000, 2).of("a") == 5001
    await database.close()


async def test_an_ordinary_user_has_nobody_to_change_to() -> None:
    with open_folder() as folder, ordinary_user():
        database = await open_database(folder / "db", (AREA,))
        users = TenantUsers(database, 5000, 10)
        assert (await users.of("a"), users.probe) == (None, None)
        await database.close()
