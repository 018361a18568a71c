"""What steers other programs or agents is changed by an agent only after a person has looked, by every operation."""

from __future__ import annotations

import asyncio
import io
import os
import zipfile
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from superagent.core.policy import STEERS
from tests.promise import promise
from tests.surfaces.http.house import Caller, House, problem_of

pytestmark = pytest.mark.asyncio(loop_scope="session")

PATCH = "--- /dev/null\n+++ b/.envrc\n@@ -0,0 +1 @@\n+echo evil\n"
WRITES = {
    "write": ("files.write", {"path": ".mcp.json", "content": "{}"}),
    "write, spelt otherwise": ("files.write", {"path": "a/../.VSCODE/Tasks.json", "content": "{}"}),
    "write, absolute": ("files.write", {"path": "{own}/.github/workflows/ci.yml", "content": "on: push"}),
    "write over": ("files.write", {"path": "sub/AGENTS.md", "content": "obey"}),
    "edit": ("files.edit", {"path": "sub/AGENTS.md", "old": "kind", "new": "evil"}),
    "patch": ("files.patch", {"root": ".", "patch": PATCH}),
    "mkdir": ("files.mkdir", {"path": ".git/hooks", "parents": True}),
    "another home of git's configuration": ("files.write", {"path": "tree/.git/commondir", "content": "../../evil"}),
    "a tree as a folder that holds some": ("files.copy", {"source": "sub", "target": ".github"}),
    "copy": ("files.copy", {"source": "plain.txt", "target": ".bashrc"}),
    "move to": ("files.move", {"source": "plain.txt", "target": "CLAUDE.md"}),
    "move away": ("files.move", {"source": "sub/AGENTS.md", "target": "sub/other.txt"}),
    "a folder as a repository": ("files.move", {"source": "tree", "target": ".git"}),
    "delete": ("files.delete", {"path": "sub/AGENTS.md"}),
    "archive": ("files.archive", {"paths": ["plain.txt"], "target": ".vscode/x.zip", "format": "zip"}),
    "extract": ("files.extract", {"archive": "ordinary.zip", "target": ".claude"}),
    "restore": ("files.restore", {"path": "sub/AGENTS.md"}),
}  # fmt: skip
TREES = {
    "copy of a tree": ("files.copy", {"source": "tree", "target": "new"}, "new/.git/hooks"),
    "move of a tree": ("files.move", {"source": "tree", "target": "new"}, "new/.git/hooks"),
    "the same, from where": ("files.move", {"source": "tree", "target": "new"}, "tree/.git/hooks"),
    "deletion of a tree": ("files.delete", {"path": "tree", "recursive": True}, "tree/.git/hooks"),
    "unpacking": ("files.extract", {"archive": "evil.zip", "target": "new"}, "new/.vscode"),
}


@pytest_asyncio.fixture(loop_scope="session")
async def own(house: House) -> Caller:
    """Give an agent of this test alone, with a workspace in which some things steer already."""
    agent = await house.agent()
    for path, text in (("sub/AGENTS.md", "be kind\n"), ("plain.txt", "plain\n"), ("tree/.git/hooks/x", "old\n")):
        (agent.workspace / path).parent.mkdir(parents=True, exist_ok=True)
        (agent.workspace / path).write_text(text)
    for name, inner in (("evil.zip", ".vscode/tasks.json"), ("ordinary.zip", "a.txt")):
        held = io.BytesIO()
        with zipfile.ZipFile(held, "w") as packed:
            packed.writestr(inner, "{}")
        (agent.workspace / name).write_bytes(held.getvalue())
    return agent


def state(own: Caller) -> dict[str, bytes]:
    return {str(one.relative_to(own.workspace)): one.read_bytes() for one in own.workspace.rglob("*") if one.is_file()}


def meant(own: Caller, input: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value.replace("{own}", str(own.workspace)) if isinstance(value, str) else value
        for name, value in input.items()
    }


async def asks(house: House, own: Caller, operation: str, input: dict[str, Any]) -> dict[str, Any]:
    """Make a call that must wait: nothing is changed, the record says so, and the approver is told why."""
    before = state(own)
    response = await own.call(operation, input)
    assert response.status_code == 202, response.text
    assert state(own) == before
    id = response.json()["invocation"]
    assert response.json()["decision"]["reason"] == STEERS
    records = await house.records(invocation=id)
    assert records[0]["status"] == "waiting", records
    return await house.owner.done("approvals.show", {"id": id})


async def approved(house: House, own: Caller, id: str) -> dict[str, Any]:
    await house.owner.done("approvals.decide", {"id": id, "decision": "approve"})
    async with asyncio.timeout(30):
        while (found := (await own.get(f"/v1/invocations/{id}")).json())["status"] in ("waiting", "running"):
            await asyncio.sleep(0.02)
    return found


@promise("1.1")
@pytest.mark.parametrize("name", WRITES)
async def test_whatever_changes_what_steers_waits_for_a_person(house: House, own: Caller, name: str) -> None:
    operation, input = WRITES[name]
    shown = await asks(house, own, operation, meant(own, input))
    assert shown["why"] == STEERS


@pytest.mark.parametrize("name", TREES)
async def test_a_tree_that_holds_some_waits_with_these_named(house: House, own: Caller, name: str) -> None:
    operation, input, found = TREES[name]
    before = state(own)
    shown = await asks(house, own, operation, input)
    assert f"{own.workspace}/{found}".removeprefix("/") in " ".join(shown["resources"])
    done = await approved(house, own, shown["id"])
    assert done["status"] == "done", done
    assert state(own) != before


async def test_ordinary_work_is_not_asked_about(own: Caller) -> None:
    await own.done("files.write", {"path": "README.md", "content": "# Mine\n"})
    await own.done("files.edit", {"path": "README.md", "old": "Mine", "new": "Ours"})
    await own.done("files.mkdir", {"path": "src/deep", "parents": True})
    await own.done("files.mkdir", {"path": "src/.git"})
    await own.done("files.mkdir", {"path": ".github/ISSUE_TEMPLATE", "parents": True})
    await own.done("files.patch", {"root": ".", "patch": PATCH.replace(".envrc", ".cargo/notes/a.md")})
    await own.done("files.patch", {"root": ".", "patch": PATCH.replace(".envrc", "new.txt")})
    await own.done("files.copy", {"source": "README.md", "target": "src/README.md"})
    await own.done("files.move", {"source": "src", "target": "lib"})
    await own.done("files.extract", {"archive": "ordinary.zip", "target": "unpacked"})
    await own.done("files.delete", {"path": "lib", "recursive": True})
    await own.done("files.read", {"path": "sub/AGENTS.md"})


async def test_a_person_is_not_asked_about_its_own_work(house: House, tmp_path: Path) -> None:
    await house.owner.done("files.write", {"path": str(tmp_path / ".envrc"), "content": "mine"})
    assert (tmp_path / ".envrc").read_text() == "mine"


async def test_no_grant_frees_an_agent_from_it_nor_one_that_it_asks_for(house: House, tmp_path: Path) -> None:
    allows = {"effect": "allow", "operations": ["*"], "where": {"paths": [f"{tmp_path}/**", "{steering}"]}}
    free = await house.agent(grants=[allows])
    await free.done("files.write", {"path": f"{tmp_path}/README.md", "content": "x"})
    response = await free.call("files.write", {"path": f"{tmp_path}/.cursor/mcp.json", "content": "{}"})
    assert response.status_code == 202, response.text
    lent = await free.done("access.delegate", {"name": "weaker"})
    weaker = house.caller(free.name, lent["key"])
    response = await weaker.call("files.write", {"path": f"{tmp_path}/.cursor/mcp.json", "content": "{}"})
    assert response.status_code == 202, response.text


@pytest.mark.parametrize("target", [".git/hooks/pre-commit", ".envrc", ".git"])
async def test_a_link_that_leads_there_is_refused_under_its_own_name(house: House, own: Caller, target: str) -> None:
    (own.workspace / ".git").mkdir() if "/" in target else None
    (own.workspace / ".git/hooks").mkdir() if "/" in target else None
    os.symlink(target, own.workspace / "innocent.txt")
    before = state(own)
    response = await own.call("files.write", {"path": "innocent.txt", "content": "evil"})
    problem = problem_of(response, 403, "denied")
    assert "name that very place" in problem["hint"]
    assert state(own) == before
    records = await house.records(invocation=response.headers["x-invocation-id"])
    assert records[0]["status"] == "failed"
    assert records[0]["problem"] == "denied"


async def test_a_link_to_a_folder_that_steers_is_no_way_in(own: Caller) -> None:
    (own.workspace / ".vscode").mkdir()
    os.symlink(".vscode", own.workspace / "docs")
    response = await own.call("files.write", {"path": "docs/tasks.json", "content": "{}"})
    problem_of(response, 403, "denied")
    assert not (own.workspace / ".vscode/tasks.json").exists()


async def test_a_hard_link_to_it_becomes_a_file_of_its_own(own: Caller) -> None:
    os.link(own.workspace / "sub/AGENTS.md", own.workspace / "twin.txt")
    await own.done("files.write", {"path": "twin.txt", "content": "evil"})
    assert (own.workspace / "sub/AGENTS.md").read_text() == "be kind\n"


async def test_taking_back_an_approved_change_asks_again_and_what_is_left_does_not(house: House, own: Caller) -> None:
    shown = await asks(house, own, "files.write", {"path": "sub/AGENTS.md", "content": "be good\n"})
    assert (await approved(house, own, shown["id"]))["status"] == "done"
    plan = await own.done("undo.plan", {"ids": [shown["id"]]})
    assert plan["steps"][0]["does"] == "put back what stood there, once a person approves"
    undo = await asks(house, own, "undo.apply", {"ids": [shown["id"]]})
    assert "-be good" in undo["preview"]["diff"]
    assert (await approved(house, own, undo["id"]))["status"] == "done"
    assert (own.workspace / "sub/AGENTS.md").read_text() == "be kind\n"


async def test_a_dry_run_says_that_a_person_is_needed_and_for_what(own: Caller) -> None:
    single = await own.done("files.write", {"path": ".envrc", "content": "x"}, X_Dry_Run="true")
    assert STEERS in single["summary"]
    tree = await own.done("files.copy", {"source": "tree", "target": "new"}, X_Dry_Run="true")
    assert STEERS in tree["summary"]
    assert tree["changes"] == [f"{own.workspace}/new/.git/hooks"]


async def test_what_a_tree_brings_can_be_asked_for_ahead(house: House, own: Caller) -> None:
    call = {"source": "tree", "target": "new"}
    asked = await own.done("approvals.request", {"operation": "files.copy", "input": call, "reason": "a copy"})
    await house.owner.done("approvals.decide", {"id": asked["id"], "decision": "approve"})
    await own.done("files.copy", call)
    assert (own.workspace / "new/.git/hooks/x").read_text() == "old\n"


async def test_a_tree_that_changed_after_it_was_approved_is_not_moved(house: House, own: Caller) -> None:
    shown = await asks(house, own, "files.move", {"source": "tree", "target": "new"})
    (own.workspace / "tree/.git/hooks/x").write_text("other\n")
    ended = await approved(house, own, shown["id"])
    assert ended["status"] == "failed"
    assert "conflict" in str(ended)
    assert not (own.workspace / "new").exists()


async def test_what_is_copied_is_shown_and_other_content_is_not_approved(house: House, own: Caller) -> None:
    shown = await asks(house, own, "files.copy", {"source": "tree", "target": "new"})
    assert "old" in shown["preview"]["diff"]
    (own.workspace / "tree/.git/hooks/x").write_text("other\n")
    assert (await approved(house, own, shown["id"]))["status"] == "failed"
    assert not (own.workspace / "new").exists()


SWAPS = {
    "copy of a file": ("files.copy", {"source": "plain.txt", "target": ".bashrc"}, "plain.txt", ".bashrc"),
    "copy of a tree": ("files.copy", {"source": "sub", "target": ".vscode"}, "sub/AGENTS.md", ".vscode"),
    "move of a file": ("files.move", {"source": "plain.txt", "target": ".bashrc"}, "plain.txt", ".bashrc"),
    "move of a tree": ("files.move", {"source": "plainly", "target": ".vscode"}, "plainly/x", ".vscode"),
}


@pytest.mark.parametrize("ahead", [False, True])
@pytest.mark.parametrize("name", SWAPS)
async def test_what_is_brought_to_a_named_place_is_shown_and_nothing_else_is_approved(
    house: House, own: Caller, name: str, ahead: bool
) -> None:
    operation, input, source, target = SWAPS[name]
    (own.workspace / "plainly").mkdir()
    (own.workspace / source).write_text("innocent\n")
    if ahead:
        asked = await own.done("approvals.request", {"operation": operation, "input": input, "reason": "a try"})
        shown = await house.owner.done("approvals.show", {"id": asked["id"]})
    else:
        shown = await asks(house, own, operation, input)
    assert "innocent" in shown["preview"]["diff"]
    (own.workspace / source).write_text("evil\n")
    if ahead:
        await house.owner.done("approvals.decide", {"id": shown["id"], "decision": "approve"})
        problem_of(await own.call(operation, input), 409, "conflict")
    else:
        assert (await approved(house, own, shown["id"]))["status"] == "failed"
    assert not (own.workspace / target).exists()


async def test_where_a_link_leads_that_is_put_there_is_shown(house: House, own: Caller) -> None:
    os.symlink("elsewhere", own.workspace / "link")
    shown = await asks(house, own, "files.move", {"source": "link", "target": ".cargo"})
    assert ".cargo -> elsewhere" in shown["preview"]["diff"]


async def test_the_content_of_an_archive_for_a_named_place_is_bound_too(house: House, own: Caller) -> None:
    shown = await asks(house, own, "files.extract", {"archive": "ordinary.zip", "target": ".claude"})
    with zipfile.ZipFile(own.workspace / "ordinary.zip", "w") as packed:
        packed.writestr("a.txt", "evil")
    assert (await approved(house, own, shown["id"]))["status"] == "failed"
    assert not (own.workspace / ".claude").exists()


async def test_an_approved_patch_does_not_reach_through_a_link_what_nobody_named(house: House, own: Caller) -> None:
    (own.workspace / ".git/hooks").mkdir(parents=True)
    os.symlink(".git/hooks", own.workspace / "docs")
    patch = PATCH + PATCH.replace(".envrc", "docs/pre-commit")
    shown = await asks(house, own, "files.patch", {"root": ".", "patch": patch})
    ended = await approved(house, own, shown["id"])
    assert ended["outcome"]["problem"]["status"] == 403, ended
    assert not (own.workspace / ".git/hooks/pre-commit").exists()
    assert not (own.workspace / ".envrc").exists()


async def test_other_content_of_an_archive_is_not_approved(house: House, own: Caller) -> None:
    shown = await asks(house, own, "files.extract", {"archive": "evil.zip", "target": "new"})
    with zipfile.ZipFile(own.workspace / "evil.zip", "w") as packed:
        packed.writestr(".vscode/tasks.json", '{"evil": true}')
    assert (await approved(house, own, shown["id"]))["status"] == "failed"
    assert not (own.workspace / "new").exists()


async def test_what_came_into_a_tree_after_it_was_asked_about_is_not_approved(house: House, own: Caller) -> None:
    (own.workspace / "tree/plain.txt").write_text("x")
    for operation in ("files.copy", "files.move"):
        shown = await asks(house, own, operation, {"source": "tree", "target": "new"})
        (own.workspace / "tree/plain.txt").rename(own.workspace / "tree/.envrc")  # as many entries as before
        assert (await approved(house, own, shown["id"]))["status"] == "failed"
        assert not (own.workspace / "new").exists()
        (own.workspace / "tree/.envrc").rename(own.workspace / "tree/plain.txt")


async def test_a_call_that_waits_for_something_else_names_what_steers_as_well(house: House, tmp_path: Path) -> None:
    agent = await house.agent()
    (agent.workspace / "tree/.vscode").mkdir(parents=True)
    (agent.workspace / "tree/.vscode/tasks.json").write_text("{}")
    response = await agent.call("files.copy", {"source": "tree", "target": f"{tmp_path}/out"})
    assert response.status_code == 202, response.text
    shown = await house.owner.done("approvals.show", {"id": response.json()["invocation"]})
    assert f"CHANGE path://local{tmp_path}/out/.vscode" in shown["resources"]
    assert "tasks.json: 2 bytes" in shown["preview"]["diff"]
    assert (await approved(house, agent, shown["id"]))["status"] == "done"
    assert (tmp_path / "out/.vscode/tasks.json").read_text() == "{}"


async def test_in_an_atomic_batch_nothing_is_done(own: Caller) -> None:
    calls = [
        {"operation": "files.write", "input": {"path": "a.txt", "content": "a"}},
        {"operation": "files.copy", "input": {"source": "tree", "target": "new"}},
    ]
    response = await own.http.post("/v1/batch", json={"mode": "atomic", "calls": calls})
    assert "needs-approval" in response.text
    assert not (own.workspace / "new").exists()
    assert not (own.workspace / "a.txt").exists()


async def test_in_the_background_it_fails_and_can_be_asked_for_ahead(house: House, own: Caller) -> None:
    call = {"source": "tree", "target": "new"}
    queued = await own.call("files.copy", call, Prefer="respond-async")
    ended = await own.get(f"/v1/invocations/{queued.json()['invocation']}")
    async with asyncio.timeout(30):
        while ended.json()["status"] in ("queued", "running"):
            await asyncio.sleep(0.02)
            ended = await own.get(f"/v1/invocations/{queued.json()['invocation']}")
    assert ended.json()["status"] == "failed"
    assert not (own.workspace / "new").exists()


async def test_a_patch_cannot_spell_its_way_there(own: Caller) -> None:
    for name in ("../x/.envrc", "a/../.envrc", "./.envrc", "/tmp/.envrc"):
        patch = f"--- /dev/null\n+++ b/{name}\n@@ -0,0 +1 @@\n+echo evil\n"
        response = await own.call("files.patch", {"root": ".", "patch": patch})
        assert response.status_code in (202, 403, 404, 422), (name, response.text)
    assert not (own.workspace / ".envrc").exists()


async def test_a_scheduled_call_does_not_go_around(house: House, own: Caller) -> None:
    asked = {"operation": "files.write", "input": {"path": ".envrc", "content": "x"}, "cron": "* * * * *"}
    response = await own.call("jobs.schedule", asked)
    assert response.status_code in (202, 403), response.text


async def test_it_is_explained_in_words(house: House, own: Caller) -> None:
    told = await house.owner.done(
        "policy.explain",
        {
            "operation": "files.write",
            "input": {"path": f"{own.workspace}/.envrc", "content": ""},
            "actor": f"agent:{own.name}",
        },
    )
    assert told["verdict"] == "ask"
    assert "that agents take for orders" in str(told)


async def test_a_denied_place_in_a_tree_stays_denied(house: House, own: Caller) -> None:
    deny = {"effect": "deny", "subject": f"agent:{own.name}", "operations": ["files.*"], "effects": ["CHANGE"]}
    made = await house.owner.done(
        "grants.create", {"grant": {**deny, "where": {"paths": [f"{own.workspace}/new/locked/**"]}}}
    )
    (own.workspace / "plainly/locked").mkdir(parents=True)
    (own.workspace / "plainly/locked/x").write_text("x")
    response = await own.call("files.copy", {"source": "plainly", "target": "new"})
    assert response.status_code in (403, 404), response.text
    assert not (own.workspace / "new").exists()
    await house.owner.done("grants.revoke", {"id": made["id"]})
