"""A refusal says which grant refuses, or that none allows, and how to find out more; never what is hidden."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.features.jobs.asking import ended
from tests.promise import promise
from tests.surfaces.http.house import House, problem_of

pytestmark = pytest.mark.asyncio(loop_scope="session")


def reading(folder: Path, effect: str = "allow", **more: Any) -> dict[str, Any]:
    return {"effect": effect, "operations": ["files.read"], "where": {"paths": [f"{folder}/**"]}, **more}


@promise("11.12")
async def test_a_403_says_that_no_grant_allows_and_proposes_to_ask_for_one(house: House, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("x")
    agent = await house.agent(
        grants=[
            reading(tmp_path), {"effect": "allow", "operations": ["files.write"], "where": {"paths": ["/srv/x/**"]}},
        ]
    )  # fmt: skip
    asked = {"path": str(tmp_path / "f"), "content": "y"}

    problem = problem_of(await agent.call("files.write", asked), 403, "denied")

    assert problem["detail"].endswith(f"no grant allows this on `path://local{tmp_path}/f`")
    assert "policy.explain" in problem["hint"]
    assert problem["fix"]["operation"] == "grants.request"
    told = await agent.done("policy.explain", {"operation": "files.write", "input": asked})
    assert (told["verdict"], told["status"]) == ("deny", 403)
    assert [hop["verdict"] for hop in told["hops"]] == ["deny", "allow"]
    waiting = await agent.call("grants.request", problem["fix"]["input"])
    assert waiting.status_code == 202, waiting.text
    approval = {"id": waiting.headers["x-invocation-id"], "decision": "approve"}
    await house.owner.done("approvals.decide", approval)
    await ended(house.owner, approval["id"])
    await agent.done("files.write", asked)
    problem_of(await agent.call("files.write", asked | {"path": f"{tmp_path}/other"}), 403, "denied")


@promise("11.12")
async def test_what_no_grant_for_a_while_would_allow_is_not_proposed(house: House, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("x")
    named = [reading(tmp_path), {"effect": "allow", "operations": ["files.write"], "where": {"paths": ["/srv/x/**"]}}]
    agent = await house.agent(grants=named)
    lent = await agent.done("access.delegate", {"name": "less", "only": named, "expires_s": 60})
    less = house.caller("less", lent["key"])
    pattern = tmp_path / "a*"

    for caller, path, fix in ((less, tmp_path / "f", None), (agent, pattern, "policy.explain")):
        problem = problem_of(await caller.call("files.write", {"path": str(path), "content": "y"}), 403, "denied")
        assert problem.get("fix", {}).get("operation") == fix


@promise("11.12")
async def test_a_403_names_the_grant_that_forbids(house: House, tmp_path: Path) -> None:
    agent = await house.agent(
        grants=[
            {"effect": "allow", "operations": ["files.*"], "where": {"paths": [f"{tmp_path}/**"]}},
            {"effect": "deny", "operations": ["files.write"], "where": {"paths": [f"{tmp_path}/fixed/**"]}},
        ]
    )  # fmt: skip
    refused = await agent.call("files.write", {"path": f"{tmp_path}/fixed/f", "content": "y"})

    problem = problem_of(refused, 403, "denied")
    mine = {one["id"]: one["grant"]["effect"] for one in (await agent.done("grants.list"))["grants"]}
    named = next(id for id in mine if f"`{id}`" in problem["detail"])
    assert mine[named] == "deny"
    assert problem["fix"]["operation"] == "policy.explain"
    record = await house.refusal(refused)
    assert record["grants"] == [named]
    assert record["resources"] == [[f"path://local{tmp_path}/fixed/f", "CHANGE"]]


async def test_what_is_hidden_is_neither_named_nor_explained(house: House, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("x")
    agent = await house.agent(grants=[reading(tmp_path / "mine")])

    there = await agent.call("files.read", {"path": str(tmp_path / "f")})
    none = await agent.call("files.read", {"path": str(tmp_path / "g")})
    asked = await agent.call("policy.explain", {"operation": "files.read", "input": {"path": str(tmp_path / "f")}})

    problems = [problem_of(one, 404, "not-found") for one in (there, none, asked)]
    assert all("fix" not in one and "grant" not in one["detail"] for one in problems)
    assert problems[0]["detail"] == problems[2]["detail"] == problems[1]["detail"].replace("/g`", "/f`")


async def test_a_long_input_is_not_repeated(house: House, tmp_path: Path) -> None:
    agent = await house.agent(
        grants=[
            reading(tmp_path), {"effect": "allow", "operations": ["files.write"], "where": {"paths": ["/srv/x/**"]}},
        ]
    )  # fmt: skip
    refused = await agent.call("files.write", {"path": f"{tmp_path}/f*", "content": "y" * 5000})
    assert problem_of(refused, 403, "denied")["fix"]["input"] == {"operation": "files.write"}
