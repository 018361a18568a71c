"""Just-in-time grants: asked for, approved by whoever may make grants, visible, revocable, over by themselves."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from superagent.app import Installation, open_installation
from superagent.core.invocation import Call, Outcome, Status
from superagent.core.principal import Principal
from superagent.runtime.policies import SqlPolicies
from superagent.settings import load
from tests.features.test_approved_files import agent, approve, here
from tests.features.test_asked_again import file, owner_does
from tests.promise import promise

__all__ = ["file", "here"]

NOTHING: list[dict[str, Any]] = [{"effect": "allow", "operations": ["jobs.list"]}]


async def run(here: Installation, by: Principal, name: str, /, **input: Any) -> Outcome:
    return await here.kernel.run(Call(name, input), by, "http")


async def asked(here: Installation, by: Principal, file: Path, **more: Any) -> Outcome:
    wanted = {"operations": ["files.write", "files.delete"], "resources": [str(file)], "minutes": 5, "reason": "a fix"}
    return await run(here, by, "grants.request", **wanted | more)


async def granted(here: Installation, by: Principal, file: Path, **more: Any) -> str:
    waiting = await asked(here, by, file, **more)
    assert waiting.status is Status.WAITING, waiting.problem
    done = await approve(here, waiting.invocation)
    assert done.status is Status.DONE, done.problem
    return done.result()["id"]


async def writes(here: Installation, by: Principal, file: Path) -> bool:
    outcome = await run(here, by, "files.write", path=str(file), content="new\n")
    return outcome.status is Status.DONE


async def test_what_was_asked_for_and_nothing_else_is_allowed_once_a_person_approved(
    here: Installation, file: Path
) -> None:
    by = await agent(here, grants=NOTHING)
    assert not await writes(here, by, file)
    waiting = await asked(here, by, file)
    (shown,) = (await owner_does(here, "approvals.list")).result()["waiting"]
    assert shown["preview"]["summary"] == (
        f"would allow files.write, files.delete on {file} to agent:builder for 5 minutes after approval"
    )
    assert not await writes(here, by, file)
    id = (await approve(here, waiting.invocation)).result()["id"]
    assert await writes(here, by, file)
    assert not await writes(here, by, file.with_name("other.txt"))
    assert not await writes(here, await agent(here, name="other", grants=NOTHING), file)
    (own,) = [one for one in (await run(here, by, "grants.list")).result()["grants"] if one["id"] == id]
    assert own["grant"]["when"]["until"] > here.kernel.hands.clock.now() + 240


@promise("11.12b")
async def test_it_is_over_by_itself_in_every_process_and_recorded(here: Installation, file: Path) -> None:
    by = await agent(here, grants=NOTHING)
    until = int(here.kernel.hands.clock.now()) + 3
    grant = {"effect": "allow", "subject": "agent:builder", "operations": ["files.write"], "when": {"until": until}}
    id = (await owner_does(here, "grants.create", grant=grant)).result()["id"]
    async with open_installation(load(here.places.data, environ={}), worker="1", takes_up=False) as other:
        for one in (here, other):
            assert await writes(one, by, file)
        while here.kernel.hands.clock.now() < until:
            await asyncio.sleep(0.05)
        for one in (here, other):
            assert not await writes(one, by, file)
        listed = (await owner_does(here, "grants.list")).result()["grants"]
        assert id not in [one["id"] for one in listed]
        policies = here.kernel.hands.policies
        assert isinstance(policies, SqlPolicies)
        assert [await policies.sweep(), await policies.sweep()] == [1, 0]
        records = (await here.index.query("default", operation="grants.expire", limit=5))[0]
        assert [one["detail"]["grant"] for one in records] == [id]


async def test_it_can_be_ended_before_and_taken_back_by_undo(here: Installation, file: Path) -> None:
    by = await agent(here, grants=NOTHING)
    id = await granted(here, by, file)
    assert (await owner_does(here, "grants.revoke", id=id)).status is Status.DONE
    assert not await writes(here, by, file)


async def test_an_agent_that_may_do_everything_still_cannot_grant_itself(here: Installation, file: Path) -> None:
    by = await agent(here, grants=[{"effect": "allow", "operations": ["*"]}])
    waiting = await asked(here, by, file)
    assert waiting.status is Status.WAITING
    for id in (waiting.invocation,):
        refused = await run(here, by, "approvals.decide", id=id, decision="approve")
        assert refused.problem is not None
        records = (await here.index.query("default", invocation=refused.invocation, limit=5))[0]
        assert [one["kind"] for one in records] == ["refused"]
    until = int(here.kernel.hands.clock.now()) + 60
    grant = {"effect": "allow", "subject": "agent:builder", "operations": ["*"], "when": {"until": until}}
    assert (await run(here, by, "grants.create", grant=grant)).problem is not None


async def test_no_grant_for_a_while_opens_what_agents_never_may(here: Installation, file: Path) -> None:
    by = await agent(here, grants=NOTHING)
    await granted(here, by, file, operations=["*"], resources=[])
    for operation, input in (
        ("access.keys.create", {"name": "x"}),
        ("approvals.decide", {"id": "x", "decision": "approve"}),
        ("access.taint.clear", {"subject": "caller:builder"}),
        ("settings.set", {"name": "log.level", "value": "debug"}),
        ("grants.create", {"grant": {"effect": "allow", "subject": "*", "operations": ["*"]}}),
    ):
        refused = await run(here, by, operation, **input)
        assert refused.problem is not None
        assert refused.status is Status.FAILED
    assert (await asked(here, by, file)).status is Status.WAITING


async def test_after_untrusted_text_a_grant_for_a_while_does_not_help(here: Installation, file: Path) -> None:
    by = await agent(here, grants=NOTHING)
    await granted(here, by, file, operations=["files.*"], resources=[])
    assert (await run(here, by, "files.read", path=str(file))).status is Status.DONE
    assert (await run(here, by, "files.delete", path=str(file))).status is Status.WAITING


@pytest.mark.parametrize(
    "more",
    [
        {"minutes": 0},
        {"minutes": 24 * 60 + 1},
        {"operations": []},
        {"operations": ["files..write"]},
        {"resources": ["/srv/../etc"]},
        {"resources": ["example.org:99999"]},
    ],
    ids=str,
)
async def test_what_is_no_grant_is_not_asked_for(here: Installation, file: Path, more: dict[str, Any]) -> None:
    by = await agent(here, grants=NOTHING)
    refused = await asked(here, by, file, **more)
    if refused.problem is None:  # its preview says so to the approver, and approving does nothing
        ended = await approve(here, refused.invocation)
        assert ended.problem is not None
    listed = (await owner_does(here, "grants.list")).result()["grants"]
    assert [one for one in listed if one["grant"].get("subject") == "agent:builder"] == []


async def test_hosts_connections_and_secrets_are_named_as_they_are(here: Installation, file: Path) -> None:
    by = await agent(here, grants=NOTHING)
    id = await granted(here, by, file, resources=["/srv/**", "example.org:443", "github", "secret:token"])
    (made,) = [one for one in (await owner_does(here, "grants.list")).result()["grants"] if one["id"] == id]
    assert made["grant"]["where"] == {
        "paths": ["/srv/**"],
        "hosts": ["example.org:443"],
        "connections": ["github", "secret:token"],
    }
