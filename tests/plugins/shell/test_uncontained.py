"""The profile `danger-none`: only with the settings file and grants by name for all in the chain, always on record."""

from __future__ import annotations

import socket
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from superagent.core.problems import InvalidInput
from superagent.settings import load
from tests.promise import promise
from tests.surfaces.http.house import Caller, House, house_in, problem_of

pytestmark = pytest.mark.asyncio(loop_scope="session")

BARE = {"sandbox": "danger-none"}
NAMED = {"effect": "allow", "operations": ["shell.*"], "where": {"args": BARE}}


@pytest_asyncio.fixture(loop_scope="session")
async def open_house(tmp_path: Path) -> AsyncGenerator[House]:
    """Give a house whose settings file allows commands that nothing contains."""
    data = tmp_path / "data"
    data.mkdir()
    (data / "superagent.toml").write_text("[sandbox]\nallow_unsafe = true\n")
    async with house_in(data, limits__agent_rate_per_s=1e6, limits__agent_burst=10**6) as house:
        yield house


async def grant(house: House, subject: str, **more: Any) -> str:
    made = await house.owner.done("grants.create", {"grant": {**NAMED, "subject": subject, **more}})
    return made["id"]


async def agent(house: House, *grants: dict[str, Any]) -> Caller:
    folder = str((await house.agent()).workspace)
    return await house.agent(workspace=folder, grants=[{"effect": "allow", "operations": ["shell.*"]}, *grants])


async def refused(house: House, caller: Caller, status: int, slug: str, **input: Any) -> dict[str, Any]:
    headers = input.pop("headers", {})
    reply = await caller.call("shell.run", {"command": "echo ran > ran", **BARE, **input}, **headers)
    found = problem_of(reply, status, slug)
    assert not (caller.workspace / "ran").exists()
    records = await house.records(invocation=reply.headers["x-invocation-id"])
    assert "sandbox.uncontained" not in [one["operation"] for one in records]
    assert [one["problem"] for one in records if one["kind"] in ("outcome", "refused")] == [slug]
    return found


async def test_without_the_settings_file_no_grant_is_enough(house: House) -> None:
    ids = [await grant(house, "role:owner"), await grant(house, "user:owner")]
    try:
        found = await refused(house, await agent(house, NAMED), 503, "sandbox-unavailable")
    finally:
        for id in ids:
            await house.owner.done("grants.revoke", {"id": id})

    assert "sandbox.allow_unsafe" in found["hint"]


async def test_only_the_settings_file_itself_can_allow_it(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="allow_unsafe"):
        load(tmp_path, {"sandbox.allow_unsafe": True}, environ={})
    with pytest.raises(InvalidInput, match="allow_unsafe"):
        load(tmp_path, environ={"SUPERAGENT_SANDBOX__ALLOW_UNSAFE": "1"})


@promise("1.1b")
async def test_wide_grants_are_not_enough_and_neither_is_one_hop(open_house: House) -> None:
    await refused(open_house, await agent(open_house), 403, "denied")
    wild = {**NAMED, "where": {"args": {"sandbox": "*"}}}
    await refused(open_house, await agent(open_house, wild), 403, "denied")
    named = await agent(open_house, NAMED)
    await refused(open_house, named, 403, "denied")  # nobody has granted it to the owner

    id = await grant(open_house, "role:owner")
    await refused(open_house, await agent(open_house), 403, "denied")
    assert (await named.done("shell.run", {"command": "echo hi", **BARE}))["stdout"] == "hi\n"
    await open_house.owner.done("grants.revoke", {"id": id})
    await refused(open_house, named, 403, "denied")


@promise("1.3a")
async def test_it_runs_with_nothing_around_it_and_every_record_says_so(open_house: House) -> None:
    await grant(open_house, "role:owner")
    caller = await agent(open_house, NAMED)
    with socket.create_server(("127.0.0.1", 0)) as server:
        line = (
            f"hostname; cat /etc/passwd | wc -l; echo > /dev/tcp/127.0.0.1/{server.getsockname()[1]} && echo out; pwd"
        )
        reply = await caller.call("shell.run", {"command": line, "shell": "bash", **BARE})

    outcome = reply.json()
    said = outcome["output"]["stdout"].split()
    assert said[:3] == [socket.gethostname(), str(Path("/etc/passwd").read_text().count("\n")), "out"]
    assert said[3] == str(caller.workspace)
    assert (outcome["output"]["outside"], outcome["undo"]["possible"]) == ("possible", False)
    assert (outcome["isolation"]["level"], outcome["isolation"]["network"]) == ("none", "host")
    records = await open_house.records(invocation=outcome["invocation"])
    assert sorted((one["kind"], one["operation"], one.get("isolation", "")) for one in records) == [
        ("event", "sandbox.uncontained", "none"),
        ("intent", "shell.run", ""),
        ("outcome", "shell.run", "none uncontained"),
    ]


async def test_its_limits_and_its_end_hold_still(open_house: House) -> None:
    await grant(open_house, "role:owner")
    caller = await agent(open_house, NAMED)

    done = await caller.done("shell.run", {"command": "(sleep 471 &) ; sleep 472", "timeout_s": 0.5, **BARE})

    assert (done["exit_code"], done["limit"]) == (None, "wall")
    names = [one.read_bytes() for one in Path("/proc").glob("[0-9]*/cmdline") if one.exists()]
    assert not [one for one in names if one in (b"sleep\x00471\x00", b"sleep\x00472\x00")]


async def test_whoever_demands_isolation_gets_it_or_nothing(open_house: House) -> None:
    await grant(open_house, "role:owner")
    caller = await agent(open_house, NAMED)
    strict = await agent(open_house, {**NAMED, "isolation": "native"})

    await refused(open_house, strict, 403, "denied")
    await refused(open_house, caller, 503, "sandbox-unavailable", headers={"Superagent_Isolation": "native"})
    await refused(open_house, caller, 503, "sandbox-unavailable", headers={"X_Dry_Run": "true"})
    await refused(open_house, caller, 422, "invalid-input", view="0" * 32)  # there is no view to go on in
    opened = await caller.call("shell.session_open", BARE)
    problem_of(opened, 503, "sandbox-unavailable")
