"""One house for the tests of sign-in, with room for many tries, and one whose limits are tight."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio

from tests.features.sign_in import people
from tests.features.sign_in.browser import Web
from tests.surfaces.http.house import House, house_in


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[House]:
    data = tmp_path_factory.mktemp("sign-in") / "data"
    wide: dict[str, Any] = {"sign_in__tries_per_account": 10_000, "sign_in__tries_per_address": 10_000}
    async with house_in(data, limits__agent_rate_per_s=1e6, limits__agent_burst=10**6, **wide) as house:
        yield house


@pytest.fixture
def web(house: House) -> Web:
    return Web(house)


@pytest.fixture
def person(house: House) -> Callable[..., Awaitable[str]]:
    """Give what makes a person."""

    async def made(*roles: str) -> str:
        return people.make(house, *roles)

    return made
