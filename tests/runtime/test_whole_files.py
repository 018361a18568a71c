"""Files as data: read, written, listed and deleted whole, judged as everything that goes by descriptors."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from superagent.core.grants import Grant
from superagent.runtime import whole_files
from superagent.runtime.beneath import Roots
from superagent.runtime.files_reach import FilesReach
from superagent.runtime.kept_content import KeptContent
from superagent.runtime.path_keeper import PathKeeper
from superagent.runtime.protected import Protected
from superagent.sdk import Context, DestroyPath, Effect, Output, Plugin, Preview, ReadPath, Risk, WritePath, put_back
from superagent.testing import World


class Seen(Output):
    text: str = ""
    names: list[str] = []


@pytest.fixture
def world(tmp_path: Path) -> World:
    probe = Plugin("probe", reaches=("files",))

    @probe.operation(risk=Risk.LOW)
    async def read(ctx: Context, path: ReadPath, offset: int = 0, max_bytes: int = 0) -> Seen:
        """Read."""
        return Seen(text=(await ctx.files.read(path, offset=offset, max_bytes=max_bytes)).decode())

    @probe.operation(risk=Risk.LOW)
    async def see(ctx: Context, path: ReadPath) -> Seen:
        """See what is there."""
        return Seen(names=[f"{one.name} {one.kind} {one.size}" for one in await ctx.files.list(path)])

    @probe.operation(risk=Risk.MEDIUM, undo=put_back)
    async def write(ctx: Context, path: WritePath, text: str) -> Seen:
        """Write."""
        async with ctx.changing(path):
            await ctx.files.write(path, text.encode())
        return Seen()

    @probe.operation(risk=Risk.HIGH, undo=put_back)
    async def delete(ctx: Context, path: DestroyPath) -> Seen:
        """Delete."""
        async with ctx.changing(path, Effect.DESTROY):
            await ctx.files.delete(path)
        return Seen()

    @delete.preview
    async def _(ctx: Context, path: DestroyPath) -> Preview:
        return Preview(summary="")

    assert all((read, see, write, _))
    (tmp_path / "open").mkdir()
    roots = Roots()
    allow = {"effect": "allow", "subject": "*", "operations": ["probe.*"], "where": {"paths": [f"{tmp_path}/open/**"]}}
    deny = {**allow, "effect": "deny", "where": {"paths": [f"{tmp_path}/open/closed/**", f"{tmp_path}/open/hidden"]}}
    return World(
        probe,
        grants=[Grant.model_validate(allow), Grant.model_validate(deny)],
        capabilities={"files": lambda ctx: FilesReach(ctx, roots, Protected())},
        keepers={"path": PathKeeper(KeptContent(tmp_path / "kept"))},
    )


async def slug(world: World, operation: str, **given: object) -> str:
    outcome = await world.run(f"probe.{operation}", given)
    return outcome.problem.slug if outcome.problem else "done"


async def test_a_file_is_read_in_parts_and_never_too_much_of_it(world: World, tmp_path: Path) -> None:
    (tmp_path / "open" / "a").write_text("0123456789")
    path = f"{tmp_path}/open/a"
    assert (await world.run("probe.read", {"path": path})).result()["text"] == "0123456789"
    assert (await world.run("probe.read", {"path": path, "offset": 3, "max_bytes": 4})).result()["text"] == "3456"
    assert (await world.run("probe.read", {"path": path, "offset": 20})).result()["text"] == ""
    assert await slug(world, "read", path=path, offset=-1) == "invalid-input"
    assert await slug(world, "read", path=path, max_bytes=whole_files.MAX_BYTES + 1) == "invalid-input"
    assert await slug(world, "read", path=f"{tmp_path}/open/none") == "not-found"


async def test_a_file_is_replaced_in_one_step_and_keeps_its_mode_but_no_set_user_id(
    world: World, tmp_path: Path
) -> None:
    file = tmp_path / "open" / "a"
    assert await slug(world, "write", path=str(file), text="one") == "done"
    file.chmod(0o4750)
    inode = file.stat().st_ino
    assert await slug(world, "write", path=str(file), text="two") == "done"
    assert (file.read_text(), stat.S_IMODE(file.stat().st_mode)) == ("two", 0o750)
    assert file.stat().st_ino != inode
    assert os.listdir(tmp_path / "open") == ["a"]


async def test_a_link_is_replaced_and_not_followed(world: World, tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("theirs")
    (tmp_path / "open" / "link").symlink_to(tmp_path / "outside")
    assert await slug(world, "write", path=f"{tmp_path}/open/link", text="mine") == "invalid-input"
    assert await slug(world, "read", path=f"{tmp_path}/open/link") == "not-found"
    assert await slug(world, "delete", path=f"{tmp_path}/open/link") == "done"
    assert (tmp_path / "outside").read_text() == "theirs"


async def test_what_is_denied_is_neither_listed_nor_deleted_with_the_rest(world: World, tmp_path: Path) -> None:
    at = tmp_path / "open"
    (at / "closed").mkdir()
    (at / "folder" / "deep").mkdir(parents=True)
    for name in ("a", "hidden", "closed/in", "folder/b"):
        (at / name).write_text("12")
    seen = (await world.run("probe.see", {"path": str(at)})).result()["names"]
    assert [one.rpartition(" ")[0] for one in seen] == ["a file", "folder directory"]
    assert await slug(world, "see", path=f"{at}/a") == "not-found"
    assert await slug(world, "delete", path=f"{at}/folder") == "done"
    assert not (at / "folder").exists()
    assert await slug(world, "delete", path=f"{at}/folder") == "not-found"
    assert await slug(world, "write", path=f"{at}/hidden", text="x") in ("denied", "not-found")


async def test_a_folder_of_very_many_is_not_listed(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(whole_files, "MOST_LISTED", 3)
    for name in "abcd":
        (tmp_path / "open" / name).touch()
    assert await slug(world, "see", path=f"{tmp_path}/open") == "too-large"
