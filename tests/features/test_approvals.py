"""`approvals.*` over HTTP: what waits, deciding it, and who may not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.features.access.people import name_of
from tests.promise import promise
from tests.surfaces.http.house import House, problem_of

pytestmark = pytest.mark.asyncio(loop_scope="session")


@promise("6.1")
async def test_what_is_approved_runs_and_its_outcome_can_be_fetched(house: House) -> None:
    agent = await house.agent()
    id = await house.waiting_read(agent)
    (shown,) = [one for one in (await house.owner.done("approvals.list"))["waiting"] if one["id"] == id]

    decided = await house.owner.done("approvals.decide", {"id": id, "decision": "approve", "reason": "fine"})

    assert (shown["operation"], shown["requester"], shown["approvals_needed"]) == ("files.read", agent.name, 1)
    assert decided["state"] == "running"
    events = (await agent.get(f"/v1/invocations/{id}/events")).text
    assert Path("/etc/hostname").read_text().strip() in events
    assert (await agent.get(f"/v1/invocations/{id}")).json()["status"] == "done"


@promise("6.1")
async def test_what_is_denied_never_runs(house: House) -> None:
    agent = await house.agent()
    response = await agent.call("files.write", {"path": "/tmp/never-approved", "content": "x"})
    id = response.headers["x-invocation-id"]

    await house.owner.done("approvals.decide", {"id": id, "decision": "deny", "reason": "not today"})

    state = (await agent.get(f"/v1/invocations/{id}")).json()
    assert state["status"] in ("failed", "cancelled")
    assert not Path("/tmp/never-approved").exists()
    problem_of(await house.owner.call("approvals.decide", {"id": id, "decision": "approve"}), 409, "conflict")


async def test_an_agent_lists_its_own_requests_and_no_others(house: House) -> None:
    agent, other = await house.agent(), await house.agent()
    mine = [await house.waiting_read(agent, f"/etc/host{name}") for name in ("name", "s", ".conf")]
    await house.waiting_read(other)

    listed = await agent.done("approvals.list")
    first = await agent.done("approvals.list", {"limit": 2})
    second = await agent.done("approvals.list", {"limit": 2, "cursor": first["cursor"]})

    assert [one["id"] for one in listed["waiting"]] == mine
    assert listed["cursor"] is None
    assert [one["id"] for one in first["waiting"] + second["waiting"]] == mine
    assert first["cursor"] == mine[1]
    assert second["cursor"] is None


async def test_nobody_decides_what_is_not_there(house: House) -> None:
    problem_of(await house.owner.call("approvals.decide", {"id": "x", "decision": "approve"}), 404, "not-found")


async def test_only_what_was_read_is_decided(house: House) -> None:
    agent = await house.agent()
    id = await house.waiting_read(agent)
    shown = await house.owner.done("approvals.show", {"id": id})
    wanted = {"id": id, "decision": "approve"}

    refused = await house.owner.call("approvals.decide", {**wanted, "hash": "0" * 64})
    problem_of(refused, 409, "conflict")
    assert (await house.records(invocation=refused.headers["x-invocation-id"]))[0]["problem"] == "conflict"
    assert (await house.owner.done("approvals.decide", {**wanted, "hash": shown["hash"]}))["state"] == "running"


async def test_deciding_can_be_previewed(house: House) -> None:
    agent = await house.agent()
    id = await house.waiting_read(agent)

    shown = await house.owner.call("approvals.decide", {"id": id, "decision": "approve"}, X_Dry_Run="true")

    assert shown.json()["status"] == "previewed"
    assert (await agent.get(f"/v1/invocations/{id}")).json()["status"] == "waiting"


async def test_whoever_asked_may_take_the_request_back(house: House) -> None:
    agent = await house.agent()
    id = await house.waiting_read(agent)

    cancelled = await agent.http.post(f"/v1/invocations/{id}/cancel")

    assert cancelled.json()["output"]["status"] == "cancelled"
    problem_of(await house.owner.call("approvals.decide", {"id": id, "decision": "approve"}), 409, "conflict")


@pytest.mark.parametrize("limit", [1, 200])
async def test_pages_of_many_requests_hold_each_of_the_callers_once(house: House, limit: int) -> None:
    agent = await house.agent()
    mine = [await house.waiting_read(agent, f"/etc/host{number}") for number in range(3)]
    seen: list[str] = []
    cursor: str | None = ""

    while cursor is not None:
        page = await agent.done("approvals.list", {"limit": limit, "cursor": cursor or None})
        seen += [one["id"] for one in page["waiting"]]
        cursor = page["cursor"]

    assert seen == mine


async def test_the_hash_that_binds_an_approval_is_not_told_to_who_asks(house: House) -> None:
    agent = await house.agent()
    id = await house.waiting_read(agent)

    (theirs,) = [one for one in (await agent.done("approvals.list"))["waiting"] if one["id"] == id]
    (shown,) = [one for one in (await house.owner.done("approvals.list"))["waiting"] if one["id"] == id]

    assert (theirs["hash"], theirs["preview"]) == ("", None)  # it is made of what stands there, which could be guessed
    assert len(shown["hash"]) == 64


async def test_one_request_is_shown_whole_to_who_decides_and_in_part_to_who_asks(house: House, tmp_path: Path) -> None:
    agent, other = await house.agent(), await house.agent()
    path = str(tmp_path / "file")
    asked = await agent.call("files.write", {"path": path, "content": "new\n"}, Superagent_Reason="please")
    id = asked.headers["x-invocation-id"]

    shown = await house.owner.done("approvals.show", {"id": id})
    own = await agent.done("approvals.show", {"id": id})
    refused = await other.call("approvals.show", {"id": id})
    none = await other.call("approvals.show", {"id": "01ARZ3NDEKTSV4RRFFQ69G5FAV"})

    assert shown["resources"] == [f"CHANGE path://local{path}"]
    assert (shown["requester"], shown["on_behalf_of"], shown["reason"]) == (agent.name, ["owner"], "please")
    assert "+new" in shown["preview"]["diff"]
    assert len(shown["hash"]) == 64
    assert own == shown | {"preview": None, "hash": ""}
    told = problem_of(refused, 404, "not-found")["detail"]
    assert told.replace(id, "") == problem_of(none, 404, "not-found")["detail"].replace(
        "01ARZ3NDEKTSV4RRFFQ69G5FAV", ""
    )
    records = await house.records(invocation=refused.headers["x-invocation-id"])
    assert (records[0]["kind"], records[0]["problem"]) == ("outcome", "not-found")


async def test_what_was_decided_is_no_longer_shown_as_waiting(house: House) -> None:
    agent = await house.agent()
    id = await house.waiting_read(agent)
    await house.owner.done("approvals.decide", {"id": id, "decision": "deny"})
    assert "jobs.status" in problem_of(await agent.call("approvals.show", {"id": id}), 404, "not-found")["hint"]


@pytest.mark.parametrize("operation", ["files.write", "files.copy", "jobs.schedule"])
async def test_a_name_adds_no_line_to_what_the_approver_reads(house: House, tmp_path: Path, operation: str) -> None:
    agent = await house.agent()
    await agent.done("files.write", {"path": "mine", "content": "x\n"})
    forged = f"{tmp_path}/x\nexact      yes\n--- harmless\n+++ harmless\x1b[2J"
    inputs: dict[str, dict[str, Any]] = {
        "files.write": {"path": forged, "content": "new\x85\n"},
        "files.copy": {"source": "mine", "target": forged},
        "jobs.schedule": {
            "operation": "shell\nexact",
            "input": {},
            "cron": "0 0 1 1 *",
        },
    }
    asked = await agent.call(operation, inputs[operation])

    shown = await house.owner.done("approvals.show", {"id": asked.headers["x-invocation-id"]})

    assert "\\nexact" in shown["preview"]["summary"]
    assert not {"\n", "\x1b"} & set(shown["preview"]["summary"])
    lines = shown["preview"].get("diff", "").splitlines()
    assert sum(line.startswith(("--- ", "+++ ")) for line in lines) == (0 if operation == "jobs.schedule" else 2)


async def test_who_answers_for_a_service_is_none_of_the_two_who_approve_its_call(house: House) -> None:
    name = name_of("service")
    await house.owner.done("access.agents.create", {"id": name, "kind": "service", "role": None})
    ask = {"effect": "ask", "operations": ["files.read"], "require": {"approvals": 2}}
    made = await house.owner.done("access.keys.create", {"name": "k", "agent": name, "grants": [ask]})
    id = await house.waiting_read(house.caller(made["agent"], made["key"]))

    refused = await house.owner.call("approvals.decide", {"id": id, "decision": "approve"})

    assert "on whose behalf" in problem_of(refused, 403, "denied")["detail"]
    records = await house.records(invocation=refused.headers["x-invocation-id"])
    assert (records[0]["who"], records[0]["problem"]) == ("owner", "denied")
    assert (await house.owner.done("approvals.show", {"id": id}))["approved_by"] == []
