"""The door: strangers, other origins, other hosts, other people's sessions, and bodies without end stay outside."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from superagent.surfaces.mcp.opened import MOST_OF_ONE
from tests.promise import promise
from tests.surfaces.http.house import Caller, House, house_in, problem_of
from tests.surfaces.mcp.client import NEW, OLD, connected

pytestmark = pytest.mark.asyncio(loop_scope="session")
ACCEPT = {"Accept": "application/json, text/event-stream"}
HELLO: dict[str, Any] = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": OLD, "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}},
}


def listing(id: int = 2) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": id, "method": "tools/list", "params": {}}


async def post(caller: Caller, body: Any, **headers: str) -> httpx.Response:
    return await caller.http.post(
        "/mcp", json=body, headers=ACCEPT | {k.replace("_", "-"): v for k, v in headers.items()}
    )


async def test_a_stranger_learns_where_tokens_come_from_and_nothing_else(house: House) -> None:
    for headers in ({}, {"Authorization": "Bearer nonsense"}):
        response = await house.stranger.post("/mcp", json=HELLO, headers=ACCEPT | headers)

        problem_of(response, 401, "unauthenticated")
        challenge = response.headers["www-authenticate"]
        assert f'resource_metadata="{house.address}/.well-known/oauth-protected-resource/mcp"' in challenge
    document = await house.stranger.get("/.well-known/oauth-protected-resource/mcp")
    assert document.json()["resource"] == f"{house.address}/mcp"
    found, _ = await house.installation.index.query("system", limit=50)
    assert any(one["kind"] == "refused" and one["channel"] == "mcp" for one in found), found


@promise("10.5a")
@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://localhost.evil.example:80", "http://127.0.0.1:x"]
)
async def test_pages_of_other_origins_may_not_call(agent: Caller, origin: str) -> None:
    problem_of(await post(agent, HELLO, Origin=origin), 403, "denied")


async def test_pages_of_this_machine_may_call(house: House, agent: Caller) -> None:
    for origin in (house.address, "http://localhost:6274"):
        assert (await post(agent, HELLO, Origin=origin)).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8750", "localhost.evil.example"])
async def test_a_name_that_is_not_ours_is_not_served(agent: Caller, host: str) -> None:
    problem_of(await post(agent, HELLO, Host=host), 400, "malformed")


async def test_a_browsers_cookie_opens_nothing(house: House, agent: Caller) -> None:
    for token in ("sas_" + "x" * 43, agent.key):
        response = await house.stranger.post("/mcp", json=HELLO, headers=ACCEPT | {"Cookie": f"superagent={token}"})
        problem_of(response, 401, "unauthenticated")


@promise("10.5a")
async def test_a_session_is_no_ones_but_its_keys(house: House, agent: Caller) -> None:
    other = await house.agent()
    opened = await post(agent, HELLO)
    session = opened.headers["mcp-session-id"]

    for method in ("POST", "GET", "DELETE"):
        stolen = await other.http.request(
            method, "/mcp", json=listing() if method == "POST" else None, headers=ACCEPT | {"mcp-session-id": session}
        )
        assert stolen.status_code == 404, method
    assert (await post(agent, listing(), mcp_session_id=session, mcp_protocol_version=OLD)).status_code == 200


async def test_whoever_opens_more_sessions_than_its_share_loses_its_own_oldest(house: House) -> None:
    greedy, other = await house.agent(), await house.agent()
    lent = (await greedy.done("access.delegate", {"name": "more"}))["key"]
    theirs = (await post(other, HELLO)).headers["mcp-session-id"]
    hands = (greedy, house.caller("more", lent))
    opened = [(one, (await post(one, HELLO)).headers["mcp-session-id"]) for one in hands * (MOST_OF_ONE // 2 + 1)]

    async def alive(who: Caller, session: str) -> bool:
        return (await post(who, listing(), mcp_session_id=session, mcp_protocol_version=OLD)).status_code == 200

    assert [await alive(*one) for one in opened] == [False] * 2 + [True] * MOST_OF_ONE
    assert await alive(other, theirs)
    await post(greedy, HELLO)
    assert not await alive(*opened[2])  # in the order in which they were last used
    assert await alive(*opened[3])


async def test_a_session_ends_with_the_rights_of_its_key(house: House) -> None:
    made = await house.owner.done("access.keys.create", {"name": "leaver"})
    leaver = house.caller("leaver", made["key"])
    session = (await post(leaver, HELLO)).headers["mcp-session-id"]
    await house.owner.done("access.keys.revoke", {"id": made["id"]})

    problem_of(await post(leaver, listing(), mcp_session_id=session), 401, "unauthenticated")


async def test_what_else_lies_below_is_nothing(agent: Caller) -> None:
    problem_of(await agent.http.post("/mcp/more", json=HELLO), 404, "not-found")
    problem_of(await agent.http.post("/mcp?tools=files", json=HELLO), 400, "malformed")
    problem_of(await agent.http.post("/mcp?toolsets=../x", json=HELLO), 422, "invalid-input")
    problem_of(await agent.http.post("/mcp", json=HELLO, headers={"Superagent-Toolsets": "a b"}), 422, "invalid-input")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"jsonrpc":"2.0"}', b"\xff\xfe", b"[" * 100_000])
async def test_what_is_no_message_is_refused(agent: Caller, body: bytes) -> None:
    for revision in (OLD, NEW):
        response = await agent.http.post(
            "/mcp",
            content=body,
            headers=ACCEPT | {"Content-Type": "application/json", "MCP-Protocol-Version": revision},
        )
        assert response.status_code == 400, response.text


async def test_limits_hold_here_too(tmp_path: Path) -> None:
    async with house_in(
        tmp_path / "data", limits__agent_rate_per_s=0.1, limits__agent_burst=5, server__max_body_bytes=2048
    ) as house:
        agent = await house.agent()
        problem_of(await post(agent, HELLO | {"pad": "x" * 4096}), 413, "too-large")
        async with connected(house, agent, NEW) as client:
            results = [await client.call_tool("access_whoami", {}) for _ in range(8)]
        refused = [one for one in results if one.is_error]
        assert refused
        assert refused[-1].structured_content["problem"]["type"] == "/problems/rate-limited"
        assert refused[-1].structured_content["problem"]["retry_after_s"] > 0


async def test_an_open_stream_ends_cleanly_when_the_platform_stops(tmp_path: Path) -> None:
    stop = contextlib.AsyncExitStack()
    house = await stop.enter_async_context(house_in(tmp_path / "data"))
    agent = await house.agent()
    session = (await post(agent, HELLO)).headers["mcp-session-id"]
    headers = ACCEPT | {"mcp-session-id": session, "mcp-protocol-version": OLD, "Authorization": f"Bearer {agent.key}"}
    async with (
        httpx.AsyncClient(base_url=house.address, timeout=20.0) as client,
        client.stream("GET", "/mcp", headers=headers) as response,
    ):
        assert response.status_code == 200
        stopping = asyncio.create_task(stop.aclose())
        await response.aread()  # a connection that is cut off raises here
    await stopping


WARM = """
import asyncio, sys
from superagent.surfaces.mcp.door import McpDoor
from superagent.testing import World

async def loaded(ends: bool) -> bool:
    door = McpDoor(World().kernel, sessions=True)
    if ends:
        await door.close()
    await door.warm(60.0 if ends else 0.0)
    return "superagent.surfaces.mcp.engine" in sys.modules

print(asyncio.run(loaded(True)), asyncio.run(loaded(False)))
"""


async def test_what_it_needs_is_loaded_beside_a_server_that_stays() -> None:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", WARM, stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    assert out.split() == [b"False", b"True"]
