"""The way to mount views is found by really trying."""

from __future__ import annotations

import os
from collections.abc import Generator, Sequence

import pytest

from superagent.core.problems import Unavailable
from superagent.runtime.sandbox.view import Mounting, View, mountings
from superagent.runtime.sandbox.view_probe import CANARY, find_mounting
from tests.runtime.sandbox.viewing import ALL_WAYS, GID, UID, Desk, bubblewrap, desk, inside, run_on


@pytest.fixture(name="made")
def _made() -> Generator[Desk]:
    with desk() as made:
        yield made


async def attempt(view: View, program: Sequence[str]) -> str:
    assert program == CANARY
    try:
        return run_on(view, program[2], check=False)
    except OSError as error:  # pragma: no cover - only where user namespaces are refused
        return str(error)


@pytest.mark.parametrize("way", ALL_WAYS)
async def test_a_way_that_works_is_found_and_leaves_nothing_behind(made: Desk, way: Mounting) -> None:
    bubblewrap(way)
    found = await find_mounting(made.views, (way,), attempt, uid=UID, gid=GID)
    assert (found.mounting, found.failed) == (way, {})
    assert not os.listdir(made.views.folder)
    assert not made.views.records.ids()


async def test_what_fails_is_passed_over_and_its_reason_kept(made: Desk) -> None:
    async def old(view: View, program: Sequence[str]) -> str:
        if view.mounting == "bwrap":  # as an old bubblewrap answers
            return inside(bubblewrap("before"), ("--overlay-of-nobody", "x"), list(program)).stderr
        if view.mounting == "before":  # as where nobody mounted it
            return inside(bubblewrap("before"), ("--bind", view.merged, "/workspace"), list(program)).stderr
        return await attempt(view, program)

    found = await find_mounting(made.views, ("before", "bwrap", "copy"), old, uid=UID, gid=GID)
    assert found.mounting == "copy"
    assert "gone" in found.failed["before"]
    assert "nknown option" in found.failed["bwrap"]


async def test_a_sandbox_that_shows_the_folder_itself_is_found_out(made: Desk) -> None:
    async def leaks(view: View, program: Sequence[str]) -> str:
        bind = ("--bind", view.lower, "/workspace")
        return inside(bubblewrap("before"), bind, list(program)).stderr

    with pytest.raises(Unavailable, match="the folder itself was changed") as caught:
        await find_mounting(made.views, ("copy",), leaks, uid=UID, gid=GID)
    assert caught.value.hint
    assert not os.listdir(made.views.folder)


async def test_a_sandbox_that_loses_what_was_done_is_found_out(made: Desk) -> None:
    async def idle(view: View, program: Sequence[str]) -> str:
        return ""

    with pytest.raises(Unavailable, match="reads as"):
        await find_mounting(made.views, ("copy",), idle, uid=UID, gid=GID)


async def test_a_user_for_whom_no_view_can_be_made_is_told(made: Desk) -> None:
    with pytest.raises(Unavailable, match="unprivileged user"):
        await find_mounting(made.views, ("copy",), attempt, uid=0, gid=0)


def test_an_old_bubblewrap_is_not_asked_to_mount() -> None:
    assert mountings((0, 8, 0)) == ("before", "copy")
    assert mountings((0, 11, 0)) == ("before", "bwrap", "copy")
    assert mountings((1, 0)) == ("before", "bwrap", "copy")
