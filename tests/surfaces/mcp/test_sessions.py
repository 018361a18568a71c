"""Sessions: what one client does in one session is recorded under one name, and is taken back by it as a whole."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from tests.promise import promise
from tests.surfaces.http.house import Caller, House
from tests.surfaces.mcp.client import MODES, NEW, OLD, connected, told
from tests.surfaces.mcp.test_quick import message, post
from tests.surfaces.mcp.test_stdio import by_stdio

pytestmark = pytest.mark.asyncio(loop_scope="session")
both = pytest.mark.parametrize("revision", [NEW, OLD])


async def write(client: Client, path: Path, meta: Any = None) -> str:
    """Write a file; gives the call's id."""
    wrote = told(await client.call_tool("files_write", {"path": str(path), "content": "x"}, meta=meta))
    assert wrote["status"] == "done", wrote
    found: str = wrote["invocation"]
    return found


async def session_of(house: House, invocation: str) -> str:
    """Give the session that the record of a call names."""
    while not (found := await house.records(invocation=invocation)):
        await asyncio.sleep(0.05)
    return str(found[0].get("session", ""))


@promise("10.5b")
async def test_each_session_of_the_older_revision_has_a_name_and_is_taken_back_by_it(house: House) -> None:
    agent = await house.agent()
    seen: list[str] = []

    async def hear(response: httpx2.Response) -> None:
        seen.append(response.headers.get("mcp-session-id", ""))

    headers = {"Authorization": f"Bearer {agent.key}"}
    async with httpx2.AsyncClient(headers=headers, event_hooks={"response": [hear]}) as http:
        transport = streamable_http_client(f"{house.address}/mcp?toolsets=files", http_client=http)
        async with Client(transport, mode=MODES[OLD]) as one, connected(house, agent, OLD, "?toolsets=files") as other:
            first = [await write(one, agent.workspace / name) for name in ("a", "b")]
            second = await write(other, agent.workspace / "c")

    names = [await session_of(house, id) for id in (*first, second)]
    assert names[0] == names[1] != names[2]
    assert all(name.startswith("mcp-") for name in names)
    assert not [id for id in seen if id and id in str(await house.records(limit=50))], "what opens it is not recorded"

    await house.owner.done("undo.apply", {"session": names[0]})

    assert [one.name for one in agent.workspace.iterdir()] == ["c"]


@both
async def test_a_name_that_the_client_gives_counts_and_one_of_a_call_counts_more(house: House, revision: str) -> None:
    agent = await house.agent()
    headers = {"Authorization": f"Bearer {agent.key}", "Superagent-Session": "night shift"}
    async with httpx2.AsyncClient(headers=headers) as http:
        transport = streamable_http_client(f"{house.address}/mcp?toolsets=files", http_client=http)
        async with Client(transport, mode=MODES[revision]) as client:
            plain = await write(client, agent.workspace / "a")
            named = await write(client, agent.workspace / "b", {"superagent/call": {"session": "its own"}})

    assert await session_of(house, plain) == "night shift"
    assert await session_of(house, named) == "its own"


async def test_the_newer_revision_knows_none_and_none_is_made_up(house: House) -> None:
    agent = await house.agent()
    async with connected(house, agent, NEW, "?toolsets=files") as client:
        plain = await write(client, agent.workspace / "a")

    assert await session_of(house, plain) == ""


async def test_a_name_that_is_too_long_is_refused(house: House, agent: Caller) -> None:
    response = await post(agent, message("access_whoami"), **{"Superagent-Session": "n" * 201})

    assert response.status_code == 422
    assert "Superagent-Session" in response.json()["detail"]


async def test_a_refused_call_stands_in_its_session_as_well(house: House, agent: Caller) -> None:
    for tool in ("no_such_tool", "access_whoami"):
        body = message(tool, {"nothing": 1}) if tool == "access_whoami" else message(tool)
        await post(agent, body, **{"Superagent-Session": f"of {tool}"})
        found = list[dict[str, Any]]()
        while not found:
            found = [one for one in await house.records(limit=50) if one.get("session") == f"of {tool}"]
        assert found[0]["kind"] == "refused", json.dumps(found)


@both
async def test_what_a_program_does_by_standard_input_is_one_session(house: House, revision: str) -> None:
    agent = await house.agent()
    names: list[str] = []
    for run in ("one", "two"):
        parameters = by_stdio("--toolsets", "files", data=house.data, key=agent.key)
        parameters.args[2:4] = ["--server", house.address]
        async with Client(parameters, mode=MODES[revision]) as client:
            ids = [await write(client, agent.workspace / f"{run}-{number}") for number in range(2)]
        found = {await session_of(house, id) for id in ids}
        assert len(found) == 1
        names += found

    assert names[0] != names[1]
    await house.owner.done("undo.apply", {"session": names[1]})
    assert sorted(one.name for one in agent.workspace.iterdir()) == ["one-0", "one-1"]
