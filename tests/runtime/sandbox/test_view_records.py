"""Records of views are read again whenever somebody wrote, replaced or removed one, and not otherwise."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from msgspec.structs import replace

from superagent.runtime.sandbox.view_records import Record, Records

OF = Record("0" * 32, "default", ("someone",), "/srv", (1, 2), "copy", 0, 0, 0, 0.0, 0.0, bytes=5)


def aged(folder: Path) -> None:
    """Let a while have gone by since the folder changed."""
    changed = os.stat(folder).st_mtime_ns - 10**9
    os.utime(folder, ns=(changed, changed))


@pytest.fixture(name="folder")
def _folder(tmp_path: Path) -> Path:
    return tmp_path / "records"


@pytest.mark.parametrize("ours", [True, False], ids=["by this process", "by another"])
def test_every_change_is_seen_at_once(folder: Path, ours: bool) -> None:
    records = Records(folder)
    writer = records if ours else Records(folder)
    for present in (OF, replace(OF, bytes=7), replace(OF, bytes=7, state="resting")):
        aged(folder)
        records.all()
        writer.write(present, durable=False)
        assert records.known() is None
        assert records.all() == (present,)
    aged(folder)
    assert records.all() == records.known() == (present,)
    writer.forget(present.id)
    assert records.all() == ()


def test_what_was_read_right_after_a_change_is_not_believed(folder: Path) -> None:
    records = Records(folder)
    records.write(OF, durable=False)
    assert records.all() == (OF,)
    assert records.known() is None  # another change in this very moment would leave the folder the same time


def test_what_is_torn_is_left_out(folder: Path) -> None:
    records = Records(folder)
    records.write(OF, durable=False)
    (folder / f"{'1' * 32}.json").write_bytes(b"{")
    assert records.all() == (OF,)
