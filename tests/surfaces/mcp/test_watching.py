"""Watching and tasks: who subscribed hears of changes, and of nothing it may not read; tasks are their caller's own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from tests.promise import promise
from tests.surfaces.http.house import Caller, House
from tests.surfaces.mcp.client import NEW, OLD
from tests.surfaces.mcp.conformance_more import switch, switched

pytestmark = pytest.mark.asyncio(loop_scope="session")
TASKS: dict[str, Any] = {"extensions": {"io.modelcontextprotocol/tasks": {}}}
GRANTS = [{"effect": "allow", "operations": ["test.*", "jobs.*"]}]


def message(method: str, params: dict[str, Any], able: dict[str, Any]) -> dict[str, Any]:
    """Give a request of the newer revision, with its headers."""
    meta = {
        "io.modelcontextprotocol/protocolVersion": NEW,
        "io.modelcontextprotocol/clientCapabilities": able,
        "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
    }
    headers = {
        "Accept": "application/json, text/event-stream", "MCP-Protocol-Version": NEW, "Mcp-Method": method,
        "Mcp-Name": str(params.get("name") or params.get("taskId") or "x"),
    }  # fmt: skip
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, "_meta": meta}}
    return {"json": body, "headers": headers}


async def sent(caller: Caller, method: str, params: dict[str, Any], able: dict[str, Any] = TASKS) -> dict[str, Any]:
    return (await caller.http.post("/mcp", **message(method, params, able))).json()


@asynccontextmanager
async def heard(response: httpx.Response) -> AsyncGenerator[asyncio.Queue[dict[str, Any]]]:
    """Read what a stream says while the body runs."""
    said: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def read() -> None:
        async for line in response.aiter_lines():
            if line.startswith("data: {"):
                said.put_nowait(json.loads(line[6:]))

    reading = asyncio.create_task(read())
    try:
        yield said
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)


async def following(said: asyncio.Queue[dict[str, Any]]) -> dict[str, Any]:
    return await asyncio.wait_for(said.get(), 20.0)


@promise("10.5a")
async def test_a_listener_hears_of_its_own_and_of_nothing_that_is_somebody_elses(house: House) -> None:
    mine, other = await house.agent(grants=GRANTS), await house.agent(grants=GRANTS)
    jobs = {
        one.name: (await one.call("test.confirm_delete", {"filename": "x"})).json()["invocation"]
        for one in (mine, other)
    }
    own, theirs = f"invocation://{jobs[mine.name]}", f"invocation://{jobs[other.name]}"
    for one in (mine, other):
        for _ in range(400):
            if (await one.done("jobs.status", {"id": jobs[one.name]}))["status"] == "asking":
                break
            await asyncio.sleep(0.05)
    wanted = {"toolsListChanged": True, "resourceSubscriptions": [own, theirs, "op://settings.set", "no://such"]}
    ask = message("subscriptions/listen", {"notifications": wanted}, {})

    async with mine.http.stream("POST", "/mcp?toolsets=test", timeout=30.0, **ask) as response, heard(response) as said:
        agreed = await following(said)
        assert agreed["method"] == "notifications/subscriptions/acknowledged"
        assert agreed["params"]["notifications"] == {"toolsListChanged": True, "resourceSubscriptions": [own]}

        await other.done("jobs.cancel", {"id": jobs[other.name]})
        await mine.done("jobs.cancel", {"id": jobs[mine.name]})
        updated = await following(said)
        assert (updated["method"], updated["params"]["uri"]) == ("notifications/resources/updated", own)
        switch.turn = switched(house.installation.kernel)
        for _ in range(2):  # there, and gone again
            await house.owner.done("test.trigger_tool_change")
            assert (await following(said))["method"] == "notifications/tools/list_changed"


@promise("10.5a")
async def test_a_session_of_the_older_revision_hears_too_until_its_key_ends(house: House) -> None:
    made = await house.owner.done("access.keys.create", {"name": "watcher", "grants": GRANTS})
    watcher = house.caller("watcher", made["key"])
    accept = {"Accept": "application/json, text/event-stream"}
    hello = {"protocolVersion": OLD, "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
    opened = await watcher.http.post(
        "/mcp?toolsets=test", json={"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello}, headers=accept
    )
    session = accept | {"mcp-session-id": opened.headers["mcp-session-id"], "mcp-protocol-version": OLD}
    ready = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    await watcher.http.post("/mcp?toolsets=test", json=ready, headers=session)
    subscribe = {"jsonrpc": "2.0", "id": 2, "method": "resources/subscribe", "params": {"uri": "op://settings.set"}}
    assert "error" in (await watcher.http.post("/mcp", json=subscribe, headers=session)).text
    switch.turn = switched(house.installation.kernel)

    async with watcher.http.stream("GET", "/mcp", headers=session, timeout=30.0) as response, heard(response) as said:
        assert response.status_code == 200
        for _ in range(2):
            await house.owner.done("test.trigger_tool_change")
            methods = {(await following(said))["method"], (await following(said))["method"]}
            assert methods == {"notifications/tools/list_changed", "notifications/resources/list_changed"}
        await house.owner.done("access.keys.revoke", {"id": made["id"]})
        for _ in range(2):
            await house.owner.done("test.trigger_tool_change")
            await asyncio.sleep(0.09)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(said.get(), 0.6)


async def reached(caller: Caller, id: str, status: str) -> dict[str, Any]:
    for _ in range(400):
        task = (await sent(caller, "tasks/get", {"taskId": id}))["result"]
        if task["status"] == status:
            return task
        await asyncio.sleep(0.05)
    raise AssertionError(f"the task did not become {status}")


@promise("10.5a")
async def test_a_task_is_nobodys_but_its_callers(house: House) -> None:
    mine, other = await house.agent(grants=GRANTS), await house.agent(grants=GRANTS)
    call = {"name": "confirm_delete", "arguments": {"filename": "x"}}
    made = (await sent(mine, "tools/call", call))["result"]
    assert made["resultType"] == "task"
    id = made["taskId"]
    task = await reached(mine, id, "input_required")
    assert task["inputRequests"]["confirm"]["method"] == "elicitation/create"
    answers = {"confirm": {"action": "accept", "content": {"confirm": True}}}

    for method, more in (("tasks/get", {}), ("tasks/update", {"inputResponses": answers}), ("tasks/cancel", {})):
        refused = (await sent(other, method, {"taskId": id, **more}))["error"]
        assert refused["code"] == -32602, refused
        records = await house.records(invocation=refused["data"]["invocation"])
        assert records
        assert {one["who"] for one in records} == {other.name}
        assert (await sent(mine, method, {"taskId": id, **more}, {}))["error"]["code"] == -32021

    assert "result" in await sent(mine, "tasks/update", {"taskId": id, "inputResponses": answers})
    task = await reached(mine, id, "completed")
    assert task["result"]["content"][0]["text"] == "x: deleted"
