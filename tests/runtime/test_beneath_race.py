"""A directory and a file swapped with links under load: nothing outside the root is ever read."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from superagent.core.problems import Problem
from superagent.runtime import beneath
from superagent.runtime.beneath import Root, resolve
from tests.promise import promise
from tests.runtime.swapping import PATHS, swapping


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Path]:
    with swapping(tmp_path / "root"):
        yield tmp_path / "root"


def through_the_platform(root: Path) -> Callable[[str], bytes]:
    opened = Root(str(root))

    def judge(real: str) -> None:
        assert real.startswith(f"{root}/")

    def read(relative: str) -> bytes:
        with resolve(opened, relative, judge=judge) as place:
            fd = place.open()
        try:
            return os.read(fd, 20)
        finally:
            os.close(fd)

    return read


def by_checking_first(root: Path) -> Callable[[str], bytes]:
    """Read as many servers do: compare the real path as text, then open by name."""

    def read(relative: str) -> bytes:
        if os.path.commonpath([os.path.realpath(root / relative), root]) != str(root):
            raise FileNotFoundError(relative)
        return (root / relative).read_bytes()

    return read


def outcomes(read: Callable[[str], bytes], tries: int, until: bytes = b"") -> dict[bytes, int]:
    seen: dict[bytes, int] = {}
    for number in range(tries):
        try:
            answer = read(PATHS[number % len(PATHS)])
        except (Problem, OSError):
            answer = b"refused"
        seen[answer] = seen.get(answer, 0) + 1
        if answer == until:
            break
    return seen


def without_openat2(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object) -> int:
        raise OSError(errno.ENOSYS, "not on this kernel")

    monkeypatch.setattr(beneath, "openat2", missing)


@promise("1.7b")
@pytest.mark.slow
@pytest.mark.parametrize("way", ["openat2", "walk"])
def test_nothing_outside_is_read_while_names_are_swapped(
    ground: Path, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if way == "walk":
        without_openat2(monkeypatch)
    seen = outcomes(through_the_platform(ground), 10_000)
    assert b"outside" not in seen
    assert seen[b"inside"] > 100  # it really ran against the swaps: some tries met the directory, some the link
    assert seen[b"refused"] > 100


@promise("1.7b")
def test_the_naive_way_does_escape_under_the_same_load(ground: Path) -> None:
    assert b"outside" in outcomes(by_checking_first(ground), 1_000_000, until=b"outside")


@promise("1.7b")
@pytest.mark.attack
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("way", ["openat2", "walk"])
def test_a_million_tries_give_no_escape(ground: Path, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if way == "walk":
        without_openat2(monkeypatch)
    seen = outcomes(through_the_platform(ground), 1_000_000)
    assert b"outside" not in seen
    assert seen[b"inside"] > 10_000
    assert seen[b"refused"] > 10_000
