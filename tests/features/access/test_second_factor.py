"""Whoever has somebody's key and nothing else: no way around the second factor that critical calls demand."""

from __future__ import annotations

from typing import Any

import pytest

from tests.features.access.people import name_of, person
from tests.surfaces.http.house import House, problem_of

pytestmark = pytest.mark.asyncio(loop_scope="session")
EVERY = {"effect": "allow", "operations": ["*"]}


@pytest.mark.parametrize("role", ["owner", "admin"])
@pytest.mark.parametrize(
    ("operation", "input"),
    [
        ("grants.create", {"grant": {**EVERY, "subject": "user:SELF"}}),
        ("grants.create", {"grant": {**EVERY, "subject": "role:admin"}}),
        ("grants.create", {"grant": {**EVERY, "subject": "*"}}),
        ("grants.create", {"grant": {**EVERY, "subject": "key:KEY"}}),
        ("access.roles.create", {"id": "free", "grants": [EVERY]}),
        ("access.users.create", {"id": "mole", "roles": ["admin"], "key": True}),
        ("access.users.set_roles", {"id": "OTHER", "roles": ["admin"]}),
        ("access.groups.create", {"id": "moles", "roles": ["admin"]}),
    ],
)
async def test_a_key_alone_frees_nobody_of_the_second_factor(
    house: House, role: str, operation: str, input: dict[str, Any]
) -> None:
    thief, other = await person(house, role), await person(house, "viewer")
    words = {"SELF": thief.name, "OTHER": other.name, "KEY": (await thief.done("access.whoami"))["key"]}
    if "grant" in input:
        subject = input["grant"]["subject"]
        for word, text in words.items():
            subject = subject.replace(word, text)
        input = {"grant": {**input["grant"], "subject": subject}}
    else:
        input = {**input, "id": words.get(input["id"], input["id"])}

    refused = await thief.call(operation, input)

    problem_of(refused, 428, "step-up-required")
    assert (await house.refusal(refused))["who"] == thief.name
    applied = await thief.call("policy.apply", {"add": [{**EVERY, "effect": "deny", "subject": "agent:nobody"}]})
    problem_of(applied, 428, "step-up-required")


async def test_a_key_alone_puts_nobody_into_a_group_that_hands_on_rights(house: House) -> None:
    group, admin, other = name_of("group"), await person(house, "admin"), await person(house, "viewer")
    await house.owner.done("access.groups.create", {"id": group, "roles": ["admin"]})

    refused = await admin.call("access.groups.add_member", {"id": group, "member": f"user:{other.name}"})

    problem_of(refused, 428, "step-up-required")
    records = await house.records(invocation=refused.headers["x-invocation-id"])
    assert (records[0]["who"], records[0]["problem"]) == (admin.name, "step-up-required")
    assert (await other.done("access.whoami"))["groups"] == []


async def test_to_make_people_needs_no_second_factor_and_to_grant_does(house: House) -> None:
    admin, agent = await person(house, "admin"), await house.agent()

    refused = await admin.call("grants.create", {"grant": {**EVERY, "subject": f"agent:{agent.name}"}})
    assert refused.status_code == 428
    await admin.done("access.users.create", {"id": name_of("person"), "roles": ["viewer"]})
