"""Keeping what stands at a path and putting it back."""

from __future__ import annotations

import errno
import json
import os
import shutil
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from superagent.core.problems import Conflict, TooLarge
from superagent.runtime import file_restore
from superagent.runtime.file_restore import parent_mtime_ns, restore
from superagent.runtime.file_state import Captured, Node, Quota, Source, capture, digest
from tests.ordinary_user import open_folder, ordinary_user
from tests.runtime.kept_content import Folder

State = dict[str, tuple[object, ...]]


def look_at(top: Path) -> State:
    """Describe a tree by all that must come back."""
    found: State = {}
    for path in [top, *sorted(top.rglob("*"))]:
        info = path.lstat()
        content = path.read_bytes() if stat.S_ISREG(info.st_mode) else os.readlink(path) if path.is_symlink() else b""
        attributes = {name: os.getxattr(path, name, follow_symlinks=False) for name in attribute_names(path)}
        found[str(path.relative_to(top))] = (info.st_mode, info.st_uid, info.st_mtime_ns, content, attributes)
    return found


def attribute_names(path: Path) -> list[str]:
    return os.listxattr(path, follow_symlinks=False)


@pytest.fixture
def kept(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "kept")


@pytest.fixture
def ground(tmp_path: Path) -> Path:
    top = tmp_path / "ground"
    (top / "tree" / "inner" / "empty").mkdir(parents=True)
    (top / "file").write_bytes(b"content\0\xff")
    (top / "file").chmod(0o640)
    (top / "link").symlink_to("file")
    (top / "tree" / "one").write_text("1")
    (top / "tree" / os.fsdecode(b"not-utf8-\xff")).write_text("odd")
    (top / "tree" / "inner" / "link").symlink_to("/nowhere")
    os.link(top / "tree" / "one", top / "tree" / "inner" / "same")
    os.mkfifo(top / "tree" / "pipe", 0o604)
    if os.geteuid() == 0:
        os.chown(top / "tree" / "pipe", 1, 1)
    (top / "tree" / "inner").chmod(0o500)
    for number, path in enumerate([*sorted(top.rglob("*"), reverse=True), top]):
        os.utime(path, ns=(10**18 + number, 10**18 + 7 * number), follow_symlinks=False)
    return top


@pytest.fixture
def here(ground: Path) -> Iterator[int]:
    fd = os.open(ground, os.O_PATH)
    yield fd
    os.close(fd)


def through_json(captured: Captured) -> Captured:
    return json.loads(json.dumps(captured))


def gone(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)


def a_file(path: Path) -> None:
    gone(path)
    path.write_text("other")


def a_tree(path: Path) -> None:
    gone(path)
    (path / "x" / "y").mkdir(parents=True)


def a_link(path: Path) -> None:
    gone(path)
    path.symlink_to("elsewhere")


@pytest.mark.parametrize("change", [gone, a_file, a_tree, a_link])
@pytest.mark.parametrize("name", ["file", "link", "tree"])
def test_whatever_took_its_place_the_identical_thing_comes_back(
    ground: Path, here: int, kept: Folder, name: str, change: Callable[[Path], None]
) -> None:
    before, was = look_at(ground), digest(here, name)
    capture_ = capture(here, name, kept)
    assert capture_.digest == was
    change(ground / name)
    assert digest(here, name) != was
    restore(here, name, through_json(capture_.captured), kept, parent_after_ns=parent_mtime_ns(here))
    assert look_at(ground) == before
    assert digest(here, name) == was


@pytest.mark.parametrize("change", [a_file, a_tree, a_link])
def test_what_was_absent_is_absent_again(ground: Path, here: int, kept: Folder, change: Callable[[Path], None]) -> None:
    before = look_at(ground)
    capture_ = capture(here, "new", kept)
    change(ground / "new")
    restore(here, "new", through_json(capture_.captured), kept, parent_after_ns=parent_mtime_ns(here))
    assert look_at(ground) == before
    restore(here, "new", capture_.captured, kept)  # a second time changes nothing
    assert not (ground / "new").exists()


def test_restoring_twice_is_the_same_as_once(ground: Path, here: int, kept: Folder) -> None:
    before = look_at(ground)
    capture_ = capture(here, "tree", kept)
    for _ in range(2):
        restore(here, "tree", capture_.captured, kept)
        assert look_at(ground) == before


def test_hard_links_within_a_tree_are_one_file_again(ground: Path, here: int, kept: Folder) -> None:
    capture_ = capture(here, "tree", kept)
    shutil.rmtree(ground / "tree")
    restore(here, "tree", capture_.captured, kept)
    assert (ground / "tree" / "one").samefile(ground / "tree" / "inner" / "same")


def test_extended_attributes_come_back(ground: Path, here: int, kept: Folder) -> None:
    try:
        os.setxattr(ground / "file", "user.note", b"\0kept")
        os.setxattr(ground / "tree", "user.note", b"also")
    except OSError:
        pytest.skip("this filesystem keeps no extended attributes")
    for name in ("file", "tree"):
        capture_ = capture(here, name, kept)
        gone(ground / name)
        restore(here, name, through_json(capture_.captured), kept)
    assert os.getxattr(ground / "file", "user.note") == b"\0kept"
    assert os.getxattr(ground / "tree", "user.note") == b"also"


def test_a_filesystem_without_extended_attributes_is_fine(
    ground: Path, here: int, kept: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*_: object, **__: object) -> list[str]:
        raise OSError(errno.ENOTSUP, "no attributes here")

    monkeypatch.setattr(os, "listxattr", none)
    assert "attributes" not in capture(here, "file", kept).captured["node"]


def test_the_directorys_time_stays_when_somebody_else_changed_it_since(ground: Path, here: int, kept: Folder) -> None:
    capture_ = capture(here, "file", kept)
    (ground / "file").unlink()
    after = parent_mtime_ns(here)
    os.utime(ground, ns=(5, 5))
    restore(here, "file", capture_.captured, kept, parent_after_ns=after)
    assert ground.stat().st_mtime_ns not in (capture_.captured["parent_mtime_ns"], 5)


def test_a_crash_before_the_swap_leaves_the_present_state_and_the_next_try_ends_it(
    ground: Path, here: int, kept: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = look_at(ground / "tree")
    capture_ = capture(here, "tree", kept)
    a_tree(ground / "tree")
    present = look_at(ground / "tree")

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(file_restore, "_put_in_place", crash)
        with pytest.raises(KeyboardInterrupt):
            restore(here, "tree", capture_.captured, kept)
    assert look_at(ground / "tree") == present
    restore(here, "tree", capture_.captured, kept)
    assert look_at(ground / "tree") == before
    assert sorted(os.listdir(ground)) == ["file", "link", "tree"]


def test_where_the_filesystem_cannot_swap_it_goes_in_two_steps(
    ground: Path, here: int, kept: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cannot(*_: object) -> None:
        raise OSError(errno.EINVAL, "no exchange here")

    monkeypatch.setattr(file_restore, "exchange", cannot)
    before = look_at(ground / "tree")
    capture_ = capture(here, "tree", kept)
    a_tree(ground / "tree")
    restore(here, "tree", capture_.captured, kept)
    assert look_at(ground / "tree") == before
    assert sorted(os.listdir(ground)) == ["file", "link", "tree"]


@pytest.mark.parametrize("step", ["rename", "exchange"])
def test_what_the_system_refuses_is_said_and_the_present_state_stays(
    ground: Path, here: int, kept: Folder, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, "the disk is broken")

    capture_ = capture(here, "tree", kept)
    a_tree(ground / "tree")
    present = look_at(ground / "tree")
    monkeypatch.setattr(*((os, "rename") if step == "rename" else (file_restore, "exchange")), refuse)
    with pytest.raises(OSError, match="disk is broken"):
        restore(here, "tree", capture_.captured, kept)
    assert look_at(ground / "tree") == present


def test_more_than_the_quota_is_refused_before_anything_is_kept(ground: Path, here: int, kept: Folder) -> None:
    for quota in (Quota(max_bytes=8), Quota(max_entries=3)):
        with pytest.raises(TooLarge, match="would have to be kept"):
            capture(here, "file" if quota.max_bytes == 8 else "tree", kept, quota)
    assert not (kept.path / "x").exists()
    assert capture(here, "file", kept, Quota(max_bytes=9)).bytes == 9


def test_what_cannot_be_kept_is_refused(ground: Path, here: int, kept: Folder) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(ground / "sock"))
        with pytest.raises(Conflict, match="socket, which cannot be kept"):
            capture(here, "sock", kept)


def test_a_hard_link_whose_first_name_was_replaced_meanwhile_becomes_a_copy(
    ground: Path, here: int, kept: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody with the same rights swaps names in the tree that is being built: nothing else gets linked in."""
    secret = ground.parent / "secret"
    secret.write_text("secret")
    captured = capture(here, "tree", kept).captured  # `inner/same` is met first, `one` is its second name
    shutil.rmtree(ground / "tree")
    real = file_restore._make_file  # pyright: ignore[reportPrivateUsage]
    for swap in ("another file", "nothing"):

        def racing(dir_fd: int, name: str, node: Node, source: Source, swap: str = swap) -> None:
            real(dir_fd, name, node, source)
            if name.startswith("not-utf8"):
                inner = os.open("inner", os.O_RDONLY, dir_fd=dir_fd)
                os.fchmod(inner, 0o700)
                os.unlink("same", dir_fd=inner)
                if swap == "another file":
                    os.link(secret, "same", dst_dir_fd=inner)
                os.close(inner)

        monkeypatch.setattr(file_restore, "_make_file", racing)
        restore(here, "tree", captured, kept)
        assert not (ground / "tree" / "one").samefile(secret)
        assert (ground / "tree" / "one").read_text() == "1"


def test_a_program_of_somebody_else_does_not_come_back_as_ones_own() -> None:
    with open_folder() as folder, ordinary_user():
        kept, here = Folder(folder / "kept"), os.open(folder, os.O_PATH)
        (folder / "program").write_text("x")
        captured = capture(here, "program", kept).captured
        captured["node"]["mode"] = 0o4755
        captured["node"]["uid"] = os.geteuid() + 1
        restore(here, "program", captured, kept)
        os.close(here)
        assert (folder / "program").stat().st_mode & 0o7777 == 0o755


def test_a_file_of_holes_is_told_without_reading_all_of_it(ground: Path, here: int) -> None:
    with (ground / "holes").open("wb") as file:
        file.truncate(1 << 43)
    before = digest(here, "holes")
    assert digest(here, "holes") == before
    os.utime(ground / "holes", (1, 1))
    assert digest(here, "holes") != before


def test_an_ordinary_user_can_put_back_a_tree_that_forbids_writing() -> None:
    with open_folder() as folder, ordinary_user():
        kept, top = Folder(folder / "kept"), folder / "own"
        (top / "tree" / "closed").mkdir(parents=True)
        (top / "tree" / "closed" / "f").write_text("f")
        (top / "tree" / "link").symlink_to("closed")
        (top / "tree" / "closed").chmod(0o555)
        here = os.open(top, os.O_PATH)
        captured = capture(here, "tree", kept).captured
        before = look_at(top)
        for path in (top / "tree" / "closed", top / "tree"):
            path.chmod(0o311)
        restore(here, "tree", captured, kept, parent_after_ns=parent_mtime_ns(here))
        assert look_at(top) == before
        (top / "tree" / "closed").chmod(0o755)
        os.close(here)


def test_the_time_of_a_directory_of_somebody_else_is_left() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root to have a directory that belongs to somebody else")
    with open_folder() as shared:
        here = os.open(shared, os.O_PATH)
        with open_folder() as folder, ordinary_user():
            kept = Folder(folder / "kept")
            captured = capture(here, "f", kept).captured
            (shared / "f").write_text("mine")
            restore(here, "f", captured, kept, parent_after_ns=parent_mtime_ns(here))
        os.close(here)
        assert os.listdir(shared) == []
