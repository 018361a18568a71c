"""A house with agents that speak MCP, by the official client."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest
import pytest_asyncio

from tests.surfaces.http.house import Caller, House, house_in
from tests.surfaces.mcp.conformance_more import conformance


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[House]:
    data = tmp_path_factory.mktemp("mcp") / "data"
    async with house_in(data, (conformance,), limits__agent_rate_per_s=1e6, limits__agent_burst=10**6) as house:
        yield house


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def agent(house: House) -> Caller:
    return await house.agent()
