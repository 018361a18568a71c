"""Changing policy over HTTP: versions, proposals bound by their hash, people only, undo, and files for Git."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from superagent.core.invocation import Call
from superagent.core.principal import Credential, Facts, Secret
from tests.promise import promise
from tests.surfaces.http.house import Caller, House, problem_of

pytestmark = pytest.mark.asyncio(loop_scope="session")


def reading(agent: Caller, folder: Path) -> dict[str, Any]:
    return {
        "effect": "allow", "subject": f"agent:{agent.name}", "operations": ["files.read"],
        "where": {"paths": [f"{folder}/**"]},
    }  # fmt: skip


async def status(agent: Caller, path: Path) -> int:
    return (await agent.call("files.read", {"path": str(path)})).status_code


async def version(house: House) -> dict[str, Any]:
    return (await house.owner.done("policy.list", {"limit": 1}))["version"]


@promise("1.1")
async def test_what_an_agent_proposes_waits_until_a_person_applies_exactly_that(house: House, tmp_path: Path) -> None:
    agent = await house.agent()
    (tmp_path / "f").write_text("x")
    made = await agent.done("policy.propose", {"add": [reading(agent, tmp_path)], "reason": "I need it"})
    assert (made["state"], made["hash"], made["diff"]) == ("waiting", "", "")
    assert await status(agent, tmp_path / "f") == 202

    shown = next(one for one in (await house.owner.done("policy.proposals"))["proposals"] if one["id"] == made["id"])
    before = await version(house)
    applied = await house.owner.done(
        "policy.apply", {"proposal": made["id"], "hash": shown["hash"], "reason": "looked at it"}
    )

    assert await status(agent, tmp_path / "f") == 200
    now = await version(house)
    assert (applied["before"], applied["version"]) == (before["number"], now["number"])
    assert (now["author"], now["reason"]) == ("owner", "looked at it")
    assert now["number"] == before["number"] + 1
    assert now["digest"] != before["digest"]
    assert shown["added"][0]["grant"] == reading(agent, tmp_path)


async def test_a_decision_bears_the_version_it_was_taken_under(house: House, tmp_path: Path) -> None:
    agent = await house.agent()
    await house.owner.done("policy.apply", {"add": [reading(agent, tmp_path)]})
    (tmp_path / "f").write_text("x")

    response = await agent.call("files.read", {"path": str(tmp_path / "f")})

    number = (await version(house))["number"]
    assert response.json()["decision"]["policy_version"] == number
    record = (await house.records(invocation=response.headers["x-invocation-id"]))[0]
    assert record["policy_version"] == number


async def test_undo_puts_the_previous_version_in_force_and_can_be_undone(house: House, tmp_path: Path) -> None:
    agent = await house.agent()
    (tmp_path / "f").write_text("x")
    applied = await house.owner.call("policy.apply", {"add": [reading(agent, tmp_path)]})
    assert await status(agent, tmp_path / "f") == 200

    undone = await house.owner.http.post(f"/v1/invocations/{applied.headers['x-invocation-id']}/undo")
    assert undone.status_code == 200, undone.text
    assert await status(agent, tmp_path / "f") == 202

    again = await house.owner.http.post(f"/v1/invocations/{undone.headers['x-invocation-id']}/undo")
    assert again.status_code == 200, again.text
    assert await status(agent, tmp_path / "f") == 200


async def test_undo_refuses_when_somebody_changed_the_policy_since(house: House, tmp_path: Path) -> None:
    agent = await house.agent()
    applied = await house.owner.call("policy.apply", {"add": [reading(agent, tmp_path)]})
    await house.owner.done("grants.create", {"grant": reading(agent, tmp_path / "other")})

    undone = await house.owner.http.post(f"/v1/invocations/{applied.headers['x-invocation-id']}/undo")

    problem_of(undone, 409, "conflict")


async def test_a_proposal_does_not_apply_to_another_policy_than_was_shown(house: House, tmp_path: Path) -> None:
    agent = await house.agent()
    made = await house.owner.done("policy.propose", {"add": [reading(agent, tmp_path)]})
    await house.owner.done("grants.create", {"grant": reading(agent, tmp_path / "meanwhile")})
    before = await version(house)

    late = await house.owner.call("policy.apply", {"proposal": made["id"], "hash": made["hash"]})
    other = await house.owner.call("policy.apply", {"proposal": made["id"], "hash": "0" * 64})
    without = await house.owner.call("policy.apply", {"proposal": made["id"]})
    mixed = await house.owner.call(
        "policy.apply", {"proposal": made["id"], "hash": made["hash"], "add": [reading(agent, tmp_path)]}
    )

    problem_of(late, 409, "conflict")
    problem_of(other, 409, "conflict")
    problem_of(without, 422, "invalid-input")
    problem_of(mixed, 422, "invalid-input")
    assert await version(house) == before


async def test_a_proposal_is_applied_once(house: House, tmp_path: Path) -> None:
    agent = await house.agent()
    made = await house.owner.done("policy.propose", {"add": [reading(agent, tmp_path)]})
    await house.owner.done("policy.apply", {"proposal": made["id"], "hash": made["hash"]})

    problem_of(await house.owner.call("policy.apply", {"proposal": made["id"], "hash": made["hash"]}), 409, "conflict")
    problem_of(await house.owner.call("policy.withdraw", {"id": made["id"]}), 409, "conflict")


@promise("1.1")
@pytest.mark.parametrize("role", ["agent", "owner", "admin"])
async def test_an_agent_applies_nothing_by_any_door(house: House, tmp_path: Path, role: str) -> None:
    """Not even one whose role and own grants allow everything: direct, previewed, batched, streamed, nested, undone."""
    agent = await house.agent(role=role)
    everything = {"effect": "allow", "subject": f"agent:{agent.name}", "operations": ["*"]}
    widened = await house.owner.call("policy.apply", {"add": [everything]})
    before, change = await version(house), {"add": [everything | {"operations": ["files.*"]}]}
    call = {"operation": "policy.apply", "input": change}

    direct = await agent.call("policy.apply", change)
    dry = await agent.call("policy.apply", change, X_Dry_Run="true")
    later = await agent.call("policy.apply", change, Prefer="respond-async")
    batch = await agent.http.post("/v1/batch", json={"mode": "sequential", "calls": [call]})
    stream = await agent.http.post("/v1/stream", content=json.dumps({"id": "1", **call}) + "\n")
    undo = await agent.http.post(f"/v1/invocations/{widened.headers['x-invocation-id']}/undo")
    job = await agent.call("jobs.schedule", {"name": "x", "operation": "policy.apply", "input": change, "every_s": 60})

    for refused in (direct, dry, later):
        problem_of(refused, 404, "not-found")
        assert (await house.refusal(refused))["operation"] == "policy.apply"
    assert batch.json()["outcomes"][0]["problem"]["status"] == 404
    assert json.loads(stream.text.splitlines()[0])["problem"]["status"] == 404
    assert undo.status_code in (403, 404), undo.text
    assert job.status_code in (202, 403, 404, 422), job.text
    assert await version(house) == before


async def test_agents_see_only_their_own_proposals_and_name_no_ids(house: House, tmp_path: Path) -> None:
    agent, other = await house.agent(), await house.agent()
    made = await other.done("policy.propose", {"add": [reading(other, tmp_path)]})

    mine = await agent.done("policy.proposals")
    withdrawn = await agent.call("policy.withdraw", {"id": made["id"]})
    named = await agent.call("policy.propose", {"remove": ["grant_1"]})

    assert mine["proposals"] == []
    problem_of(withdrawn, 404, "not-found")
    problem_of(named, 422, "invalid-input")
    gone = await other.call("policy.withdraw", {"id": made["id"]})
    assert gone.json()["output"]["state"] == "withdrawn"


async def test_a_change_that_would_lock_its_author_out_is_refused(house: House) -> None:
    before = await version(house)
    grant = {"effect": "deny", "subject": "*", "operations": ["*"]}
    problem_of(await house.owner.call("policy.apply", {"add": [grant]}), 409, "conflict")
    assert await version(house) == before


@promise("1.1")
@pytest.mark.parametrize("format", ["toml", "json"])
async def test_a_policy_goes_to_a_file_and_back(house: House, tmp_path: Path, format: str) -> None:
    agent = await house.agent()
    grant = reading(agent, tmp_path) | {"when": {"hours": "mon-fri 08:00-18:00"}, "max_risk": "LOW"}
    made = await house.owner.done("grants.create", {"grant": grant})
    file = await house.owner.done("policy.export", {"format": format})
    await house.owner.done("grants.revoke", {"id": made["id"]})

    proposal = await house.owner.done("policy.import", {"text": file["text"], "format": format, "reason": "from Git"})
    assert [one["grant"] for one in proposal["added"]] == [grant]
    assert proposal["removed"] == []
    await house.owner.done("policy.apply", {"proposal": proposal["id"], "hash": proposal["hash"]})

    again = await house.owner.done("policy.export", {"format": format})
    assert (again["text"], again["digest"]) == (file["text"], file["digest"])
    same = await house.owner.call("policy.import", {"text": file["text"], "format": format}, X_Dry_Run="true")
    assert "is what the file says" in same.json()["output"]["summary"]


@pytest.mark.parametrize(
    ("text", "format"),
    [
        ("{", "json"), ('{"grants": [], "grants": []}', "json"), ("[1]", "json"), ("[[grants]]\neffect = 1", "toml"),
        ("x = ", "toml"), ('[[grants]]\neffect = "allow"\noperations = ["*"]', "toml"),
        ('{"grants": [{"effect": "allow", "operations": ["*"], "subject": "key:abc"}]}', "json"),
        ('{"grants": [{"effect": "allow", "operations": ["*"], "subject": "*", "instance": true}]}', "json"),
    ],
)  # fmt: skip
async def test_a_file_that_is_no_policy_is_refused(house: House, text: str, format: str) -> None:
    problem_of(await house.owner.call("policy.import", {"text": text, "format": format}), 422, "invalid-input")


async def test_versions_and_differences_are_told(house: House, tmp_path: Path) -> None:
    agent = await house.agent()
    before = (await version(house))["number"]
    await house.owner.done("policy.apply", {"add": [reading(agent, tmp_path)], "reason": "for the test"})

    newest = (await house.owner.done("policy.versions", {"limit": 1}))["versions"][0]
    told = await house.owner.done("policy.diff")
    since = await house.owner.done("policy.diff", {"from": before, "to": newest["number"]})
    back = await house.owner.done("policy.diff", {"from": newest["number"], "to": before})

    assert (newest["number"], newest["author"], newest["reason"]) == (before + 1, "owner", "for the test")
    assert told == since
    assert [one["grant"] for one in told["added"]] == [reading(agent, tmp_path)]
    assert "+{" in told["diff"]
    assert [one["grant"] for one in back["removed"]] == [reading(agent, tmp_path)]
    problem_of(await house.owner.call("policy.diff", {"to": 10**6}), 404, "not-found")


@promise("1.1")
async def test_applying_needs_a_fresh_second_factor(house: House, tmp_path: Path) -> None:
    """The owner's key counts as one on this very machine only (rules.md 11)."""
    agent = await house.agent()
    kernel, before = house.installation.kernel, await version(house)
    far = await kernel.identify(Credential("bearer", Secret(house.owner.key), Facts("192.0.2.1", "", "http")))

    refused = await kernel.run(Call("policy.apply", {"add": [reading(agent, tmp_path)]}), far, "http")
    proposed = await kernel.run(Call("policy.propose", {"add": [reading(agent, tmp_path)]}), far, "http")

    assert refused.problem is not None
    assert (refused.problem.slug, proposed.problem) == ("step-up-required", None)
    assert await version(house) == before
    records = await house.records(invocation=refused.invocation)
    assert [(one["kind"], one["decision"]) for one in records] == [("refused", "step_up")]


async def test_a_proposal_can_be_taken_back_and_that_too(house: House, tmp_path: Path) -> None:
    agent = await house.agent()
    made = await agent.call("policy.propose", {"add": [reading(agent, tmp_path)]})
    id = made.json()["output"]["id"]

    async def state() -> str:
        found = (await agent.done("policy.proposals", {"state": None}))["proposals"]
        return next(one["state"] for one in found if one["id"] == id)

    undone = await agent.http.post(f"/v1/invocations/{made.headers['x-invocation-id']}/undo")
    assert (undone.status_code, await state()) == (200, "withdrawn")
    other = await agent.call("policy.propose", {"add": [reading(agent, tmp_path)]})
    withdrawn = await agent.call("policy.withdraw", {"id": other.json()["output"]["id"]})
    again = await agent.http.post(f"/v1/invocations/{withdrawn.headers['x-invocation-id']}/undo")
    assert again.status_code == 200, again.text
    assert len((await agent.done("policy.proposals"))["proposals"]) == 1


async def test_looking_first_changes_nothing(house: House, tmp_path: Path) -> None:
    agent = await house.agent()
    before, change = await version(house), {"add": [reading(agent, tmp_path)]}

    looked = [
        await house.owner.call("policy.propose", change, X_Dry_Run="true"),
        await house.owner.call("policy.apply", change, X_Dry_Run="true"),
        await agent.call("policy.propose", change, X_Dry_Run="true"),
    ]

    shown = [one.json()["output"] for one in looked]
    assert all("add 1 grants and end 0" in one["summary"] for one in shown)
    assert [bool(one["diff"]) for one in shown] == [True, True, False]
    assert await version(house) == before
    hash = shown[1]["summary"].rpartition(" ")[2]
    applied = await house.owner.done("policy.apply", {**change, "hash": hash})
    assert applied["version"] == before["number"] + 1


async def test_lists_come_in_pages(house: House, tmp_path: Path) -> None:
    agent = await house.agent()
    for at in range(3):
        await agent.done("policy.propose", {"add": [reading(agent, tmp_path / str(at))]})

    grants: list[str] = []
    cursor = None
    while True:
        page = await house.owner.done("policy.list", {"limit": 7, "cursor": cursor})
        grants += [one["id"] for one in page["grants"]]
        cursor = page["cursor"]
        if cursor is None:
            break
    whole = await house.owner.done("policy.list", {"limit": 200})
    assert grants == [one["id"] for one in whole["grants"]]
    only = await house.owner.done("policy.list", {"subject": "role:auditor", "operation": "audit.query"})
    assert [one["id"] for one in only["grants"]] == ["role:auditor:1"]

    first = await agent.done("policy.proposals", {"limit": 2})
    rest = await agent.done("policy.proposals", {"limit": 2, "cursor": first["cursor"]})
    assert (len(first["proposals"]), len(rest["proposals"]), rest["cursor"]) == (2, 1, None)

    newest = await house.owner.done("policy.versions", {"limit": 1})
    older = await house.owner.done("policy.versions", {"limit": 1, "cursor": newest["cursor"]})
    assert older["versions"][0]["number"] == newest["versions"][0]["number"] - 1
    problem_of(await house.owner.call("policy.list", {"cursor": "x"}), 422, "invalid-input")


@pytest.mark.parametrize(
    "change", [{}, {"add": [{"effect": "allow", "operations": ["*"]}]}, {"remove": ["role:owner:1"]}, {"remove": ["x"]}]
)
async def test_a_change_that_makes_no_sense_is_refused(house: House, change: dict[str, Any]) -> None:
    problem_of(await house.owner.call("policy.propose", change), 422, "invalid-input")
    problem_of(await house.owner.call("policy.apply", change), 422, "invalid-input")


async def test_a_toml_file_says_what_json_says_whatever_texts_there_are(house: House) -> None:
    awkward = 'a"b\\c\n\x7f\u2028é😀'
    grant = {
        "effect": "ask", "subject": "agent:x", "operations": ["files.read"], "undoable": True,
        "where": {"paths": ["/srv/ü/**"], "args": {awkward: [awkward, 1, 2.5, True], "plain": "x"}},
        "require": {"approvals": 2, "by": ["role:admin"]},
    }  # fmt: skip
    made = await house.owner.done("grants.create", {"grant": grant})
    file = await house.owner.done("policy.export", {"format": "toml"})
    assert grant in tomllib.loads(file["text"])["grants"]

    null = await house.owner.done("grants.create", {"grant": {**grant, "where": {"args": {"x": None}}}})
    problem_of(await house.owner.call("policy.export", {"format": "toml"}), 422, "invalid-input")
    json_file = await house.owner.done("policy.export", {"format": "json"})
    assert {"args": {"x": None}} in [one.get("where") for one in json.loads(json_file["text"])["grants"]]
    for one in (made, null):
        await house.owner.done("grants.revoke", {"id": one["id"]})


async def test_a_long_change_is_shown_in_part_and_listed_in_pages(house: House) -> None:
    where = {"paths": [f"/srv/{'x' * 80}"]}
    grants = [
        {"effect": "deny", "subject": f"agent:long-{at:04}", "operations": ["files.read"], "where": where}
        for at in range(600)
    ]
    made = await house.owner.done("policy.propose", {"add": grants})
    assert (made["adds"], made["ends"], len(made["added"])) == (600, 0, 100)
    assert "lists every change in pages" in made["diff"][-200:]

    listed: list[str] = []
    cursor = None
    while True:
        page = await house.owner.done("policy.diff", {"proposal": made["id"], "limit": 200, "cursor": cursor})
        listed += [one["grant"]["subject"] for one in page["added"]]
        assert page["diff"].count("\n+{") == len(page["added"])
        cursor = page["cursor"]
        if cursor is None:
            break
    assert listed == [one["subject"] for one in grants]

    applied = await house.owner.call("policy.apply", {"proposal": made["id"], "hash": made["hash"]})
    assert applied.json()["output"]["added"] == 600
    undone = await house.owner.http.post(f"/v1/invocations/{applied.headers['x-invocation-id']}/undo")
    assert undone.status_code == 200, undone.text
    subjects = (await house.owner.done("policy.list", {"subject": "agent:long-0001"}))["grants"]
    assert subjects == []


async def test_an_agent_proposes_no_more_than_somebody_could_read(house: House) -> None:
    agent = await house.agent()
    many = [reading(agent, Path(f"/srv/{at}")) for at in range(500)]
    problem_of(await agent.call("policy.propose", {"add": many}), 413, "too-large")
    assert (await agent.done("policy.proposals"))["proposals"] == []


@pytest.mark.parametrize(
    ("operation", "input"),
    [("policy.versions", {"cursor": 2**63}), ("policy.versions", {"cursor": -1}), ("policy.diff", {"from": 2**70})],
)
async def test_a_number_that_no_version_has_is_refused(house: House, operation: str, input: dict[str, int]) -> None:
    refused = problem_of(await house.owner.call(operation, input), 422, "invalid-input")
    assert refused["changed"] == "nothing"
