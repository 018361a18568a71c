"""`policy.explain` over HTTP: what would be answered and by which grants, for oneself and by right for others."""

from __future__ import annotations

import pytest

from tests.promise import promise
from tests.surfaces.http.house import Caller, House, problem_of

pytestmark = pytest.mark.asyncio(loop_scope="session")


@promise("1.1")
async def test_an_allowed_call_is_explained_by_the_grant_that_allows_it(house: House, agent: Caller) -> None:
    inside = str(agent.workspace / "notes.txt")

    said = await agent.done("policy.explain", {"operation": "files.write", "input": {"path": inside, "content": "x"}})

    assert (said["verdict"], said["status"]) == ("allow", 200)
    assert said["resources"] == [f"path://local{inside}"]
    assert "role:agent:1" in [one["id"] for one in said["grants"]]
    assert [hop["who"] for hop in said["hops"]] == [agent.name, "owner"]
    assert any(one["words"].startswith("allows files.*") for one in said["grants"])


async def test_what_asks_and_what_is_hidden_is_told_as_the_call_would_be(house: House, agent: Caller) -> None:
    outside = {"operation": "files.read", "input": {"path": "/etc/hostname"}}
    asked = await agent.done("policy.explain", outside)
    assert (asked["verdict"], asked["status"], asked["require"]["approvals"]) == ("ask", 202, 1)

    hidden = await agent.call("policy.explain", {"operation": "settings.set", "input": {}})
    call = await agent.call("settings.set", {})
    assert problem_of(hidden, 404, "not-found")["detail"] == problem_of(call, 404, "not-found")["detail"]


async def test_others_are_explained_to_those_with_the_right_only(house: House, agent: Caller) -> None:
    other = await house.agent()
    asked = {"operation": "settings.set", "actor": f"agent:{other.name}"}

    refused = await agent.call("policy.explain", asked)
    told = await house.owner.done("policy.explain", asked)

    problem_of(refused, 403, "denied")
    assert (await house.refusal(refused))["operation"] == "policy.explain"
    assert (told["verdict"], told["status"]) == ("deny", 404)
    assert "role:everybody:" in str([one["id"] for one in told["grants"]])
    problem_of(await house.owner.call("policy.explain", asked | {"actor": "agent:nobody"}), 404, "not-found")


async def test_when_and_where_can_be_supposed(house: House) -> None:
    grant = {
        "effect": "allow", "operations": ["files.read"],
        "where": {"paths": ["/srv/**"]}, "when": {"hours": "mon-fri 08:00-18:00", "cidr": ["10.0.0.0/8"]},
    }  # fmt: skip
    agent = await house.agent(grants=[grant])
    monday_noon = 4 * 86_400 + 12 * 3600

    async def told(**more: object) -> str:
        asked = {"operation": "files.read", "input": {"path": "/srv/a"}, **more}
        response = await agent.call("policy.explain", asked)
        return response.json()["output"]["verdict"] if response.status_code == 200 else str(response.status_code)

    assert await told(at=monday_noon, remote="10.1.2.3") == "allow"
    assert await told(at=monday_noon, remote="192.0.2.1") == "404"
    assert await told(at=monday_noon - 86_400, remote="10.1.2.3") == "404"
