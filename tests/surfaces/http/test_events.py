"""Server-sent events: an invocation's own stream and the live feed: resumed, kept alive, ended with their reader."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest

from tests.features.access.people import person
from tests.promise import promise
from tests.surfaces.http.house import Caller, House, events_of, problem_of
from tests.surfaces.http.raw import head, wire

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def counting(caller: Caller, to: int, pause_s: float = 0.0) -> str:
    response = await caller.call("probe.count", {"to": to, "pause_s": pause_s})
    assert response.status_code == 202, response.text
    return response.headers["x-invocation-id"]


class Feed:
    """A stream of events that is being read."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self._text = ""
        self._parts = response.aiter_text()

    async def next(self) -> tuple[str, str, Any]:
        """Give the next event."""
        while True:
            block, found, rest = self._text.partition("\n\n")
            if found:
                self._text = rest
                if events := events_of(block):
                    return events[0]
            else:
                self._text += await asyncio.wait_for(anext(self._parts), 20)

    async def until(self, invocation: str) -> tuple[str, str, Any]:
        """Give the first event about an invocation."""
        while True:
            one = await self.next()
            if one[2].get("invocation") == invocation:
                return one

    async def end(self) -> None:
        """Read until the server ends it."""
        async with asyncio.timeout(20):
            async for _ in self._parts:
                pass


async def follow(stack: AsyncExitStack, caller: Caller, path: str, after: str = "") -> Feed:
    headers = {"Last-Event-ID": after} if after else {}
    response = await stack.enter_async_context(caller.http.stream("GET", path, headers=headers))
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/event-stream"
    assert response.headers["cache-control"] == "no-store"
    return Feed(response)


# ---- one invocation


@promise("6.1")
async def test_a_stream_gives_its_events_in_order_and_its_outcome_at_the_end(house: House) -> None:
    id = await counting(house.owner, 5, 0.05)

    events = events_of((await house.owner.get(f"/v1/invocations/{id}/events")).text)

    assert [(number, data["text"]) for number, kind, data in events if kind == "message"] == [
        (str(at), str(at)) for at in range(1, 6)
    ]
    assert events[-1][1] == "outcome"
    assert events[-1][2]["status"] == "done"
    assert events[-1][2]["invocation"] == id


@promise("6.1")
async def test_a_stream_goes_on_after_the_last_event_that_was_seen(house: House) -> None:
    id = await counting(house.owner, 6, 0.0)

    events = events_of((await house.owner.get(f"/v1/invocations/{id}/events", **{"Last-Event-ID": "4"})).text)

    assert [number for number, kind, _ in events if kind == "message"] == ["5", "6"]
    assert events[-1][1] == "outcome"


async def test_the_stream_of_what_was_cancelled_while_it_waited_ends_with_that(house: House) -> None:
    agent = await house.agent()
    id = await house.waiting_read(agent)
    async with AsyncExitStack() as stack:
        feed = await follow(stack, agent, f"/v1/invocations/{id}/events")

        await agent.done("jobs.cancel", {"id": id})

        assert (await feed.next())[1:] == ("outcome", {**(await feed_outcome(id)), "operation": "files.read"})


async def feed_outcome(id: str) -> dict[str, Any]:
    label = {"trust": "trusted", "source": "platform"}
    told: dict[str, Any] = {"invocation": id, "status": "cancelled", "output": None, "effects": [], "provenance": label}
    return told | {"seconds": 0.0}


async def test_the_stream_of_what_ended_within_its_request_says_so(house: House) -> None:
    done = await house.owner.call("access.whoami")
    id = done.headers["x-invocation-id"]

    events = events_of((await house.owner.get(f"/v1/invocations/{id}/events")).text)

    assert [(kind, data["status"]) for _, kind, data in events] == [("outcome", "done")]


async def test_the_stream_of_an_invocation_that_does_not_exist_is_not_found(house: House) -> None:
    problem_of(await house.owner.get("/v1/invocations/01ARZ3NDEKTSV4RRFFQ69G5FAV/events"), 404, "not-found")


@promise("6.1")
async def test_a_quiet_stream_gives_signs_of_life(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    agent = await house.agent()
    id = await house.waiting_read(agent)
    monkeypatch.setattr(house.door.streams, "heartbeat_s", 0.0)
    async with wire(house) as it:
        await it.send(head("GET", f"/v1/invocations/{id}/events", agent.key))

        assert b": still here\n\n" in await it.until(b": still here\n\n")


@promise("6.1")
async def test_a_reader_who_goes_leaves_nothing_running(house: House) -> None:
    agent = await house.agent()
    id = await house.waiting_read(agent)
    before = len(asyncio.all_tasks())
    async with wire(house) as it:
        await it.send(head("GET", f"/v1/invocations/{id}/events", agent.key))
        await it.until(b": stream\n\n")
        it.leave()

    for _ in range(300):
        if len(asyncio.all_tasks()) <= before and not house.door.slots._sum:  # pyright: ignore[reportPrivateUsage]
            break
        await asyncio.sleep(0.02)
    assert len(asyncio.all_tasks()) <= before
    assert not house.door.slots._sum  # pyright: ignore[reportPrivateUsage]


@promise("6.1")
@pytest.mark.parametrize("path", ["/v1/events", "/v1/invocations/{id}/events"])
async def test_a_stream_ends_when_its_readers_key_is_revoked(house: House, path: str) -> None:
    agent = await house.agent()
    id = await house.waiting_read(agent)
    key = (await agent.done("access.whoami"))["key"]
    async with AsyncExitStack() as stack:
        feed = await follow(stack, agent, path.format(id=id))

        await house.owner.done("access.keys.revoke", {"id": key})

        await feed.end()


# ---- the feed


@promise("6.1")
async def test_the_feed_gives_what_happens_from_now_on_and_resumes_where_it_was(house: House) -> None:
    agent = await house.agent()
    async with AsyncExitStack() as stack:
        feed = await follow(stack, agent, "/v1/events")
        first = (await agent.call("access.whoami")).headers["x-invocation-id"]
        number, kind, record = await feed.until(first)
    assert kind == "outcome"
    assert (record["operation"], record["who"]) == ("access.whoami", agent.name)
    second = (await agent.call("access.whoami")).headers["x-invocation-id"]
    third = (await agent.call("access.whoami")).headers["x-invocation-id"]

    async with AsyncExitStack() as stack:
        feed = await follow(stack, agent, "/v1/events", number)

        seen = [await feed.next(), await feed.next()]

    whoami = [one[2]["invocation"] for one in seen if one[2]["operation"] == "access.whoami"]
    assert whoami == [second, third]


@promise("6.1")
async def test_the_feed_shows_an_agent_its_own_and_the_owner_everything(house: House) -> None:
    one, other = await house.agent(), await house.agent()
    async with AsyncExitStack() as stack:
        mine = await follow(stack, one, "/v1/events")
        all_of_it = await follow(stack, house.owner, "/v1/events")
        hidden = (await other.call("files.write", {"path": "secret-name", "content": "x"})).headers["x-invocation-id"]
        await house.owner.call("access.whoami")
        last = (await one.call("access.whoami")).headers["x-invocation-id"]

        seen: list[Any] = []
        while not seen or seen[-1].get("invocation") != last:
            seen.append((await mine.next())[2])
        await all_of_it.until(hidden)
        await all_of_it.until(last)

    assert {record["who"] for record in seen} == {one.name}
    assert "secret-name" not in json.dumps(seen)
    assert hidden not in json.dumps(seen)


@promise("6.1")
async def test_a_feed_shows_no_more_than_its_reader_may_see_by_now(house: House) -> None:
    auditor, agent = await person(house, "auditor"), await house.agent()
    async with AsyncExitStack() as stack:
        feed = await follow(stack, auditor, "/v1/events")
        shown = (await agent.call("access.whoami")).headers["x-invocation-id"]
        await feed.until(shown)

        await house.owner.done("access.users.set_roles", {"id": auditor.name, "roles": ["viewer"]})
        hidden = (await agent.call("files.write", {"path": "secret-name", "content": "x"})).headers["x-invocation-id"]
        last = (await auditor.call("access.whoami")).headers["x-invocation-id"]
        seen: list[Any] = []
        while not seen or seen[-1].get("invocation") != last:
            seen.append((await feed.next())[2])

    assert hidden not in json.dumps(seen)
    assert "secret-name" not in json.dumps(seen)


async def test_the_feed_shows_a_narrow_key_what_was_done_by_it_alone(house: House) -> None:
    wide = await house.agent()
    only = [{"effect": "allow", "operations": ["files.read"], "where": {"paths": ["{workspace}/pub/**"]}}]
    made = await house.owner.done("access.keys.create", {"name": f"{wide.name}-n", "agent": wide.name, "only": only})
    narrow = house.caller(wide.name, made["key"])
    async with AsyncExitStack() as stack:
        feed = await follow(stack, narrow, "/v1/events", "0")
        own = await follow(stack, wide, "/v1/events")
        hidden = (await wide.call("files.write", {"path": "hidden-name", "content": "x"})).headers["x-invocation-id"]
        await own.until(hidden)  # the wide key sees what it did
        last = (await narrow.call("access.whoami")).headers["x-invocation-id"]

        seen: list[Any] = []
        while not seen or seen[-1].get("invocation") != last:
            seen.append((await feed.next())[2])

    assert "hidden-name" not in json.dumps(seen)
    assert hidden not in json.dumps(seen)
    assert {record["key"] for record in seen} == {made["id"]}


async def test_following_the_feed_stands_in_the_audit(house: House) -> None:
    agent = await house.agent()
    async with AsyncExitStack() as stack:
        await follow(stack, agent, "/v1/events")

        (record,) = await house.records(actor=agent.name, operation="events.follow")

    assert (record["kind"], record["who"]) == ("event", agent.name)


async def test_the_server_ends_its_streams_when_it_stops(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    agent = await house.agent()
    id = await house.waiting_read(agent)
    async with AsyncExitStack() as stack:
        feeds = [await follow(stack, agent, path) for path in ("/v1/events", f"/v1/invocations/{id}/events")]
        waiting = asyncio.create_task(agent.call("files.read", {"path": "/etc/hosts"}, Prefer="wait=50"))
        await house.agent()  # time for the call to get there, without a sleep

        monkeypatch.setattr(house.door.streams, "closing", True)

        for feed in feeds:
            await feed.end()
        assert (await waiting).status_code == 202


async def test_a_stream_that_breaks_is_cut_so_that_nobody_takes_a_part_for_the_whole(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("the index is gone")

    monkeypatch.setattr(house.door.feed, "after", broken)

    with pytest.raises(httpx.RemoteProtocolError):
        await house.owner.get("/v1/events")

    assert any(getattr(one, "invocation", "") for one in caplog.records)
