"""Schedules over HTTP: calls made later for somebody, with the rights this one has then."""

from __future__ import annotations

import sqlite3
import time
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.features.jobs.asking import ended, soon
from tests.promise import promise
from tests.surfaces.http.house import Caller, House, problem_of

pytestmark = pytest.mark.asyncio(loop_scope="session")
SLOW = [{"effect": "allow", "operations": ["slow.*", "jobs.schedule"]}]
NEVER = {"cron": "0 0 1 1 *"}


async def schedule(caller: Caller, operation: str, input: dict[str, Any], **when: Any) -> dict[str, Any]:
    return await caller.done("jobs.schedule", {"operation": operation, "input": input, **(when or NEVER)})


def make_due(house: House, id: str, ago_s: float = 1.0) -> None:
    """Let a schedule be due since a while, as if the clock had gone on; waits for nothing."""
    with sqlite3.connect(house.data / "state" / "superagent.db", timeout=10) as database:
        changed = database.execute("update work_schedules set due = ? where id = ?", (time.time() - ago_s, id)).rowcount
    database.close()
    assert changed == 1


async def known(caller: Caller, id: str) -> dict[str, Any]:
    found = (await caller.done("jobs.schedules", {"limit": 500}))["schedules"]
    return next(one for one in found if one["id"] == id)


async def moved(caller: Caller, id: str, **wanted: Any) -> dict[str, Any]:
    """Wait until a schedule says so, and give it."""

    async def look() -> dict[str, Any] | None:
        found = await known(caller, id)
        return found if wanted.items() <= found.items() else None

    return await soon(look, f"{wanted} of the schedule")


@promise("6.3")
async def test_a_call_is_made_once_at_its_time_as_a_job_of_its_owner(house: House) -> None:
    agent = await house.agent(role="agent", grants=SLOW)
    when = datetime.fromtimestamp(time.time() + 0.3, UTC).isoformat()

    made = await schedule(agent, "files.write", {"path": "later.txt", "content": "x"}, at=when, name="later")
    gone = await moved(agent, made["id"], state="ended", runs=1)
    job = await ended(agent, gone["last"])

    assert (made["state"], len(made["due"])) == ("active", 1)
    assert gone["due"] == []
    assert (job["schedule"], job["owner"], job["name"]) == (made["id"], agent.name, "later")
    assert (agent.workspace / "later.txt").read_text() == "x"


async def test_a_schedule_moves_on_to_its_next_time_and_shows_the_times_to_come(house: House) -> None:
    made = await schedule(house.owner, "access.whoami", {}, cron="30 2 * * *", timezone="Europe/Berlin")
    assert len(made["due"]) == 5
    make_due(house, made["id"])

    after = await moved(house.owner, made["id"], runs=1)

    await ended(house.owner, after["last"])
    assert (after["state"], after["due"]) == ("active", made["due"])
    await house.owner.done("jobs.unschedule", {"id": made["id"]})


@promise("6.3")
async def test_while_a_run_goes_on_the_next_is_left_out_unless_it_may_run_beside(house: House) -> None:
    alone = await schedule(house.owner, "slow.wait", {})
    beside = await schedule(house.owner, "slow.wait", {}, **NEVER, overlap="allow")
    jobs: list[str] = []
    for one in (alone, beside):
        make_due(house, one["id"])
        jobs.append((await moved(house.owner, one["id"], runs=1))["last"])
        make_due(house, one["id"])

    await moved(house.owner, alone["id"], runs=1, skipped=1)
    jobs.append((await moved(house.owner, beside["id"], runs=2, skipped=0))["last"])

    for one in jobs:
        await house.owner.done("jobs.cancel", {"id": one, "grace_s": 0})
        await ended(house.owner, one, "cancelled")
    for one in (alone, beside):
        await house.owner.done("jobs.unschedule", {"id": one["id"]})


@promise("6.3")
async def test_what_was_missed_runs_once_or_not_at_all(house: House) -> None:
    once = await schedule(house.owner, "access.whoami", {}, cron="* * * * *")
    skip = await schedule(house.owner, "access.whoami", {}, cron="* * * * *", missed="skip")

    for one in (once, skip):
        make_due(house, one["id"], 3600)

    ran = await moved(house.owner, once["id"], runs=1, skipped=0)
    await moved(house.owner, skip["id"], runs=0, skipped=1)
    assert ran["due"][0] > time.time() - 1
    for one in (once, skip):
        await house.owner.done("jobs.unschedule", {"id": one["id"]})


# ---- rights


@promise("6.3")
async def test_a_run_has_the_rights_that_its_owner_has_then(house: House) -> None:
    agent = await house.agent(role="agent", grants=SLOW)
    made = await schedule(agent, "files.write", {"path": "not.txt", "content": "x"})
    grant = {"effect": "deny", "subject": f"agent:{agent.name}", "operations": ["files.write"]}
    await house.owner.done("grants.create", {"grant": grant})

    make_due(house, made["id"])
    after = await moved(agent, made["id"], runs=1)

    job = await ended(agent, after["last"], "failed")
    assert job["outcome"]["problem"]["type"] in ("/problems/denied", "/problems/not-found")
    assert not (agent.workspace / "not.txt").exists()
    assert "refused" in [one["kind"] for one in await house.records(invocation=after["last"])]


@promise("6.3")
async def test_a_schedule_whose_owner_may_act_no_more_pauses_and_that_is_in_the_audit(house: House) -> None:
    agent = await house.agent(role="agent", grants=SLOW)
    made = await schedule(agent, "files.write", {"path": "not.txt", "content": "x"})
    keys = (await house.owner.done("access.keys.list"))["keys"]
    await house.owner.done("access.keys.revoke", {"id": next(k["id"] for k in keys if k["name"] == agent.name)})

    make_due(house, made["id"])

    paused = await moved(house.owner, made["id"], state="paused")
    assert (paused["runs"], paused["due"]) == (0, [])
    assert not (agent.workspace / "not.txt").exists()

    async def recorded() -> bool:
        records = await house.records(operation="jobs.schedule.paused")
        return any(one["detail"]["schedule"] == made["id"] for one in records)

    await soon(recorded, "the record")


async def test_nothing_is_scheduled_that_would_be_refused_or_asked_about_now(house: House) -> None:
    agent = await house.agent(role="agent", grants=SLOW)
    calls: list[tuple[str, dict[str, Any], int, str]] = [
        ("files.read", {"path": "/etc/hostname"}, 403, "needs-approval"),
        ("settings.set", {"name": "log.level", "value": "DEBUG"}, 404, "not-found"),
        ("no.such", {}, 404, "not-found"),
        ("files.write", {"path": 3}, 422, "invalid-input"),
        ("files.watch", {"path": "."}, 422, "invalid-input"),
        ("jobs.schedule", {"operation": "access.whoami", "input": {}, **NEVER}, 422, "invalid-input"),
    ]
    for operation, input, status, slug in calls:
        refused = await agent.call("jobs.schedule", {"operation": operation, "input": input, **NEVER})
        problem_of(refused, status, slug)
        records = await house.records(invocation=refused.headers["x-invocation-id"])
        assert records[0]["status"] == "failed"
    assert (await agent.done("jobs.schedules"))["schedules"] == []


async def test_a_schedule_keeps_no_secret_values(house: House) -> None:
    refused = await house.owner.call(
        "jobs.schedule", {"operation": "secrets.put", "input": {"name": "s", "value": "hunter22"}, **NEVER}
    )
    problem_of(refused, 422, "invalid-input")
    assert "hunter22" not in refused.text


async def test_an_agent_by_its_role_asks_before_it_schedules(house: House) -> None:
    agent = await house.agent()
    asked = await agent.call("jobs.schedule", {"operation": "access.whoami", "input": {}, **NEVER})
    assert asked.status_code == 202

    await house.owner.done("approvals.decide", {"id": asked.headers["x-invocation-id"], "decision": "approve"})

    await ended(agent, asked.headers["x-invocation-id"])
    assert [one["operation"] for one in (await agent.done("jobs.schedules"))["schedules"]] == ["access.whoami"]


async def test_nobody_sees_or_removes_the_schedule_of_another(house: House) -> None:
    agent, other = await house.agent(role="agent", grants=SLOW), await house.agent(role="agent", grants=SLOW)
    made = await schedule(agent, "access.whoami", {})

    assert (await other.done("jobs.schedules", {"limit": 500}))["schedules"] == []
    problem_of(await other.call("jobs.unschedule", {"id": made["id"]}), 404, "not-found")
    await house.owner.done("jobs.unschedule", {"id": made["id"]})  # the person behind it may
    assert (await agent.done("jobs.schedules"))["schedules"] == []


@pytest.mark.parametrize(
    "when", [{}, {"cron": "0 0 1 1 *", "at": "2030-01-01T00:00"}, {"at": "2001-01-01T00:00"}, {"cron": "x"},
             {"cron": "0 0 31 2 *"}, {"cron": "0 0 1 1 *", "timezone": "Mars/Base"}, {"at": "soon"}],
)  # fmt: skip
async def test_a_time_that_never_comes_or_is_none_is_refused(house: House, when: dict[str, str]) -> None:
    problem_of(
        await house.owner.call("jobs.schedule", {"operation": "access.whoami", "input": {}, **when}),
        422,
        "invalid-input",
    )


async def test_nobody_is_asked_about_a_schedule_that_says_no_time(house: House) -> None:
    agent = await house.agent(role="agent")  # which has to ask
    input: dict[str, Any] = {"operation": "access.whoami", "input": {}}
    for when in ({}, {"cron": "0 25 * * *"}, {"cron": "0 2 * * *", "timezone": "Berlin"}, {"at": "soon"}):
        problem = problem_of(await agent.call("jobs.schedule", {**input, **when}), 422, "invalid-input")
        assert [one["kind"] for one in await house.records(invocation=problem["invocation"])] == ["refused"]
        assert problem["hint"]
    assert (await agent.call("jobs.schedule", {**input, **NEVER})).status_code == 202


# ---- taking back


async def test_scheduling_and_unscheduling_are_taken_back(house: House) -> None:
    agent = await house.agent(role="agent", grants=SLOW)
    made = await schedule(agent, "access.whoami", {})
    removed = await agent.call("jobs.unschedule", {"id": made["id"]})
    assert (await agent.done("jobs.schedules"))["schedules"] == []

    await agent.done("undo.apply", {"ids": [removed.headers["x-invocation-id"]]})
    back = await known(agent, made["id"])
    await agent.done("undo.apply", {"ids": [made["id"]]})

    assert (back["cron"], back["owner"], back["due"]) == (made["cron"], made["owner"], made["due"])
    assert (await agent.done("jobs.schedules"))["schedules"] == []


async def test_a_dry_run_shows_and_makes_nothing(house: House) -> None:
    agent = await house.agent(role="agent", grants=SLOW)
    shown = await agent.done("jobs.schedule", {"operation": "access.whoami", "input": {}, **NEVER}, X_Dry_Run="true")

    assert "access.whoami" in shown["summary"]
    assert (await agent.done("jobs.schedules"))["schedules"] == []


async def test_one_owner_has_a_hundred_schedules_at_most(house: House) -> None:
    agent = await house.agent(role="agent", grants=SLOW)
    for _ in range(100):
        await schedule(agent, "access.whoami", {})

    problem_of(
        await agent.call("jobs.schedule", {"operation": "access.whoami", "input": {}, **NEVER}), 413, "too-large"
    )
    pages = await agent.done("jobs.schedules", {"limit": 60})
    rest = await agent.done("jobs.schedules", {"limit": 60, "cursor": pages["cursor"]})
    assert (len(pages["schedules"]), len(rest["schedules"]), rest["cursor"]) == (60, 40, None)


async def test_neither_lent_rights_nor_undo_make_room_for_more_schedules(house: House) -> None:
    agent = await house.agent(role="agent", grants=SLOW)
    first = await agent.call("jobs.unschedule", {"id": (await schedule(agent, "access.whoami", {}))["id"]})
    lent = await agent.done("access.delegate", {"name": f"{agent.name}-sub"})
    helper = house.caller(lent["agent"], lent["key"])
    for at in range(100):
        made = await schedule(helper if at % 2 else agent, "access.whoami", {})
        assert made["owner"] == (helper if at % 2 else agent).name

    for one in (agent, helper):
        refused = await one.call("jobs.schedule", {"operation": "access.whoami", "input": {}, **NEVER})
        problem_of(refused, 413, "too-large")
        record = (await house.records(invocation=refused.headers["x-invocation-id"]))[0]
        assert (record["problem"], record["who"]) == ("too-large", one.name)
    back = await agent.call("undo.apply", {"ids": [first.json()["invocation"]]})
    assert "100 schedules" in back.text
    assert len((await agent.done("jobs.schedules", {"limit": 500}))["schedules"]) == 100


async def test_of_schedules_that_have_ended_the_oldest_go(house: House) -> None:
    agent = await house.agent(role="agent", grants=SLOW)
    made = [(await schedule(agent, "access.whoami", {}))["id"] for _ in range(10)]
    with sqlite3.connect(house.data / "state" / "superagent.db", timeout=10) as database:
        copied = (
            "insert into work_schedules select tenant, ?, owner, 'ended', null, last, runs, skipped, body"
            " from work_schedules where id = ?"
        )
        for at in range(150):
            database.execute(copied, (f"0{at:025}", made[-1]))
    database.close()

    await schedule(agent, "access.whoami", {})

    with sqlite3.connect(house.data / "state" / "superagent.db", timeout=10) as database:
        asked = "select id from work_schedules where state = 'ended' and owner = ? order by id"
        left = [id for (id,) in database.execute(asked, (agent.name,))]
        database.execute("delete from work_schedules where owner = ?", (agent.name,))
    database.close()
    assert left == [f"0{at:025}" for at in range(50, 150)]


async def test_undo_is_no_way_to_the_schedules_of_somebody_else(house: House) -> None:
    agent = await house.agent(role="agent", grants=SLOW)
    other = await house.agent(role="agent", grants=[{"effect": "allow", "operations": ["jobs.*"]}])
    made = await schedule(agent, "files.write", {"path": "x.txt", "content": "x"})

    for operation in ("undo.plan", "undo.apply"):
        response = await other.call(operation, {"ids": [made["id"]]})
        problem_of(response, 404, "not-found")
    assert (await known(agent, made["id"]))["state"] == "active"

    removed = await agent.call("jobs.unschedule", {"id": made["id"]})
    response = await other.call("undo.apply", {"ids": [removed.json()["invocation"]]})
    problem_of(response, 404, "not-found")
    assert (await agent.done("jobs.schedules"))["schedules"] == []

    await house.owner.done("undo.apply", {"ids": [removed.json()["invocation"]]})  # on whose behalf it acts
    assert (await known(agent, made["id"]))["owner"] == agent.name
    await agent.done("jobs.unschedule", {"id": made["id"]})
