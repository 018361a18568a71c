"""Asking again for what waits already makes no second request: one for the approver, one outcome for whoever asked."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from superagent.app import Installation
from superagent.core.invocation import Call, Outcome, Status
from superagent.core.principal import Principal
from superagent.runtime import work
from tests.features.test_approved_files import agent, approve, here

__all__ = ["here"]


async def ask(here: Installation, by: Principal, file: Path, content: str = "new\n", **call: Any) -> Outcome:
    outcome = await here.kernel.run(Call("files.write", {"path": str(file), "content": content}, **call), by, "http")
    assert outcome.status is Status.WAITING, outcome.problem
    return outcome


async def waiting(here: Installation) -> list[dict[str, Any]]:
    return (await here.kernel.run(Call("approvals.list", {}), await here.owner(), "cli")).result()["waiting"]


async def owner_does(here: Installation, operation: str, **input: Any) -> Outcome:
    return await here.kernel.run(Call(operation, input), await here.owner(), "cli")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "file.txt"
    made.write_text("old\n")
    return made


async def test_the_same_asked_again_joins_and_is_done_once(here: Installation, file: Path) -> None:
    by = await agent(here)
    first = await ask(here, by, file, reason="please")
    again = [await ask(here, by, file) for _ in range(3)]

    assert {one.invocation for one in again} == {first.invocation}
    assert [one.extra["asked"] for one in again] == [2, 3, 4]
    (request,) = await waiting(here)
    assert (request["id"], request["asked"], request["reason"]) == (first.invocation, 4, "please")
    assert (await approve(here, first.invocation)).status is Status.DONE
    assert await waiting(here) == []
    assert file.read_text() == "new\n"
    done = await here.kernel.hands.work.outcome("default", again[0].invocation)
    assert done is not None
    assert done.status is Status.DONE
    kept = await here.kernel.hands.undo.of("default", principal=by.id)
    assert len(kept) == 1


async def test_who_asked_again_stands_in_the_record_with_what_was_joined(here: Installation, file: Path) -> None:
    by = await agent(here)
    first = await ask(here, by, file)
    await ask(here, by, file)
    records = (await here.index.query("default", operation="files.write", limit=20))[0]
    joined = [one for one in records if one.get("detail")]
    assert [one["detail"] for one in joined] == [{"joined": first.invocation}]
    assert joined[0]["invocation"] != first.invocation
    assert all(one["kind"] == "event" and one["status"] == "waiting" for one in records)


async def test_a_denial_answers_all_who_asked(here: Installation, file: Path) -> None:
    by = await agent(here)
    first = await ask(here, by, file)
    again = await ask(here, by, file)
    await owner_does(here, "approvals.decide", id=first.invocation, decision="deny")
    ended = await here.kernel.hands.work.outcome("default", again.invocation)
    assert ended is not None
    assert ended.problem is not None
    assert (await ask(here, by, file)).invocation != first.invocation  # what was decided is not asked any more


@pytest.mark.parametrize("other", ["content", "path", "session", "state", "principal", "policy"])
async def test_what_differs_does_not_join(here: Installation, file: Path, other: str) -> None:
    by = second = await agent(here)
    first = await ask(here, by, file)
    content, path, call = "new\n", file, {}
    match other:
        case "content":
            content = "other\n"
        case "path":
            path = file.with_name("other.txt")
        case "session":
            call = {"session": "s"}
        case "state":
            file.write_text("somebody was here\n")
        case "principal":
            second = await agent(here, name="other")
        case _:
            two = {
                "effect": "deny",
                "subject": "agent:builder",
                "operations": ["files.write"],
                "require": {"approvals": 2},
            }
            assert (await owner_does(here, "grants.create", grant=two)).problem is None

    again = await ask(here, second, path, content, **call)

    assert again.invocation != first.invocation
    assert "asked" not in again.extra
    assert [one["asked"] for one in await waiting(here)] == [1, 1]


async def test_two_that_ask_at_the_same_moment_make_one_request(here: Installation, file: Path) -> None:
    by = await agent(here)
    async with asyncio.TaskGroup() as group:
        asking = [group.create_task(ask(here, by, file)) for _ in range(2)]
    assert len({one.result().invocation for one in asking}) == 1
    assert [one["asked"] for one in await waiting(here)] == [2]


async def test_asking_again_keeps_the_approvals_that_were_given(here: Installation, file: Path) -> None:
    grants = [{"effect": "ask", "operations": ["files.*"], "require": {"approvals": 2}}]
    by = await agent(here, grants=grants)
    first = await ask(here, by, file)
    await owner_does(here, "access.users.create", id="bob", roles=["admin"])
    await owner_does(here, "access.users.confirm", id="bob")
    held = await here.kernel.hands.work.approve("default", first.invocation, "bob")
    assert held.approved_by == ("bob",)
    again = await ask(here, by, file)
    assert again.invocation == first.invocation
    assert (await waiting(here))[0]["approved_by"] == ["bob"]


async def test_what_a_dead_process_left_approved_is_not_set_off_by_who_was_demoted_since(
    here: Installation, file: Path
) -> None:
    first = await ask(here, await agent(here), file)
    await owner_does(here, "access.users.create", id="bob", roles=["admin"])
    await owner_does(here, "access.users.confirm", id="bob")
    await here.kernel.hands.work.approve("default", first.invocation, "bob")
    await owner_does(here, "access.users.set_roles", id="bob", roles=["viewer"])
    (decided,) = await here.work.decided()

    assert not await here.kernel.approvals.set_off(decided)

    assert [(one["id"], one["approved_by"]) for one in await waiting(here)] == [(first.invocation, [])]
    assert file.read_text() == "old\n"


async def test_an_atomic_batch_leaves_a_request_alone_that_waits_already(here: Installation, file: Path) -> None:
    by = await agent(here)
    first = await ask(here, by, file)
    calls = [
        Call("files.write", {"path": "mine", "content": "x"}),
        Call("files.write", {"path": str(file), "content": "new\n"}),
    ]
    done, failed = await here.kernel.batch(calls, "atomic", True, by, "batch")
    assert done.status is Status.UNDONE
    assert failed.problem is not None
    assert failed.problem.slug == "needs-approval"
    (record,) = (await here.index.query("default", invocation=failed.invocation, limit=5))[0]
    assert (record["kind"], record["problem"]) == ("refused", "needs-approval")
    assert [one["id"] for one in await waiting(here)] == [first.invocation]
    assert (await approve(here, first.invocation)).status is Status.DONE


async def test_only_so_many_requests_of_one_caller_wait_and_another_still_asks(
    here: Installation, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "MOST_WAITING", 3)
    by, other = await agent(here), await agent(here, name="other")
    mine = [await ask(here, by, file, f"{number}\n") for number in range(3)]

    call = Call("files.write", {"path": str(file), "content": "one too many"})
    refused = await here.kernel.run(call, by, "http")

    assert refused.problem is not None
    assert refused.problem.slug == "rate-limited"
    assert "jobs.cancel" in (refused.problem.hint or "")
    records = (await here.index.query("default", invocation=refused.invocation, limit=5))[0]
    assert records[0]["kind"] == "refused"
    assert (await ask(here, by, file, "0\n")).invocation == mine[0].invocation  # that one waits already
    assert (await ask(here, other, file)).status is Status.WAITING
    await here.kernel.cancel(by, mine[0].invocation)
    assert (await ask(here, by, file, "one too many")).status is Status.WAITING
