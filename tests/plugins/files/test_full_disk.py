"""A disk that is full: it is said, and nothing is changed."""

from __future__ import annotations

import os
import resource
import subprocess
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.needs import missing, program
from tests.plugins.files.ground import Ground, look_at
from tests.promise import promise

CHANGES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("write", {"path": "new", "content": "x" * 2_000_000}),
    ("write", {"path": "old", "content": "x" * 2_000_000}),
    ("copy", {"source": "../source", "target": "copy"}),
    ("copy", {"source": "../tree", "target": "copy"}),
    ("archive", {"paths": ["../source"], "target": "a.tar", "format": "tar"}),
    ("archive", {"paths": ["../source"], "target": "a.zip", "format": "zip"}),
    ("extract", {"archive": "../packed.tar", "target": "out"}),
    ("patch", {"root": "", "patch": "--- a/old\n+++ b/old\n@@ -1 +1 @@\n-old\n+" + "x" * 2_000_000 + "\n"}),
)


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Ground]:
    """Mount a filesystem with room for one megabyte at the top."""
    if os.geteuid() != 0:
        missing("needs root to mount a small filesystem")
    top = tmp_path / "top"
    top.mkdir()
    mounted = subprocess.run(
        [program("mount"), "-t", "tmpfs", "-o", "size=1m", "small", str(top)], capture_output=True, check=False
    )
    if mounted.returncode:
        missing("may not mount a small filesystem here")
    try:
        yield Ground(tmp_path)
    finally:
        subprocess.run([program("umount"), str(top)], check=True)


@contextmanager
def small_files(limit: int) -> Generator[None]:
    """Let no file grow beyond a limit: what an ordinary user can do to meet a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def prepared(ground: Ground) -> None:
    ground.write("old", "old\n")
    ground.write("../source", os.urandom(2_000_000))
    ground.write("../tree/a", b"small")
    ground.write("../tree/b", os.urandom(2_000_000))
    await ground.do("archive", paths=["../source"], target="../packed.tar", format="tar")


@promise("1.6c")
@pytest.mark.parametrize("number", range(len(CHANGES)))
async def test_a_full_disk_is_said_and_nothing_is_changed(full: Ground, number: int) -> None:
    await prepared(full)
    operation, input = CHANGES[number]
    problem = await full.refused(operation, **input)
    assert problem.slug == "unavailable"
    assert "disk is full" in problem.detail
    assert os.listdir(full.top) == ["old"]


@promise("1.6c")
@pytest.mark.parametrize("number", range(len(CHANGES)))
async def test_files_that_may_not_grow_are_said_and_nothing_is_changed(ground: Ground, number: int) -> None:
    await prepared(ground)
    operation, input = CHANGES[number]
    before = look_at(ground.top)
    with small_files(1_000_000):
        outcome = await ground.call(operation, **input)
    assert outcome.problem is not None
    assert (outcome.problem.slug, outcome.problem.changed) == ("too-large", "nothing")
    assert look_at(ground.top) == before


async def test_if_nothing_can_be_kept_nothing_is_changed(ground: Ground) -> None:
    ground.write("old", "x" * 2_000_000)
    with small_files(1_000_000):
        outcome = await ground.call("delete", path="old")
    assert outcome.problem is not None
    assert outcome.problem.changed == "nothing"
    assert (ground.top / "old").stat().st_size == 2_000_000
