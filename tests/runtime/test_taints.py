"""The marks of an installation in a real database."""

from __future__ import annotations

from pathlib import Path

import pytest

from superagent.core.taint import Mark
from superagent.runtime import taints
from superagent.runtime.shared_map import SharedMap
from superagent.runtime.taints import SqlTaints
from tests.data.areas import check_area
from tests.runtime.stores import stores

MAIL = Mark("caller:builder", "a mail", 5.0, "01", "s")


async def test_the_tables_are_as_the_migrations_make_them(tmp_path: Path) -> None:
    await check_area(taints.AREA, tmp_path)


async def test_marks_are_kept_once_seen_by_all_and_cleared(tmp_path: Path) -> None:
    shared = SharedMap(tmp_path / "shared.map")
    async with stores(tmp_path) as one, stores(tmp_path) as two:
        here = SqlTaints(one.database, shared.taint, one.clock.now)
        there = SqlTaints(two.database, shared.taint, two.clock.now)
        assert there.of("default", ["caller:builder"]) is None
        assert await here.add("default", [MAIL, Mark("caller:other", "b", 6.0)]) == [
            MAIL,
            Mark("caller:other", "b", 6.0),
        ]
        assert await there.add("default", [Mark("caller:builder", "later", 9.0)]) == []
        assert there.of("default", ["caller:none", "caller:builder"]) == MAIL
        assert there.of("system", ["caller:builder"]) is None
        assert [mark.subject for mark in await there.listed("default")] == ["caller:other", "caller:builder"]
        assert await there.clear("system", "caller:builder") is None
        assert await there.clear("default", "caller:builder") == MAIL
        assert here.of("default", ["caller:builder"]) is None
    shared.close()


@pytest.mark.parametrize(
    ("folder", "found"), [("/w", True), ("/w/deep", True), ("/", True), ("/wide", False), ("/x", False)]
)
async def test_a_place_counts_for_what_lies_in_it_and_for_what_contains_it(
    tmp_path: Path, folder: str, found: bool
) -> None:
    shared = SharedMap(tmp_path / "shared.map")
    async with stores(tmp_path) as one:
        here = SqlTaints(one.database, shared.taint, one.clock.now)
        assert here.left_in("default", folder) is None
        await here.add("default", [Mark("place:/w", "a mail", 5.0)])
        assert (here.left_in("default", folder) is not None) is found
        assert here.left_in("system", folder) is None
    shared.close()


async def test_tasks_whose_process_died_are_forgotten_in_time_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = SharedMap(tmp_path / "shared.map")
    monkeypatch.setattr(taints, "MOST_CACHED", 1)
    async with stores(tmp_path) as one:
        here = SqlTaints(one.database, shared.taint, one.clock.now)
        await here.add(
            "default", [Mark("task:1", "a", 0.0), Mark("task:2", "a", one.clock.now()), Mark("caller:1", "a", 0.0)]
        )
        assert await here.sweep() == 1
        assert [here.of("default", [one]) is None for one in ("task:2", "caller:1")] == [False, False]
        assert len(await here.listed("default")) == 2
    shared.close()
