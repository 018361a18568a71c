"""`audit.*` over HTTP: searching, proving, exporting; and for the installation what belongs to no tenant."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.features.access.people import tenant
from tests.promise import promise
from tests.surfaces.http.house import Caller, House, house_in, problem_of

pytestmark = pytest.mark.asyncio(loop_scope="session")


@promise("6.1")
async def test_the_same_call_through_every_http_door_leaves_the_same_record(house: House) -> None:
    agent = await house.agent()
    (agent.workspace / "f").write_text("x")
    call = {"operation": "files.read", "input": {"path": "f"}}

    await agent.done("files.read", {"path": "f"})
    await agent.http.post("/v1/batch", json={"calls": [call]})
    await agent.http.post("/v1/stream", content=json.dumps(call).encode())

    found = (await house.owner.done("audit.query", {"actor": agent.name, "operation": "files.read"}))["records"]
    assert [one["channel"] for one in found] == ["stream", "batch", "http"]
    same = ("operation", "input_digest", "resources", "decision_digest", "output_digest", "who")
    assert len({json.dumps([one[name] for name in same]) for one in found}) == 1


async def test_records_are_found_by_every_filter(house: House) -> None:
    agent = await house.agent()
    done = await agent.call("files.write", {"path": "found-me", "content": "x"}, Superagent_Reason="for the record")
    id = done.headers["x-invocation-id"]

    for filters in (
        {"invocation": id}, {"actor": agent.name, "operation": "files.*"}, {"text": "for the record"},
        {"text": "FOUND-ME"}, {"resource": f"path://local{agent.workspace}/found-me"},
    ):  # fmt: skip
        found = (await house.owner.done("audit.query", filters))["records"]
        assert {one["invocation"] for one in found} == {id}, filters
    none = await house.owner.done("audit.query", {"actor": agent.name, "until": 1.0})
    assert none == {"records": [], "cursor": None}


async def test_records_are_given_by_pages(house: House) -> None:
    agent = await house.agent()
    for _ in range(5):
        await agent.done("access.whoami")

    first = await house.owner.done("audit.query", {"actor": agent.name, "limit": 3})
    second = await house.owner.done("audit.query", {"actor": agent.name, "limit": 3, "cursor": first["cursor"]})

    assert len(first["records"]) == 3
    assert len({one["invocation"] for one in first["records"] + second["records"]}) == 5


async def test_a_cursor_that_is_none_is_refused(house: House) -> None:
    problem_of(await house.owner.call("audit.query", {"cursor": "x"}), 422, "invalid-input")


@promise("6.1")
async def test_the_whole_audit_verifies(house: House) -> None:
    found = await house.owner.done("audit.verify")

    assert (found["ok"], found["faults"]) == (True, [])
    assert found["records"] > 0
    assert found["chains"] >= 1


@promise("1.1a")
async def test_a_tenant_learns_the_verdict_and_how_much_it_did_itself_and_nothing_of_others(house: House) -> None:
    boss = await tenant(house)
    name = (await boss.done("access.whoami"))["tenant"]
    before = await boss.done("audit.verify")
    for _ in range(5):
        await house.owner.done("access.whoami")  # what others do meanwhile
    after = await boss.done("audit.verify")

    own = (await house.installation.index.query(name, limit=1000))[0]
    for found in (before, after):
        assert (found["ok"], found["faults"], found["chains"], found["checkpoints"]) == (True, [], None, None)
    assert (after["records"] - before["records"], after["records"]) in {(1, len(own)), (1, len(own) - 1)}
    assert (await house.owner.done("audit.verify"))["records"] > after["records"]

    # the keys may be shown to anybody, the log of all tenants may not
    assert (await boss.done("audit.keys"))["keys"]
    refused = await boss.call("audit.proof")
    problem_of(refused, 404, "not-found")
    told = (await house.installation.index.query(name, invocation=refused.headers["x-invocation-id"]))[0]
    assert [one["kind"] for one in told] == ["refused"]


@promise("1.1a")
async def test_a_tenant_is_told_which_faults_there_are_and_not_where(tmp_path: Path) -> None:
    async with house_in(tmp_path / "data") as house:
        boss = await tenant(house)
    for segment in (house.data / "state" / "audit").rglob("*.seg"):
        text = segment.read_bytes()
        segment.write_bytes(text.replace(b"access.tenants.create", b"access.tenants.suspend", 1))
    async with house_in(tmp_path / "data") as house:
        boss = house.caller(boss.name, boss.key)
        whole, told = await house.owner.done("audit.verify"), await boss.done("audit.verify")

        assert whole["ok"] is told["ok"] is False
        assert "seq" in whole["faults"][0]
        assert told["faults"] == [{"kind": kind} for kind in sorted({one["kind"] for one in whole["faults"]})]


async def test_an_export_can_be_downloaded_and_holds_what_was_asked_for(house: House) -> None:
    agent = await house.agent()
    await agent.done("access.whoami")

    exported = await house.owner.done("audit.export", {"actor": agent.name})

    lines = (await house.owner.get(f"/v1/results/{exported['handle']}/raw")).text.splitlines()
    assert exported["records"] == len(lines) == 1
    assert json.loads(lines[0])["who"] == agent.name
    problem_of(await agent.get(f"/v1/results/{exported['handle']}/raw"), 404, "not-found")


@promise("6.1")
async def test_starts_and_strangers_are_shown_to_whoever_holds_the_installation_only(
    house: House, agent: Caller
) -> None:
    await house.stranger.post("/v1/operations/x", headers={"X-API-Key": "x"})

    records = (await house.owner.done("audit.installation"))["records"]
    started = (await house.owner.done("audit.installation", {"text": "platform.start"}))["records"]

    assert "anonymous" in {one.get("who") for one in records}
    assert started[0]["operation"] == "platform.start"
    problem_of(await agent.call("audit.installation"), 404, "not-found")


async def test_an_agent_without_a_grant_reads_no_audit(house: House, agent: Caller) -> None:
    for operation in ("audit.query", "audit.verify", "audit.export", "audit.keys", "audit.proof"):
        response = await agent.call(operation)
        problem_of(response, 404, "not-found")
        assert (await house.refusal(response))["operation"] == operation


async def test_an_older_backup_that_is_started_leaves_the_anchor_alone_and_says_so(tmp_path: Path) -> None:
    data, backup, anchor = tmp_path / "data", tmp_path / "backup", tmp_path / "anchor"
    async with house_in(data, audit__anchor=str(anchor)) as house:
        assert (await house.owner.done("audit.verify"))["unanchored"] == ""
    shutil.copytree(data, backup)
    async with house_in(data, audit__anchor=str(anchor)) as house:
        await house.owner.done("access.whoami")
    shutil.rmtree(data)
    shutil.copytree(backup, data)
    seen = anchor.read_text()

    async with house_in(data, audit__anchor=str(anchor)) as house:
        await house.owner.done("access.whoami")
        found = await house.owner.done("audit.verify")
    assert anchor.read_text() == seen
    assert {one["kind"] for one in found["faults"]} == {"anchor"}
    assert "older backup" in found["unanchored"]

    anchor.rename(tmp_path / "seen")
    async with house_in(data, audit__anchor=str(anchor)) as house:
        found = await house.owner.done("audit.verify")
    assert (found["ok"], found["unanchored"]) == (True, "")
