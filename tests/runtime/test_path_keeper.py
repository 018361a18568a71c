"""The keeper of paths, where what it keeps is gone with all that held it."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from superagent.core.containment import MIB
from superagent.core.invocation import Status
from superagent.core.ports import Keeper
from superagent.runtime.beneath import Roots
from superagent.runtime.files_reach import FilesReach
from superagent.runtime.kept_content import KeptContent
from superagent.runtime.path_keeper import PathKeeper
from superagent.runtime.protected import Protected
from superagent.runtime.reserve import Reserve
from superagent.sdk import Context, Nothing, Plugin, Risk, WritePath, put_back
from superagent.testing import World, agent
from tests.needs import missing


async def test_a_change_that_takes_the_whole_folder_along_is_kept_and_closed(tmp_path: Path) -> None:
    probe = Plugin("probe", reaches=("files",))

    @probe.operation(risk=Risk.MEDIUM, undo=put_back)
    async def wreck(ctx: Context, path: WritePath) -> Nothing:
        """Remove the folder in which a file lies."""
        async with ctx.changing(path):
            await ctx.thread(shutil.rmtree, Path(path).parent)
        return Nothing()

    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "a").write_text("x")
    keepers: dict[str, Keeper] = {"path": PathKeeper(KeptContent(tmp_path / "kept"))}
    roots = Roots()
    world = World(probe, keepers=keepers, capabilities={"files": lambda ctx: FilesReach(ctx, roots, Protected())})
    outcome = await world.run("probe.wreck", {"path": f"{tmp_path}/d/a"})
    assert outcome.status is Status.DONE
    (kept,) = world.undo.entries.values()
    assert kept.closed
    assert kept.before != kept.after
    assert "parent_after_ns" not in kept.data


async def test_of_a_disk_of_its_own_an_agent_leaves_the_reserve_and_the_owner_need_not(tmp_path: Path) -> None:
    other = Path("/dev/shm")
    least = free(other) + 64 * MIB
    if not other.is_dir() or free(tmp_path) < least + 64 * MIB:
        missing("there is no disk with less room than that of the temporary folder")
    probe = Plugin("probe", reaches=("files",))

    @probe.operation(risk=Risk.MEDIUM, undo=put_back)
    async def write(ctx: Context, path: WritePath) -> Nothing:
        """Write a file."""
        async with ctx.changing(path):
            await ctx.thread(Path(path).write_text, "new\n")
        return Nothing()

    keepers: dict[str, Keeper] = {"path": PathKeeper(KeptContent(tmp_path / "kept"), reserve=Reserve(tmp_path, least))}
    roots = Roots()
    world = World(probe, keepers=keepers, capabilities={"files": lambda ctx: FilesReach(ctx, roots, Protected())})
    with tempfile.TemporaryDirectory(dir=other) as small:
        refused = await world.run("probe.write", {"path": f"{small}/a"}, by=agent())
        assert refused.problem is not None
        assert (refused.problem.slug, os.listdir(small)) == ("unavailable", [])
        assert "of that path" in refused.problem.detail
        assert (await world.run("probe.write", {"path": f"{tmp_path}/a"}, by=agent())).status is Status.DONE
        assert (await world.run("probe.write", {"path": f"{small}/a"})).status is Status.DONE


def free(folder: Path) -> int:
    state = os.statvfs(folder)
    return state.f_bavail * state.f_frsize
