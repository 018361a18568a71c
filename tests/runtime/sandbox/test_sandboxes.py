"""Put together from the settings: what may never be visible, and what is said of this machine."""

from __future__ import annotations

import time
from pathlib import Path
from typing import cast

import pytest

from superagent.core.audit import AuditRecord
from superagent.core.problems import InvalidInput
from superagent.data.database import Database
from superagent.runtime.holdings import Holdings, Reserve
from superagent.runtime.net.network import Network
from superagent.runtime.places import Places, prepare
from superagent.runtime.sandbox.sessions import Alive, Sessions, Signs
from superagent.runtime.sandbox.views import Views
from superagent.runtime.sandboxes import Sandboxes
from superagent.settings import Sandbox as Chosen
from tests.needs import program

NO_DATABASE, NO_NETWORK = cast(Database, None), cast(Network, None)
NO_SESSIONS = Sessions(cast(Signs, None), cast(Alive, None), time.time, lambda record: None)


async def no_record(record: AuditRecord) -> None:
    raise AssertionError(record)


def made(places: Places, *visible: str, minimum: str = "native") -> Sandboxes:
    chosen = Chosen.model_validate({"minimum_level": minimum, "visible": list(visible), "users": 10})
    views = Views(places.data / "views", places.state / "views", time.time)
    holdings = Holdings(NO_DATABASE, views, Reserve(places.state, 0), time.monotonic, 2**40, 1.0)
    return Sandboxes(
        NO_DATABASE, places, time.monotonic, time.time, chosen, views, NO_NETWORK, NO_SESSIONS, holdings, no_record
    )


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
    assert "disk" not in seen  # it is limited wherever tmpfs can bear the marks of an overlay


async def test_a_level_that_is_not_there_is_said_with_what_to_do(places: Places) -> None:
    sandboxes = made(places, minimum="vm")

    name, works, seen, cure = await sandboxes.standing()

    await sandboxes.close()
    assert (name, works) == ("sandbox", False)
    assert "`vm`" in seen
    assert "minimum_level" in cure
