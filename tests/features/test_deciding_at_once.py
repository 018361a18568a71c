"""Two people decide at one moment: one decision has an effect and is recorded, and the other is told."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.features.access.people import person
from tests.surfaces.http.house import House

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.mark.parametrize("second", ["approve", "deny"])
async def test_of_two_decisions_at_once_one_is_taken_and_recorded(house: House, second: str) -> None:
    bea = await person(house, "admin")
    await house.owner.done("access.users.confirm", {"id": bea.name})
    agent = await house.agent()
    for _ in range(5):
        id = await house.waiting_read(agent)
        answers = await asyncio.gather(
            house.owner.call("approvals.decide", {"id": id, "decision": "approve"}),
            bea.call("approvals.decide", {"id": id, "decision": second}),
        )
        assert sorted(one.status_code for one in answers) == [200, 409], [one.text for one in answers]
        taken = [one for one in await house.records(invocation=id) if one["kind"] == "approved"]
        assert len(taken) == 1, taken
        lost = next(one for one in answers if one.status_code == 409)
        (record,) = [
            one for one in await house.records(invocation=lost.headers["x-invocation-id"]) if one["kind"] == "outcome"
        ]
        assert (record["status"], record["problem"]) == ("failed", "conflict")


async def test_what_is_approved_already_is_not_approved_once_more(house: House) -> None:
    bea = await person(house, "admin")
    await house.owner.done("access.users.confirm", {"id": bea.name})
    agent = await house.agent()
    call = {"operation": "files.read", "input": {"path": "/etc/hostname"}, "reason": "soon"}
    asked = await agent.done("approvals.request", call)
    await house.owner.done("approvals.decide", {"id": asked["id"], "decision": "approve"})
    response = await bea.call("approvals.decide", {"id": asked["id"], "decision": "approve"})
    assert response.status_code == 409, response.text
    taken = [one for one in await house.records(invocation=asked["id"]) if one["kind"] == "approved"]
    assert len(taken) == 1, taken


async def test_the_reason_of_a_request_for_rights_is_shown_and_that_it_was_asked_ahead(house: House) -> None:
    agent = await house.agent()
    rights = {
        "operations": ["files.read"],
        "minutes": 5,
        "reason": "to look at the log",
        "resources": ["/etc/hostname"],
    }
    response = await agent.call("grants.request", rights)
    assert response.status_code == 202, response.text
    shown = await house.owner.done("approvals.show", {"id": response.json()["invocation"]})
    assert shown["reason"] == "to look at the log"
    call = {"operation": "files.read", "input": {"path": "/etc/hostname"}, "reason": "soon"}
    asked = await agent.done("approvals.request", call)
    listed = (await house.owner.done("approvals.list", {"limit": 200}))["waiting"]
    assert {one["id"]: one["ahead"] for one in listed}[asked["id"]] is True


async def test_the_word_of_who_was_suspended_since_counts_no_more(house: House, tmp_path: Path) -> None:
    bea, cleo = await person(house, "admin"), await person(house, "admin")
    for one in (bea, cleo):
        await house.owner.done("access.users.confirm", {"id": one.name})
    two = {"effect": "ask", "operations": ["files.write"], "require": {"approvals": 2}}
    agent, path = await house.agent(grants=[two]), tmp_path / "two"
    id = (await agent.call("files.write", {"path": str(path), "content": "x"})).headers["x-invocation-id"]
    wanted = {"id": id, "decision": "approve"}
    await bea.done("approvals.decide", wanted)
    await house.owner.done("access.users.suspend", {"id": bea.name})

    second = await cleo.done("approvals.decide", wanted)

    assert second["state"] == "waiting"
    assert (await house.owner.done("approvals.show", {"id": id}))["approved_by"] == [cleo.name]
    assert not path.exists()


async def test_what_was_approved_ahead_by_who_was_suspended_since_is_asked_anew(house: House) -> None:
    bea = await person(house, "admin")
    await house.owner.done("access.users.confirm", {"id": bea.name})
    agent = await house.agent()
    call: dict[str, Any] = {"operation": "files.read", "input": {"path": "/etc/hosts"}}
    asked = await agent.done("approvals.request", {**call, "reason": "soon"})
    await bea.done("approvals.decide", {"id": asked["id"], "decision": "approve"})
    await house.owner.done("access.users.suspend", {"id": bea.name})

    response = await agent.call(call["operation"], call["input"])

    assert response.status_code == 202, response.text
    assert [one["status"] for one in await house.records(invocation=response.headers["x-invocation-id"])] == ["waiting"]


async def roles(house: House, id: str, *given: str) -> None:
    await house.owner.done("access.users.set_roles", {"id": id, "roles": list(given)})


async def test_the_word_of_who_may_decide_no_more_counts_no_more(house: House, tmp_path: Path) -> None:
    bea, cleo = await person(house, "admin"), await person(house, "admin")
    for one in (bea, cleo):
        await house.owner.done("access.users.confirm", {"id": one.name})
    two = {"effect": "ask", "operations": ["files.write"], "require": {"approvals": 2}}
    agent, path = await house.agent(grants=[two]), tmp_path / "two"
    id = (await agent.call("files.write", {"path": str(path), "content": "x"})).headers["x-invocation-id"]
    wanted = {"id": id, "decision": "approve"}
    await bea.done("approvals.decide", wanted)
    await roles(house, bea.name, "developer")

    second = await cleo.done("approvals.decide", wanted)

    assert (second["state"], second["approvals"]) == ("waiting", 1)
    assert (await house.owner.done("approvals.show", {"id": id}))["approved_by"] == [cleo.name]
    assert not path.exists()
    await roles(house, bea.name, "admin")  # what was said counts again with the rights it was said with
    assert (await house.owner.done("approvals.show", {"id": id}))["approved_by"] == [bea.name, cleo.name]


async def test_what_was_approved_ahead_by_who_may_decide_no_more_is_asked_anew(house: House) -> None:
    bea = await person(house, "admin")
    await house.owner.done("access.users.confirm", {"id": bea.name})
    agent = await house.agent()
    call: dict[str, Any] = {"operation": "files.read", "input": {"path": "/etc/hosts"}}
    asked = await agent.done("approvals.request", {**call, "reason": "soon"})
    await bea.done("approvals.decide", {"id": asked["id"], "decision": "approve"})
    await roles(house, bea.name, "developer")
    approved = (await house.owner.done("approvals.list", {"state": "approved", "limit": 200}))["waiting"]
    assert asked["id"] not in [one["id"] for one in approved]

    response = await agent.call(call["operation"], call["input"])

    assert response.status_code == 202, response.text
    assert [one["status"] for one in await house.records(invocation=response.headers["x-invocation-id"])] == ["waiting"]


async def test_a_right_is_not_given_on_the_word_of_who_could_not_give_it_any_more(house: House) -> None:
    bea = await person(house, "admin")
    await house.owner.done("access.users.confirm", {"id": bea.name})
    agent = await house.agent()
    rights = {"operations": ["files.read"], "minutes": 5, "reason": "to look", "resources": ["/etc/hosts"]}
    call: dict[str, Any] = {"operation": "grants.request", "input": rights}
    asked = await agent.done("approvals.request", {**call, "reason": "soon"})
    await bea.done("approvals.decide", {"id": asked["id"], "decision": "approve"})
    await roles(house, bea.name, "operator")  # who decides about calls, and gives nobody a right

    response = await agent.call(call["operation"], call["input"])

    assert response.status_code == 202, response.text
