"""The home of an installation: a data folder that lies beside the noted one is a copy, and knows of what."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from superagent.core.problems import Unavailable
from superagent.runtime.home import Home


def folder(path: Path) -> Path:
    (path / "state").mkdir(parents=True)
    return path


def opened(data: Path, now: float) -> tuple[str, float]:
    Home(data).enter(now)
    return Home(data).copied()


def test_where_it_was_set_up_it_is_at_home_however_often_it_is_opened(tmp_path: Path) -> None:
    data = folder(tmp_path / "data")
    assert [opened(data, now) for now in (1.0, 2.0)] == [("", 0.0)] * 2


def test_a_copy_beside_it_knows_of_what_and_since_when(tmp_path: Path) -> None:
    data = folder(tmp_path / "data")
    opened(data, 1.0)
    shutil.copytree(data, tmp_path / "copy")
    assert [opened(tmp_path / "copy", now) for now in (5.0, 6.0)] == [(str(data), 5.0)] * 2
    shutil.copytree(tmp_path / "copy", tmp_path / "again")
    assert opened(tmp_path / "again", 9.0) == (str(tmp_path / "copy"), 9.0)
    assert opened(data, 10.0) == ("", 0.0)


def test_what_is_restored_under_the_old_path_is_at_home(tmp_path: Path) -> None:
    data = folder(tmp_path / "data")
    opened(data, 1.0)
    shutil.copytree(data, tmp_path / "backup")
    data.rename(tmp_path / "lost")
    shutil.copytree(tmp_path / "backup", data)
    assert opened(data, 5.0) == ("", 0.0)


def test_a_folder_that_was_moved_or_is_reached_by_a_link_is_no_copy(tmp_path: Path) -> None:
    data = folder(tmp_path / "data")
    opened(data, 1.0)
    data.rename(tmp_path / "moved")
    (tmp_path / "link").symlink_to("moved")
    assert [opened(tmp_path / name, 5.0) for name in ("moved", "link")] == [("", 0.0)] * 2
    shutil.copytree(tmp_path / "moved", tmp_path / "copy")
    assert opened(tmp_path / "copy", 9.0) == (str(tmp_path / "moved"), 9.0)


def test_looking_notes_nothing(tmp_path: Path) -> None:
    data = folder(tmp_path / "data")
    opened(data, 1.0)
    shutil.copytree(data, tmp_path / "copy")
    assert Home(tmp_path / "copy").look(3.0).original == str(data)
    assert opened(tmp_path / "copy", 5.0) == (str(data), 5.0)


@pytest.mark.parametrize("said", [b"", b"{", b"[1]", b'{"path": 1}'])
def test_what_cannot_be_read_is_not_taken_for_the_installation_itself(tmp_path: Path, said: bytes) -> None:
    data = folder(tmp_path / "data")
    (data / "state" / "home").write_bytes(said)
    with pytest.raises(Unavailable, match="nobody knows whether this folder is a copy"):
        opened(data, 1.0)
    assert (data / "state" / "home").read_bytes() == said
    (data / "state" / "home").unlink()
    assert opened(data, 1.0) == ("", 0.0)
    assert (data / "state" / "home").stat().st_mode & 0o777 == 0o600
