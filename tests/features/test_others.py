"""`catalogue.*`, `jobs.*` and `settings.*` over HTTP."""

from __future__ import annotations

import asyncio
import tomllib
from typing import Any

import pytest

from tests.promise import promise
from tests.surfaces.http.house import Caller, House, problem_of
from tests.surfaces.http.probe import ended, started

pytestmark = pytest.mark.asyncio(loop_scope="session")


# ---- catalogue


@promise("6.1")
async def test_operations_are_found_by_words_and_by_pages(agent: Caller) -> None:
    found = await agent.done("catalogue.search", {"query": "write a text to a file"})
    page = (await agent.get("/v1/operations?limit=5")).json()
    rest = (await agent.get(f"/v1/operations?limit=500&cursor={page['cursor']}")).json()

    assert "files.write" in [one["name"] for one in found["operations"][:5]]
    assert len(page["operations"]) == 5
    assert page["total"] == rest["total"] == 5 + len(rest["operations"])
    assert rest["cursor"] is None


async def test_operations_are_filtered_by_domain_and_risk(house: House) -> None:
    low = (await house.owner.get("/v1/operations?domain=settings&max_risk=LOW")).json()

    assert [one["name"] for one in low["operations"]] == ["settings.list"]


@promise("6.1")
async def test_a_description_says_all_that_a_caller_needs(agent: Caller) -> None:
    described = (await agent.get("/v1/operations/files.write")).json()

    assert described["effect"] == "CHANGE"
    assert described["takes_back"] == "undo"
    assert described["preview"] is True
    assert described["touches"] == [{"argument": "path", "kind": "path", "effect": "CHANGE"}]
    assert described["input_schema"]["additionalProperties"] is False
    assert "path" in described["input_schema"]["required"]
    assert len(described["digest"]) == 64


async def test_capabilities_say_what_works_here_and_what_does_not(agent: Caller) -> None:
    found = (await agent.done("catalogue.capabilities"))["capabilities"]

    by_name = {one["name"]: one for one in found}
    assert by_name["files"]["available"] is True
    if by_name["sandbox"]["available"]:
        assert "native (bubblewrap)" in by_name["sandbox"]["detail"]
    else:  # then it says what is missing and how to get it
        assert by_name["sandbox"]["cure"]


# ---- jobs


async def begun(caller: Caller, mark: str) -> str:
    """Let a call wait in the background and give its id once it runs."""
    response = await caller.call("probe.wait", {"seconds": 50.0, "mark": mark}, Prefer="respond-async")
    for _ in range(500):
        if mark in started:
            return response.headers["x-invocation-id"]
        await asyncio.sleep(0.01)
    raise AssertionError(f"{mark} never began")


@promise("6.1")
async def test_a_running_call_is_stopped(house: House) -> None:
    id = await begun(house.owner, "stopped")
    running = (await house.owner.get(f"/v1/invocations/{id}")).json()

    stopped = await house.owner.http.post(f"/v1/invocations/{id}/cancel")

    assert running["status"] == "running"
    assert stopped.json()["output"]["status"] == "cancelled"
    state = running
    for _ in range(500):
        state = (await house.owner.get(f"/v1/invocations/{id}")).json()
        if state["status"] == "cancelled":
            break
        await asyncio.sleep(0.01)
    assert state["outcome"]["problem"]["type"] == "/problems/cancelled"
    assert "stopped" in ended
    problem_of(await house.owner.http.post(f"/v1/invocations/{id}/cancel"), 409, "conflict")


async def test_a_call_that_ended_within_its_request_is_found_in_the_audit(agent: Caller) -> None:
    id = (await agent.call("access.whoami")).headers["x-invocation-id"]

    state = (await agent.get(f"/v1/invocations/{id}")).json()

    assert (state["status"], state["operation"], state["outcome"]) == ("done", "access.whoami", None)
    assert state["at"] > 0


async def test_a_refused_call_reads_as_failed(agent: Caller) -> None:
    id = (await agent.call("files.write", {"path": 5})).headers["x-invocation-id"]

    assert (await agent.get(f"/v1/invocations/{id}")).json()["status"] == "failed"


async def test_what_is_not_there_cannot_be_stopped(agent: Caller) -> None:
    for id in ("x", "01ARZ3NDEKTSV4RRFFQ69G5FAV"):
        problem_of(await agent.http.post(f"/v1/invocations/{id}/cancel"), 404, "not-found")
        problem_of(await agent.get(f"/v1/invocations/{id}"), 404, "not-found")


# ---- settings


async def test_settings_are_listed_with_where_they_come_from(house: House) -> None:
    found = {one["name"]: one for one in (await house.owner.done("settings.list"))["settings"]}

    port = {"name": "server.port", "value": 8750, "origin": "default", "from_next_start": None}
    assert found["server.port"] == port
    assert found["limits.agent_burst"]["origin"] == "flag"


async def test_a_setting_that_was_written_is_marked_until_the_next_start(house: House) -> None:
    async def upcoming() -> dict[str, Any]:
        listed = (await house.owner.done("settings.list"))["settings"]
        return {one["name"]: one["from_next_start"] for one in listed if one["from_next_start"] is not None}

    url, file = "postgresql+psycopg://me:secret@db/x", house.data / "superagent.toml"
    text = f'[server]\nfast_lane = false\n[database]\nurl = "{url}"\n[limits]\nagent_burst = 7\n'
    try:
        file.write_text(text)
        assert await upcoming() == {"server.fast_lane": False, "database.url": "postgresql+psycopg://me:…@db/x"}
        file.write_text("[server")
        assert await upcoming() == {}
    finally:
        file.unlink()


@promise("6.1")
async def test_a_setting_is_written_shown_first_and_taken_back(house: House) -> None:
    file = house.data / "superagent.toml"
    file.write_text('# mine\n[log]\nlevel = "warning"\n')
    change = {"name": "log.level", "value": "error"}

    shown = await house.owner.call("settings.set", change, X_Dry_Run="true")
    written = await house.owner.call("settings.set", change)
    after = file.read_text()
    undone = await house.owner.http.post(f"/v1/invocations/{written.headers['x-invocation-id']}/undo")

    assert shown.json()["output"]["summary"] == "would set log.level from 'warning' to 'error' at the next start"
    assert written.json()["output"] == {"name": "log.level", "value": "error", "restart": True}
    assert after.startswith("# mine\n")
    assert tomllib.loads(after)["log"]["level"] == "error"
    assert undone.status_code == 200, undone.text
    assert tomllib.loads(file.read_text())["log"]["level"] == "warning"


@promise("1.6")
async def test_a_setting_that_makes_no_sense_is_refused_and_not_written(house: House) -> None:
    file = house.data / "superagent.toml"
    before = file.read_text() if file.exists() else None

    for name, value, status, slug in (
        ("server.port", "many", 422, "invalid-input"), ("server.port", -1, 422, "invalid-input"),
        ("server.colour", "red", 404, "not-found"), ("log.level", {"a": [None]}, 422, "invalid-input"),
    ):  # fmt: skip
        wrong = {"name": name, "value": value}
        problem = problem_of(await house.owner.call("settings.set", wrong), status, slug)
        problem_of(await house.owner.call("settings.set", wrong, X_Dry_Run="true"), status, slug)
        assert problem["changed"] == "nothing"

    assert (file.read_text() if file.exists() else None) == before
    assert [one for one in house.data.iterdir() if one.name.startswith(".superagent.toml")] == []
