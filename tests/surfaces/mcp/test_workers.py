"""Several workers: whichever gets a request, a client of either revision goes on where it was; many come at once."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import ElicitResult

from tests.crash.platform import Server, serving
from tests.promise import promise
from tests.surfaces.http.house import Caller, House
from tests.surfaces.mcp.client import MODES, NEW, OLD, told
from tests.surfaces.mcp.test_door import ACCEPT, HELLO
from tests.surfaces.mcp.test_quick import message, post
from tests.until import until

SESSIONS = 500
WAITING = 300
"""More than a key may have under way at a time."""
both = pytest.mark.parametrize("revision", [NEW, OLD])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Generator[Server]:
    with serving(tmp_path_factory.mktemp("workers") / "data", "--workers", "2") as server:
        yield server


@asynccontextmanager
async def wandering(server: Server, key: str, revision: str, **more: Any) -> AsyncGenerator[Client]:
    """Connect the official client so that each request comes by a connection of its own, to whoever takes it."""
    limits = httpx2.Limits(max_keepalive_connections=0)
    headers = {"Authorization": f"Bearer {key}"}
    async with httpx2.AsyncClient(headers=headers, timeout=30.0, limits=limits) as http:
        transport = streamable_http_client(f"{server.url}/mcp?toolsets=files", http_client=http)
        async with Client(transport, mode=MODES[revision], **more) as client:
            yield client


def answered(server: Server, operation: str) -> dict[str, int]:
    """Give how many calls of an operation each worker has answered, as far as those say that are asked."""
    found: dict[str, int] = {}
    for _ in range(16):
        with server.client() as client:
            text = client.get("/metrics").text
        for worker, count in re.findall(
            rf'superagent_call_seconds_count{{operation="{operation}",status="done",worker="(\w+)"}} (\d+)', text
        ):
            found[worker] = int(count)
    return found


@promise("10.5a")
@pytest.mark.timeout(120)
@both
async def test_a_client_goes_on_at_any_worker(server: Server, revision: str) -> None:
    made = server.call("access.keys.create", name=f"wanderer{revision[:4]}")
    before = sum(answered(server, "files.write").values())

    async with wandering(server, made["key"], revision) as client:
        calls = 0
        while len(answered(server, "files.write")) < 2 or calls < 8:
            calls += 1
            assert calls < 100, "one worker takes everything"
            names = {tool.name for tool in (await client.list_tools()).tools}
            assert {"files_read", "run_operation"} <= names
            said = told(await client.call_tool("files_write", {"path": f"{calls}.md", "content": f"{calls}\n"}))
            assert said["status"] == "done", said
            read = told(await client.call_tool("files_read", {"path": f"{calls}.md"}))
            assert f"{calls}\\n" in str(read["output"]), read

    until(lambda: sum(answered(server, "files.write").values()) == before + calls, "all were counted")


@promise("10.5a")
@pytest.mark.timeout(120)
async def test_what_waits_for_a_person_is_asked_after_at_any_worker(server: Server) -> None:
    made = server.call("access.keys.create", name="patient")
    asked: list[str] = []

    async def ask(context: Any, params: Any) -> ElicitResult:
        asked.append(params.message)
        if len(asked) == 6:
            (id,) = set(re.findall("01[0-9A-Z]{24}", params.message))
            server.call("approvals.decide", id=id, decision="approve")
        return ElicitResult(action="accept", content={})

    async with wandering(server, made["key"], NEW, elicitation_callback=ask) as client:
        result = await client.call_tool("files_read", {"path": "/etc/hostname"})

    assert told(result)["status"] == "done", told(result)
    assert len(asked) == 6


@promise("10.5a")
@pytest.mark.asyncio(loop_scope="session")
async def test_what_waits_for_a_person_holds_nothing(house: House) -> None:
    agent = await house.agent()
    agent.http.timeout = httpx.Timeout(60.0)
    waits = [message("files_read", {"path": "/etc/hostname", "offset": number}) for number in range(WAITING)]

    answers = [(await post(agent, one)).json()["result"]["structuredContent"] for one in waits]

    assert {one["status"] for one in answers} == {"waiting"}
    assert len({one["invocation"] for one in answers}) == WAITING
    now = (await post(agent, message("access_whoami"))).json()["result"]["structuredContent"]
    assert now["status"] == "done"


@promise("10.5a")
@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.asyncio(loop_scope="session")
async def test_five_hundred_sessions_at_once(house: House) -> None:
    agents = [await house.agent() for _ in range(5)]
    limits = httpx.Limits(max_connections=SESSIONS, max_keepalive_connections=SESSIONS)
    async with httpx.AsyncClient(base_url=house.address, timeout=120.0, limits=limits) as http:
        found = await asyncio.gather(*(_session(http, agents[number % 5]) for number in range(SESSIONS)))

        assert len({session for session, _ in found}) == SESSIONS
        for number, (session, who) in enumerate(found):
            assert who == agents[number % 5].name
            ended = await http.delete("/mcp", headers=_of(agents[number % 5], session))
            assert ended.status_code == 200


async def _session(http: httpx.AsyncClient, agent: Caller) -> tuple[str, str]:
    opened = await http.post("/mcp", json=HELLO, headers=_of(agent))
    assert opened.status_code == 200, opened.text
    headers = _of(agent, opened.headers["mcp-session-id"])
    ready = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    assert (await http.post("/mcp", json=ready, headers=headers)).status_code == 202
    params: dict[str, Any] = {"name": "access_whoami", "arguments": {}}
    call = {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": params}
    response = await http.post("/mcp", json=call, headers=headers)
    assert response.status_code == 200, response.text
    (who,) = set(re.findall(r'"id":"(agent\d+)"', response.text))
    return opened.headers["mcp-session-id"], who


def _of(agent: Caller, session: str = "") -> dict[str, str]:
    headers = ACCEPT | {"Authorization": f"Bearer {agent.key}"}
    return headers | ({"Mcp-Session-Id": session, "MCP-Protocol-Version": OLD} if session else {})
