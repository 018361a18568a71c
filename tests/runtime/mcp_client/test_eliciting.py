"""What a server asks while a request is open (up to the revision 2025-11-25): a person answers, or nobody does."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.promise import promise
from tests.runtime.mcp_client.connected import assigned, connected, granted, record
from tests.surfaces.http.house import Caller, House, problem_of

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(120)]


async def asking(caller: Caller, operation: str, arguments: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Call in the background until it asks; give the call and its one question."""
    begun = await caller.call(operation, arguments, Prefer="respond-async")
    job = await settled(caller, begun.headers["x-invocation-id"])
    assert job["state"] == "asking", job
    (ask,) = job["outcome"]["problem"]["asks"]
    return job["invocation"], ask


async def settled(caller: Caller, id: str) -> dict[str, Any]:
    """Give a job that runs no more."""
    async with asyncio.timeout(60):
        while (job := await caller.done("jobs.status", {"id": id}))["state"] in ("queued", "running"):
            await asyncio.sleep(0.05)
    return {**job, "invocation": id}


@promise("11.8")
async def test_a_form_is_answered_by_the_person_that_the_call_is_for(house: House, tmp_path: Path) -> None:
    name, _ = await connected(house, tmp_path, "ordinary.py")
    await assigned(house, name)
    agent, other = await granted(house, f"{name}.*"), await granted(house, f"{name}.*", "jobs.answer")

    id, ask = await asking(agent, f"{name}.paint", {"what": "door"})
    assert ask["text"].startswith(f"The MCP server `{name}` asks, in its own words; give it no secret: Which colour")
    assert ask["schema"]["properties"]["colour"]["default"] == "blue"
    answers = {"id": id, "answers": {ask["name"]: {"sure": True}}}
    refused = await agent.call("jobs.answer", answers)  # it has no right to answer what it was not asked
    problem_of(refused, 404, "not-found")
    assert (await house.refusal(refused))["operation"] == "jobs.answer"
    problem_of(await other.call("jobs.answer", answers), 404, "not-found")  # and another agent has no such job
    await house.owner.done("jobs.answer", answers)

    told = (await settled(agent, id))["outcome"]["output"]
    assert told["text"] == "door: blue, sure, after 2"  # what was left out is the form's own default


async def test_a_person_refuses_and_the_tool_is_told_so(house: House, tmp_path: Path) -> None:
    name, _ = await connected(house, tmp_path, "ordinary.py")
    await assigned(house, name)
    agent = await granted(house, f"{name}.*")

    id, ask = await asking(agent, f"{name}.paint", {"what": "door"})
    await house.owner.done("jobs.answer", {"id": id, "answers": {ask["name"]: None}})

    assert (await settled(agent, id))["outcome"]["output"]["text"] == "decline after 2"


async def test_an_answer_fits_only_the_question_that_was_asked(house: House, tmp_path: Path) -> None:
    name, _ = await connected(house, tmp_path, "ordinary.py")
    await assigned(house, name)
    first = problem_of(await house.owner.call(f"{name}.paint", {"what": "door"}), 422, "needs-input")
    given = {first["asks"][0]["name"]: {"sure": False, "colour": "red"}}

    async def again(what: str) -> dict[str, Any]:
        calls = [{"operation": f"{name}.paint", "input": {"what": what}, "answers": given}]
        return (await house.owner.http.post("/v1/batch", json={"calls": calls})).json()["outcomes"][0]

    assert (await again("door"))["output"]["text"].startswith("door: red, unsure")
    assert (await again("roof"))["problem"]["type"] == "/problems/needs-input"


async def test_a_tool_that_may_have_changed_something_is_not_begun_anew(house: House, tmp_path: Path) -> None:
    name, _ = await connected(house, tmp_path, "ordinary.py")
    await assigned(house, name, "CHANGE", "MEDIUM")

    said = await house.owner.done(f"{name}.paint", {"what": "door"})

    assert said["text"] == "cancel after 1"
    (refused,) = await record(house, "plugins.elicited", plugin=name)
    assert (refused["kind"], refused["detail"]["tool"]) == ("refused", "paint")
    assert "cannot be begun anew" in refused["detail"]["why"]


async def test_a_person_says_that_a_tool_asks_before_it_changes_anything(house: House, tmp_path: Path) -> None:
    name, _ = await connected(house, tmp_path, "ordinary.py")
    tools = (await house.owner.done("plugins.review", {"name": name}))["tools"]
    (paint,) = [one for one in tools if one["tool"] == "paint"]
    word = {"tool": "paint", "digest": paint["digest"], "effect": "CHANGE", "risk": "MEDIUM", "asks_first": True}
    made = await house.owner.done("plugins.assign", {"name": name, "tools": [word]})
    assert [one["asks_first"] for one in made["tools"] if one["tool"] == "paint"] == [True]

    id, ask = await asking(house.owner, f"{name}.paint", {"what": "door"})
    await house.owner.done("jobs.answer", {"id": id, "answers": {ask["name"]: {"sure": True, "colour": "red"}}})

    assert (await settled(house.owner, id))["outcome"]["output"]["text"] == "door: red, sure, after 2"


async def test_of_several_open_calls_none_takes_a_form_for_its_own(house: House, tmp_path: Path) -> None:
    name, _ = await connected(house, tmp_path, "ordinary.py")
    await assigned(house, name)
    waits = house.owner.done(f"{name}.wait_beside")
    asks = house.owner.done(f"{name}.paint", {"what": "fence"})

    waited, asked = await asyncio.gather(waits, asks)

    assert (waited["text"], asked["text"]) == ("seen", "cancel after 1")
    (refused,) = await record(house, "plugins.elicited", plugin=name)
    assert "several calls were open" in refused["detail"]["why"]
