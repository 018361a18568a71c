"""The keeper of paths, where what it keeps is gone with all that held it."""

from __future__ import annotations

import shutil
from pathlib import Path

from superagent.core.invocation import Status
from superagent.core.ports import Keeper
from superagent.runtime.beneath import Roots
from superagent.runtime.files_reach import FilesReach
from superagent.runtime.kept_content import KeptContent
from superagent.runtime.path_keeper import PathKeeper
from superagent.runtime.protected import Protected
from superagent.sdk import Context, Nothing, Plugin, Risk, WritePath, put_back
from superagent.testing import World


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
