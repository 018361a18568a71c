"""The kernel calls that Python lacks, against the real kernel."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from superagent.runtime.file_restore import remove
from superagent.runtime.system_calls import exchange, is_procfs, openat2, path_of, rename_new, sync_filesystem
from superagent.runtime.tree_walk import Cursor


def test_two_names_are_swapped_in_one_step(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    (tmp_path / "b").mkdir()
    here = os.open(tmp_path, os.O_RDONLY)
    exchange(here, "a", "b")
    os.close(here)
    assert (tmp_path / "a").is_dir()
    assert (tmp_path / "b").read_text() == "a"


def test_a_name_that_is_taken_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    (tmp_path / "b").write_text("b")
    here = os.open(tmp_path, os.O_RDONLY)
    with pytest.raises(FileExistsError):
        rename_new(here, "a", here, "b")
    rename_new(here, "a", here, "c")
    os.close(here)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"b": "b", "c": "a"}


def test_errors_of_the_kernel_are_raised(tmp_path: Path) -> None:
    here = os.open(tmp_path, os.O_RDONLY)
    with pytest.raises(FileNotFoundError):
        openat2(here, "none", os.O_RDONLY, 0)
    sync_filesystem(here)
    os.close(here)
    with pytest.raises(OSError, match="Bad file descriptor"):
        sync_filesystem(here)


def test_a_descriptor_knows_its_path_until_it_has_none(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    fd = os.open(tmp_path / "d", os.O_PATH)
    assert path_of(fd) == str(tmp_path / "d")
    (tmp_path / "d").rename(tmp_path / "e")
    assert path_of(fd) == str(tmp_path / "e")
    (tmp_path / "e").rmdir()
    assert path_of(fd) is None
    os.close(fd)
    ends = os.pipe()
    assert [path_of(end) for end in ends] == [None, None]
    for end in ends:
        os.close(end)


def test_a_path_too_long_to_say_is_none(tmp_path: Path) -> None:
    here = os.open(tmp_path, os.O_RDONLY)
    with Cursor(os.dup(here)) as cursor:
        for _ in range(20):
            os.mkdir("d" * 250, dir_fd=cursor.fd)
            cursor.down("d" * 250)
        assert path_of(cursor.fd) is None
    remove(here, "d" * 250)
    os.close(here)


def test_procfs_is_told_from_other_filesystems(tmp_path: Path) -> None:
    said: dict[str, bool] = {}
    for path in ("/proc", "/proc/self", "/dev", str(tmp_path)):
        fd = os.open(path, os.O_PATH)
        said[path] = is_procfs(fd)
        os.close(fd)
    assert said == {"/proc": True, "/proc/self": True, "/dev": False, str(tmp_path): False}
