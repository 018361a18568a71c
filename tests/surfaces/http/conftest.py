"""Two houses for all tests of this folder, one generous and one strict: opening one takes a second."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest
import pytest_asyncio

from tests.surfaces.http.house import Caller, House, house_in


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[House]:
    data = tmp_path_factory.mktemp("house") / "data"
    async with house_in(data, limits__agent_rate_per_s=1e6, limits__agent_burst=10**6) as house:
        yield house


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def strict_house(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[House]:
    """A house with tight limits: 5 calls at once, one more every 10 s, bodies of 2 KiB, blobs of 8 KiB, one friend."""
    data = tmp_path_factory.mktemp("strict") / "data"
    async with house_in(
        data,
        limits__agent_rate_per_s=0.1,
        limits__agent_burst=5,
        server__max_body_bytes=2048,
        server__max_blob_bytes=8192,
        server__cors_origins=["https://console.example"],
    ) as house:
        yield house


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def agent(house: House) -> Caller:
    """Give an agent of the generous house that many tests share: making a key takes a while."""
    return await house.agent()
