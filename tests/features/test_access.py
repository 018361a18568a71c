"""`access.*` over HTTP: who one is, and making, listing and ending keys."""

from __future__ import annotations

from typing import Any

import pytest

from tests.promise import promise
from tests.surfaces.http.house import Caller, House, problem_of

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_whoami_names_the_agent_and_whom_it_acts_for(agent: Caller) -> None:
    me = await agent.done("access.whoami")

    assert (me["id"], me["kind"], me["tenant"]) == (agent.name, "agent", "default")
    assert me["on_behalf_of"] == ["owner"]
    assert me["roles"] == ["agent"]
    assert me["workspace"] == str(agent.workspace)


@promise("6.1")
async def test_a_fresh_agent_reads_and_changes_its_workspace_and_asks_for_the_rest(agent: Caller) -> None:
    await agent.done("files.write", {"path": "mine", "content": "x"})

    outside = await agent.call("files.write", {"path": "/tmp/not-mine", "content": "x"})
    protected = await agent.call("files.read", {"path": str(agent.workspace.parents[2] / "state" / "owner.key")})

    assert outside.json()["status"] == "waiting"
    problem_of(protected, 404, "not-found")


async def test_a_key_is_shown_once_and_listed_without_its_secret(house: House) -> None:
    made = await house.owner.done("access.keys.create", {"name": "listed", "expires_s": 3600})

    listed = await house.owner.call("access.keys.list")

    (mine,) = [one for one in listed.json()["output"]["keys"] if one["id"] == made["id"]]
    assert made["key"] not in listed.text
    assert mine["name"] == "listed"
    assert mine["hint"] == made["key"][-4:]
    assert mine["expires_at"] == made["expires_at"]
    assert mine["created_by"] == "owner"


async def test_a_dry_run_makes_no_key(house: House) -> None:
    shown = [
        await house.owner.call("access.keys.create", {"name": "shown"}, X_Dry_Run="true"),
        await house.owner.call("access.keys.create", {"name": "shown", "role": "viewer"}, X_Dry_Run="true"),
        await house.owner.call(
            "access.keys.create",
            {"name": "shown", "grants": [{"effect": "allow", "operations": ["*"]}]},
            X_Dry_Run="true",
        ),
    ]

    listed = await house.owner.done("access.keys.list")
    assert [one.json()["output"]["summary"].rpartition(" with ")[2] for one in shown] == [
        "the role agent", "viewer", "its own grants",
    ]  # fmt: skip
    assert "shown" not in [one["name"] for one in listed["keys"]]


async def test_undoing_the_making_of_a_key_ends_it(house: House) -> None:
    made = await house.owner.call("access.keys.create", {"name": "regretted"})
    key = made.json()["output"]["key"]

    undone = await house.owner.http.post(f"/v1/invocations/{made.headers['x-invocation-id']}/undo")

    assert undone.status_code == 200, undone.text
    problem_of(await house.caller("regretted", key).call("access.whoami"), 401, "unauthenticated")


FAULTY: list[tuple[dict[str, Any], str]] = [
    ({"name": "x", "grants": [{"effect": "allow", "operations": ["*"], "subject": "*"}]}, "subject"),
    ({"name": "x", "expires_s": 0}, "expires_s"),
    ({"name": "x", "expires_s": -5}, "expires_s"),
    ({"name": "x", "expires_s": 10**12}, "expires_s"),
    ({"name": "x", "role": "emperor"}, "role"),
    ({"name": "../x"}, "name"),
    ({"name": ""}, "name"),
    ({"name": "x" * 64}, "name"),
    ({"name": "x", "grants": [{"effect": "allow", "operations": ["*"], "instance": True}]}, "instance"),
    ({"name": "x", "grants": [{"effect": "allow", "operations": []}]}, "operations"),
    ({"name": "x", "workspace": "a\0b"}, ""),
]


@promise("1.6")
@pytest.mark.parametrize(("input", "said"), FAULTY)
async def test_a_key_that_makes_no_sense_is_refused(house: House, input: dict[str, Any], said: str) -> None:
    response = await house.owner.call("access.keys.create", input)

    assert said in str(problem_of(response, 422, "invalid-input"))
    assert "x" not in [one["name"] for one in (await house.owner.done("access.keys.list"))["keys"]]


@promise("6.1")
@pytest.mark.parametrize("name", ["owner", "twice"])
async def test_a_name_is_given_only_once(house: House, name: str) -> None:
    await house.owner.call("access.keys.create", {"name": "twice"})

    problem_of(await house.owner.call("access.keys.create", {"name": name}), 409, "conflict")


@promise("6.1")
async def test_a_key_that_is_not_there_cannot_be_revoked(house: House) -> None:
    problem_of(await house.owner.call("access.keys.revoke", {"id": "key_none"}), 404, "not-found")


@pytest.mark.parametrize("how", [{}, {"X_Dry_Run": "true"}])
async def test_a_name_in_place_of_a_keys_id_is_answered_with_the_ids(house: House, how: dict[str, str]) -> None:
    bot = await house.agent()
    label = f"more-of-{bot.name}"
    more, ended = [
        (await house.owner.done("access.keys.create", {"name": name, "agent": bot.name}))["id"]
        for name in (label, "ended")
    ]
    await house.owner.done("access.keys.revoke", {"id": ended})
    ids = [(await bot.done("access.whoami"))["key"], more]

    for name, has in ((bot.name, ids), (label, [more])):
        answer = await house.owner.call("access.keys.revoke", {"id": name}, **how)
        assert problem_of(answer, 404, "not-found")["hint"].endswith(f"there is {', '.join(has)}")


async def test_revoking_can_be_previewed(house: House, agent: Caller) -> None:
    id = (await agent.done("access.whoami"))["key"]

    shown = (await house.owner.call("access.keys.revoke", {"id": id}, X_Dry_Run="true")).json()

    assert shown["status"] == "previewed"
    assert (await agent.call("access.whoami")).status_code == 200


@promise("6.1")
async def test_no_grant_lets_an_agent_make_or_end_keys_and_the_refusal_is_recorded(house: House) -> None:
    agent = await house.agent(grants=[{"effect": "allow", "operations": ["*"]}])

    for operation, input in (
        ("access.keys.create", {"name": "child"}), ("access.keys.revoke", {"id": "x"}), ("access.keys.list", {}),
        ("grants.create", {"grant": {"effect": "allow", "operations": ["*"], "subject": f"agent:{agent.name}"}}),
        ("settings.set", {"name": "server.port", "value": 1}), ("approvals.decide", {"id": "x", "decision": "approve"}),
    ):  # fmt: skip
        response = await agent.call(operation, input)
        assert response.status_code in (403, 404), operation
        assert (await house.refusal(response))["operation"] == operation
