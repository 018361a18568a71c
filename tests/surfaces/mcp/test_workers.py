"""Several workers: whichever gets a request, a client of either revision goes on where it was; many come at once."""

from __future__ import annotations

import asyncio
import http.client
import re
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import ElicitResult

from tests.crash.platform import Server, serving
from tests.promise import promise
from tests.surfaces.http.house import House
from tests.surfaces.mcp.client import MODES, NEW, OLD, told
from tests.surfaces.mcp.test_door import ACCEPT, HELLO, listing
from tests.surfaces.mcp.test_quick import message, post
from tests.until import until

SESSIONS = 500
CALLERS = 10  # of one only 64 stay
WAITING = 90
"""As many as one caller may let wait in an hour, and some less."""
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
    for _ in range(16):  # each time by a connection of its own
        line = http.client.HTTPConnection("127.0.0.1", int(server.url.rpartition(":")[2]), timeout=30)
        line.request("GET", "/metrics", headers={"Authorization": f"Bearer {server.key}"})
        text = line.getresponse().read().decode()
        line.close()
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
    before = len(asyncio.all_tasks())
    waits = [message("files_read", {"path": "/etc/hostname", "max_bytes": number + 1}) for number in range(WAITING)]

    answers = [(await post(agent, one)).json()["result"]["structuredContent"] for one in waits]

    assert {one["status"] for one in answers} == {"waiting"}, [one for one in answers if "problem" in one][:1]
    assert len({one["invocation"] for one in answers}) == WAITING
    assert len(asyncio.all_tasks()) < before + 10  # the house is in this very process
    now = (await post(agent, message("access_whoami"))).json()["result"]["structuredContent"]
    assert now["status"] == "done"


@promise("10.5a")
@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_five_hundred_sessions_at_once(tmp_path: Path) -> None:
    with serving(tmp_path / "data") as server:
        keys = [server.call("access.keys.create", name=f"many{number}")["key"] for number in range(CALLERS)]
        limits = httpx.Limits(max_connections=SESSIONS, max_keepalive_connections=0)
        async with httpx.AsyncClient(base_url=server.url, timeout=200.0, limits=limits) as client:
            opened = await asyncio.gather(*(_opened(client, keys[at % CALLERS]) for at in range(SESSIONS)))
            said = await asyncio.gather(*(_who(client, keys[at % CALLERS], one) for at, one in enumerate(opened)))

            assert len(set(opened)) == SESSIONS
            assert said == [f"many{at % CALLERS}" for at in range(SESSIONS)]
            stolen = await client.post("/mcp", json=listing(), headers=_of(keys[1], opened[0]))
            assert stolen.status_code == 404


async def _opened(client: httpx.AsyncClient, key: str) -> str:
    opened = await client.post("/mcp", json=HELLO, headers=_of(key))
    assert opened.status_code == 200, opened.text
    session = opened.headers["mcp-session-id"]
    ready = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    assert (await client.post("/mcp", json=ready, headers=_of(key, session))).status_code == 202
    return session


async def _who(client: httpx.AsyncClient, key: str, session: str) -> str:
    params: dict[str, Any] = {"name": "access_whoami", "arguments": {}}
    call = {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": params}
    response = await client.post("/mcp", json=call, headers=_of(key, session))
    assert response.status_code == 200, response.text
    return re.findall(r'"id":"(many\d)"', response.text)[0]


def _of(key: str, session: str = "") -> dict[str, str]:
    headers = ACCEPT | {"Authorization": f"Bearer {key}"}
    return headers | ({"Mcp-Session-Id": session, "MCP-Protocol-Version": OLD} if session else {})
