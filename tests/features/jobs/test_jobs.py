"""`jobs.*` over HTTP: what runs in the background is seen, waited for, stopped and repeated by whoever may."""

from __future__ import annotations

import pytest

from superagent.runtime import work
from tests.features.jobs.asking import begin, ended, running, soon
from tests.promise import promise
from tests.surfaces.http.house import Caller, House, problem_of
from tests.until import until_async

SLOW = [{"effect": "allow", "operations": ["slow.*"]}]
pytestmark = pytest.mark.asyncio(loop_scope="session")


@promise("6.3")
async def test_a_call_in_the_background_is_answered_at_once_and_known_as_a_job(agent: Caller) -> None:
    id = await begin(agent, "files.write", {"path": "job.txt", "content": "done"})

    job = await ended(agent, id)

    assert (job["status"], job["state"], job["operation"], job["owner"]) == ("done", "done", "files.write", agent.name)
    assert job["at"] <= job["started"] <= job["ended"]
    assert job["outcome"]["output"]["path"] == str(agent.workspace / "job.txt")
    assert (agent.workspace / "job.txt").read_text() == "done"


async def test_jobs_are_listed_in_pages_newest_first_and_by_state(house: House) -> None:
    agent = await house.agent()
    ids = [await begin(agent, "files.write", {"path": f"{n}.txt", "content": "x"}) for n in range(3)]
    bad = await begin(agent, "files.read", {"path": "missing.txt"})
    await ended(agent, bad, "failed")
    await agent.done("jobs.wait", {"ids": ids})

    first = await agent.done("jobs.list", {"limit": 3})
    rest = await agent.done("jobs.list", {"limit": 3, "cursor": first["cursor"]})
    failed = await agent.done("jobs.list", {"state": ["failed", "interrupted"]})

    assert [one["invocation"] for one in first["jobs"] + rest["jobs"]] == [bad, *reversed(ids)]
    assert rest["cursor"] is None
    assert [one["invocation"] for one in failed["jobs"]] == [bad]


async def test_nobody_sees_the_job_of_another_agent_and_the_person_behind_both_sees_each(house: House) -> None:
    one, other = await house.agent(), await house.agent()
    id = await begin(one, "files.write", {"path": "a.txt", "content": "x"})
    await ended(one, id)

    assert id not in [job["invocation"] for job in (await other.done("jobs.list", {"limit": 500}))["jobs"]]
    for operation, input in (
        ("jobs.status", {"id": id}), ("jobs.logs", {"id": id}), ("jobs.wait", {"ids": [id]}),
        ("jobs.cancel", {"id": id}), ("jobs.signal", {"id": id, "signal": "TERM"}), ("jobs.retry", {"id": id}),
    ):  # fmt: skip
        refused = await other.call(operation, input)
        problem_of(refused, 404, "not-found")
        records = await house.records(invocation=refused.headers["x-invocation-id"])
        assert records[0]["status"] == "failed", records
    mine = await house.owner.done("jobs.list", {"limit": 500, "mine": True})
    assert id in [job["invocation"] for job in mine["jobs"]]


async def test_one_of_several_is_enough_where_any_is_waited_for(agent: Caller, house: House) -> None:
    slow = await begin(house.owner, "slow.wait", {})
    quick = await begin(house.owner, "access.whoami", {})

    waited = await house.owner.done("jobs.wait", {"ids": [slow, quick], "mode": "any", "timeout_s": 20})
    late = await house.owner.done("jobs.wait", {"ids": [slow], "timeout_s": 0.1})

    assert waited["done"]
    assert [one["ended"] for one in waited["jobs"]] == [False, True]
    assert late == {"jobs": [{"invocation": slow, "state": "running", "ended": False}], "done": False}
    await house.owner.done("jobs.cancel", {"id": slow})
    await ended(house.owner, slow, "cancelled")


async def test_a_cancelled_job_takes_back_what_it_changed_if_that_is_wanted(house: House) -> None:
    agent = await house.agent(role="agent", grants=SLOW)
    id = await begin(agent, "slow.write", {"path": "half.txt"})
    await until_async((agent.workspace / "half.txt").exists, "the file")

    stopped = await agent.done("jobs.cancel", {"id": id, "undo": True, "grace_s": 0})

    assert stopped["undone"], stopped
    assert not (agent.workspace / "half.txt").exists()


async def test_a_job_is_repeated_as_a_new_one_by_who_made_it_and_nobody_else(house: House) -> None:
    agent = await house.agent()
    id = await begin(agent, "files.write", {"path": "again.txt", "content": "x", "create_only": True})
    await ended(agent, id)
    (agent.workspace / "again.txt").unlink()

    again = await agent.done("jobs.retry", {"id": id})
    job = await ended(agent, again["invocation"])

    assert again["retry_of"] == job["retry_of"] == id
    assert (agent.workspace / "again.txt").read_text() == "x"
    refused = await house.owner.call("jobs.retry", {"id": id})
    problem_of(refused, 403, "denied")
    records = await house.records(invocation=refused.headers["x-invocation-id"])
    assert (records[0]["status"], records[0]["problem"]) == ("failed", "denied"), records


async def test_what_still_runs_is_not_repeated(house: House) -> None:
    id = await begin(house.owner, "slow.wait", {})
    await running(house.owner, id)

    problem_of(await house.owner.call("jobs.retry", {"id": id}), 409, "conflict")

    await house.owner.done("jobs.cancel", {"id": id})
    await ended(house.owner, id, "cancelled")


@promise("1.5c")
async def test_a_caller_with_very_many_jobs_does_not_hold_up_another(house: House) -> None:
    greedy = await house.agent(grants=SLOW)
    modest = await house.agent()
    many = [await begin(greedy, "slow.wait", {}) for _ in range(12)]

    async def eight_run() -> bool:
        return len((await greedy.done("jobs.list", {"state": ["running"]}))["jobs"]) == 8

    await soon(eight_run, "eight of them")

    await ended(modest, await begin(modest, "files.write", {"path": "mine.txt", "content": "x"}))

    assert len((await greedy.done("jobs.list", {"state": ["queued"]}))["jobs"]) == 4
    for one in reversed(many):
        await greedy.done("jobs.cancel", {"id": one, "grace_s": 0})
    waited = await greedy.done("jobs.wait", {"ids": many, "timeout_s": 20})
    assert {one["state"] for one in waited["jobs"]} == {"cancelled"}


async def test_progress_is_what_the_work_last_said(house: House) -> None:
    id = await begin(house.owner, "slow.tell", {})

    async def says() -> object:
        return (await house.owner.done("jobs.status", {"id": id}))["progress"]

    said = await soon(says, "progress")
    assert said["text"] in ("begun", "half")

    async def half() -> bool:
        return await says() == {"text": "half", "fraction": 0.5}

    await soon(half, "more progress")
    await house.owner.done("jobs.cancel", {"id": id, "grace_s": 0})
    await ended(house.owner, id, "cancelled")


@promise("1.5c")
async def test_the_line_of_one_caller_is_bounded_and_the_refusal_recorded(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "MOST_QUEUED", 2)
    agent = await house.agent(grants=SLOW)
    jobs = [await begin(agent, "slow.wait", {}) for _ in range(8)]
    for id in jobs:
        await running(agent, id)
    jobs += [await begin(agent, "slow.wait", {}) for _ in range(2)]

    refused = await agent.call("slow.wait", {}, Prefer="respond-async")

    problem_of(refused, 503, "overloaded")
    await house.refusal(refused)
    for id in reversed(jobs):
        await agent.done("jobs.cancel", {"id": id, "grace_s": 0})


async def test_a_job_that_runs_no_command_hears_no_signal(house: House) -> None:
    id = await begin(house.owner, "slow.wait", {})
    await running(house.owner, id)

    problem_of(await house.owner.call("jobs.signal", {"id": id, "signal": "TERM"}), 409, "conflict")

    assert (await house.owner.done("jobs.cancel", {"id": id}))["status"] == "cancelled"
    problem_of(await house.owner.call("jobs.signal", {"id": id, "signal": "TERM"}), 409, "conflict")
    problem_of(await house.owner.call("jobs.cancel", {"id": id}), 409, "conflict")
