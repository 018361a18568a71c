"""The capability `files`, as an operation of any plugin uses it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from superagent.core.grants import Grant
from superagent.runtime.beneath import Roots
from superagent.runtime.files_reach import FilesReach
from superagent.runtime.protected import Protected
from superagent.sdk import Context, Output, Plugin, ReadPath, Risk
from superagent.testing import World


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
