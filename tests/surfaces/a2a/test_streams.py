"""Streams: what happens to a task is told as it happens, to everybody who asks, and again to who comes later."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import httpx
import pytest
from a2a.client.errors import A2AClientError
from a2a.types.a2a_pb2 import CancelTaskRequest, GetTaskRequest, StreamResponse, SubscribeToTaskRequest, TaskState
from a2a.utils.errors import MethodNotFoundError, TaskNotFoundError, UnsupportedOperationError
from google.protobuf.json_format import MessageToDict

from tests.surfaces.a2a.clients import WAYS, asking, sent, state_of, streamed, talking
from tests.surfaces.http.house import House, house_in
from tests.surfaces.http.probe import ended, started
from tests.until import until_async

pytestmark = pytest.mark.asyncio(loop_scope="session")
ways = pytest.mark.parametrize(("version", "binding"), WAYS)


def told(events: list[StreamResponse]) -> list[str]:
    """Give what kinds of events came, states in words, numbers as they were counted."""
    found: list[str] = []
    for one in events:
        kind = one.WhichOneof("payload")
        if kind == "status_update":
            message: Any = MessageToDict(one.status_update.status.message)
            data = [part["data"].get("text") for part in message.get("parts", []) if "data" in part]
            name = TaskState.Name(one.status_update.status.state).removeprefix("TASK_STATE_").lower()
            found.append(data[0] if data and name == "working" else name)
        else:
            found.append(str(kind))
    return found


@ways
async def test_a_stream_begins_with_the_task_and_ends_with_its_end(house: House, version: str, binding: str) -> None:
    async with talking(house, house.owner, version, binding, streaming=True) as client:
        events = await streamed(client, asking("probe.count", {"to": 3, "pause_s": 0.01}, context_id="counting"))
        assert events[0].task.context_id == "counting"
        heard = [one for one in told(events) if one not in ("working", "submitted")]
        assert heard == ["task", "1", "2", "3", "artifact_update", "completed"]
        quick = told(await streamed(client, asking("access.whoami")))
        assert quick[0] == "task"
        assert quick[-2:] == ["artifact_update", "completed"]


@ways
async def test_a_stream_ends_where_a_person_is_asked_and_can_be_taken_up_there(
    house: House, version: str, binding: str
) -> None:
    agent = await house.agent()
    async with talking(house, agent, version, binding, streaming=True) as client:
        events = await streamed(client, asking("files.read", {"path": "/etc/hostname"}))
        assert told(events) == ["task"]
        assert state_of(events[0].task) == "input_required"
        stream = client.subscribe(SubscribeToTaskRequest(id=events[0].task.id))
        first = await anext(stream)
        assert first.task.id == events[0].task.id
        await house.owner.done("approvals.decide", {"id": first.task.id, "decision": "approve"})
        rest = told([one async for one in stream])
        assert rest[-2:] == ["artifact_update", "completed"]


@ways
async def test_who_comes_later_hears_the_same_in_the_same_order(house: House, version: str, binding: str) -> None:
    async with talking(house, house.owner, version, binding, streaming=True) as client:
        stream = client.send_message(asking("probe.count", {"to": 6, "pause_s": 0.05}))
        first = await anext(stream)

        async def late() -> list[StreamResponse]:
            return [one async for one in client.subscribe(SubscribeToTaskRequest(id=first.task.id))]

        async def early() -> list[StreamResponse]:
            return [one async for one in stream]

        one, other, another = await asyncio.gather(early(), late(), late())
        numbers = [[each for each in told(events) if each.isdigit()] for events in (one, other, another)]
        assert numbers == [["1", "2", "3", "4", "5", "6"]] * 3
        with pytest.raises((UnsupportedOperationError, A2AClientError)):
            await anext(client.subscribe(SubscribeToTaskRequest(id=first.task.id)))


async def test_a_stream_that_is_left_ends_nothing(house: House) -> None:
    mark = "left alone"
    async with talking(house, house.owner, streaming=True) as client:
        stream = client.send_message(asking("probe.wait", {"seconds": 30, "mark": mark}))
        first = await anext(stream)
        await until_async(lambda: mark in started, "the call has begun")
        await stream.aclose()  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
        assert state_of(await client.get_task(GetTaskRequest(id=first.task.id))) == "working"
        assert mark not in ended
        await client.cancel_task(CancelTaskRequest(id=first.task.id))
        await until_async(lambda: mark in ended, "the call has ended")


async def test_a_client_that_waits_and_goes_ends_nothing_either(house: House) -> None:
    mark = "gone while waiting"
    async with talking(house, house.owner) as client:
        waiting = asyncio.create_task(sent(client, asking("probe.wait", {"seconds": 30, "mark": mark})))
        await until_async(lambda: mark in started, "the call has begun")
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        running = await house.owner.done("jobs.list", {"state": ["running"]})
        (id,) = [one["invocation"] for one in running["jobs"] if one["operation"] == "probe.wait"]
        assert mark not in ended
        await client.cancel_task(CancelTaskRequest(id=id))
        await until_async(lambda: mark in ended, "the call has ended")


@ways
async def test_nobody_follows_what_is_anothers(house: House, version: str, binding: str) -> None:
    async with talking(house, house.owner) as client:
        own = await sent(client, asking("probe.wait", {"seconds": 30}, at_once=True))
    async with talking(house, await house.agent(), version, binding, streaming=True) as client:
        with pytest.raises((TaskNotFoundError, MethodNotFoundError, A2AClientError)):
            await anext(client.subscribe(SubscribeToTaskRequest(id=own.id)))
    async with talking(house, house.owner) as client:
        await client.cancel_task(CancelTaskRequest(id=own.id))


async def test_a_stream_ends_with_the_rights_of_its_key(house: House) -> None:
    made = await house.owner.done("access.keys.create", {"name": "follower"})
    follower = house.caller("follower", made["key"])
    async with talking(house, follower, streaming=True) as client:
        events = await streamed(client, asking("files.read", {"path": "/etc/hostname"}))
        stream = client.subscribe(SubscribeToTaskRequest(id=events[0].task.id))
        await anext(stream)
        await house.owner.done("access.keys.revoke", {"id": made["id"]})
        assert [one async for one in stream] == []


async def test_streams_and_waits_end_when_the_platform_stops(tmp_path: Path) -> None:
    stop = contextlib.AsyncExitStack()
    house = await stop.enter_async_context(house_in(tmp_path / "data"))
    async with talking(house, house.owner, streaming=True) as client:
        stream = client.send_message(asking("probe.wait", {"seconds": 50}))
        await anext(stream)
        stopping = asyncio.create_task(stop.aclose())
        with contextlib.suppress(httpx.HTTPError, A2AClientError):
            async for _ in stream:
                pass
        await asyncio.wait_for(stopping, 20)
