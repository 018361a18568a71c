"""Watching through the line: what happens is told, once, and only to those who may see it."""

from __future__ import annotations

import asyncio
import ctypes
import errno
import os
import resource
import shutil
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from superagent.core.invocation import Outcome, Status
from superagent.plugins.files import watching
from superagent.plugins.files.engine import watching as engine
from superagent.plugins.files.engine.places import Unfit
from superagent.plugins.files.engine.watching import Heard, Queue, Watch
from superagent.testing import person
from tests.plugins.files.ground import Ground, within


class Told:
    """The events of a watch under way."""

    def __init__(self, ground: Ground, id: str) -> None:
        self.ground = ground
        self.id = id

    async def events(self) -> list[dict[str, Any]]:
        stored = await self.ground.world.work.events("default", self.id, 0)
        return [msgspec.json.decode(event) for _, event in stored]

    async def until(self, *wanted: tuple[str, str]) -> list[tuple[str, str]]:
        """Wait until these were told, and give all that was told so far as (event, name)."""
        async with asyncio.timeout(10):
            while True:
                seen = [(one["event"], self._name(one["path"])) for one in await self.events()]
                if set(wanted) <= set(seen):
                    return seen
                await asyncio.sleep(0.01)

    async def outcome(self) -> Outcome:
        """Wait for the end."""
        async with asyncio.timeout(10):
            while (found := await self.ground.world.work.outcome("default", self.id)) is None:
                await asyncio.sleep(0.01)
        return found

    def _name(self, path: str | None) -> str:
        return (path or "").removeprefix(f"{self.ground.top}/")


@asynccontextmanager
async def watched(ground: Ground, debounce_s: float = 0.02, **input: Any) -> AsyncGenerator[Told]:
    """Watch the top, from when it is heard until the block ends."""
    async with ground.kernel.serving():
        told = Told(ground, (await ground.call("watch", path="", debounce_s=debounce_s, **input)).invocation)
        probe = ground.top / "probe"
        async with asyncio.timeout(10):
            while not await told.events():  # a change is told only once it is really watched
                probe.unlink() if probe.exists() else probe.touch()
                await asyncio.sleep(0.05)
        yield told
        await ground.kernel.cancel(person(), told.id)
        assert (await told.outcome()).status is Status.CANCELLED


async def why_not(ground: Ground, path: str) -> str:
    """Watch what cannot be watched, and give the problem's slug."""
    async with ground.kernel.serving():
        outcome = await Told(ground, (await ground.call("watch", path=path)).invocation).outcome()
    assert outcome.problem is not None
    return outcome.problem.slug


async def test_each_kind_of_change_is_told(ground: Ground) -> None:
    ground.write("changes", "x")
    ground.write("goes", "x")
    ground.write("moves", "x")
    async with watched(ground) as told:
        ground.write("comes", "x")
        ground.write("changes", "y")
        (ground.top / "goes").unlink()
        (ground.top / "moves").rename(ground.top / "moved")
        await told.until(("create", "comes"), ("change", "changes"), ("delete", "goes"), ("move", "moves"))
        move = next(one for one in await told.events() if one["event"] == "move")
        assert move["to"] == f"{ground.top}/moved"


async def test_what_is_written_in_one_step_is_told_as_one_change(ground: Ground) -> None:
    ground.write("a", "old")
    async with watched(ground) as told:
        await ground.do("write", path="a", content="new")
        await ground.do("write", path="b", content="new")
        seen = await told.until(("change", "a"), ("create", "b"))
        assert not [name for _, name in seen if name.startswith(".superagent")]


async def test_folders_that_come_later_are_watched_too(ground: Ground) -> None:
    async with watched(ground) as told:
        (ground.top / "d").mkdir()
        await told.until(("create", "d"))
        ground.write("d/a", "x")
        await told.until(("create", "d/a"))
        (ground.top / "d").rename(ground.top / "e")
        await told.until(("move", "d"))
        ground.write("e/b", "x")
        await told.until(("create", "e/b"))
        shutil.rmtree(ground.top / "e")
        await told.until(("delete", "e"))


async def test_only_the_kinds_that_were_asked_for_are_told(ground: Ground) -> None:
    async with watched(ground, events=["create", "delete"]) as told:
        ground.write("a", "x")
        (ground.top / "a").rename(ground.top / "b")
        ground.write("last", "x")
        seen = await told.until(("create", "last"))
        assert {kind for kind, _ in seen} <= {"create", "delete"}


async def test_a_denied_folder_is_silent(tmp_path: Path) -> None:
    top = tmp_path / "top"
    ground = Ground(tmp_path, [within(f"{top}/**"), within(f"{top}/denied/**", effect="deny")])
    ground.write("denied/inside/a", "x")
    async with watched(ground) as told:
        ground.write("denied/inside/b", "x")
        ground.write("denied/c", "x")
        (ground.top / "denied" / "c").rename(ground.top / "came")
        ground.write("goes", "x")
        await told.until(("create", "came"), ("create", "goes"))
        (ground.top / "goes").rename(ground.top / "denied" / "gone")
        ground.write("last", "x")
        seen = await told.until(("delete", "goes"), ("create", "last"))
        assert not [name for _, name in seen if name.startswith("denied")]


async def test_only_a_folder_can_be_watched(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    ground.write("a/b", "x")
    assert await why_not(ground, "a/b") == "invalid-input"
    assert await why_not(ground, "none") == "not-found"
    monkeypatch.setattr(watching, "MOST_FOLDERS", 1)
    assert await why_not(ground, "") == "too-large"


async def test_without_a_pause_every_change_is_told_at_once(ground: Ground) -> None:
    async with watched(ground, debounce_s=0.0) as told:
        ground.write("a", "x")
        await told.until(("create", "a"))


@pytest.mark.parametrize(
    ("heard", "told"),
    [
        (["create", "change"], ["create"]),
        (["create", "delete"], []),
        (["delete", "create"], ["change"]),
        (["change", "change"], ["change"]),
        (["change", "delete"], ["delete"]),
        (["change", "move"], ["move"]),
    ],
)
def test_several_changes_of_one_path_come_to_one(heard: list[Any], told: list[str]) -> None:
    queue = Queue(lambda path, is_dir: True)
    for kind in heard:
        queue.put(Heard(kind, "/a"))
    assert [one.kind for one in queue.take()] == told


def test_more_than_the_queue_holds_is_said_to_overflow() -> None:
    queue = Queue(lambda path, is_dir: True, most=2)
    for name in ("/a", "/b", "/c", "/a"):
        queue.put(Heard("change", name))
    assert [(one.kind, one.path) for one in queue.take()] == [("overflow", ""), ("change", "/b"), ("change", "/a")]
    queue.put(Heard("overflow"))
    assert [one.kind for one in queue.take()] == ["overflow"]
    assert queue.take() == []


@pytest.mark.parametrize(
    ("may", "told"),
    [
        ("/", [("move", "/in/a", "/out/a")]),
        ("/in", [("delete", "/in/a", "")]),
        ("/out", [("create", "/out/a", "")]),
        ("/none", []),
    ],
)
def test_a_move_over_the_border_of_what_may_be_seen(may: str, told: list[tuple[str, str, str]]) -> None:
    queue = Queue(lambda path, is_dir: path.startswith(may))
    queue.put(Heard("move", "/in/a", "/out/a"))
    assert [(one.kind, one.path, one.to) for one in queue.take()] == told


def test_the_kernels_own_overflow_is_heard(tmp_path: Path) -> None:
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    watch = Watch()
    here = os.open(tmp_path, os.O_RDONLY)
    watch.add(here, str(tmp_path))
    assert watch.read() == []
    for number in range(limit // 2 + 2):
        os.mkdir(str(number), dir_fd=here)
        os.rmdir(str(number), dir_fd=here)
    os.close(here)
    kinds: list[str] = []
    while heard := watch.read():
        kinds += [one.kind for one in heard]
    watch.close()
    assert "overflow" in kinds


async def test_a_folder_that_is_gone_again_is_no_trouble(ground: Ground) -> None:
    async with watched(ground, debounce_s=0.3) as told:
        (ground.top / "short").mkdir()
        (ground.top / "short").rmdir()
        ground.write("last", "x")
        seen = await told.until(("create", "last"))
        assert "short" not in [name for _, name in seen]


def test_too_many_watches_or_files_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, before[1]))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            Watch()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)

    class Full:
        """A kernel whose watches are used up."""

        def inotify_add_watch(self, *_: object) -> int:
            ctypes.set_errno(errno.ENOSPC)
            return -1

    watch = Watch()
    monkeypatch.setattr(engine, "_libc", Full())
    with pytest.raises(Unfit, match="as many directories as the system allows"):
        watch.add(0, "/")
    watch.close()


async def test_a_watch_that_the_system_has_no_room_for_is_said_to_be_one_too_many(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full:
        """A system whose watches are used up."""

        def inotify_init1(self, *_: object) -> int:
            ctypes.set_errno(errno.EMFILE)
            return -1

    monkeypatch.setattr(engine, "_libc", Full())
    assert await why_not(ground, "") == "overloaded"


def test_what_cannot_be_watched_is_an_error(tmp_path: Path) -> None:
    watch = Watch()
    (tmp_path / "file").touch()
    fd = os.open(tmp_path / "file", os.O_RDONLY)
    with pytest.raises(NotADirectoryError):
        watch.add(fd, "file")
    os.close(fd)
    watch.close()


def test_what_happens_in_a_folder_that_was_moved_away_is_not_told(tmp_path: Path) -> None:
    for name in ("here/d/e", "elsewhere"):
        (tmp_path / name).mkdir(parents=True)
    watch = Watch()
    try:
        for path in (tmp_path / "here", tmp_path / "here" / "d", tmp_path / "here" / "d" / "e"):
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
            watch.add(fd, str(path))
            os.close(fd)
        (tmp_path / "here" / "d").rename(tmp_path / "elsewhere" / "d")
        (tmp_path / "elsewhere" / "d" / "at-once").touch()
        (tmp_path / "elsewhere" / "d" / "e" / "at-once").touch()
        heard = watch.read()
        (tmp_path / "elsewhere" / "d" / "later").touch()
        heard += watch.read()
    finally:
        watch.close()
    assert heard == [Heard("delete", str(tmp_path / "here" / "d"), "", True)]
