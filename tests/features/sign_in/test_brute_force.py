"""Brute force: tries are counted per account and per address before anything is looked at, and recorded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.features.sign_in.browser import PASSWORD, Web
from tests.features.sign_in.test_ways_in import of_nobody
from tests.surfaces.http.house import house_in

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_an_account_and_an_address_have_so_many_tries(tmp_path: Path) -> None:
    tight: dict[str, Any] = {"sign_in__tries_per_account": 3, "sign_in__tries_per_address": 12}
    async with house_in(tmp_path / "data", **tight) as house:
        web = Web(house)
        await web.by_link()  # takes one of the address
        await web.set_password()
        attacker = Web(house)
        said = [(await attacker.by_password("owner", f"wrong password {n}")).status_code for n in range(5)]
        assert said == [401, 401, 401, 429, 429]
        page = await attacker.by_password("owner", PASSWORD)
        assert page.status_code == 429, "the right one is not looked at either"
        assert not attacker.session
        limited = await of_nobody(house, "signin.limited")
        assert [one["detail"]["account"] for one in limited] == ["default/owner"] * 3

        said = [(await attacker.by_password(f"nobody{n}", "wrong password")).status_code for n in range(8)]
        assert said[-1] == 429, "the address is counted over all names"
        assert said[0] == 401
        assert len(await of_nobody(house, "signin.limited")) > 3
        assert (await web.done("access.whoami"))["id"] == "owner", "whoever is in already is not touched"
