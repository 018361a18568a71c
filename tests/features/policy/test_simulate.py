"""`policy.simulate` over HTTP: which calls of the past a change of policy would answer otherwise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.promise import promise
from tests.surfaces.http.house import Caller, House, problem_of

pytestmark = pytest.mark.asyncio(loop_scope="session")


def about(agent: Caller, effect: str, folder: Path, **more: Any) -> dict[str, Any]:
    return {
        "effect": effect, "subject": f"agent:{agent.name}", "operations": ["files.*"],
        "where": {"paths": [f"{folder}/**"]}, **more,
    }  # fmt: skip


async def simulated(house: House, agent: Caller, **change: Any) -> dict[tuple[str, str], dict[str, Any]]:
    told = await house.owner.done("policy.simulate", change)
    assert told["complete"]
    return {(one["operation"], (one["resources"] or [""])[0]): one for one in told["flips"] if one["who"] == agent.name}


@promise("1.1")
async def test_a_deny_flips_what_was_allowed_and_an_allow_what_was_refused(house: House, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "f").write_text("x")
    grants = [about_key("allow", tmp_path / "in", ["READ"]), about_key("deny", tmp_path / "in" / "no", [])]
    agent = await house.agent(grants=grants)
    allowed = await agent.call("files.read", {"path": str(tmp_path / "in" / "f")})
    refused = await agent.call("files.write", {"path": str(tmp_path / "in" / "f"), "content": "y"})
    assert (allowed.status_code, refused.status_code) == (200, 404)

    tighter = await simulated(house, agent, add=[about(agent, "deny", tmp_path / "in")])
    wider = await simulated(house, agent, add=[about(agent, "allow", tmp_path / "in")])
    same = await simulated(house, agent, add=[about(agent, "allow", tmp_path / "elsewhere")])

    read = tighter["files.read", f"path://local{tmp_path}/in/f"]
    assert (read["recorded"], read["now"], read["then"], read["sure"]) == ("allow", "allow", "deny", True)
    assert read["invocation"] == allowed.headers["x-invocation-id"]
    assert [one["id"] for one in read["grants"] if one["id"].startswith("new:")] == ["new:1"]
    # what its caller could not even see was never looked at: only that much is known
    assert [(one["recorded"], one["now"], one["then"], one["sure"]) for one in same.values()] == [
        ("deny", "deny", "depends", False)
    ]
    assert set(wider) == set(same) == {("files.write", "")}


async def test_what_a_refusal_touched_is_replayed_as_well(house: House, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("x")
    agent = await house.agent(grants=[about_key("allow", tmp_path, ["READ"])])
    await house.owner.done("grants.create", {"grant": about(agent, "ask", tmp_path, effects=["DESTROY"])})
    made = await house.owner.done("grants.create", {"grant": about(agent, "deny", tmp_path, effects=["READ"])})
    refused = await agent.call("files.read", {"path": str(tmp_path / "f")})
    problem_of(refused, 403, "denied")

    flips = await simulated(house, agent, remove=[made["id"]])

    read = flips["files.read", f"path://local{tmp_path}/f"]
    assert (read["recorded"], read["now"], read["then"]) == ("deny", "deny", "allow")


async def test_a_grant_on_arguments_makes_the_answer_unsure(house: House, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("x")
    agent = await house.agent(grants=[about_key("allow", tmp_path, ["READ"])])
    await agent.done("files.read", {"path": str(tmp_path / "f")})
    on_input = about(agent, "deny", tmp_path)
    on_input["where"]["args"] = {"path": "*/f"}

    flips = await simulated(house, agent, add=[on_input, about(agent, "deny", tmp_path)])

    assert not flips["files.read", f"path://local{tmp_path}/f"]["sure"]


async def test_it_replays_a_proposal_and_only_a_range_of_time(house: House, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("x")
    agent = await house.agent(grants=[about_key("allow", tmp_path, ["READ"])])
    await agent.done("files.read", {"path": str(tmp_path / "f")})
    proposal = await house.owner.done("policy.propose", {"add": [about(agent, "deny", tmp_path)]})

    assert len(await simulated(house, agent, proposal=proposal["id"])) == 1
    assert len(await simulated(house, agent, proposal=proposal["id"], until=1.0)) == 0


async def test_whoever_may_not_search_the_audit_may_not_replay_it(house: House) -> None:
    admin = await house.agent(role="admin")
    refused = await admin.call("policy.simulate", {"add": [about(admin, "deny", Path("/srv"))]})
    problem_of(refused, 404, "not-found")
    kinds = [one["kind"] for one in await house.records(operation="audit.query", actor=admin.name)]
    assert "refused" in kinds


def about_key(effect: str, folder: Path, effects: list[str]) -> dict[str, Any]:
    return {"effect": effect, "operations": ["files.*"], "effects": effects, "where": {"paths": [f"{folder}/**"]}}


@promise("1.1")
async def test_of_an_agent_with_several_keys_each_call_is_replayed_by_its_own(house: House, tmp_path: Path) -> None:
    for name in ("f", "g"):
        (tmp_path / name).write_text("x")
    first = await house.agent(grants=[about_key("allow", tmp_path, ["READ"])])
    only = [about_key("allow", tmp_path / "g", ["READ"])]
    wide = [about_key("allow", tmp_path, ["READ", "CHANGE"])]
    made = [
        await house.owner.done("access.keys.create", {"name": name, "agent": first.name, **more})
        for name, more in (("narrow", {"only": only}), ("writes", {"grants": wide}))
    ]
    narrow, writes = (house.caller(one["agent"], one["key"]) for one in made)
    input = {"path": str(tmp_path / "f"), "content": "y"}
    written = await writes.call("files.write", input)
    assert written.status_code == 200, written.text
    assert (await first.call("files.write", input)).status_code == 404
    records = await house.records(invocation=written.headers["x-invocation-id"])
    assert {one.get("key") for one in records if one["kind"] in ("intent", "outcome")} == {made[1]["id"]}

    flips = await simulated(house, first, add=[about(first, "deny", tmp_path, effects=["CHANGE"])])

    # by its first key this very call was refused already, so only what the third key did is another now
    write = flips["files.write", f"path://local{tmp_path}/f"]
    assert (write["recorded"], write["now"], write["then"]) == ("allow", "allow", "deny")
    assert write["invocation"] == written.headers["x-invocation-id"]
    # the key with bounds reads one of the two: what is allowed to the agent does not widen it
    assert (await narrow.call("files.read", {"path": str(tmp_path / "f")})).status_code == 404
    wider = await simulated(house, first, add=[about(first, "allow", tmp_path, effects=["READ", "CHANGE"])])
    assert ("files.read", f"path://local{tmp_path}/f") not in wider
