"""`undo.*` over HTTP on real files: one call, a whole session, the plan, the conflict, the undo of an undo."""

from __future__ import annotations

import time

import pytest

from tests.promise import promise
from tests.surfaces.http.house import Caller, House, problem_of

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def wrote(agent: Caller, path: str, content: str, session: str = "") -> str:
    headers = {"Superagent-Session": session} if session else {}
    response = await agent.call("files.write", {"path": path, "content": content}, **headers)
    assert response.status_code == 200, response.text
    return response.headers["x-invocation-id"]


@promise("6.1")
async def test_a_change_is_taken_back_by_its_invocation_and_given_again_by_that_ones(house: House) -> None:
    agent = await house.agent()
    (agent.workspace / "f").write_text("before")
    id = await wrote(agent, "f", "after")

    undone = await agent.http.post(f"/v1/invocations/{id}/undo")
    after_undo = (agent.workspace / "f").read_text()
    redone = await agent.http.post(f"/v1/invocations/{undone.json()['invocation']}/undo")

    assert undone.json()["output"]["invocations"] == [id]
    assert after_undo == "before"
    assert redone.status_code == 200, redone.text
    assert (agent.workspace / "f").read_text() == "after"


async def test_an_undo_can_be_a_dry_run(house: House) -> None:
    agent = await house.agent()
    id = await wrote(agent, "f", "x\n")

    shown = (await agent.http.post(f"/v1/invocations/{id}/undo?dry_run=true")).json()

    assert shown["status"] == "previewed"
    assert shown["output"]["changes"] == [f"path://local{agent.workspace}/f"]
    assert (agent.workspace / "f").exists()


@promise("6.1")
async def test_a_whole_session_is_taken_back_in_reverse(house: House) -> None:
    agent = await house.agent()
    (agent.workspace / "f").write_text("0")
    for content in ("1", "2", "3"):
        await wrote(agent, "f", content, "s")
    await wrote(agent, "g", "new", "s")
    await wrote(agent, "h", "other session")

    await agent.done("undo.apply", {"session": "s"})

    assert {one.name: one.read_text() for one in agent.workspace.iterdir()} == {"f": "0", "h": "other session"}


async def test_the_plan_says_what_would_happen_and_what_stands_against_it(house: House) -> None:
    agent = await house.agent()
    id = await wrote(agent, "f", "one\n")

    free = await agent.done("undo.plan", {"ids": [id]})
    (agent.workspace / "f").write_text("somebody else\n")
    blocked = await agent.done("undo.plan", {"ids": [id]})
    refused = await agent.http.post(f"/v1/invocations/{id}/undo")

    assert free["possible"] is True
    assert blocked["possible"] is False
    assert "changed it since" in blocked["steps"][0]["conflict"]
    assert problem_of(refused, 409, "conflict")["changed"] == "nothing"
    assert (agent.workspace / "f").read_text() == "somebody else\n"


async def test_a_dry_run_of_an_undo_that_would_be_refused_says_so(house: House) -> None:
    agent = await house.agent()
    for name in ("f", "g"):
        await wrote(agent, name, "one\n", "s")
        (agent.workspace / name).write_text("somebody else\n")

    shown = await agent.call("undo.apply", {"session": "s"}, X_Dry_Run="true")

    found = shown.json()["output"]
    assert "would be refused" in found["summary"]
    assert f"{agent.workspace}/g: somebody changed it since, and 1 more" in found["summary"]
    assert (len(found["conflicts"]), found["changes"]) == (2, [])


async def test_what_was_taken_back_is_not_taken_back_twice(house: House) -> None:
    agent = await house.agent()
    id = await wrote(agent, "f", "x")
    await agent.http.post(f"/v1/invocations/{id}/undo")

    problem_of(await agent.http.post(f"/v1/invocations/{id}/undo"), 409, "conflict")


async def test_one_has_to_say_exactly_what_is_meant(agent: Caller) -> None:
    for input in ({}, {"ids": ["x"], "session": "s"}, {"session": "s", "since": 5.0}):
        problem_of(await agent.call("undo.apply", input), 422, "invalid-input")


async def test_nothing_kept_is_not_found(agent: Caller) -> None:
    problem_of(await agent.call("undo.apply", {"ids": ["01ARZ3NDEKTSV4RRFFQ69G5FAV"]}), 404, "not-found")
    problem_of(await agent.call("undo.apply", {"session": "never"}), 404, "not-found")


@promise("6.1")
async def test_an_owner_takes_back_what_an_agent_did_for_it_and_another_agent_does_not(house: House) -> None:
    agent, other = await house.agent(), await house.agent()
    id = await wrote(agent, "f", "x")

    refused = await other.http.post(f"/v1/invocations/{id}/undo")
    listed = await other.done("undo.list")
    undone = await house.owner.http.post(f"/v1/invocations/{id}/undo")

    problem_of(refused, 404, "not-found")
    assert listed["entries"] == []
    assert undone.status_code == 200, undone.text
    assert not (agent.workspace / "f").exists()


@promise("6.1")
async def test_an_undo_of_ones_own_is_taken_back_only_with_the_rights_to_the_first_change(house: House) -> None:
    agent = await house.agent()
    (agent.workspace / "d").mkdir()
    outside = agent.workspace.parent / "elsewhere"
    outside.mkdir()
    undone = await agent.call("undo.apply", {"ids": [await wrote(agent, "d/f", "planted")]})
    (agent.workspace / "d").rename(agent.workspace / "old")
    (agent.workspace / "d").symlink_to(outside)  # an agent can make such a link by unpacking and moving

    refused = await agent.call("undo.apply", {"ids": [undone.json()["invocation"]]})

    assert refused.status_code in (403, 404, 409), refused.text
    assert list(outside.iterdir()) == []


@promise("6.1")
async def test_who_lost_the_right_to_a_place_does_not_get_it_back_by_undoing_an_undo(house: House) -> None:
    agent = await house.agent()
    undone = await agent.call("undo.apply", {"ids": [await wrote(agent, "f", "x")]})
    who = (await agent.done("access.whoami"))["id"]
    grant = {"effect": "deny", "subject": f"agent:{who}", "operations": ["files.*"]}
    await house.owner.done("grants.create", {"grant": grant})

    refused = await agent.call("undo.apply", {"ids": [undone.json()["invocation"]]})
    plan = await agent.call("undo.plan", {"ids": [undone.json()["invocation"]]})

    problem_of(refused, 404, "not-found")
    problem_of(plan, 404, "not-found")
    assert not (agent.workspace / "f").exists()


@promise("6.1")
async def test_a_tree_with_a_part_that_is_denied_is_neither_shown_nor_taken_back(house: House) -> None:
    agent = await house.agent()
    id = (
        await house.owner.call("files.mkdir", {"path": f"{agent.workspace}/t2/secret/hidden", "parents": True})
    ).json()
    who = (await agent.done("access.whoami"))["id"]
    where = {"paths": [f"{agent.workspace}/t2/secret/**"]}
    grant = {"effect": "deny", "subject": f"agent:{who}", "operations": ["*"], "where": where}
    await house.owner.done("grants.create", {"grant": grant})

    plan = await agent.call("undo.plan", {"ids": [id["invocation"]]})
    refused = await agent.call("undo.apply", {"ids": [id["invocation"]]})

    assert "hidden" not in plan.text
    problem_of(refused, 403, "denied")
    assert (agent.workspace / "t2" / "secret" / "hidden").is_dir()


@promise("6.1")
async def test_everything_since_a_time_ends_as_it_was_then_also_where_undos_are_among_it(house: House) -> None:
    agent = await house.agent()
    first = await wrote(agent, "early", "1")
    await agent.done("undo.apply", {"ids": [await wrote(agent, "gone-before", "1")]})
    since = time.time()
    await wrote(agent, "kept", "1")
    await agent.done("undo.apply", {"ids": [await wrote(agent, "undone", "1")]})
    redone = await agent.call("undo.apply", {"ids": [await wrote(agent, "redone", "1")]})
    await agent.done("undo.apply", {"ids": [redone.json()["invocation"]]})
    await agent.done("undo.apply", {"ids": [first]})
    both = [await wrote(agent, "early", "2"), await wrote(agent, "late", "2")]
    await agent.done("undo.apply", {"ids": both})

    shown = await agent.call("undo.apply", {"since": since}, X_Dry_Run="true")
    await agent.done("undo.apply", {"since": since})

    assert {one.name: one.read_text() for one in agent.workspace.iterdir()} == {"early": "1"}
    assert shown.json()["output"]["conflicts"] == []
    named = {one.rpartition("/")[2] for one in shown.json()["output"]["changes"]}
    assert named == {"kept", "redone", "early"}


@promise("6.1")
async def test_an_undo_that_reached_further_back_is_taken_back_with_what_it_took_of_this(house: House) -> None:
    agent = await house.agent()
    (agent.workspace / "f").write_text("0")
    ids = [await wrote(agent, "f", "1")]
    since = time.time()
    ids += [await wrote(agent, "f", "2"), await wrote(agent, "g", "2")]
    await agent.done("undo.apply", {"ids": ids})

    await agent.done("undo.apply", {"since": since})

    assert {one.name: one.read_text() for one in agent.workspace.iterdir()} == {"f": "1"}


async def test_where_everything_since_a_time_was_undone_there_is_nothing_to_take_back(house: House) -> None:
    agent = await house.agent()
    since = time.time()
    await agent.done("undo.apply", {"ids": [await wrote(agent, "f", "1")]})

    problem_of(await agent.call("undo.apply", {"since": since}), 409, "conflict")
    assert not (agent.workspace / "f").exists()
