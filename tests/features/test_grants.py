"""`grants.*` over HTTP: what is in force, adding a sentence, taking it away, and undoing both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.features.sign_in.browser import Web
from tests.promise import promise
from tests.surfaces.http.house import Caller, House, house_in, problem_of

pytestmark = pytest.mark.asyncio(loop_scope="session")


def reading(agent: Caller, folder: Path) -> dict[str, Any]:
    return {
        "effect": "allow", "subject": f"agent:{agent.name}", "operations": ["files.read"],
        "where": {"paths": [f"{folder}/**"]},
    }  # fmt: skip


async def status(agent: Caller, path: Path) -> int:
    return (await agent.call("files.read", {"path": str(path)})).status_code


@promise("6.1")
async def test_a_grant_is_in_force_at_once_and_so_is_its_end(house: House, tmp_path: Path) -> None:
    agent = await house.agent()
    (tmp_path / "f").write_text("x")
    assert await status(agent, tmp_path / "f") == 202

    made = await house.owner.done("grants.create", {"grant": reading(agent, tmp_path)})
    assert await status(agent, tmp_path / "f") == 200

    gone = await house.owner.done("grants.revoke", {"id": made["id"]})
    assert gone == made
    assert await status(agent, tmp_path / "f") == 202


async def test_creating_and_revoking_can_be_undone_and_redone(house: House, tmp_path: Path) -> None:
    agent = await house.agent()
    (tmp_path / "f").write_text("x")
    created = await house.owner.call("grants.create", {"grant": reading(agent, tmp_path)})
    grant = created.json()["output"]["id"]
    revoked = await house.owner.call("grants.revoke", {"id": grant})

    undone = await house.owner.http.post(f"/v1/invocations/{revoked.headers['x-invocation-id']}/undo")
    after_undo = await status(agent, tmp_path / "f")
    again = await house.owner.http.post(f"/v1/invocations/{created.headers['x-invocation-id']}/undo")

    assert (undone.status_code, again.status_code) == (200, 200), (undone.text, again.text)
    assert after_undo == 200
    assert await status(agent, tmp_path / "f") == 202


async def test_an_agent_sees_its_own_grants_and_the_owner_all(house: House, tmp_path: Path) -> None:
    agent, other = await house.agent(), await house.agent()
    made = await house.owner.done("grants.create", {"grant": reading(other, tmp_path)})

    mine = {one["id"] for one in (await agent.done("grants.list"))["grants"]}
    every = {one["id"]: one["grant"] for one in (await house.owner.done("grants.list"))["grants"]}

    assert made["id"] not in mine
    assert "role:agent:1" in mine
    assert every[made["id"]] == reading(other, tmp_path)
    assert "role:auditor:1" in every


async def test_both_can_be_previewed_and_change_nothing_then(house: House, agent: Caller, tmp_path: Path) -> None:
    before = await house.owner.done("grants.list")

    created = await house.owner.call("grants.create", {"grant": reading(agent, tmp_path)}, X_Dry_Run="true")
    revoked = await house.owner.call("grants.revoke", {"id": "grant_none"}, X_Dry_Run="true")
    known = await house.owner.call("grants.revoke", {"id": "role:agent:1"}, X_Dry_Run="true")

    assert "would allow files.read" in created.json()["output"]["summary"]
    assert "there is no grant" in revoked.json()["output"]["summary"]
    assert "would end" in known.json()["output"]["summary"]
    assert await house.owner.done("grants.list") == before


@promise("1.6")
@pytest.mark.parametrize(
    "grant",
    [
        {"effect": "allow", "operations": ["*"]}, {"effect": "allow", "operations": ["*"], "subject": ""},
        {"effect": "allow", "operations": ["*"], "subject": "*", "id": "mine"},
        {"effect": "allow", "operations": ["*"], "subject": "*", "instance": True},
        {"effect": "allow", "operations": ["*"], "subject": "everybody"},
        {"effect": "maybe", "operations": ["*"], "subject": "*"},
        {"effect": "allow", "operations": ["*"], "subject": "*", "where": {"paths": ["../x"]}}, {},
    ],
)  # fmt: skip
async def test_a_grant_that_makes_no_sense_is_refused(house: House, grant: dict[str, Any]) -> None:
    problem_of(await house.owner.call("grants.create", {"grant": grant}), 422, "invalid-input")


async def test_what_is_built_in_or_not_there_cannot_be_revoked(house: House) -> None:
    problem_of(await house.owner.call("grants.revoke", {"id": "role:agent:1"}), 422, "invalid-input")
    problem_of(await house.owner.call("grants.revoke", {"id": "grant_none"}), 404, "not-found")


async def test_what_widens_rights_needs_a_fresh_second_factor_and_what_narrows_them_does_not(tmp_path: Path) -> None:
    async with house_in(tmp_path / "data") as house:
        wide = {"effect": "allow", "subject": "agent:nobody", "operations": ["files.read"]}
        narrow = wide | {"effect": "deny"}
        await house.owner.done("grants.create", {"grant": wide})  # the first day, on this machine
        web = Web(house)
        await web.by_link()
        await web.enrol_passkey()

        refused = await house.owner.call("grants.create", {"grant": wide})
        problem_of(refused, 428, "step-up-required")
        await house.refusal(refused)
        made = await house.owner.done("grants.create", {"grant": narrow})
        ended = await house.owner.call("grants.revoke", {"id": made["id"]})
        problem_of(ended, 428, "step-up-required")
        records = await house.records(invocation=ended.headers["x-invocation-id"])
        assert {one["kind"] for one in records} == {"intent", "outcome"}

        await web.done("grants.create", {"grant": wide})
        await web.done("grants.revoke", {"id": made["id"]})
