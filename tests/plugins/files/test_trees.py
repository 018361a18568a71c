"""Copying and moving through the line, and taking it back."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from superagent.plugins.files import trees
from superagent.plugins.files.engine import copies, renames
from superagent.plugins.files.engine.places import Differs
from tests.plugins.files.ground import Ground, look_at


@pytest.fixture
def tree(ground: Ground) -> Ground:
    ground.write("one/deep/a", "content a")
    ground.write("one/b", b"\0\xff")
    (ground.top / "one" / "link").symlink_to("b")
    (ground.top / "one" / "empty").mkdir(mode=0o700)
    (ground.top / "one" / "deep" / "a").chmod(0o755)
    for path in sorted(ground.top.rglob("*"), reverse=True):
        os.utime(path, (1_000_000, 2_000_000), follow_symlinks=False)
    return ground


async def test_a_tree_is_copied_with_modes_times_and_links(tree: Ground) -> None:
    done = await tree.undone("copy", source="one", target="two")
    assert (done["files"], done["bytes"]) == (2, 11)
    assert look_at(tree.top / "two", times=True) == look_at(tree.top / "one", times=True)


async def test_a_file_is_copied(tree: Ground) -> None:
    await tree.undone("copy", source="one/b", target="c")
    assert (tree.top / "c").read_bytes() == b"\0\xff"


async def test_a_link_that_is_copied_by_name_gives_what_it_leads_to(tree: Ground) -> None:
    await tree.do("copy", source="one/link", target="c")
    assert not (tree.top / "c").is_symlink()
    assert (tree.top / "c").read_bytes() == b"\0\xff"


@pytest.mark.parametrize("operation", ["copy", "move"])
@pytest.mark.parametrize(
    ("source", "target"), [("one", "x"), ("x", "one"), ("one", "one2"), ("x", "y"), ("one", "empty")]
)
async def test_what_stands_at_the_target_is_replaced_only_if_it_is_said_so(
    tree: Ground, operation: str, source: str, target: str
) -> None:
    tree.write("x", "x")
    tree.write("y", "y")
    tree.write("one2/other", "o")
    (tree.top / "empty").mkdir()
    wanted = look_at(tree.top / source)
    assert (await tree.refused(operation, source=source, target=target)).slug == "conflict"
    await tree.undone(operation, source=source, target=target, overwrite=True)
    assert look_at(tree.top / target) == wanted
    assert (tree.top / source).exists() == (operation == "copy")
    assert not [name for name in os.listdir(tree.top) if name.startswith(".superagent")]


@pytest.mark.parametrize("operation", ["copy", "move"])
@pytest.mark.parametrize(("source", "target"), [("one", "one"), ("one", "one/in"), ("one/deep", "one")])
async def test_nothing_is_put_into_or_over_itself(tree: Ground, operation: str, source: str, target: str) -> None:
    problem = await tree.refused(operation, source=source, target=target, overwrite=True)
    assert problem.slug == "invalid-input"


@pytest.mark.parametrize("operation", ["copy", "move"])
async def test_what_is_missing_is_not_found(tree: Ground, operation: str) -> None:
    assert (await tree.refused(operation, source="none", target="x")).slug == "not-found"
    assert (await tree.refused(operation, source="one", target="none/x")).slug == "not-found"


async def test_a_tree_is_moved_and_a_link_itself_too(tree: Ground) -> None:
    wanted = look_at(tree.top / "one", times=True)
    done = await tree.undone("move", source="one", target="two")
    assert not done["copied"]
    assert look_at(tree.top / "two", times=True) == wanted
    await tree.undone("move", source="two/link", target="link")
    assert (tree.top / "link").readlink() == Path("b")


async def test_to_another_filesystem_it_is_copied_verified_and_deleted(
    tree: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    def elsewhere(*_: object) -> bool:
        monkeypatch.undo()  # the copy itself stays on the other filesystem
        raise OSError(errno.EXDEV, "another filesystem")

    for overwrite, name in ((False, "take_new"), (True, "take_over")):
        wanted = look_at(tree.top / "one", times=True)
        monkeypatch.setattr(renames, name, elsewhere)
        outcome = await tree.call("move", source="one", target="two", overwrite=overwrite)
        assert outcome.result()["copied"]
        assert look_at(tree.top / "two", times=True) == wanted
        assert not (tree.top / "one").exists()
        assert (await tree.call("undo.apply", ids=[outcome.invocation])).problem is None


async def test_other_errors_of_the_system_end_a_move(tree: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(*_: object) -> None:
        raise OSError(errno.EIO, "the disk is broken")

    monkeypatch.setattr(renames, "take_new", breaks)
    assert (await tree.refused("move", source="one", target="two")).slug == "unavailable"


async def test_special_files_cannot_be_copied_and_nothing_is_left_behind(tree: Ground) -> None:
    os.mkfifo(tree.top / "one" / "pipe")
    problem = await tree.refused("copy", source="one", target="two")
    assert "is a fifo" in problem.detail


async def test_copying_and_moving_can_be_looked_at_first(tree: Ground) -> None:
    tree.write("x", "x")
    shown = await tree.preview("copy", source="one", target="two")
    assert "(6 entries)" in shown["summary"]
    assert shown["changes"] == [f"{tree.top}/two"]
    assert (await tree.preview("copy", source="one", target="x"))["conflicts"]
    shown = await tree.preview("move", source="one", target="x", overwrite=True)
    assert "replacing" in shown["summary"]
    assert shown["changes"] == [f"{tree.top}/one", f"{tree.top}/x"]


async def test_a_move_that_fails_halfway_is_put_back_by_itself(tree: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    tree.write("x", "x")

    def breaks(*_: object) -> None:
        raise OSError(errno.EIO, "the disk is broken")

    monkeypatch.setattr(trees.renames, "sync_directory", breaks)
    problem = await tree.refused("move", source="one", target="x", overwrite=True)
    assert "could not read or write" in problem.detail


def test_a_copy_that_is_not_the_same_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_text("right")
    source = os.open(tmp_path / "a", os.O_RDONLY)
    here = os.open(tmp_path, os.O_RDONLY)
    real = os.lseek

    def corrupts(fd: int, *where: int) -> int:
        os.pwrite(fd, b"w", 0)  # what a broken disk or memory would do
        return real(fd, *where)

    monkeypatch.setattr(copies.os, "lseek", corrupts)
    with pytest.raises(Differs, match="not what was read"):
        copies.copy_file(source, here, "b", os.fstat(source))
    os.close(source)
    os.close(here)


async def test_a_copied_program_does_not_run_as_its_owner(tree: Ground) -> None:
    (tree.top / "one" / "b").chmod(0o6755)
    (tree.top / "one" / "deep").chmod(0o2755)
    await tree.do("copy", source="one", target="two")
    assert (tree.top / "two" / "b").stat().st_mode & 0o7777 == 0o755
    assert (tree.top / "two" / "deep").stat().st_mode & 0o7777 == 0o755


def test_without_help_of_the_system_names_are_taken_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Filesystems without `renameat2`'s flags: no replacing, and replacing of what is of another kind."""

    def cannot(*_: object) -> None:
        raise OSError(errno.EINVAL, "no flags here")

    monkeypatch.setattr(renames, "_renameat2", cannot)
    here = os.open(tmp_path, os.O_RDONLY)
    (tmp_path / "file").write_text("f")
    (tmp_path / "folder").mkdir()
    renames.take_new(here, "file", here, "new")
    renames.take_new(here, "folder", here, "folder2")
    for taken in ("new", "folder2"):
        with pytest.raises(FileExistsError):
            renames.take_new(here, taken, here, taken)
    with monkeypatch.context() as patch:  # no hard links either

        def no_links(*_: object, **__: object) -> None:
            raise PermissionError(errno.EPERM, "no links here")

        patch.setattr(os, "link", no_links)
        with pytest.raises(FileExistsError):
            renames.take_new(here, "new", here, "folder2")
        renames.take_new(here, "new", here, "newer")
        renames.take_new(here, "newer", here, "new")
    (tmp_path / "full" / "x").mkdir(parents=True)
    with pytest.raises(FileExistsError):
        renames.take_new(here, "folder2", here, "full")
    assert not renames.exchange(here, "new", here, "full")
    assert renames.take_over(here, "new", here, "full")
    assert (tmp_path / "full").read_text() == "f"
    assert (tmp_path / "new" / "x").is_dir()
    os.close(here)


def test_errors_of_the_system_are_raised(tmp_path: Path) -> None:
    here = os.open(tmp_path, os.O_RDONLY)
    (tmp_path / "a").write_text("x")
    for attempt in (renames.take_new, renames.take_over):
        with pytest.raises(FileNotFoundError):
            attempt(here, "none", here, "b")
    with pytest.raises(FileNotFoundError):
        renames.exchange(here, "a", here, "none")
    renames.sync_filesystem(here)
    os.close(here)
    with pytest.raises(OSError, match="Bad file"):
        renames.sync_filesystem(here)
