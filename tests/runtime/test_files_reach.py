"""The capability `files`, as an operation of any plugin uses it."""

from __future__ import annotations

import os
import time
from functools import partial
from pathlib import Path

import pytest

from superagent.core.grants import Grant
from superagent.runtime.beneath import Roots
from superagent.runtime.files_reach import FilesReach
from superagent.runtime.protected import Protected
from superagent.sdk import Context, Deadline, Effect, Output, Plugin, Preview, ReadPath, Risk
from superagent.testing import World
from tests.until import until, until_async


class Seen(Output):
    content: str


@pytest.fixture
def world(tmp_path: Path) -> World:
    probe = Plugin("probe", reaches=("files",))

    @probe.operation(risk=Risk.LOW)
    async def look(ctx: Context, path: ReadPath) -> Seen:
        """Look at a file."""
        with await ctx.files.beneath(path) as at:
            fd = at.open()
            try:
                return Seen(content=os.read(fd, 100).decode())
            finally:
                os.close(fd)

    roots = Roots()
    grant = Grant.model_validate(
        {
            "effect": "allow",
            "subject": "*",
            "operations": ["probe.*"],
            "where": {"paths": [f"{tmp_path}/open/**", f"{tmp_path}/single"]},
        }
    )
    return World(probe, grants=[grant], capabilities={"files": lambda ctx: FilesReach(ctx, roots, Protected())})


async def test_an_operation_opens_what_is_granted(world: World, tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    for name in ("open/a", "single", "closed"):
        (tmp_path / name).write_text(name)
    for name in ("open/a", "single"):
        assert (await world.run("probe.look", {"path": f"{tmp_path}/{name}"})).result() == {"content": name}


async def test_a_link_into_what_is_not_granted_is_not_found(world: World, tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "closed").write_text("secret")
    (tmp_path / "open" / "link").symlink_to("../closed")
    outcome = await world.run("probe.look", {"path": f"{tmp_path}/open/link"})
    assert outcome.problem is not None
    assert outcome.problem.slug == "not-found"
    assert not world.faults


async def test_a_granted_folder_that_is_not_there_is_not_found(world: World, tmp_path: Path) -> None:
    for path in ("open", "open/a", "open/a/b"):
        outcome = await world.run("probe.look", {"path": f"{tmp_path}/{path}"})
        assert outcome.problem is not None
        assert outcome.problem.slug == "not-found"


async def test_looking_in_a_thread_ends_with_a_dry_runs_time_and_not_with_a_changes(tmp_path: Path) -> None:
    probe = Plugin("probe", reaches=("files",))
    seen: list[str] = []

    def look(ctx: Context, path: str) -> None:
        assert ctx.invocation.deadline is not None
        until(lambda: time.monotonic() > (ctx.invocation.deadline or 0), "the deadline")
        reach = ctx.reach("files")
        with reach.at(path) as at:
            for work in (lambda: list(reach.walk(at)), lambda: reach.require_whole(at, Effect.READ)):
                try:
                    work()
                    seen.append("all of it")
                except Deadline:
                    seen.append("deadline")

    @probe.operation(risk=Risk.LOW, effect=Effect.CHANGE, ephemeral="a test")
    async def change(ctx: Context, path: ReadPath) -> Seen:
        """Look late."""
        await ctx.thread(look, ctx, path)
        return Seen(content="")

    @change.preview
    async def _(ctx: Context, path: ReadPath) -> Preview:
        await ctx.thread(look, ctx, path)
        return Preview(summary="")

    def ended(count: int) -> bool:
        return len(seen) == count

    (tmp_path / "a").touch()
    roots = Roots()
    world = World(probe, capabilities={"files": lambda ctx: FilesReach(ctx, roots, Protected())})
    for dry_run, count in ((True, 2), (False, 4)):
        outcome = await world.run("probe.change", {"path": str(tmp_path)}, dry_run=dry_run, deadline_s=0.05)
        assert outcome.problem is not None
        await until_async(partial(ended, count), "the end of the thread")
    assert seen == ["deadline", "deadline", "all of it", "all of it"]
