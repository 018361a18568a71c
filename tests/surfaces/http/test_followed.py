"""A stream that is followed over HTTP: lines as they come, and the end of its call when its caller goes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from superagent.core.invocation import Status
from tests.surfaces.http.house import House, problem_of
from tests.until import until_async

pytestmark = pytest.mark.asyncio(loop_scope="session")
LINES = {"Accept": "application/x-ndjson"}


async def test_events_come_as_lines_and_at_last_the_outcome(house: House) -> None:
    response = await house.owner.http.post("/v1/operations/probe.count", json={"to": 3}, headers=LINES)
    assert response.headers["content-type"] == "application/x-ndjson"
    *events, outcome = map(json.loads, response.text.splitlines())
    assert [one["event"]["text"] for one in events] == ["1", "2", "3"]
    assert outcome["status"] == "done"
    assert await house.door.kernel.hands.work.events("default", outcome["invocation"], 0) == []  # nothing is stored
    await house.installation.audit.flush()
    found = await house.records(invocation=outcome["invocation"])
    assert {one["kind"] for one in found} == {"intent", "outcome"}


async def test_who_goes_ends_the_call(house: House) -> None:
    kernel = house.door.kernel
    before = kernel.under_way.ids
    endless = {"to": 10**6, "pause_s": 0.01}
    async with house.owner.http.stream("POST", "/v1/operations/probe.count", json=endless, headers=LINES) as response:
        first: dict[str, Any] = json.loads(await anext(response.aiter_lines()))
        assert first == {"event": {"text": "1"}}
        (mine,) = kernel.under_way.ids - before
    await until_async(lambda: mine not in kernel.under_way, "the end of the call")
    records: list[dict[str, Any]] = []
    while not records:
        records = [one for one in await house.records(invocation=mine) if one["kind"] == "outcome"]
    assert [one["status"] for one in records] == [Status.CANCELLED]


async def test_a_stream_that_is_refused_says_so_in_its_one_line(house: House) -> None:
    agent = await house.agent()
    response = await agent.http.post("/v1/operations/files.watch", json={"path": "/etc"}, headers=LINES)
    (line,) = response.text.splitlines()
    outcome = json.loads(line)
    assert outcome["status"] in ("waiting", "failed")
    response = await agent.http.post("/v1/operations/files.watch", json={"path": 7}, headers=LINES)
    assert json.loads(response.text)["problem"]["type"] == "/problems/invalid-input"


async def test_a_key_cannot_remember_what_is_stored_nowhere(house: House) -> None:
    response = await house.owner.http.post(
        "/v1/operations/probe.count", json={"to": 3}, headers={**LINES, "Idempotency-Key": "once"}
    )
    problem_of(response, 422, "invalid-input")
    assert (await house.refusal(response))["problem"] == "invalid-input"


async def test_what_is_no_stream_is_answered_as_ever(house: House) -> None:
    response = await house.owner.http.post("/v1/operations/access.whoami", json={}, headers=LINES)
    assert response.headers["content-type"] == "application/json"
