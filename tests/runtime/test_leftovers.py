"""What a crash leaves beside a target goes once nobody can be writing it any more."""

from __future__ import annotations

import os
from pathlib import Path

from superagent.core.audit import AuditRecord
from superagent.runtime.leftovers import sweep

NAME = ".superagent-" + "0" * 24


def intent(path: Path) -> AuditRecord:
    return AuditRecord(kind="intent", at=0.0, resources=((f"path://local{path}", "CHANGE"),))


def test_an_old_temporary_file_beside_an_unfinished_target_goes(tmp_path: Path) -> None:
    for name in (NAME, "mine.txt", ".superagent-x"):
        (tmp_path / name).write_text("x")
        os.utime(tmp_path / name, (1000, 1000))
    assert sweep([intent(tmp_path / "target")], 2000.0) == 1
    assert sorted(one.name for one in tmp_path.iterdir()) == [".superagent-x", "mine.txt"]


def test_one_that_may_still_be_written_stays(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text("x")
    os.utime(tmp_path / NAME, (1990, 1990))
    assert sweep([intent(tmp_path / "target")], 2000.0) == 0


def test_folders_that_are_gone_or_links_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / NAME).write_text("x")
    os.utime(tmp_path / "real" / NAME, (1000, 1000))
    (tmp_path / "link").symlink_to("real")
    assert sweep([intent(tmp_path / "link" / "target"), intent(tmp_path / "gone" / "target")], 2000.0) == 0


def test_what_cannot_be_removed_is_tried_again_later(tmp_path: Path) -> None:
    (tmp_path / NAME).mkdir()
    os.utime(tmp_path / NAME, (1000, 1000))
    assert sweep([intent(tmp_path / "target")], 2000.0) == 0
