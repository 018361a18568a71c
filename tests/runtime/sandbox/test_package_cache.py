"""Caches that nobody uses any more go, and so do copies of builds that died with their server."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from superagent.runtime.instance_lock import started
from superagent.runtime.reserve import Reserve
from superagent.runtime.sandbox.package_cache import KEPT_S, MOST_CACHES, Caches, key_of

OWN = f"{os.getpid()}-{started(os.getpid())}"
KEYS = [f"{number:064x}" for number in range(MOST_CACHES + 2)]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    folder = tmp_path / "caches" / "tenant"
    folder.mkdir(parents=True)
    return folder


def caches(place: Path, most: int = 1 << 20, now: Callable[[], float] = time.time) -> Caches:
    return Caches(place.parent, most, Reserve(place, 0), now)


def test_what_is_old_or_was_abandoned_is_swept_and_the_rest_stays(place: Path) -> None:
    living, dead, old, young = f"{KEYS[0]}.{OWN}-ab", f"{KEYS[0]}.{os.getpid()}-1-ab", KEYS[1], KEYS[2]
    for name in (living, dead, old, young):
        (place / name / "deep").mkdir(parents=True)
        (place / name / "deep").chmod(0)
    os.utime(place / old, (0, time.time() - KEPT_S - 60))

    assert caches(place).sweep() == 2

    assert {one.name for one in place.iterdir()} == {living, young}


def test_there_is_nothing_to_sweep_before_the_first_build(tmp_path: Path) -> None:
    assert Caches(tmp_path / "none", 1, Reserve(tmp_path, 0)).sweep() == 0


def test_a_copy_begins_as_the_cache_is_and_takes_its_place_only_when_it_is_kept(place: Path) -> None:
    ours = caches(place)
    for text, keep in (("one", True), ("two", False), ("three", True)):
        name = ours._copied(place, KEYS[0], None)  # pyright: ignore[reportPrivateUsage]
        (place / name / text).write_text(text)
        ours._concluded(place, name, KEYS[0], keep=keep)  # pyright: ignore[reportPrivateUsage]

    assert {one.name for one in (place / KEYS[0]).iterdir()} == {"one", "three"}
    assert [one.name for one in place.iterdir()] == [KEYS[0]]
    assert (place / KEYS[0]).stat().st_mode & 0o7777 == 0o700


def test_a_tenant_has_so_many_and_the_longest_unused_goes_first(place: Path) -> None:
    for at, key in enumerate(KEYS):
        ours = caches(place, now=lambda at=at: time.time() + at)
        name = ours._copied(place, key, None)  # pyright: ignore[reportPrivateUsage]
        ours._concluded(place, name, key, keep=True)  # pyright: ignore[reportPrivateUsage]

    assert {one.name for one in place.iterdir()} == set(KEYS[2:])


def test_with_a_disk_that_is_nearly_full_nothing_is_kept_and_the_old_stays(place: Path) -> None:
    (place / KEYS[0]).mkdir()
    ours = caches(place)
    name = ours._copied(place, KEYS[0], None)  # pyright: ignore[reportPrivateUsage]
    (place / name / "new").write_text("new")

    Caches(place.parent, 1 << 20, Reserve(place, 2**62))._concluded(place, name, KEYS[0], keep=True)  # pyright: ignore[reportPrivateUsage]

    assert [one.name for one in place.iterdir()] == [KEYS[0]]
    assert list((place / KEYS[0]).iterdir()) == []


def test_a_cache_that_cannot_be_copied_whole_is_not_copied_in_part(place: Path) -> None:
    (place / KEYS[0]).mkdir()
    for number in range(3):
        (place / KEYS[0] / str(number)).write_bytes(b"x" * 8192)

    name = caches(place, most=10_000)._copied(place, KEYS[0], None)  # pyright: ignore[reportPrivateUsage]

    assert list((place / name).iterdir()) == []


def test_holes_count_since_every_copy_reads_them(place: Path) -> None:
    ours = caches(place)
    name = ours._copied(place, KEYS[0], None)  # pyright: ignore[reportPrivateUsage]
    (place / name / "sparse").touch()
    os.truncate(place / name / "sparse", 1 << 40)

    ours._concluded(place, name, KEYS[0], keep=True)  # pyright: ignore[reportPrivateUsage]

    assert list(place.iterdir()) == []


def test_each_chain_and_each_folder_has_its_own(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    a, b = str(tmp_path / "a"), str(tmp_path / "b")
    keys = {key_of(chain, folder) for chain in (("one",), ("one", "two"), ("two", "one")) for folder in (a, b)}

    assert len(keys) == 6
    (tmp_path / "a").rename(tmp_path / "gone")
    (tmp_path / "c").mkdir()
    (tmp_path / "c").rename(tmp_path / "a")
    assert key_of(("one",), a) not in keys  # another folder of the same name
