"""A restored copy takes back nothing in its original's places, unless a person says that it shall."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.surfaces.http.house import Caller, House, house_in, problem_of

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def written(caller: Caller, path: Path, text: str) -> str:
    done = await caller.call("files.write", {"path": str(path), "content": text})
    assert done.status_code == 200, done.text
    return done.headers["x-invocation-id"]


async def ended(house: House, id: str) -> tuple[str, str]:
    (record,) = [one for one in await house.records(invocation=id) if one["kind"] == "outcome"]
    return record["status"], record["problem"]


async def test_what_was_kept_in_the_original_is_taken_back_by_a_copy_only_on_a_persons_word(tmp_path: Path) -> None:
    data, copy, file = tmp_path / "data", tmp_path / "copy", tmp_path / "file"
    file.write_text("first")
    async with house_in(data) as house:
        old = await written(house.owner, file, "second")
        agent = await house.agent(role="operator")
        theirs = await written(agent, agent.workspace / "note", "x")
    shutil.copytree(data, copy)

    async with house_in(copy) as house:
        agent = house.caller(agent.name, agent.key)
        for caller, id in ((house.owner, old), (agent, theirs)):
            refused = await caller.call("undo.apply", {"ids": [id]})
            problem = problem_of(refused, 409, "conflict")
            assert f"kept in `{data}`, of which this is a copy" in problem["detail"]
            assert "undo.adopt" in problem["hint"]
            assert await ended(house, refused.headers["x-invocation-id"]) == ("failed", "conflict")
        meant = await agent.call("undo.apply", {"ids": [theirs], "of_original": True})
        problem_of(meant, 403, "denied")
        assert await ended(house, meant.headers["x-invocation-id"]) == ("failed", "denied")
        assert file.read_text() == "second"

        looked = await house.owner.call("undo.apply", {"ids": [old]}, X_Dry_Run="true")
        assert f"kept in `{data}`" in looked.json()["output"]["conflicts"][0]
        own = await written(house.owner, file, "third")
        await house.owner.done("undo.apply", {"ids": [own]})
        assert file.read_text() == "second"
        await house.owner.done("undo.apply", {"ids": [old], "of_original": True})
        assert file.read_text() == "first"

    async with house_in(data) as house:  # and the original goes on as ever
        await house.owner.done("undo.apply", {"ids": [old]})


async def test_a_copy_that_takes_the_originals_place_takes_back_as_it_did(tmp_path: Path) -> None:
    data, copy, file = tmp_path / "data", tmp_path / "copy", tmp_path / "file"
    file.write_text("first")
    async with house_in(data) as house:
        old = await written(house.owner, file, "second")
        problem_of(await house.owner.call("undo.adopt"), 409, "conflict")
    shutil.copytree(data, copy)

    async with house_in(copy) as house:
        agent = await house.agent(role="operator")
        problem_of(await agent.call("undo.adopt"), 404, "not-found")
        adopted = await house.owner.call("undo.adopt")
        assert adopted.json()["output"] == {"original": str(data)}
        await house.owner.done("undo.apply", {"ids": [adopted.headers["x-invocation-id"]]})
        problem_of(await house.owner.call("undo.apply", {"ids": [old]}), 409, "conflict")
        await house.owner.done("undo.adopt")
    async with house_in(copy) as house:
        await house.owner.done("undo.apply", {"ids": [old]})
    assert file.read_text() == "first"
