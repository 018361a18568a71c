"""The official TypeScript client: a session in both revisions, over HTTP and by standard input and output."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.clients.node import said
from tests.promise import promise
from tests.surfaces.cli.command_line import ENTRY, environment
from tests.surfaces.http.house import Caller, House
from tests.surfaces.mcp.client import NEW, OLD

pytestmark = pytest.mark.asyncio(loop_scope="session")


@promise("10.5a")
@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("way", ["http", "stdio"])
@pytest.mark.parametrize("revision", [NEW, OLD])
async def test_a_session(house: House, agent: Caller, revision: str, way: str) -> None:
    given: dict[str, Any] = {
        "revision": revision,
        "path": str(agent.workspace / f"typescript-{way}-{revision}.txt"),
    }
    if way == "http":
        given |= {"url": f"{house.address}/mcp?toolsets=files", "key": agent.key}
    else:
        given["command"] = [*ENTRY, "--server", house.address, "mcp", "--toolsets", "files"]
        given["env"] = environment(SUPERAGENT_API_KEY=agent.key)

    found = await said("mcp", "session.mjs", given=given, patience_s=170.0)

    assert found["tools"][0] == "search_operations"
    assert "files_write" in found["tools"]
    assert found["read"] == "grüße\n"
    assert found["undone"]
    assert found["gone"]
    assert found["described"] == "files.read"
    assert found["who"] == agent.name


@promise("10.5a")
@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("way", ["http", "stdio"])
@pytest.mark.parametrize("revision", [NEW, OLD])
async def test_its_user_is_asked_in_the_middle_of_a_call(house: House, tmp_path: Path, revision: str, way: str) -> None:
    owner = house.owner
    given: dict[str, Any] = {
        "revision": revision,
        "path": str(tmp_path / "x.txt"),
        "asks": "test_input_required_result_elicitation",
    }
    if way == "http":
        given |= {"url": f"{house.address}/mcp?toolsets=files,test", "key": owner.key}
    else:
        given["command"] = [*ENTRY, "--server", house.address, "mcp", "--toolsets", "files,test"]
        given["env"] = environment(SUPERAGENT_API_KEY=owner.key)

    found = await said("mcp", "session.mjs", given=given, patience_s=170.0)

    assert found["greeted"] == "Hello, Alice!"
    assert found["asked"] == ["What is your name?"]
    assert "test_simple_prompt" in found["prompts"]
