"""Standard input and output: the official client starts `superagent mcp` and works with it, in both revisions."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, MCPError, StdioServerParameters

from tests.promise import promise
from tests.surfaces.cli.command_line import ENTRY, environment, set_up, superagent
from tests.surfaces.http.house import Caller, House
from tests.surfaces.mcp.client import MODES, NEW, OLD, told

pytestmark = pytest.mark.asyncio(loop_scope="session")
both = pytest.mark.parametrize("revision", [NEW, OLD])


def by_stdio(*arguments: str, data: Path, key: str = "") -> StdioServerParameters:
    env = environment(**({"SUPERAGENT_API_KEY": key} if key else {}))
    return StdioServerParameters(command=ENTRY[0], args=[*ENTRY[1:], "--data", str(data), "mcp", *arguments], env=env)


async def session(parameters: StdioServerParameters, revision: str, folder: Path) -> dict[str, Any]:
    """Work as an agent would: look, write, read, take back; give who it was."""
    async with Client(parameters, mode=MODES[revision]) as client:
        assert client.protocol_version == revision
        names = [tool.name for tool in (await client.list_tools()).tools]
        assert names[0] == "search_operations"
        assert "files_write" in names
        path = str(folder / f"stdio-{revision}.txt")
        wrote = told(await client.call_tool("files_write", {"path": path, "content": "grüße\n"}))
        read = told(await client.call_tool("files_read", {"path": path}))
        assert read["output"]["content"] == "grüße\n"
        assert not (await client.call_tool("undo_apply", {"ids": [wrote["invocation"]]})).is_error
        assert (await client.call_tool("files_read", {"path": path})).is_error
        return told(await client.call_tool("access_whoami", {}))["output"]


@promise("10.5a")
@both
async def test_a_session_by_way_of_the_server_that_holds_the_folder(house: House, agent: Caller, revision: str) -> None:
    # the house holds no lock of its own folder: it is named instead
    parameters = by_stdio("--toolsets", "files", data=house.data, key=agent.key)
    parameters.args[2:4] = ["--server", house.address]

    who = await session(parameters, revision, agent.workspace)

    assert who["id"] == agent.name


@promise("10.5a")
@pytest.mark.slow
@both
async def test_a_session_where_no_server_runs_serves_the_folder_meanwhile(tmp_path: Path, revision: str) -> None:
    data = set_up(tmp_path / "data")
    made = superagent("--json", "call", "access.keys.create", "--input", '{"name": "helper"}', data=data).document
    key, workspace = made["output"]["key"], Path(made["output"]["workspace"])

    who = await session(by_stdio("--toolsets", "files", data=data, key=key), revision, workspace)

    assert who["id"] == "helper"
    assert superagent("--json", "call", "access.whoami", "--input", "{}", data=data).code == 0  # the folder is free


async def test_an_agent_needs_a_key_of_its_own(tmp_path: Path) -> None:
    ran = superagent("mcp", data=tmp_path / "data")

    assert ran.code == 2
    assert "keys create" in ran.err
    assert not ran.out


async def test_a_wrong_key_gets_nothing_but_a_refusal(house: House) -> None:
    ask = {"jsonrpc": "2.0", "id": 7, "method": "tools/list"}
    ran = await asyncio.to_thread(
        superagent,
        "--server",
        house.address,
        "mcp",
        stdin=json.dumps(ask).encode() + b"\n",
        env={"SUPERAGENT_API_KEY": "nonsense"},
    )

    (line,) = [json.loads(one) for one in ran.out.splitlines()]
    assert line["id"] == 7
    assert "this is not a key" in line["error"]["message"]
    assert line["error"]["data"]["type"] == "/problems/unauthenticated"


@both
async def test_who_is_stopped_meanwhile_is_told_so(house: House, revision: str) -> None:
    agent = await house.agent()
    parameters = by_stdio("--toolsets", "files", data=house.data, key=agent.key)
    parameters.args[2:4] = ["--server", house.address]
    async with Client(parameters, mode=MODES[revision]) as client:
        assert not (await client.call_tool("access_whoami", {})).is_error
        await house.owner.done("access.agents.pause", {"id": agent.name})

        with pytest.raises(MCPError, match="paused"):
            await client.call_tool("access_whoami", {})
