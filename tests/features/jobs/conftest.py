"""A house with slow operations, for jobs asked for through it."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest
import pytest_asyncio

from tests.features.jobs.slow import slow
from tests.surfaces.http.conftest import agent
from tests.surfaces.http.house import House, house_in

__all__ = ["agent", "house"]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[House]:
    data = tmp_path_factory.mktemp("jobs") / "data"
    async with house_in(data, (slow,), limits__agent_rate_per_s=1e6, limits__agent_burst=10**6) as house:
        yield house
