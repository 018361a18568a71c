"""Undo of a call takes back all that it led to, however deep, whether the calls between kept anything or not."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from superagent.app import Installation, open_installation
from superagent.core.invocation import Call, Outcome
from superagent.sdk import Context, Effect, Output, Plugin, Risk, put_back
from superagent.settings import load
from tests.features.test_approved_files import agent


class Led(Output):
    """The invocations of this call and of those below it, each with its own plan's number."""

    ids: dict[str, str]


nest = Plugin("nest")

Plan = dict[str, Any]
"""What one call does: `number`, the files it writes by calls, and the plans of the calls it makes."""


async def _follow(ctx: Context, plan: Plan) -> Led:
    ids = {str(plan["number"]): ctx.invocation.id}
    for step in plan["steps"]:
        if "path" in step:
            await ctx.call("files.write", step)
        else:
            ids |= (await ctx.call(step["by"], {"plan": step}))["ids"]
    return Led(ids=ids)


@nest.operation(risk=Risk.LOW, effect=Effect.READ)
async def look(ctx: Context, plan: dict[str, Any]) -> Led:
    """Follow a plan as an operation that changes nothing itself."""
    return await _follow(ctx, plan)


@nest.operation(risk=Risk.LOW, effect=Effect.CHANGE, undo=put_back)
async def change(ctx: Context, plan: dict[str, Any]) -> Led:
    """Follow a plan as an operation that may change something."""
    return await _follow(ctx, plan)


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Installation]:
    async with open_installation(load(tmp_path / "data", environ={}), extra=(nest,)) as installation:
        yield installation


async def run(here: Installation, operation: str, **input: Any) -> Outcome:
    return await here.kernel.run(Call(operation, input), await here.owner(), "cli")


def a_plan(rng: random.Random, folder: Path, depth: int, count: list[int]) -> Plan:
    """Make a plan of nested calls; those above the lowest level write a file of their own only sometimes."""
    number = count[0]
    count[0] += 1
    steps: list[Plan] = []
    if depth == 0 or rng.random() < 0.2:
        steps.append({"path": str(folder / f"file{rng.randrange(4)}"), "content": f"by {number}\n"})
    if depth:
        steps += [a_plan(rng, folder, depth - 1, count) for _ in range(rng.choice((1, 1, 2)))]
    rng.shuffle(steps)
    return {"number": number, "steps": steps, "by": rng.choice(("nest.look", "nest.change"))}


def state(folder: Path) -> dict[str, str]:
    return {one.name: one.read_text() for one in sorted(folder.iterdir())}


def inside(plan: Plan) -> list[Plan]:
    return [plan, *(one for step in plan["steps"] if "by" in step for one in inside(step))]


def written(plan: Plan) -> set[str]:
    return {Path(step["path"]).name for one in inside(plan) for step in one["steps"] if "path" in step}


@pytest.mark.parametrize("depth", [2, 3, 4])
async def test_undo_of_the_first_call_takes_back_everything(here: Installation, tmp_path: Path, depth: int) -> None:
    rng = random.Random(depth)
    for round in range(6):
        folder = tmp_path / f"round{round}"
        folder.mkdir()
        (folder / "file0").write_text("before\n")
        before = state(folder)
        plan = a_plan(rng, folder, depth, [0])
        done = await run(here, plan["by"], plan=plan)
        assert done.problem is None, done.problem
        after = state(folder)
        assert after != before

        back = await run(here, "undo.apply", ids=[done.invocation])
        assert back.problem is None, back.problem
        assert state(folder) == before

        again = await run(here, "undo.apply", ids=[back.invocation])
        assert again.problem is None, again.problem
        assert state(folder) == after


@pytest.mark.parametrize("seed", range(8))
async def test_undo_of_a_call_in_between_takes_back_what_that_one_led_to(
    here: Installation, tmp_path: Path, seed: int
) -> None:
    rng = random.Random(seed)
    plan = a_plan(rng, tmp_path, 3, [0])
    for one in inside(plan):  # each call has files of its own, so that none stands in the way of another
        for step in one["steps"]:
            if "path" in step:
                step["path"] = str(tmp_path / "out" / f"file{one['number']}")
    (tmp_path / "out").mkdir()
    ids: dict[str, str] = (await run(here, plan["by"], plan=plan)).result()["ids"]
    chosen = rng.choice(inside(plan))

    back = await run(here, "undo.apply", ids=[ids[str(chosen["number"])]])

    assert back.problem is None, back.problem
    assert set(state(tmp_path / "out")) == written(plan) - written(chosen)


def two_levels(folder: Path, *then: Plan) -> Plan:
    """Make a plan whose file is written two calls down, before something else at the top."""
    write = {"path": str(folder / "file"), "content": "x"}
    deep = {"number": 2, "by": "nest.look", "steps": [write]}
    return {"number": 0, "by": "nest.look", "steps": [{"number": 1, "by": "nest.look", "steps": [deep]}, *then]}


async def test_what_a_failed_call_left_behind_is_taken_back_by_its_invocation(
    here: Installation, tmp_path: Path
) -> None:
    ended = await run(
        here, "nest.look", plan=two_levels(tmp_path, {"path": str(tmp_path / "none" / "file"), "content": ""})
    )
    assert ended.problem is not None
    assert ended.problem.changed == "partly"

    back = await run(here, "undo.apply", ids=[ended.invocation])

    assert back.problem is None
    assert not (tmp_path / "file").exists()


async def test_what_needs_approval_inside_takes_back_what_was_done_two_calls_down(
    here: Installation, tmp_path: Path
) -> None:
    own = {"effect": "allow", "operations": ["nest.*", "files.write"], "where": {"paths": [f"{tmp_path}/file"]}}
    plain = {"effect": "allow", "operations": ["nest.*"]}
    asks = {"effect": "ask", "operations": ["files.write"], "where": {"paths": [f"{tmp_path}/other"]}}
    by = await agent(here, grants=[own, plain, asks])
    plan = two_levels(tmp_path, {"path": str(tmp_path / "other"), "content": ""})

    ended = await here.kernel.run(Call("nest.look", {"plan": plan}), by, "http")

    assert ended.problem is not None
    assert (ended.problem.slug, ended.problem.changed) == ("needs-approval", "nothing")
    assert not (tmp_path / "file").exists()
