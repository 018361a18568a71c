"""Roles and groups as they are now: what began, waits or is listened to by those of before ends, or is judged anew."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.features.access.people import name_of, person
from tests.features.jobs.asking import begin, ended, running
from tests.features.oauth.parties import service
from tests.surfaces.http.house import Caller, House

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def asked_to_write(caller: Caller, path: Path) -> str:
    response = await caller.call("files.write", {"path": str(path), "content": "x"})
    assert response.status_code == 202, response.text
    return response.headers["x-invocation-id"]


async def approved(house: House, id: str) -> dict[str, Any]:
    """Approve what waits, and give the problem with which it ended."""
    await house.owner.done("approvals.decide", {"id": id, "decision": "approve"})
    job = await ended(house.owner, id, "failed")
    return job["outcome"]["problem"]


async def give(house: House, who: Caller, *roles: str) -> None:
    await house.owner.done("access.users.set_roles", {"id": who.name, "roles": list(roles)})


async def quarantine(house: House, member: str) -> None:
    """Put somebody into a group that may do nothing."""
    group = name_of("group")
    await house.owner.done("access.groups.create", {"id": group})
    deny = {"effect": "deny", "subject": f"group:{group}", "operations": ["files.*"]}
    await house.owner.done("grants.create", {"grant": deny})
    await house.owner.done("access.groups.add_member", {"id": group, "member": member})


async def test_what_waits_is_not_done_by_a_role_that_was_taken_away(house: House, tmp_path: Path) -> None:
    someone, path = await person(house, "developer"), tmp_path / "waits"
    id = await asked_to_write(someone, path)
    await give(house, someone)

    problem = await approved(house, id)

    assert problem["type"] in ("/problems/denied", "/problems/not-found")
    assert not path.exists()
    assert "refused" in [one["kind"] for one in await house.records(invocation=id)]


async def test_what_an_agent_asked_is_not_done_by_a_role_its_person_lost(house: House, tmp_path: Path) -> None:
    someone, path = await person(house, "owner"), tmp_path / "agent"
    made = await someone.done("access.keys.create", {"name": name_of("worker")})
    id = await asked_to_write(house.caller(made["agent"], made["key"]), path)
    await give(house, someone)

    problem = await approved(house, id)

    assert problem["type"] in ("/problems/denied", "/problems/not-found")
    assert not path.exists()
    assert "refused" in [one["kind"] for one in await house.records(invocation=id)]


async def test_what_waits_is_bound_by_a_group_that_was_joined_since(house: House, tmp_path: Path) -> None:
    someone, path = await person(house, "developer"), tmp_path / "joined"
    id = await asked_to_write(someone, path)
    await quarantine(house, f"user:{someone.name}")

    await approved(house, id)

    assert not path.exists()
    assert "refused" in [one["kind"] for one in await house.records(invocation=id)]


async def test_what_waits_goes_on_when_a_role_is_added_that_changes_nothing_of_it(house: House, tmp_path: Path) -> None:
    someone, path = await person(house, "developer"), tmp_path / "added"
    id = await asked_to_write(someone, path)
    await give(house, someone, "developer", "auditor")

    await house.owner.done("approvals.decide", {"id": id, "decision": "approve"})

    await ended(house.owner, id)
    assert path.read_text() == "x"


@pytest.mark.parametrize("joins", [False, True])
async def test_a_watch_ends_with_the_roles_it_began_with(house: House, tmp_path: Path, joins: bool) -> None:
    someone = await person(house, "owner")
    id = await begin(someone, "files.watch", {"path": str(tmp_path)})
    await running(someone, id)

    await (quarantine(house, f"user:{someone.name}") if joins else give(house, someone))

    job = await ended(house.owner, id, "failed")
    assert job["outcome"]["problem"]["type"] == "/problems/denied"
    (tmp_path / "after").write_text("x")
    assert await house.installation.kernel.hands.work.events("default", id, 0) == []
    assert [one["problem"] for one in await house.records(invocation=id) if one["kind"] == "outcome"] == ["denied"]


async def listening(caller: Caller, path: str, begun: asyncio.Event) -> list[str]:
    """Give all that a stream of events told until it ended, and say when it began to."""
    told: list[str] = []
    async with caller.http.stream("GET", path, timeout=httpx.Timeout(20.0)) as response:
        assert response.status_code == 200
        async for line in response.aiter_lines():
            if line.startswith("event: "):
                told.append(line)
                begun.set()
    return told


@pytest.mark.parametrize("by", ["role", "grant", "key"])
async def test_whoever_may_hear_no_more_hears_no_more_however_much_is_told(house: House, by: str) -> None:
    auditor, begun = await person(house, *([] if by == "grant" else ["auditor"])), asyncio.Event()
    allow = {"effect": "allow", "subject": f"user:{auditor.name}", "operations": ["audit.*"]}
    grant = (await house.owner.done("grants.create", {"grant": allow}))["id"] if by == "grant" else ""
    key = (await auditor.done("access.whoami"))["key"]
    id = await begin(house.owner, "probe.count", {"to": 9000, "pause_s": 0.002})
    hears = asyncio.create_task(listening(auditor, f"/v1/invocations/{id}/events", begun))
    await asyncio.wait_for(begun.wait(), 20)

    match by:
        case "role":
            await give(house, auditor)
        case "grant":
            await house.owner.done("grants.revoke", {"id": grant})
        case _:
            await house.owner.done("access.keys.revoke", {"id": key})

    told = await asyncio.wait_for(hears, 20)
    assert set(told) == {"event: message"}  # and no outcome
    assert (await house.owner.done("jobs.status", {"id": id}))["status"] == "running"
    await house.owner.done("jobs.cancel", {"id": id})


async def test_a_service_is_bound_by_what_its_group_may_not(house: House) -> None:
    client = await service(house)
    token = (await client.token(grant_type="client_credentials")).json()["access_token"]
    caller = house.caller(client.id, token)
    await caller.done("files.write", {"path": "before", "content": "x"})

    await quarantine(house, f"agent:{client.id}")

    refused = await caller.call("files.write", {"path": "after", "content": "x"})
    assert refused.status_code in (403, 404), refused.text
    assert (await house.refusal(refused))["problem"] in ("denied", "not-found")
