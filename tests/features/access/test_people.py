"""People: given roles, suspended and removed, by whoever may, and never by an agent."""

from __future__ import annotations

from typing import Any

import pytest

from tests.features.access.people import name_of, person, undo, user
from tests.surfaces.http.house import House, problem_of

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_person_gets_roles_and_a_key_of_their_own(house: House) -> None:
    ada = await person(house, "viewer")

    me = await ada.done("access.whoami")

    assert (me["id"], me["kind"], me["roles"], me["on_behalf_of"]) == (ada.name, "human", ["viewer"], [])
    assert (await user(house, ada.name))["keys"] == 1
    problem_of(await ada.call("access.users.list"), 404, "not-found")


async def test_a_suspended_person_is_dead_with_all_agents_until_resumed(house: House) -> None:
    ada = await person(house, "owner")
    made = await ada.done("access.keys.create", {"name": name_of("bot")})
    bot = house.caller(made["agent"], made["key"])
    await bot.done("access.whoami")

    await house.owner.done("access.users.suspend", {"id": ada.name, "reason": "left"})

    problem_of(await ada.call("access.whoami"), 401, "unauthenticated")
    problem_of(await bot.call("access.whoami"), 401, "unauthenticated")
    await house.owner.done("access.users.resume", {"id": ada.name})
    assert (await bot.done("access.whoami"))["on_behalf_of"] == [ada.name]


async def test_a_removal_is_previewed_and_taken_back_and_the_name_stays_taken(house: House) -> None:
    ada = await person(house, "viewer")
    shown = (await house.owner.call("access.users.remove", {"id": ada.name}, X_Dry_Run="true")).json()
    assert ada.name in shown["output"]["summary"]

    removed = await house.owner.call("access.users.remove", {"id": ada.name})

    problem_of(await ada.call("access.whoami"), 401, "unauthenticated")
    problem_of(await house.owner.call("access.users.show", {"id": ada.name}), 404, "not-found")
    problem_of(await house.owner.call("access.users.create", {"id": ada.name}), 409, "conflict")
    assert (await undo(house.owner, removed)).status_code == 200
    assert (await ada.done("access.whoami"))["roles"] == ["viewer"]


async def test_roles_are_set_and_put_back(house: House) -> None:
    ada = await person(house, "viewer")

    changed = await house.owner.call("access.users.set_roles", {"id": ada.name, "roles": ["auditor"]})

    assert (await ada.done("access.whoami"))["roles"] == ["auditor"]
    await undo(house.owner, changed)
    assert (await ada.done("access.whoami"))["roles"] == ["viewer"]
    unknown = await house.owner.call("access.users.set_roles", {"id": ada.name, "roles": ["emperor"]})
    problem_of(unknown, 422, "invalid-input")


async def test_undoing_the_making_of_a_person_ends_them(house: House) -> None:
    made = await house.owner.call("access.users.create", {"id": name_of("regret"), "key": True})
    ada = house.caller("ada", made.json()["output"]["key"])
    await ada.done("access.whoami")

    assert (await undo(house.owner, made)).status_code == 200

    problem_of(await ada.call("access.whoami"), 401, "unauthenticated")


async def test_an_admin_neither_makes_nor_unmakes_an_owner(house: House) -> None:
    admin, boss = await person(house, "admin"), await person(house, "owner")
    made = await admin.done("access.users.create", {"id": name_of("person"), "roles": ["viewer"]})
    ada = house.caller(made["id"], "")

    tried: list[tuple[str, dict[str, Any], int]] = [
        ("access.users.set_roles", {"id": ada.name, "roles": ["owner"]}, 428),
        ("access.users.create", {"id": name_of("x"), "roles": ["instance-owner"]}, 428),
        ("access.users.set_roles", {"id": boss.name, "roles": []}, 403),
        ("access.users.suspend", {"id": boss.name}, 403),
        ("access.users.remove", {"id": "owner"}, 403),
        ("access.groups.create", {"id": name_of("g"), "roles": ["owner"]}, 428),
        ("access.agents.create", {"id": name_of("a"), "kind": "service", "role": "owner"}, 403),
        ("access.users.set_roles", {"id": admin.name, "roles": ["operator"]}, 403),
    ]  # fmt: skip
    for operation, input, status in tried:
        response = await admin.call(operation, input)
        assert response.status_code == status, (operation, input, response.text)
    assert (await user(house, boss.name))["roles"] == ["owner"]
    assert (await user(house, ada.name))["roles"] == ["viewer"]


async def test_an_admin_cannot_undo_what_took_the_owners_role_away(house: House) -> None:
    admin, ada = await person(house, "admin"), await person(house, "owner")
    taken = await house.owner.call("access.users.set_roles", {"id": ada.name, "roles": ["viewer"]})

    response = await undo(admin, taken)

    assert response.status_code in (403, 404, 422), response.text
    assert (await user(house, ada.name))["roles"] == ["viewer"]


async def test_nobody_changes_themselves(house: House) -> None:
    for operation, input in (
        ("access.users.suspend", {"id": "owner"}), ("access.users.remove", {"id": "owner"}),
        ("access.users.set_roles", {"id": "owner", "roles": ["owner"]}),
    ):  # fmt: skip
        problem_of(await house.owner.call(operation, input), 403, "denied")
    assert (await user(house, "owner"))["state"] == "active"


FORBIDDEN: list[tuple[str, dict[str, Any]]] = [
    ("access.users.create", {"id": "mole", "roles": ["owner"], "key": True}),
    ("access.users.set_roles", {"id": "owner", "roles": []}),
    ("access.users.suspend", {"id": "owner"}),
    ("access.users.resume", {"id": "owner"}),
    ("access.users.confirm", {"id": "owner"}),
    ("access.users.remove", {"id": "owner"}),
    ("access.users.list", {}),
    ("access.users.show", {"id": "owner"}),
    ("access.tenants.create", {"id": "mole"}),
    ("access.tenants.list", {}),
    ("access.tenants.suspend", {"id": "default"}),
    ("access.tenants.resume", {"id": "default"}),
    ("access.tenants.remove", {"id": "default"}),
    ("access.groups.create", {"id": "mole", "roles": ["owner"]}),
    ("access.groups.list", {}),
    ("access.groups.add_member", {"id": "mole", "member": "agent:mole"}),
    ("access.groups.remove_member", {"id": "mole", "member": "agent:mole"}),
    ("access.groups.delete", {"id": "mole"}),
    ("access.roles.list", {}),
    ("access.roles.show", {"id": "owner"}),
    ("access.roles.create", {"id": "mole", "grants": [{"effect": "allow", "operations": ["*"]}]}),
    ("access.roles.update", {"id": "mole", "grants": []}),
    ("access.roles.delete", {"id": "mole"}),
    ("access.agents.create", {"id": "mole"}),
    ("access.agents.list", {}),
    ("access.agents.show", {"id": "mole"}),
    ("access.agents.pause", {"id": "mole"}),
    ("access.agents.resume", {"id": "mole"}),
    ("access.agents.remove", {"id": "mole"}),
    ("access.agents.set_budget", {"id": "mole"}),
    ("access.keys.create", {"name": "mole"}),
    ("access.keys.rotate", {"id": "key_x"}),
    ("access.keys.show", {"id": "key_x"}),
    ("access.keys.list", {}),
    ("access.keys.revoke", {"id": "key_x"}),
    ("access.stop_all", {}),
    ("access.release", {}),
    ("access.stops.list", {}),
    ("access.users.invite", {"user": "owner"}),
    ("access.sessions.list", {}),
    ("access.sessions.end", {"id": "x"}),
    ("access.consents.list", {}),
    ("access.consents.revoke", {"id": "consent_x"}),
    ("access.clients.create", {"name": "mole", "kind": "service"}),
    ("access.clients.list", {}),
    ("access.clients.show", {"id": "client_x"}),
    ("access.clients.rotate", {"id": "client_x"}),
    ("access.clients.delete", {"id": "client_x"}),
    ("access.taint.clear", {"subject": "caller:mole", "reason": "x"}),
    ("access.signing_keys.rotate", {}),
]
OPEN = {"access.whoami", "access.delegate", "access.taint.list", "access.taint.note"}


async def test_the_table_of_what_agents_may_not_is_whole(house: House) -> None:
    every = {one.name for one in house.installation.kernel.registry if one.name.startswith("access.")}
    assert every == {name for name, _ in FORBIDDEN} | OPEN


@pytest.mark.parametrize(("operation", "input"), FORBIDDEN)
async def test_no_grant_lets_an_agent_touch_identities_and_the_refusal_is_recorded(
    house: House, operation: str, input: dict[str, Any]
) -> None:
    mole = await house.agent(grants=[{"effect": "allow", "operations": ["*"]}], role="owner")

    direct = await mole.call(operation, input)
    batched = await mole.http.post("/v1/batch", json={"calls": [{"operation": operation, "input": input}]})

    assert direct.status_code in (403, 404), direct.text
    assert (await house.refusal(direct))["operation"] == operation
    (outcome,) = batched.json()["outcomes"]
    assert outcome["problem"]["status"] in (403, 404)
    assert (await house.records(invocation=outcome["invocation"]))[0]["kind"] == "refused"
    nested = await mole.call("probe.deputy", {"operation": operation, "input": input})
    assert nested.status_code in (403, 404), nested.text
    inner = [one for one in await house.records(operation=operation, limit=5) if one.get("parent")]
    assert inner[0]["kind"] == "refused"
    scheduled = await mole.call("jobs.schedule", {"operation": operation, "input": input, "cron": "0 0 1 1 *"})
    assert scheduled.status_code in (403, 404), scheduled.text


async def test_an_admin_does_not_end_an_owners_key(house: House) -> None:
    admin, boss = await person(house, "admin"), await person(house, "owner")
    id = (await boss.done("access.whoami"))["key"]

    problem_of(await admin.call("access.keys.revoke", {"id": id}), 403, "denied")

    await boss.done("access.whoami")
    await boss.done("access.keys.revoke", {"id": id})
    problem_of(await boss.call("access.whoami"), 401, "unauthenticated")


async def test_groups_carry_roles_and_grants_and_let_go_of_them(house: House) -> None:
    ada, team = await person(house), name_of("team")
    await house.owner.done("access.groups.create", {"id": team, "roles": ["auditor"]})
    granted = {"effect": "allow", "subject": f"group:{team}", "operations": ["access.stops.list"]}
    await house.owner.done("grants.create", {"grant": granted})

    added = await house.owner.call("access.groups.add_member", {"id": team, "member": f"user:{ada.name}"})

    me = await ada.done("access.whoami")
    assert (me["roles"], me["groups"]) == (["auditor"], [team])
    await ada.done("access.stops.list")
    await ada.done("audit.query", {"limit": 1})
    problem_of(await house.owner.call("access.groups.create", {"id": team}), 409, "conflict")
    assert (await undo(house.owner, added)).status_code == 200
    assert (await ada.done("access.whoami"))["groups"] == []
    problem_of(await ada.call("access.stops.list"), 404, "not-found")
    await house.owner.done("access.groups.add_member", {"id": team, "member": f"user:{ada.name}"})
    await house.owner.done("access.groups.remove_member", {"id": team, "member": f"user:{ada.name}"})
    gone = await house.owner.call("access.groups.remove_member", {"id": team, "member": f"user:{ada.name}"})
    problem_of(gone, 404, "not-found")
    await house.owner.done("access.groups.delete", {"id": team})
    assert team not in [one["id"] for one in (await house.owner.done("access.groups.list"))["groups"]]


async def test_nobody_puts_themselves_into_a_group(house: House) -> None:
    admin, team = await person(house, "admin"), name_of("team")
    await house.owner.done("access.groups.create", {"id": team, "roles": ["operator"]})

    refused = await admin.call("access.groups.add_member", {"id": team, "member": f"user:{admin.name}"})

    problem_of(refused, 403, "denied")
    assert (await admin.done("access.whoami"))["groups"] == []


async def test_a_role_of_ones_own_is_what_its_grants_say(house: House) -> None:
    role, ada = name_of("role"), await person(house)
    grants = [{"effect": "allow", "operations": ["access.users.list"]}]
    await house.owner.done("access.roles.create", {"id": role, "grants": grants, "summary": "sees people"})
    await house.owner.done("access.users.set_roles", {"id": ada.name, "roles": [role]})
    await ada.done("access.users.list")

    shown = await house.owner.done("access.roles.show", {"id": role})
    assert (shown["built_in"], shown["summary"]) == (False, "sees people")
    problem_of(await house.owner.call("access.roles.delete", {"id": role}), 409, "conflict")
    problem_of(await house.owner.call("access.roles.create", {"id": "owner", "grants": grants}), 409, "conflict")
    problem_of(await house.owner.call("access.roles.update", {"id": "viewer", "grants": grants}), 409, "conflict")
    other = [{"effect": "allow", "operations": ["access.groups.list"]}]
    updated = await house.owner.call("access.roles.update", {"id": role, "grants": other})
    problem_of(await ada.call("access.users.list"), 404, "not-found")
    await ada.done("access.groups.list")
    assert (await undo(house.owner, updated)).status_code == 200
    await ada.done("access.users.list")
    await house.owner.done("access.users.set_roles", {"id": ada.name, "roles": []})
    await house.owner.done("access.roles.delete", {"id": role})
    problem_of(await house.owner.call("access.roles.show", {"id": role}), 404, "not-found")
