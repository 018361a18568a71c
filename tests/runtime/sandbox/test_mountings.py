"""How a back end shows views is found by really running a command, from the best way on."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

import pytest
import pytest_asyncio

from superagent.core.grants import IsolationLevel
from superagent.core.problems import SandboxUnavailable, Unavailable
from superagent.runtime.sandbox.backend import Backend, Probe, Running, Start
from superagent.runtime.sandbox.mountings import Mountings, Way
from superagent.runtime.sandbox.views import Views
from tests.ordinary_user import open_folder
from tests.runtime.sandbox.here import USER, Here, here


@dataclass
class Older:
    """A real back end on a system that lacks some ways: each is refused as that system refuses it."""

    inner: Backend
    lacks: tuple[str, ...]
    name: str = "older"
    level: IsolationLevel = "native"
    tried: list[str] = field(default_factory=list[str])

    async def probe(self) -> Probe:
        return await self.inner.probe()

    async def start(self, start: Start) -> Running:
        assert start.view is not None
        way = f"{start.view.mounting}{' sized' if start.view_bytes else ''}"
        self.tried.append(way)
        if way in self.lacks:
            raise SandboxUnavailable(f"no {way} here")
        return await self.inner.start(start)


@pytest_asyncio.fixture
async def place() -> AsyncGenerator[tuple[Here, Views]]:
    with open_folder() as folder:
        async with here(folder) as made:
            yield made, Views(folder / "views", folder / "records", time.time)


async def test_memory_of_a_fixed_size_is_taken_where_it_works_and_tried_once(place: tuple[Here, Views]) -> None:
    made, views = place
    mountings, older = Mountings(views), Older(made.native, ())

    assert await mountings.of(older, USER) == await mountings.of(older, USER) == Way("before", True)
    assert older.tried == ["before sized"]
    assert os.listdir(views.folder) == []


@pytest.mark.parametrize(
    ("lacks", "way"),
    [
        (("before sized",), Way("before", False)),
        (("before sized", "before", "bwrap"), Way("copy", False)),
    ],
)
async def test_what_does_not_work_gives_way_to_the_next(
    place: tuple[Here, Views], lacks: tuple[str, ...], way: Way
) -> None:
    made, views = place

    assert await Mountings(views).of(Older(made.native, lacks), USER) == way
    assert os.listdir(views.folder) == []


async def test_without_any_way_the_first_reason_is_told(place: tuple[Here, Views]) -> None:
    made, views = place
    older = Older(made.native, ("before sized", "before", "bwrap", "copy"))

    with pytest.raises(Unavailable, match="no before sized here"):
        await Mountings(views).of(older, USER)
    assert os.listdir(views.folder) == []
