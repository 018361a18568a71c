"""Handing tasks to other agents: one on the official SDK, and a second installation of our own, over real HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.promise import promise
from tests.runtime.a2a_client.agents import (
    Elsewhere,
    approved,
    begun,
    delegated,
    delegating,
    ended,
    house_of_agents,
    official,
    pinned,
)
from tests.surfaces.http.house import Caller, House, house_in, problem_of

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Elsewhere]:
    async with official(tmp_path_factory.mktemp("official")) as one:
        yield one


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def house(tmp_path_factory: pytest.TempPathFactory, elsewhere: Elsewhere) -> AsyncGenerator[House]:
    async with house_of_agents(tmp_path_factory.mktemp("here") / "data") as house:
        await pinned(house, "official", elsewhere.address)
        yield house


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def other(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[House]:
    async with house_in(tmp_path_factory.mktemp("there") / "data") as house:
        yield house


@pytest_asyncio.fixture(loop_scope="session")
async def agent(house: House, elsewhere: Elsewhere) -> Caller:
    return await delegating(house, "official")


async def keys(house: House) -> set[str]:
    listed = (await house.owner.done("access.keys.list"))["keys"]
    return {one["id"] for one in listed if one.get("revoked_at") is None and one.get("state", "active") == "active"}


# ---- the official SDK


@promise("2.1b")
async def test_a_task_is_done_by_another_agent_and_what_it_says_is_untrusted(
    house: House, elsewhere: Elsewhere, agent: Caller
) -> None:
    id = await begun(agent, "official", "sing")
    found = await ended(agent, id)
    assert found["status"] == "done", found
    output = found["output"]
    assert output["state"] == "completed"
    (made,) = output["artifacts"]
    assert made["name"] == "answer"
    assert made["text"] == "done: sing"
    assert made["data"] == [{"length": 4.0}]
    assert output["lent"] == ""
    assert found["provenance"]["trust"] == "untrusted"
    assert found["undo"] == {"possible": False, "why": found["undo"]["why"]}
    assert "lent key" in found["undo"]["why"]
    assert [one["resource"] for one in found["effects"]] == [f"a2a://official/{output['task']}"]
    (seen,) = [one for one in elsewhere.seen() if one["task"] == output["task"]]
    assert seen["id"] == id  # the agent's own record can be held against ours
    assert seen["metadata"] == {}
    records = await house.records(invocation=id)
    assert {"intent", "outcome"} <= {one["kind"] for one in records}


async def test_rest_is_spoken_as_well(tmp_path: Path, house: House) -> None:
    async with official(tmp_path, "HTTP+JSON") as one:
        await pinned(house, "rest", one.address)
        caller = await delegating(house, "rest")
        output = await delegated(caller, "rest", "hum")
        assert output["artifacts"][0]["text"] == "done: hum"
        caller = await delegating(house, "rest")
        waits = await begun(caller, "rest", "wait")
        await _begun_there(one, waits)
        await caller.done("jobs.cancel", {"id": waits})
        assert (await ended(caller, waits))["status"] == "cancelled"
        assert any(line.get("cancelled") for line in one.seen())


async def _begun_there(elsewhere: Elsewhere, id: str) -> dict[str, Any]:
    async with asyncio.timeout(15):
        while not (seen := [one for one in elsewhere.seen() if one.get("id") == id]):
            await asyncio.sleep(0.05)
    return seen[0]


async def test_cancelling_the_job_cancels_the_task_there(house: House, elsewhere: Elsewhere, agent: Caller) -> None:
    id = await begun(agent, "official", "wait")
    seen = await _begun_there(elsewhere, id)
    await agent.done("jobs.cancel", {"id": id})
    found = await ended(agent, id)
    assert found["status"] == "cancelled"
    assert {"task": seen["task"], "cancelled": True} in elsewhere.seen()


async def test_a_task_that_takes_too_long_is_cancelled_there(elsewhere: Elsewhere, house: House) -> None:
    caller = await delegating(house, "official")
    found = await ended(caller, await begun(caller, "official", "wait", timeout_s=1))
    assert found["status"] == "failed"
    assert found["problem"]["type"] == "/problems/deadline"
    assert found["problem"]["changed"] == "partly"
    (place,) = found["problem"]["partly"]
    assert {"task": place.rpartition("/")[2], "cancelled": True} in elsewhere.seen()


async def test_what_an_agent_asks_is_shown_and_answered(house: House, elsewhere: Elsewhere, agent: Caller) -> None:
    first = await begun(agent, "official", "ask")
    asked = (await ended(agent, first))["output"]
    assert asked["state"] == "input-required"
    assert asked["said"] == "Which colour?"
    again = (await approved(house, agent, "official", "blue", continues=first))["output"]
    assert again["state"] == "completed"
    assert again["task"] == asked["task"]
    assert again["artifacts"][0]["text"] == "done: blue"


async def test_nobody_goes_on_with_what_is_anothers_or_over(house: House, elsewhere: Elsewhere, agent: Caller) -> None:
    first = await begun(agent, "official", "ask")
    assert (await ended(agent, first))["output"]["state"] == "input-required"
    colleague = await delegating(house, "official")  # by the same connection
    theirs = await ended(colleague, await begun(colleague, "official", "red", continues=first))
    assert theirs["problem"]["type"] == "/problems/not-found"
    over = await delegating(house, "official")
    id = await begun(over, "official", "over")
    await ended(over, id)
    again = await approved(house, over, "official", "red", continues=id)
    assert again["problem"]["type"] == "/problems/conflict"


async def test_what_fails_there_is_told_as_its_own_words(agent: Caller, elsewhere: Elsewhere) -> None:
    output = await delegated(agent, "official", "fail")
    assert (output["state"], output["said"]) == ("failed", "it broke")


async def test_a_dry_run_sends_nothing(agent: Caller, elsewhere: Elsewhere) -> None:
    answer = await agent.call("agents.delegate", {"agent": "official", "task": "dry"}, X_Dry_Run="true")
    assert answer.status_code == 200, answer.text
    assert "would hand a task to `official`" in answer.json()["output"]["summary"]
    assert not [one for one in elsewhere.seen() if one.get("words") == "dry"]


# ---- refused, and recorded


async def test_nothing_is_handed_to_an_agent_whose_card_nobody_pinned(house: House, elsewhere: Elsewhere) -> None:
    await house.owner.done("connections.create", {"name": "fresh", "type": "a2a", "endpoint": elsewhere.address})
    caller = await delegating(house, "fresh")
    shown = await house.owner.done("agents.card", {"agent": "fresh"})
    assert (shown["state"], shown["signature"], shown["name"]) == ("unpinned", "none", "Official")
    before = len(elsewhere.seen())
    found = await ended(caller, await begun(caller, "fresh", "sing"))
    assert found["problem"]["type"] == "/problems/conflict"
    assert found["problem"]["fix"] == {"operation": "agents.card", "input": {"agent": "fresh"}}
    assert len(elsewhere.seen()) == before


async def test_a_card_that_changed_is_reported_and_nothing_is_handed_over(house: House, elsewhere: Elsewhere) -> None:
    await house.owner.done(
        "connections.create",
        {"name": "moved", "type": "a2a", "endpoint": elsewhere.address, "options": {"card": "0" * 64}},
    )
    caller = await delegating(house, "moved")
    assert (await house.owner.done("agents.card", {"agent": "moved"}))["state"] == "changed"
    before = len(elsewhere.seen())
    id = await begun(caller, "moved", "sing")
    assert (await ended(caller, id))["problem"]["type"] == "/problems/locked"
    assert len(elsewhere.seen()) == before
    await house.installation.audit.flush()
    (told,) = await house.records(operation="agents.changed")
    assert (told["kind"], told["problem"], told["invocation"]) == ("refused", "locked", id)
    assert told["detail"]["pinned"] == "0" * 64


async def test_an_agent_without_a_grant_reaches_no_other_agent(house: House, elsewhere: Elsewhere) -> None:
    stranger = await house.agent(role=None, grants=[{"effect": "allow", "operations": ["access.whoami"]}])
    answer = await stranger.call("agents.delegate", {"agent": "official", "task": "sing"})
    problem_of(answer, 404, "not-found")
    assert (await house.refusal(answer))["operation"] == "agents.delegate"
    # of a connection that is not granted an agent does not even learn
    plain = await house.agent()
    problem_of(await plain.call("agents.delegate", {"agent": "official", "task": "sing"}), 404, "not-found")
    # a connection without its host opens nothing
    narrow = await delegating(house, "official", ["elsewhere.test:443"])
    found = await ended(narrow, await begun(narrow, "official", "sing"))
    assert found["problem"]["type"] in ("/problems/denied", "/problems/not-found")


async def test_who_has_read_what_an_agent_said_needs_a_person_to_delegate(house: House, elsewhere: Elsewhere) -> None:
    caller = await delegating(house, "official")
    await delegated(caller, "official", "sing")
    answer = await caller.call("agents.delegate", {"agent": "official", "task": "sing on"})
    assert answer.json()["status"] == "waiting", answer.text


# ---- a key that is lent


@promise("2.1b")
async def test_a_lent_key_does_that_much_and_ends_with_the_task(house: House, elsewhere: Elsewhere) -> None:
    caller = await delegating(house, "official")
    only = [{"effect": "allow", "operations": ["access.whoami"]}]
    id = await begun(caller, "official", "wait", only=only)
    lent = (await _begun_there(elsewhere, id))["metadata"]["superagent/lent"]
    assert lent["url"] == house.address
    borrower = house.caller("borrower", lent["key"])
    me = await borrower.done("access.whoami")
    assert caller.name in str(me)
    refused = await borrower.call("files.write", {"path": "a.txt", "content": "x"})
    problem_of(refused, 404, "not-found")
    await caller.done("jobs.cancel", {"id": id})
    await ended(caller, id)
    problem_of(await borrower.call("access.whoami"), 401, "unauthenticated")


async def test_a_lent_key_that_an_agent_shows_is_withheld(house: House, elsewhere: Elsewhere) -> None:
    caller = await delegating(house, "official")
    only = [{"effect": "allow", "operations": ["access.whoami"]}]
    found = await ended(caller, await begun(caller, "official", "tell", only=only))
    (seen,) = [one for one in elsewhere.seen() if one.get("words") == "tell"]
    key = seen["metadata"]["superagent/lent"]["key"]
    assert found["status"] == "done"
    assert found["output"]["lent"]
    assert key not in str(found)
    assert "done: tell with" in found["output"]["artifacts"][0]["text"]
    problem_of(await house.caller("thief", key).call("access.whoami"), 401, "unauthenticated")


async def test_nobody_lends_more_than_they_have(house: House, elsewhere: Elsewhere) -> None:
    caller = await delegating(house, "official")
    only = [{"effect": "allow", "operations": ["secrets.put", "access.whoami"]}]
    id = await begun(caller, "official", "wait", only=only)
    seen = await _begun_there(elsewhere, id)
    borrower = house.caller("greedy", seen["metadata"]["superagent/lent"]["key"])
    answer = await borrower.call("secrets.put", {"name": "x", "value": "y"})
    assert answer.status_code != 200, answer.text
    await caller.done("jobs.cancel", {"id": id})
    await ended(caller, id)


# ---- a second installation of our own


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def ours(house: House, other: House) -> dict[str, Any]:
    """Connect the second installation with a key of its own, and pin its signed card."""
    made = await other.agent()
    await house.owner.done("secrets.put", {"name": "other-key", "value": made.key})
    endpoint = other.address.replace("127.0.0.1", "localhost")
    card = await pinned(house, "other", endpoint, secret="other-key")
    return {"card": card, "agent": made}


@promise("2.1b")
async def test_a_second_installation_does_a_task_and_both_have_a_record(
    house: House, other: House, ours: dict[str, Any]
) -> None:
    card = ours["card"]
    assert card["signature"] == "verified"
    assert len(card["signer"]) == 43
    assert card["skills"][0]["id"] == "operate"
    caller = await delegating(house, "other")
    data = {"operation": "files.write", "input": {"path": "there.txt", "content": "by another\n"}}
    id = await begun(caller, "other", "as agreed", data=data)
    found = await ended(caller, id)
    assert found["status"] == "done", found
    assert found["output"]["state"] == "completed"
    assert (ours["agent"].workspace / "there.txt").read_text() == "by another\n"
    there = await other.records(invocation=found["output"]["task"])
    assert {one["kind"] for one in there} == {"intent", "outcome"}
    assert {(one["channel"], one["who"]) for one in there} == {("a2a", ours["agent"].name)}
    here = await house.records(invocation=id)
    assert {"intent", "outcome"} <= {one["kind"] for one in here}
    assert ours["agent"].key not in str(here) + str(found)
    # it is undone where it was done
    await other.owner.done("undo.apply", {"ids": [found["output"]["task"]]})
    assert not (ours["agent"].workspace / "there.txt").exists()


async def test_what_waits_for_a_person_there_is_shown_here(house: House, other: House, ours: dict[str, Any]) -> None:
    caller = await delegating(house, "other")
    data = {"operation": "files.read", "input": {"path": "/etc/hostname"}}
    first = await begun(caller, "other", data=data)
    asked = (await ended(caller, first))["output"]
    assert asked["state"] == "input-required"
    assert "approval" in asked["said"]
    await other.owner.done("approvals.decide", {"id": asked["task"], "decision": "approve", "reason": "fine"})


async def test_a_card_that_somebody_else_signed_is_refused(house: House, other: House, ours: dict[str, Any]) -> None:
    options = {"card": ours["card"]["digest"], "signer": "A" * 43}
    endpoint = other.address.replace("127.0.0.1", "localhost")
    await house.owner.done(
        "connections.create", {"name": "impostor", "type": "a2a", "endpoint": endpoint, "options": options}
    )
    caller = await delegating(house, "impostor")
    found = await ended(caller, await begun(caller, "impostor", data={"operation": "access.whoami"}))
    assert found["problem"]["type"] == "/problems/locked"
    assert "signed" in found["problem"]["detail"]


async def test_a_budget_is_that_of_the_key_on_loan(house: House, elsewhere: Elsewhere) -> None:
    caller = await delegating(house, "official")
    only = [{"effect": "allow", "operations": ["access.whoami"]}]
    another = await delegating(house, "official")
    nothing = await ended(another, await begun(another, "official", "wait", budget={"calls": 2}))
    assert nothing["problem"]["type"] == "/problems/invalid-input"
    id = await begun(caller, "official", "wait", only=only, budget={"calls": 2})
    borrower = house.caller("spender", (await _begun_there(elsewhere, id))["metadata"]["superagent/lent"]["key"])
    answers = [(await borrower.call("access.whoami")).status_code for _ in range(4)]
    assert answers[0] == 200
    assert answers[-1] == 429
    await caller.done("jobs.cancel", {"id": id})
    await ended(caller, id)
