"""Going on: progress, cancellation, and waiting for a person's approval, which no answer of a client can be."""

from __future__ import annotations

import re
from typing import Any, cast

import anyio
import pytest
from mcp import Client
from mcp_types import ElicitRequestFormParams, ElicitResult, InputRequiredResult

from tests.promise import promise
from tests.surfaces.http.house import House
from tests.surfaces.http.probe import ended, started
from tests.surfaces.mcp.client import NEW, OLD, connected, told
from tests.until import until_async

pytestmark = pytest.mark.asyncio(loop_scope="session")
both = pytest.mark.parametrize("revision", [NEW, OLD])
READ: dict[str, Any] = {"path": "/etc/hostname"}


@both
async def test_a_call_tells_how_far_it_is(house: House, revision: str) -> None:
    heard: list[tuple[float, float | None, str | None]] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        heard.append((progress, total, message))

    async with connected(house, house.owner, revision) as client:
        result = await client.call_tool("test_tool_with_progress", {}, progress_callback=hear)

    assert told(result)["status"] == "done"
    assert heard == [(0.0, 1.0, "going on"), (0.5, 1.0, "going on"), (1.0, 1.0, "going on")]


@both
async def test_a_request_that_is_given_up_ends_its_call(house: House, revision: str) -> None:
    mark = f"given up {revision}"
    async with connected(house, house.owner, revision) as client:
        async with anyio.create_task_group() as group:
            group.start_soon(client.call_tool, "probe_wait", {"seconds": 50, "mark": mark})
            await until_async(lambda: mark in started, "the call has begun")
            group.cancel_scope.cancel()
        await until_async(lambda: mark in ended, "the call has ended")

    found = list[dict[str, Any]]()
    while not found:  # the record rides the next batch
        records = await house.records(operation="probe.wait", limit=20)
        found = [one for one in records if one["kind"] == "outcome" and one.get("status") == "cancelled"]


@promise("10.5a")
@both
async def test_who_can_ask_its_user_waits_for_the_approval_in_one_call(house: House, revision: str) -> None:
    agent = await house.agent()
    asked: list[str] = []

    async def ask(context: Any, params: Any) -> ElicitResult:
        assert isinstance(params, ElicitRequestFormParams)
        asked.append(params.message)
        if len(asked) == 2:
            (id,) = set(re.findall("01[0-9A-Z]{24}", params.message))
            await house.owner.done("approvals.decide", {"id": id, "decision": "approve"})
        return ElicitResult(action="accept", content={})

    async with connected(house, agent, revision, elicitation_callback=ask) as client:
        result = await client.call_tool("files_read", READ)

    assert told(result)["status"] == "done", told(result)
    assert "still waits" in asked[1]  # the first acceptance approved nothing


@both
async def test_who_declines_to_wait_is_told_how_to_go_on(house: House, revision: str) -> None:
    agent = await house.agent()

    async def decline(context: Any, params: Any) -> ElicitResult:
        return ElicitResult(action="decline")

    async with connected(house, agent, revision, elicitation_callback=decline) as client:
        said = told(await client.call_tool("files_read", READ))

    assert said["status"] == "waiting"
    assert "jobs_wait" in said["hint"]


async def test_what_another_waits_for_cannot_be_asked_after(house: House) -> None:
    agent, other = await house.agent(), await house.agent()
    id = await house.waiting_read(agent)
    async with connected(house, other, NEW, elicitation_callback=_accept) as client:
        result = await _repeated(client, "files_read", READ, id)
        assert told(result)["problem"]["type"] == "/problems/not-found"
        (record,) = await house.records(invocation=told(result)["problem"]["invocation"])
        assert record["kind"] == "refused"
    async with connected(house, agent, NEW, elicitation_callback=_accept) as client:
        for arguments in ({"path": "/etc/passwd"}, {}):
            result = await _repeated(client, "files_read", arguments, id)
            assert told(result)["problem"]["type"] == "/problems/invalid-input"
        result = await _repeated(client, "files_read", READ, "01NONSENSE")
        assert told(result)["problem"]["type"] == "/problems/not-found"


async def _accept(context: Any, params: Any) -> ElicitResult:
    return ElicitResult(action="accept", content={})


async def _repeated(client: Client, name: str, arguments: dict[str, Any], state: str) -> Any:
    found = await client.session.call_tool(name, arguments, request_state=state, allow_input_required=True)
    assert not isinstance(found, InputRequiredResult)
    return cast(Any, found)
