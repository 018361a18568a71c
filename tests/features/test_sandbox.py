"""Accepting, discarding and undoing what commands really did on views, through the line."""

from __future__ import annotations

import os
from collections.abc import Generator
from typing import Any

import msgspec
import pytest

from superagent.core.invocation import Outcome, Status
from superagent.runtime.sandbox.view import Mounting
from superagent.testing import World
from tests.runtime.sandbox.viewing import UID, WAYS, Desk, desk, state_of


@pytest.fixture(name="made")
def _made() -> Generator[Desk]:
    with desk() as made:
        yield made


@pytest.fixture(params=WAYS, name="way")
def _way(request: pytest.FixtureRequest) -> Mounting:
    return request.param


def output(outcome: Outcome) -> dict[str, Any]:
    assert outcome.status is Status.DONE, outcome.problem and (outcome.problem.detail, outcome.problem.errors)
    return msgspec.json.decode(outcome.output)


async def take_back(world: World, id: str) -> None:
    """Put back what an invocation changed, newest first, as the undo operation does."""
    assert output(await world.run("undo.apply", {"ids": [id]}))


WORK = (
    "echo new > edit; rm gone; chmod 750 mode; rm -r d; mkdir fresh; echo n > fresh/n; rm swap; mkdir swap;"
    "chmod 700 dm; echo i > swap/i; ln -s edit link; mkfifo pipe; echo x > dm/x; chmod 600 fresh/n"
)
FILES: dict[str, str | None] = {
    "edit": "old\n", "gone": "g", "mode": "m", "d/in": "1", "d/e/deep": "2", "swap": "x", "dm/y": "y",
}  # fmt: skip


async def test_what_was_accepted_stands_in_the_folder_and_undo_makes_it_the_same_again(
    made: Desk, way: Mounting
) -> None:
    made.fill(FILES)
    before = state_of(made.real)
    id = made.after(way, WORK)
    world = made.world()
    done = await world.run("sandbox.accept", {"view": id, "folder": str(made.real)})
    assert output(done)["left"] == 0
    after = state_of(made.real)
    assert after["edit"][3] == "new\n"
    assert after["fresh/n"][1] == 0o600
    assert {"link", "pipe", "swap/i"} <= after.keys()
    assert not {"d", "gone"} & after.keys()
    assert {owner for _, _, owner, _ in after.values()} == {UID}
    assert not os.listdir(made.views.folder)
    await take_back(world, done.invocation)
    assert state_of(made.real) == before
