"""Asking: what an operation asks reaches the client's user in both revisions; elsewhere it says what to give."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import pytest_asyncio
from mcp.shared.exceptions import MCPError
from mcp_types import ElicitRequestFormParams, ElicitResult, InputRequiredResult

from tests.promise import promise
from tests.surfaces.http.house import Caller, House, problem_of
from tests.surfaces.mcp.client import NEW, OLD, connected

pytestmark = pytest.mark.asyncio(loop_scope="session")
both = pytest.mark.parametrize("revision", [NEW, OLD])
TOOL = "test_input_required_result_elicitation"
OPERATION = "test.input_required_result_elicitation"


GRANTS = [{"effect": "allow", "operations": ["test.*", "jobs.*", "access.whoami"]}]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def asker(house: House) -> Caller:
    return await house.agent(grants=GRANTS)


def first(result: Any) -> str:
    return result.content[0].text


async def alice(context: Any, params: Any) -> ElicitResult:
    assert isinstance(params, ElicitRequestFormParams)
    assert params.message == "What is your name?"
    return ElicitResult(action="accept", content={"name": "Alice"})


@promise("10.5a")
@both
async def test_a_user_answers_in_the_middle_of_a_call_and_each_try_is_recorded(
    house: House, asker: Caller, revision: str
) -> None:
    async with connected(house, asker, revision, elicitation_callback=alice) as client:
        result = await client.call_tool(TOOL, {})

    assert first(result) == "Hello, Alice!"
    done = result.structured_content["invocation"]
    (record,) = await house.records(invocation=done)
    assert (record["operation"], record["status"]) == (OPERATION, "done")
    tries = [one for one in await house.records(operation=OPERATION, limit=20) if one["who"] == asker.name]
    assert "needs-input" in [one.get("problem") for one in tries]
    assert len({one["input"] for one in tries if "input" in one}) != 1  # the answers are a part of what was asked for


@both
async def test_a_user_may_refuse(house: House, asker: Caller, revision: str) -> None:
    async def decline(context: Any, params: Any) -> ElicitResult:
        return ElicitResult(action="decline")

    async with connected(house, asker, revision, elicitation_callback=decline) as client:
        assert first(await client.call_tool(TOOL, {})) == "Hello, stranger!"


@promise("10.5a")
@both
async def test_a_client_that_cannot_be_asked_is_told_what_to_give(house: House, asker: Caller, revision: str) -> None:
    async with connected(house, asker, revision) as client:
        refused = await client.call_tool(TOOL, {})
        problem = refused.structured_content["problem"]
        assert problem["type"] == "/problems/needs-input"
        (asked,) = problem["asks"]
        assert (asked["name"], asked["kind"]) == ("user_name", "form")
        assert asked["schema"]["required"] == ["name"]
        given = {"operation": OPERATION, "answers": {"user_name": {"name": "Bob"}}}
        assert first(await client.call_tool("run_operation", given)) == "Hello, Bob!"
        wrong = await client.call_tool("run_operation", given | {"answers": {"user_name": {"name": 7}}})
        assert wrong.structured_content["problem"]["type"] == "/problems/needs-input"
        assert "did not fit" in wrong.structured_content["problem"]["asks"][0]["text"]


async def test_over_http_the_call_ends_with_what_to_give_and_a_batch_gives_it(house: House, asker: Caller) -> None:
    response = await asker.call(OPERATION)
    document = problem_of(response, 422, "needs-input")
    assert document["changed"] == "nothing"
    assert document["asks"][0]["name"] == "user_name"

    call = {"operation": OPERATION, "input": {}, "answers": {"user_name": {"name": "Eve"}}}
    batch = await asker.http.post("/v1/batch", json={"calls": [call]})
    assert "Hello, Eve!" in batch.text
    far = call | {"answers": {f"n{number}": 1 for number in range(33)}}
    assert "/problems/invalid-input" in (await asker.http.post("/v1/batch", json={"calls": [far]})).text


async def test_what_comes_back_is_sealed_for_its_caller_and_its_call(house: House, asker: Caller) -> None:
    other = await house.agent(grants=GRANTS)
    async with connected(house, asker, NEW, elicitation_callback=alice) as client:
        asked = await client.session.call_tool(TOOL, {}, allow_input_required=True)
        assert isinstance(asked, InputRequiredResult)
        state = asked.request_state or ""
        for changed in (state + "x", state[:-1], "ask.e30." + state.rpartition(".")[2], "ask.", "ask.x.y"):
            with pytest.raises(MCPError) as refused:
                await client.session.call_tool(TOOL, {}, request_state=changed, allow_input_required=True)
            records = await house.records(invocation=refused.value.data["invocation"])
            assert [one["kind"] for one in records] == ["refused"]
        with pytest.raises(MCPError):  # it belongs to another call
            await client.session.call_tool(
                "test_input_required_result_tampered_state", {}, request_state=state, allow_input_required=True
            )
    async with connected(house, other, NEW, elicitation_callback=alice) as client:
        with pytest.raises(MCPError):  # and to another caller
            await client.session.call_tool(TOOL, {}, request_state=state, allow_input_required=True)


@promise("10.5a")
async def test_a_job_that_asks_waits_without_a_worker_for_its_caller_alone(house: House, asker: Caller) -> None:
    other = await house.agent(grants=GRANTS)
    made = await asker.call("test.confirm_delete", {"filename": "x"})
    id = made.json()["invocation"]

    for _ in range(400):
        if (await asker.done("jobs.status", {"id": id}))["status"] == "asking":
            break
        await asyncio.sleep(0.05)
    told = await asker.done("jobs.status", {"id": id})
    assert told["outcome"]["problem"]["asks"][0]["name"] == "confirm"
    answers = {"confirm": {"confirm": True}}
    problem_of(await other.call("jobs.answer", {"id": id, "answers": answers}), 404, "not-found")
    problem_of(await house.owner.call("approvals.decide", {"id": id, "decision": "approve"}), 409, "conflict")
    assert (await asker.done("jobs.answer", {"id": id, "answers": {"something": 1}}))["asks"]
    assert not (await asker.done("jobs.answer", {"id": id, "answers": answers}))["asks"]
    await asker.done("jobs.wait", {"ids": [id]})
    ended = await asker.done("jobs.status", {"id": id})
    assert ended["status"] == "done"
    assert "deleted" in str(ended["outcome"])
    problem_of(await asker.call("jobs.answer", {"id": id, "answers": answers}), 409, "conflict")
