"""What a command changed: on a view while it runs, then one change of the workspace, or something that waits."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from superagent.core.problems import Unavailable
from superagent.runtime.sandbox import run_view
from tests.needs import program
from tests.promise import promise
from tests.surfaces.http.house import Caller, House, problem_of
from tests.until import until_async

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


async def run(caller: Caller, command: str, **input: Any) -> dict[str, Any]:
    return await caller.done("shell.run", {"command": command, **input})


def running(mark: str) -> bool:
    """Tell whether the command that sleeps so long runs by now."""
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if place.read_bytes() == f"sleep\0{mark}\0".encode():
                return True
        except OSError:
            continue
    return False


def views_of(house: House, caller: Caller) -> list[str]:
    """Give the views of a caller's workspace, by what is noted of each; not those that wait for a command."""
    found: list[str] = []
    for place in (house.data / "state" / "views").glob("*.json"):
        with contextlib.suppress(FileNotFoundError):  # of one that waited
            noted = json.loads(place.read_text())
            if noted["lower"] == str(caller.workspace) and noted["chain"] != [""]:
                found.append(noted["id"])
    assert set(found) <= set(os.listdir(house.data / "views"))
    return found


def tree(folder: Path) -> dict[str, str]:
    return {str(one.relative_to(folder)): one.read_text() for one in folder.rglob("*") if one.is_file()}


@promise("1.3a")
async def test_the_workspace_stays_as_it_is_until_the_command_has_ended_and_then_can_be_had_back(
    house: House, own: Caller
) -> None:
    command = "echo two >> a.txt; mkdir -p d/e; echo new > d/e/f; sleep 1.0661; rm a.txt"
    calling = asyncio.ensure_future(own.call("shell.run", {"command": command}))
    await until_async(lambda: running("1.0661"), "the command")
    assert tree_of_files(own) == {"a.txt": "one\n"}
    outcome = (await calling).json()

    changes = outcome["output"]["changes"]
    assert changes["applied"] is True
    assert {one["path"]: one["kind"] for one in changes["paths"]} == {
        "a.txt": "deleted", "d": "directory", "d/e": "directory", "d/e/f": "created",
    }  # fmt: skip
    assert "+new\n" in changes["diff"]
    assert "-one\n" in changes["diff"]
    assert tree_of_files(own) == {"d/e/f": "new\n"}
    assert outcome["undo"]["possible"] is True
    assert views_of(house, own) == []
    await own.done("undo.apply", {"ids": [outcome["invocation"]]})
    assert tree_of_files(own) == {"a.txt": "one\n"}


def tree_of_files(caller: Caller) -> dict[str, str]:
    return tree(caller.workspace)


async def test_a_command_that_changed_nothing_says_so_and_leaves_no_view(house: House, own: Caller) -> None:
    outcome = (await own.call("shell.run", {"command": "cat a.txt > /dev/null; touch x; rm x"})).json()

    assert outcome["output"]["changes"]["applied"] is True
    assert outcome["output"]["changes"]["total"] == 0
    assert outcome["undo"] == {"possible": False, "why": "nothing was changed"}
    assert views_of(house, own) == []


async def test_a_reader_works_on_no_view(own: Caller) -> None:
    found = await run(own, "cat a.txt; echo x > a.txt", sandbox="read-only")

    assert (found["stdout"], found["changes"]) == ("one\n", None)
    assert "Read-only" in found["stderr"]


@promise("1.3a")
async def test_what_was_asked_to_wait_waits_until_it_is_accepted_or_dropped(house: House, own: Caller) -> None:
    first = (await run(own, "echo two > a.txt; echo b > b.txt", apply=False))["changes"]
    second = (await run(own, "echo three > a.txt", apply=False))["changes"]

    assert (first["applied"], first["why"]) == (False, "it was asked to wait")
    assert tree_of_files(own) == {"a.txt": "one\n"}
    shown = await own.done("sandbox.diff", {"view": first["view"]})
    assert shown["digest"] == first["digest"]
    assert [one["path"] for one in shown["changes"]] == ["a.txt", "b.txt"]
    await own.done("sandbox.accept", {"view": first["view"], "digest": first["digest"]})
    assert tree_of_files(own) == {"a.txt": "two\n", "b.txt": "b\n"}
    await own.done("sandbox.discard", {"view": second["view"]})
    assert views_of(house, own) == []
    other = await house.agent()
    problem_of(await other.call("sandbox.diff", {"view": first["view"]}), 404, "not-found")


async def test_what_a_limit_ended_is_not_brought_in_half_done(own: Caller) -> None:
    found = await run(own, "echo half > a.txt; sleep 60", timeout_s=0.5)

    assert found["limit"] == "wall"
    assert found["changes"]["applied"] is False
    assert "`wall`" in found["changes"]["why"]
    assert tree_of_files(own) == {"a.txt": "one\n"}
    await own.done("sandbox.accept", {"view": found["changes"]["view"]})
    assert tree_of_files(own) == {"a.txt": "half\n"}


async def test_what_somebody_changed_meanwhile_is_not_overwritten_and_the_output_is_not_lost(own: Caller) -> None:
    calling = asyncio.ensure_future(run(own, "echo mine > a.txt; sleep 1.0662; echo b > b.txt; echo said"))
    await until_async(lambda: running("1.0662"), "the command")
    await own.done("files.write", {"path": "a.txt", "content": "theirs\n"})
    found = await calling

    assert found["stdout"] == "said\n"
    assert found["changes"]["applied"] is False
    assert found["changes"]["why"].startswith("a.txt: it was changed in the workspace")
    assert tree_of_files(own) == {"a.txt": "theirs\n"}


async def test_what_makes_other_programs_run_waits_to_be_named_and_then_for_a_person(house: House, own: Caller) -> None:
    found = (await run(own, "mkdir -p .git/hooks; echo evil > .git/hooks/pre-commit; echo b > b.txt"))["changes"]

    assert found["applied"] is True
    assert [one["path"] for one in found["left_out"]] == [".git/hooks", ".git/hooks/pre-commit"]
    assert set(tree_of_files(own)) == {"a.txt", "b.txt"}
    assert found["view"]
    waiting = await own.call("sandbox.accept", {"view": found["view"], "paths": [".git/hooks"]})
    assert waiting.status_code == 202
    assert not (own.workspace / ".git/hooks").exists()
    id = waiting.json()["invocation"]
    await house.owner.done("approvals.decide", {"id": id, "decision": "approve"})
    await until_async(lambda: (own.workspace / ".git/hooks/pre-commit").exists(), "the approved change")
    assert (own.workspace / ".git/hooks/pre-commit").read_text() == "evil\n"


async def test_a_link_in_the_place_of_a_folder_that_would_hold_some_waits_too(own: Caller) -> None:
    found = await run(
        own, "mkdir evil; echo x > evil/config.toml; ln -s evil .cargo; mkdir .github; echo b > .github/b"
    )

    assert [one["path"] for one in found["changes"]["left_out"]] == [".cargo"]
    assert not (own.workspace / ".cargo").is_symlink()
    assert (own.workspace / ".github/b").exists()


async def test_a_folder_in_the_place_of_what_leads_git_elsewhere_waits_with_all_it_holds(own: Caller) -> None:
    (own.workspace / ".git").write_text("gitdir: ../real\n")
    found = await run(own, "rm .git; mkdir .git; echo ref > .git/HEAD; echo b > b.txt")

    assert {one["path"] for one in found["changes"]["left_out"]} == {".git", ".git/HEAD"}
    assert (own.workspace / ".git").read_text() == "gitdir: ../real\n"
    assert (own.workspace / "b.txt").exists()


async def test_more_places_than_are_accepted_at_once_wait(own: Caller) -> None:
    found = await run(own, "for i in $(seq 1000); do echo $i > n$i; done; echo done")

    assert found["stdout"] == "done\n"
    assert found["changes"]["applied"] is False
    assert "900" in found["changes"]["why"]
    assert (found["changes"]["total"], len(found["changes"]["paths"])) == (1000, 200)
    assert tree_of_files(own) == {"a.txt": "one\n"}


async def test_who_may_not_remove_does_not_remove_by_a_command(house: House, own: Caller) -> None:
    grant = {
        "effect": "allow", "operations": ["shell.*", "files.*", "sandbox.*"], "effects": ["READ", "CHANGE"],
        "where": {"paths": ["{workspace}/**"]},
    }  # fmt: skip
    careful = await house.agent(workspace=str(own.workspace), grants=[grant])

    response = await careful.call("shell.run", {"command": "echo b > b.txt; rm a.txt"})

    found = problem_of(response, 403, "denied")
    assert found["changed"] == "nothing"
    view = re.search(r"view (\w+)", found["hint"])
    assert view is not None
    assert tree_of_files(own) == {"a.txt": "one\n"}
    records = await house.records(invocation=response.headers["x-invocation-id"])
    assert records[0]["problem"] == "denied"
    await careful.done("sandbox.accept", {"view": view[1], "paths": ["b.txt"]})
    assert tree_of_files(own) == {"a.txt": "one\n", "b.txt": "b\n"}


# ---- rehearsals


@promise("1.3a")
async def test_a_dry_run_rehearses_and_that_very_diff_can_be_accepted(house: House, own: Caller) -> None:
    response = await own.call("shell.run", {"command": "date +%N > now; echo two >> a.txt"}, x_dry_run="true")

    outcome = response.json()
    assert outcome["status"] == "previewed"
    assert outcome["isolation"]["network"] == "off"
    assert "changed 2 path(s)" in outcome["output"]["summary"]
    assert outcome["output"]["changes"] == ["a.txt: modified", "now: created"]
    assert "+two\n" in outcome["output"]["diff"]
    assert outcome["output"]["exact"] is False
    assert tree_of_files(own) == {"a.txt": "one\n"}
    named = re.findall(r"(?:view|digest) (\w+)", outcome["output"]["summary"])
    accept = {name: outcome["output"][name] for name in ("view", "digest")}
    assert list(accept.values()) == named
    await own.done("sandbox.accept", accept)
    assert f"+{tree_of_files(own)['now']}" in outcome["output"]["diff"]
    assert views_of(house, own) == []


async def test_a_rehearsal_that_changes_nothing_leaves_nothing(house: House, own: Caller) -> None:
    outcome = (await own.call("shell.exec", {"argv": ["ls"]}, x_dry_run="true")).json()

    assert outcome["output"]["summary"] == "rehearsed: `ls` ended with 0 and changed nothing"
    assert (outcome["output"]["view"], outcome["output"]["stdout"]) == (None, "a.txt\n")
    assert views_of(house, own) == []


async def test_a_rehearsal_says_how_the_command_ended_and_what_it_wrote(own: Caller) -> None:
    async def rehearsed(command: str, **more: Any) -> dict[str, Any]:
        return (await own.call("shell.run", {"command": command, **more}, x_dry_run="true")).json()["output"]

    failed = await rehearsed("echo said; echo why >&2; exit 4")
    long = await rehearsed("seq 1000", max_output_bytes=10)
    late = await rehearsed("printf '\\377'; sleep 60", timeout_s=0.2)

    assert (failed["exit_code"], failed["stdout"], failed["stderr"]) == (4, "said\n", "why\n")
    assert (await own.done("result.read", {"handle": long["stdout_handle"]}))["size"] == 3893
    assert (late["exit_code"], late["limit"], late["stdout"], late["stdout_encoding"]) == (
        None,
        "wall",
        "/w==",
        "base64",
    )


async def test_what_waits_for_an_approval_is_not_run_for_the_approver(house: House, own: Caller) -> None:
    grants = [{"effect": "ask", "operations": ["shell.*"], "require": {"approvals": 1}}]
    asking = await house.agent(workspace=str(own.workspace), grants=grants)

    response = await asking.call("shell.run", {"command": "echo ran > a.txt"})

    assert response.status_code == 202, response.text
    waiting = (await house.owner.done("approvals.list"))["waiting"]
    mine = next(one for one in waiting if one["id"] == response.headers["x-invocation-id"])
    assert mine["preview"]["summary"].startswith("would run `echo ran > a.txt`")
    assert mine["preview"]["summary"].endswith("By its text it writes a.txt; risk MEDIUM")
    assert tree_of_files(own) == {"a.txt": "one\n"}
    assert views_of(house, own) == []


# ---- how much


@promise("1.3b")
async def test_how_much_is_added_to_the_workspace_is_limited_in_bytes_and_in_files(own: Caller) -> None:
    limits = {"disk_bytes": 4 << 20, "disk_files": 100}
    bytes = await own.call(
        "shell.run", {"command": "head -c 3000000 /dev/zero > x; head -c 3000000 /dev/zero > y", "limits": limits}
    )
    files = await run(own, "for i in $(seq 200); do : > n$i || exit 1; done", limits=limits)
    fits = await run(own, "head -c 3000000 /dev/zero > z", limits=limits)

    found = bytes.json()
    assert "No space left" in found["output"]["stderr"]
    assert found["output"]["limit"] == files["limit"] == "disk"
    assert found["isolation"]["limits"]["disk"] == "enforced"
    assert files["changes"]["total"] < 100
    assert fits["limit"] is None
    assert (own.workspace / "z").stat().st_size == 3_000_000


async def test_holes_and_second_names_do_not_grow_on_their_way_to_the_disk(house: House, own: Caller) -> None:
    command = (
        "truncate -s 200M hole; echo end >> hole; head -c 1000000 /dev/zero | tr '\\0' x > full;"
        "mkdir d; for i in $(seq 50); do ln full d/n$i; done"
    )
    found = (await run(own, command, apply=False))["changes"]

    upper = house.data / "views" / found["view"] / "upper"
    assert found["total"] == 53
    assert sum(one.stat().st_blocks * 512 for one in {*upper.iterdir()}) < 10_000_000
    assert (upper / "d" / "n1").stat().st_nlink == 51
    assert (upper / "hole").stat().st_size == 200 * (1 << 20) + 4
    await own.done("sandbox.discard", {"view": found["view"]})


async def test_what_a_command_closed_to_itself_comes_along(own: Caller) -> None:
    found = await run(own, "mkdir -p d/in; echo x > d/in/f; chmod 000 d/in/f; chmod 555 d/in; ln -s a.txt l; mkfifo p")

    assert found["changes"]["applied"] is True, found
    assert (own.workspace / "d/in").stat().st_mode & 0o777 == 0o555
    assert (own.workspace / "d/in/f").stat().st_mode & 0o777 == 0
    assert os.readlink(own.workspace / "l") == "a.txt"
    assert (own.workspace / "p").is_fifo()
    (own.workspace / "d/in").chmod(0o755)


async def test_a_cancelled_command_leaves_no_view(house: House, own: Caller) -> None:
    calling = asyncio.ensure_future(own.call("shell.run", {"command": "echo x > x; sleep 60"}, superagent_session="v"))
    await until_async(lambda: bool(views_of(house, own)), "the view")
    intent = next(one for one in await house.records(text="shell.run") if one.get("session") == "v")

    await own.http.post(f"/v1/invocations/{intent['invocation']}/cancel")

    problem_of(await calling, 409, "cancelled")
    assert views_of(house, own) == []
    assert tree_of_files(own) == {"a.txt": "one\n"}


async def test_what_cannot_be_kept_or_read_is_said_and_the_output_is_not_lost(
    house: House, own: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise Unavailable("the disk is full under `views`")

    with monkeypatch.context() as patch:
        patch.setattr(run_view, "bring_out", full)
        kept = await run(own, "echo x > x; echo said")
    deep = await run(own, "for i in $(seq 30); do d=$(printf %0200d 0); mkdir $d && cd $d; done; touch x; echo said")

    assert (kept["stdout"], kept["changes"]["applied"], kept["changes"]["view"]) == ("said\n", False, None)
    assert "the disk is full" in kept["changes"]["why"]
    assert (deep["stdout"], deep["changes"]["applied"]) == ("said\n", False)
    assert "longer than" in deep["changes"]["why"]
    assert views_of(house, own) == [deep["changes"]["view"]]
    await own.done("sandbox.discard", {"view": deep["changes"]["view"]})
    assert views_of(house, own) == []
    assert tree_of_files(own) == {"a.txt": "one\n"}


async def test_a_repository_that_an_agent_makes_comes_in_without_what_git_would_run(house: House) -> None:
    agent = await house.agent()
    made = await agent.done("shell.run", {"command": "git init -q demo && ls demo/.git/hooks | head -1"})
    assert (made["exit_code"], made["changes"]["applied"]) == (0, True), made
    assert (agent.workspace / "demo/.git/HEAD").is_file()
    assert not (agent.workspace / "demo/.git/hooks").exists()
    assert not (agent.workspace / "demo/.git/config").exists()
    left = {one["path"] for one in made["changes"]["left_out"]}
    assert {"demo/.git/hooks", "demo/.git/config"} <= left
    await agent.done("sandbox.discard", {"view": made["changes"]["view"]})


# ---- rights that are taken away while a command runs


@pytest.mark.parametrize("by", ["key", "grant"])
async def test_a_command_that_somebody_waits_for_ends_with_the_right_to_it_and_changes_nothing(
    house: House, by: str
) -> None:
    agent = await house.agent()
    mark = f"98{os.getpid()}{len(by)}"
    call = asyncio.create_task(agent.call("shell.run", {"command": f"echo > late; sleep {mark}"}))
    await until_async(lambda: running(mark), "the command")

    if by == "key":
        keys = (await house.owner.done("access.keys.list"))["keys"]
        await house.owner.done("access.keys.revoke", {"id": next(k["id"] for k in keys if k["name"] == agent.name)})
    else:
        deny = {"effect": "deny", "subject": f"agent:{agent.name}", "operations": ["shell.*"]}
        await house.owner.done("grants.create", {"grant": deny})

    problem = problem_of(await asyncio.wait_for(call, 20), 403, "denied")
    assert problem["changed"] == "nothing"
    assert not running(mark)
    assert not (agent.workspace / "late").exists()
    assert views_of(house, agent) == []
