"""Put together from the settings: what may never be visible, and what is said of this machine."""

from __future__ import annotations

import time
from pathlib import Path
from typing import cast

import pytest

from superagent.core.problems import InvalidInput
from superagent.data.database import Database
from superagent.runtime.places import Places, prepare
from superagent.runtime.sandboxes import Sandboxes
from tests.needs import program

NO_DATABASE = cast(Database, None)


def made(places: Places, *visible: str, minimum: str = "native") -> Sandboxes:
    return Sandboxes(NO_DATABASE, places, time.monotonic, minimum, visible, 1_900_000_000, 10)  # pyright: ignore[reportArgumentType]


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return prepare(tmp_path / "home" / "data")


def test_what_holds_the_platforms_own_folder_is_never_made_visible(places: Places) -> None:
    for folder in ("/", str(places.data.parent), str(places.data), str(places.state), str(places.workspaces)):
        with pytest.raises(InvalidInput, match="belongs to the platform"):
            made(places, folder)


def test_a_folder_is_named_by_its_plain_path(places: Places, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/usr/share")
    for folder in ("usr", "/usr/../usr", "/nosuch", str(tmp_path / "link"), "/etc/hostname"):
        with pytest.raises(InvalidInput, match="plain absolute path"):
            made(places, folder)


async def test_in_one_line_it_is_said_what_works_here(places: Places) -> None:
    program("bwrap", "bubblewrap")
    sandboxes = made(places, "/usr/share")

    name, works, seen, cure = await sandboxes.standing()

    await sandboxes.close()
    assert (name, works, cure) == ("sandbox", True, "")
    assert "native (bubblewrap)" in seen
    assert "disk none" in seen


async def test_a_level_that_is_not_there_is_said_with_what_to_do(places: Places) -> None:
    sandboxes = made(places, minimum="vm")

    name, works, seen, cure = await sandboxes.standing()

    await sandboxes.close()
    assert (name, works) == ("sandbox", False)
    assert "`vm`" in seen
    assert "minimum_level" in cure
