"""Names swapped with links while the operations run: nothing outside is read, and nothing outside is changed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.plugins.files.ground import Ground, within
from tests.promise import promise
from tests.runtime.swapping import PATHS, swapping


@pytest.fixture
def swapped(tmp_path: Path) -> Iterator[Ground]:
    with swapping(tmp_path / "top"):
        yield Ground(tmp_path, [within(f"{tmp_path}/top/**")])


@promise("1.7b")
@pytest.mark.slow
@pytest.mark.timeout(240)  # the swapping slows every other rename on the filesystem down
async def test_no_operation_escapes_while_names_are_swapped(swapped: Ground) -> None:
    outside = swapped.top.parent / "outside"
    read: set[str] = set()
    for number in range(60):
        path = PATHS[number % len(PATHS)]
        folder = path.rpartition("/")[0]
        calls: tuple[tuple[str, dict[str, Any]], ...] = (
            ("read", {"path": path}),
            ("write", {"path": path, "content": f"inside {number}"}),
            ("write", {"path": f"{folder}/made".lstrip("/"), "content": "inside"}),
            ("grep", {"root": folder or "a", "pattern": "outside"}),
            ("delete", {"path": f"{folder}/made".lstrip("/")}),
        )
        for operation, input in calls:
            outcome = await swapped.call(operation, **input)
            if outcome.problem is None and operation == "read":
                read.add(outcome.result()["content"].split()[0])
            if outcome.problem is None and operation == "grep":
                assert outcome.result()["matches"] == []
    assert read == {"inside"}
    assert {path.name: path.read_text() for path in outside.iterdir()} == {"f.txt": "outside"}
