"""One house for all tests of this folder: starting one takes a while."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest
import pytest_asyncio

from tests.needs import program
from tests.runtime.mcp_client.connected import house_of_servers
from tests.surfaces.http.house import House


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[House]:
    program("bwrap", "bubblewrap")
    async with house_of_servers(tmp_path_factory.mktemp("servers") / "data") as house:
        yield house
