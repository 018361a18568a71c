"""`/openapi/actions.json`: slices for GPT Actions, within every limit that is published for them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, cast

import pytest

from superagent.core.operation import Operation
from superagent.core.resources import Effect
from superagent.surfaces.http.actions import MOST_OPERATIONS
from tests.promise import promise
from tests.surfaces.http.house import Caller, House, problem_of

pytestmark = pytest.mark.asyncio(loop_scope="session")


def faults(document: dict[str, Any]) -> Iterator[str]:
    """Say what is beyond the limits of GPT Actions (OpenAI, production notes); apart from what makes the document."""
    operations = [one for path in document["paths"].values() for one in path.values()]
    if len(operations) > 30:
        yield f"{len(operations)} operations"
    if len(document["components"]["securitySchemes"]) != 1:
        yield "more than one way to sign in"
    names = [one["operationId"] for one in operations]
    if len(set(names)) < len(names):
        yield "one name twice"
    for one in operations:
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", one["operationId"]):
            yield f"name {one['operationId']}"
        if max(len(one.get("summary", "")), len(one.get("description", ""))) > 300:
            yield f"{one['operationId']}: more than 300 characters"
        if not isinstance(one.get("x-openai-isConsequential"), bool):
            yield f"{one['operationId']}: consequential or not?"
        if any(found["in"] == "header" for found in one.get("parameters", ())):
            yield f"{one['operationId']}: a header of its own"
        yield from (
            f"{one['operationId']}: {len(text)} characters" for text in texts(one["requestBody"]) if len(text) > 700
        )
        yield from (
            f"{one['operationId']}: a parameter"
            for found in one.get("parameters", ())
            if len(found["description"]) > 700
        )


def texts(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for one in cast("list[Any]", value):
            yield from texts(one)
    elif isinstance(value, dict):
        for name, one in cast("dict[str, Any]", value).items():
            if name == "description" and isinstance(one, str):
                yield one
            else:
                yield from texts(one)


async def slice_of(caller: Caller, toolsets: str = "") -> dict[str, Any]:
    response = await caller.get(f"/openapi/actions.json?toolsets={toolsets}")
    assert response.status_code == 200, response.text
    return response.json()


@promise("10.5")
async def test_every_slice_is_within_the_published_limits(house: House) -> None:
    registry: list[Operation] = list(house.installation.kernel.registry)
    for domain in sorted({one.domain for one in registry}):
        response = await house.owner.get(f"/openapi/actions.json?toolsets={domain}")
        if response.status_code == 422:  # more than fit, said clearly
            assert sum(one.domain == domain for one in registry) + 7 > MOST_OPERATIONS
            continue
        assert list(faults(response.json())) == [], domain
    names = [one.name for one in registry]
    for at in range(0, len(names), 20):
        document = await slice_of(house.owner, ",".join(names[at : at + 20]))
        assert list(faults(document)) == []
        for name in names[at : at + 20]:
            made = document["paths"][f"/v1/operations/{name}"]["post"]
            found = house.installation.kernel.registry.get(name)
            assert made["x-openai-isConsequential"] is (found.effect is not Effect.READ)


async def test_the_linter_sees_what_is_beyond_a_limit(house: House) -> None:
    document = await slice_of(house.owner)
    assert list(faults(document)) == []
    some = next(iter(document["paths"].values()))["post"]
    some["summary"] = "x" * 301
    some["requestBody"]["description"] = "x" * 701
    document["paths"] |= {f"/{at}": {"post": {**some, "operationId": f"o{at}"}} for at in range(30)}
    assert len(list(faults(document))) > 30


async def test_the_default_slice_does_what_it_says_by_its_own_paths(house: House, agent: Caller) -> None:
    document = await slice_of(agent)
    by_id = {one["post"]["operationId"]: path for path, one in document["paths"].items()}
    wrote = await agent.http.post(by_id["files_write"], json={"path": "gpt.txt", "content": "x"})
    ran = await agent.http.post(by_id["run_operation"].replace("{name}", "files.read"), json={"path": "gpt.txt"})
    assert wrote.status_code == 200, wrote.text
    assert ran.json()["status"] == "done"
    assert len(json.dumps(document)) < 100_000


async def test_a_slice_holds_what_its_caller_may_use_and_no_more_than_fits(house: House, agent: Caller) -> None:
    mine = json.dumps(await slice_of(agent, "settings,files.read"))
    assert "settings" not in mine
    assert "files_read" in mine
    found = problem_of(await house.owner.get("/openapi/actions.json?toolsets=access,files,jobs"), 422, "invalid-input")
    assert "30" in found["detail"]
    problem_of(await house.stranger.get("/openapi/actions.json"), 401, "unauthenticated")
