"""Walking trees by descriptors: links, denied subtrees, depth, what is refused or moved meanwhile."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from superagent.core.problems import TooLarge
from superagent.runtime.beneath import At, Root, resolve
from superagent.runtime.protected import Protected
from superagent.runtime.tree_walk import Cursor, Entry, walk
from tests.ordinary_user import ordinary_user


def everything(path: str, is_dir: bool) -> bool:
    return True


@pytest.fixture
def ground(tmp_path: Path) -> Path:
    for name in ("a/one.txt", "a/deep/two.txt", "b/three.txt", "four.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "a" / "link").symlink_to("../b")
    return tmp_path


@pytest.fixture
def start(ground: Path) -> Iterator[At]:
    with resolve(Root(str(ground)), "", judge=lambda _: None) as at:
        yield at


def names(ground: Path, entries: Iterator[Entry]) -> list[str]:
    return [entry.path.removeprefix(f"{ground}").lstrip("/") + ("<" if entry.leaving else "") for entry in entries]


ALL = ["a", "a/deep", "a/deep/two.txt", "a/link", "a/one.txt", "b", "b/three.txt", "four.txt"]


def test_all_is_met_in_order_and_no_link_is_followed(ground: Path, start: At) -> None:
    assert names(ground, walk(start, everything)) == ALL


def test_each_directory_is_left_after_what_it_holds(ground: Path, start: At) -> None:
    met = names(ground, walk(start, everything, leaving=True, itself=True))
    inside_a = ["a/deep", "a/deep/two.txt", "a/deep<", "a/link", "a/one.txt"]
    assert met == ["", "a", *inside_a, "a<", "b", "b/three.txt", "b<", "four.txt", "<"]


def test_a_file_is_a_tree_of_one(ground: Path) -> None:
    with resolve(Root(str(ground)), "four.txt", judge=lambda _: None) as at:
        assert names(ground, walk(at, everything, itself=True, leaving=True)) == ["four.txt"]
        assert names(ground, walk(at, everything)) == []


def test_depth_is_bounded_and_directories_not_entered_are_left_all_the_same(ground: Path, start: At) -> None:
    assert names(ground, walk(start, everything, max_depth=1, leaving=True)) == ["a", "a<", "b", "b<", "four.txt"]
    assert [entry.depth for entry in walk(start, everything, max_depth=2)] == [1, 2, 2, 2, 1, 2, 1]


def test_a_denied_subtree_is_neither_given_nor_counted_nor_opened(ground: Path, start: At) -> None:
    asked: list[str] = []

    def not_a(path: str, is_dir: bool) -> bool:
        asked.append(path)
        return path != f"{ground}/a"

    assert names(ground, walk(start, not_a, max_entries=3)) == ["b", "b/three.txt", "four.txt"]
    assert not [path for path in asked if path.startswith(f"{ground}/a/")]
    with pytest.raises(TooLarge, match="more than 2"):
        list(walk(start, not_a, max_entries=2))


def test_protected_places_are_not_met(ground: Path) -> None:
    (ground / "state").mkdir()
    (ground / "state" / "key").write_text("k")
    protected = Protected.of([f"{ground}/state", f"{ground}/four.txt"], {f"{ground}/b": 1})
    with resolve(Root(str(ground)), "", judge=lambda _: None, protected=protected) as at:
        assert names(ground, walk(at, everything)) == ALL[:5]


def test_entries_are_opened_from_where_they_were_met(start: At) -> None:
    content: dict[str, bytes] = {}
    for entry in walk(start, everything):
        if entry.name.endswith(".txt"):
            fd = entry.open()
            content[entry.name] = os.read(fd, 99)
            os.close(fd)
    assert content["two.txt"] == b"a/deep/two.txt"


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_ten_thousand_levels_are_walked_with_one_descriptor(tmp_path: Path) -> None:
    bottom = Cursor(os.open(tmp_path, os.O_RDONLY))
    for _ in range(10_000):
        os.mkdir("d", dir_fd=bottom.fd)
        bottom.down("d")
    bottom.close()
    held: set[int] = set()
    with resolve(Root(str(tmp_path)), "", judge=lambda _: None) as at:
        count = 0
        for entry in walk(at, everything, leaving=True):
            count += not entry.leaving
            held.add(entry.dir_fd)
            if entry.leaving:
                os.rmdir(entry.name, dir_fd=entry.dir_fd)
    assert count == 10_000
    assert len(held) < 5
    assert os.listdir(tmp_path) == []


def test_what_vanishes_meanwhile_is_left_out(ground: Path, start: At) -> None:
    def racing(path: str, is_dir: bool) -> bool:
        if path == f"{ground}/a":
            (ground / "four.txt").unlink()
        if path == f"{ground}/b":
            (ground / "b").rename(ground / "z")
        return True

    assert names(ground, walk(start, racing)) == ["a", "a/deep", "a/deep/two.txt", "a/link", "a/one.txt", "b"]


def test_a_directory_that_another_replaced_is_not_entered(ground: Path, start: At) -> None:
    def racing(path: str, is_dir: bool) -> bool:
        if path == f"{ground}/b":
            (ground / "b").rename(ground / "z")
            (ground / "a").rename(ground / "b")
        return True

    with pytest.raises(OSError, match="another directory took this name"):
        list(walk(start, racing))


def test_a_link_that_took_a_directorys_name_is_not_followed(ground: Path, start: At) -> None:
    refused: list[str] = []

    def racing(path: str, is_dir: bool) -> bool:
        if path == f"{ground}/b":
            (ground / "b").rename(ground / "z")
            (ground / "b").symlink_to("a")
        return True

    met = names(ground, walk(start, racing, skipped=lambda path, _: refused.append(path)))
    assert met == [*ALL[:6], "four.txt"]
    assert refused == [f"{ground}/b"]


def test_a_tree_that_is_moved_away_while_walked_is_said_to_be_stale(ground: Path, start: At) -> None:
    walker = walk(start, everything)
    while next(walker).name != "two.txt":
        continue
    (ground / "a" / "deep").rename(ground / "b" / "deep")
    with pytest.raises(OSError, match="moved while"):
        list(walker)


def test_what_the_system_refuses_is_raised_or_skipped_and_said(ground: Path, start: At) -> None:
    modes = {ground: 0o755, ground / "b": 0o000, ground / "a": 0o444}  # `a` can be listed, but not gone into
    for path, mode in modes.items():
        path.chmod(mode)
    refused: list[str] = []
    with ordinary_user():
        met = names(ground, walk(start, everything, skipped=lambda path, _: refused.append(path)))
        with pytest.raises(PermissionError):
            list(walk(start, everything))
    for path in modes:
        path.chmod(0o755)
    assert met == ["a", "b", "four.txt"]
    assert refused == [f"{ground}/a", f"{ground}/b"]


def test_an_entry_that_the_system_will_not_show_is_skipped_and_said(ground: Path) -> None:
    (ground / "a").chmod(0o444)
    refused: list[str] = []
    ground.chmod(0o755)
    with resolve(Root(str(ground)), "a", judge=lambda _: None) as at, ordinary_user():
        met = list(walk(at, everything, skipped=lambda path, _: refused.append(path)))
    (ground / "a").chmod(0o755)
    assert met == []
    assert refused == [f"{ground}/a/{name}" for name in ("deep", "link", "one.txt")]


def test_processes_are_not_met_in_procfs() -> None:
    with resolve(Root("/"), "proc", judge=lambda _: None) as at:
        met = {entry.name for entry in walk(at, everything, max_depth=1)}
    assert "cpuinfo" in met
    assert not met & {str(os.getpid()), "1", "self", "thread-self", "kcore"}
