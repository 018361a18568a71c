"""A view that was made for several commands: each goes on where the one before ended, and the workspace waits."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
import pytest_asyncio

from tests.needs import program
from tests.surfaces.http.house import Caller, House, problem_of
from tests.until import until_async

from .test_background import begin, ended, written
from .test_effects import running, tree_of_files, views_of

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture(autouse=True)
def bubblewrap() -> None:
    program("bwrap", "bubblewrap")


@pytest_asyncio.fixture(loop_scope="session")
async def own(house: House) -> Caller:
    """Give an agent of this test alone, with a file in its workspace."""
    agent = await house.agent()
    await agent.done("files.write", {"path": "a.txt", "content": "one\n"})
    return agent


async def created(caller: Caller) -> str:
    return str((await caller.done("sandbox.create", {}))["view"])


async def run(caller: Caller, view: str, command: str, **input: Any) -> dict[str, Any]:
    return await caller.done("shell.run", {"command": command, "view": view, **input})


async def test_commands_go_on_in_it_and_what_they_did_comes_in_as_one_change(house: House, own: Caller) -> None:
    made = await own.done("sandbox.create", {"keep_s": 600})
    view = made["view"]
    assert made["folder"] == str(own.workspace)

    first = await run(own, view, "echo two >> a.txt; mkdir d; echo new > d/e; rm -f none")
    second = await own.done("shell.exec", {"argv": ["cat", "e", "../a.txt"], "cwd": "d", "view": view})
    third = await own.done(
        "shell.script", {"language": "sh", "content": "rm a.txt; echo more >> d/e", "view": view, "network": []}
    )

    assert first["changes"]["applied"] is False
    assert (first["changes"]["view"], first["changes"]["total"]) == (view, 3)
    assert second["stdout"] == "new\none\ntwo\n"
    assert tree_of_files(own) == {"a.txt": "one\n"}
    shown = await own.done("sandbox.diff", {"view": view})
    assert shown["digest"] == third["changes"]["digest"]
    assert {one["path"]: one["kind"] for one in shown["changes"]} == {
        "a.txt": "deleted", "d": "directory", "d/e": "created",
    }  # fmt: skip
    accepted = (await own.call("sandbox.accept", {"view": view, "digest": shown["digest"]})).json()
    assert tree_of_files(own) == {"d/e": "new\nmore\n"}
    assert views_of(house, own) == []
    await own.done("undo.apply", {"ids": [accepted["invocation"]]})
    assert tree_of_files(own) == {"a.txt": "one\n"}


async def test_a_command_that_changed_nothing_leaves_it_there(house: House, own: Caller) -> None:
    view = await created(own)

    found = await run(own, view, "cat a.txt")

    assert (found["stdout"], found["changes"]["view"], found["changes"]["total"]) == ("one\n", view, 0)
    assert views_of(house, own) == [view]
    await own.done("sandbox.discard", {"view": view})
    assert views_of(house, own) == []


async def test_what_a_failed_or_ended_command_did_stays_there_too(own: Caller) -> None:
    view = await created(own)

    await run(own, view, "echo x > x; exit 3")
    ended = await run(own, view, "echo y > y; sleep 60", timeout_s=0.5)

    assert ended["limit"] == "wall"
    found = await run(own, view, "cat x y")
    assert found["stdout"] == "x\ny\n"
    await own.done("sandbox.discard", {"view": view})


async def test_a_view_that_an_earlier_command_left_can_be_gone_on_in(own: Caller) -> None:
    left = (await own.done("shell.run", {"command": "echo b > b.txt", "apply": False}))["changes"]["view"]

    found = await run(own, left, "cat b.txt; rm a.txt")

    assert found["stdout"] == "b\n"
    await own.done("sandbox.accept", {"view": left})
    assert tree_of_files(own) == {"b.txt": "b\n"}


async def test_one_command_at_a_time_works_on_it_and_nobody_accepts_or_drops_it_meanwhile(own: Caller) -> None:
    view = await created(own)
    calling = asyncio.ensure_future(own.call("shell.run", {"command": "echo 1 > one; sleep 1.0771", "view": view}))
    await until_async(lambda: running("1.0771"), "the command")

    for operation, input in (
        ("shell.run", {"command": "true", "view": view}),
        ("sandbox.accept", {"view": view}),
        ("sandbox.discard", {"view": view}),
    ):
        problem = problem_of(await own.call(operation, input), 409, "conflict")
        assert "wait until that has ended" in problem["hint"]
    assert (await calling).json()["output"]["exit_code"] == 0
    await own.done("sandbox.discard", {"view": view})


async def test_a_dry_run_says_what_would_run_and_runs_nothing(own: Caller) -> None:
    view = await created(own)

    answer = await own.call("shell.run", {"command": "echo x > x", "view": view}, x_dry_run="true")

    assert answer.json()["status"] == "previewed"
    assert view in answer.json()["output"]["summary"]
    assert (await own.done("sandbox.diff", {"view": view}))["total"] == 0
    await own.done("sandbox.discard", {"view": view})


async def test_a_profile_that_cannot_write_goes_on_nowhere(own: Caller) -> None:
    view = await created(own)

    refused = await own.call("shell.run", {"command": "true", "view": view, "sandbox": "read-only"})

    assert "nothing goes on in a view" in problem_of(refused, 422, "invalid-input")["detail"]
    await own.done("sandbox.discard", {"view": view})


async def test_a_folder_that_is_not_in_it_is_said(own: Caller) -> None:
    view = await created(own)

    refused = await own.call("shell.run", {"command": "true", "view": view, "cwd": "none"})

    assert "`none` is no folder in the view" in problem_of(refused, 422, "invalid-input")["detail"]
    await own.done("sandbox.discard", {"view": view})


async def test_no_command_begins_where_a_link_leads(house: House, own: Caller) -> None:
    """Whoever starts it may hold `/proc` of this machine open while it goes there: see CVE-2024-21626 of runc."""
    await own.done("files.mkdir", {"path": "real/inner", "parents": True})
    view = await created(own)
    await run(
        own, view,
        "for n in $(seq 0 12); do ln -s /proc/self/fd/$n l$n; done; ln -s /proc/self/root root; ln -s .. up; "
        "rm -r real; ln -s /proc/self/fd/4 real; mkdir d; ln -s /proc/self/fd d/fds; mknod p p; touch f",
    )  # fmt: skip

    for cwd in (
        *(f"l{n}" for n in range(13)),
        "root",
        "up",
        "real",
        "real/inner",
        "d/fds",
        "d/fds/4",
        "p",
        "f",
        "gone",
    ):
        refused = await own.call("shell.run", {"command": "ls ..", "view": view, "cwd": cwd})
        assert "is no folder in the view" in problem_of(refused, 422, "invalid-input")["detail"], cwd
        records = await house.records(invocation=refused.headers["x-invocation-id"])
        assert any(one.get("problem") == "invalid-input" for one in records)
    assert (await run(own, view, "pwd", cwd="d"))["stdout"] == "/workspace/d\n"
    await own.done("sandbox.discard", {"view": view})


async def test_it_begins_in_folders_of_the_workspace_as_they_stand_in_the_view(own: Caller) -> None:
    await own.done("files.mkdir", {"path": "deep/er", "parents": True})
    view = await created(own)

    assert (await run(own, view, "pwd; mkdir new", cwd="deep/er"))["stdout"] == "/workspace/deep/er\n"
    assert (await run(own, view, "pwd", cwd="deep/er/new"))["stdout"] == "/workspace/deep/er/new\n"
    await run(own, view, "rm -r deep")
    refused = await own.call("shell.run", {"command": "pwd", "view": view, "cwd": "deep/er"})
    problem_of(refused, 422, "invalid-input")
    await own.done("sandbox.discard", {"view": view})


async def test_nobody_else_learns_of_it_or_goes_on_in_it(house: House, own: Caller) -> None:
    view = await created(own)
    other = await house.agent()
    only = [{"effect": "allow", "operations": ["sandbox.*", "shell.*", "files.*"]}]
    made = await house.owner.done("access.keys.create", {"name": "narrow", "agent": own.name, "only": only})
    narrow = house.caller(made["agent"], made["key"])

    for caller in (other, narrow):
        strange = await caller.call("shell.run", {"command": "true", "view": view})
        nowhere = await caller.call("shell.run", {"command": "true", "view": "0" * 32})
        said = problem_of(strange, 404, "not-found")["detail"]
        assert said.replace(view, "") == problem_of(nowhere, 404, "not-found")["detail"].replace("0" * 32, "")
        records = await house.records(invocation=strange.headers["x-invocation-id"])
        assert any(one["problem"] == "not-found" for one in records)
    assert (await run(own, view, "cat a.txt"))["stdout"] == "one\n"  # and its own may still
    await own.done("sandbox.discard", {"view": view})


async def test_it_is_of_one_workspace(house: House, own: Caller) -> None:
    view = await created(own)

    refused = await house.owner.call("shell.run", {"command": "true", "view": view})  # on whose behalf it was made

    assert "this is a view of" in problem_of(refused, 422, "invalid-input")["detail"]
    await own.done("sandbox.discard", {"view": view})


async def test_whom_no_grant_lets_make_one_is_refused(house: House) -> None:
    nobody = await house.agent(grants=[{"effect": "allow", "operations": ["shell.*"]}])

    refused = await nobody.call("sandbox.create", {})

    problem_of(refused, 404, "not-found")
    assert (await house.refusal(refused))["operation"] == "sandbox.create"


async def test_it_waits_as_long_as_was_asked_and_an_hour_after_a_command(own: Caller) -> None:
    made = await own.done("sandbox.create", {"keep_s": 60})

    found = await run(own, made["view"], "true")

    assert found["changes"]["until"] == pytest.approx(made["until"] - 60 + 3600, abs=30)
    problem_of(await own.call("sandbox.create", {"keep_s": 1}), 422, "invalid-input")
    await own.done("sandbox.discard", {"view": made["view"]})


async def test_a_view_counts_for_what_it_holds(house: House, own: Caller) -> None:
    view = await created(own)

    await run(own, view, "head -c 300000 /dev/zero > zeros")

    (noted,) = [
        json.loads(place.read_text()) for place in (house.data / "state" / "views").glob(f"{view}.json")
    ]  # fmt: skip
    assert noted["bytes"] >= 300_000
    more = await run(own, view, "head -c 900000 /dev/zero > more; sleep 30", limits={"disk_bytes": 500_000})
    assert more["limit"] == "disk"
    await own.done("sandbox.discard", {"view": view})


async def test_what_a_cancelled_command_left_in_it_counts_as_well(house: House, own: Caller) -> None:
    view = await created(own)
    command = "head -c 300000 /dev/zero > zeros; echo up; sleep 60"
    id = await begin(own, "shell.run", {"command": command, "view": view})
    await written(own, id, "up\n")

    await own.done("jobs.cancel", {"id": id, "grace_s": 0.2})
    await ended(own, id, "cancelled")

    noted = json.loads((house.data / "state" / "views" / f"{view}.json").read_text())
    assert noted["bytes"] >= 300_000
    assert (await run(own, view, "wc -c < zeros"))["stdout"] == "300000\n"
    await own.done("sandbox.discard", {"view": view})


async def test_an_approver_is_told_that_it_stays_in_the_view(house: House, own: Caller) -> None:
    asked = {"effect": "ask", "operations": ["shell.*"], "require": {"approvals": 1}}
    others = {"effect": "allow", "operations": ["sandbox.*"]}
    asking = await house.agent(workspace=str(own.workspace), grants=[asked, others])
    view = await created(asking)

    response = await asking.call("shell.run", {"command": "echo ran > a.txt", "view": view})

    assert response.status_code == 202, response.text
    waiting = (await house.owner.done("approvals.list"))["waiting"]
    shown = next(one for one in waiting if one["id"] == response.headers["x-invocation-id"])["preview"]
    assert f"what it changes stays in the view {view}. By its text it writes a.txt" in shown["summary"]
    assert shown["changes"] == []
    await asking.done("sandbox.discard", {"view": view})
