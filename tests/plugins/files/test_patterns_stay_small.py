"""Patterns that were sought once keep little memory."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from superagent.plugins.files.engine.patterns import compile_
from superagent.runtime.blob_search import search


def resident_mb() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4 // 1024


@pytest.mark.parametrize("way", ["files", "results"])
def test_many_hostile_patterns_keep_little_memory(way: str, tmp_path: Path) -> None:
    chance = random.Random(1)
    data = bytes(chance.choice(b"abcdefghijklmnopqrstuvwxyz \n") for _ in range(400_000))
    file = tmp_path / "blob"
    file.write_bytes(data)
    before = resident_mb()
    for n in range(24):
        pattern = f"[a-q][^u-z\\n]{{0,12}}[a-h][^a-c]{{30}}{way}{n}x"
        if way == "files":
            compile_(pattern).search(data)
        else:
            search(file, pattern, 10)
    assert resident_mb() - before < 36
