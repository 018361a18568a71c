"""Search in large files: the same hits as one search over the whole, whatever the blocks."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from superagent.runtime import blob_search
from superagent.runtime.blob_search import search


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blob_search, "_BLOCK", 64)
    monkeypatch.setattr(blob_search, "_OVERLAP", 16)


@pytest.mark.parametrize("line", [3, 10, 63, 64, 65, 200])
def test_blocks_change_nothing(tmp_path: Path, line: int) -> None:
    data = b"".join(b"%07d" % n + (b"\n" if n % (line // 3) == 0 else b"-") for n in range(300))
    (tmp_path / "data").write_bytes(data)
    for pattern in ("00001", "[0-9]{7}-", "9\n0", "^0000"):
        hits = search(tmp_path / "data", pattern, 10_000)
        expected = [one.start() for one in re.finditer(pattern.encode(), data, re.MULTILINE)]
        assert [one.offset for one in hits] == expected
        assert [one.line for one in hits] == [data.count(b"\n", 0, at) + 1 for at in expected]


def test_the_limit_holds_in_the_middle_of_a_block_and_bad_utf8_is_shown_as_such(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"\xff" * 1000)
    hits = search(tmp_path / "data", r"(?s)\C", 70)
    assert len(hits) == 70
    assert set(hits[0].text) == {"�"}
    assert search(tmp_path / "data", r"\C", 0) == []
    (tmp_path / "none").write_bytes(b"")
    assert search(tmp_path / "none", "x", 10) == []
