"""Zips made by hand whose table of contents is not what it seems: none makes its reader fill the memory."""

from __future__ import annotations

import os
import struct
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import pytest

from superagent.plugins.files.engine import unpacking
from tests.plugins.files.ground import Ground

HEAD = b"PK\3\4" + bytes(26)
LARGE = 100 * 1024 * 1024


def end(size: int, offset: int, entries: int = 1, comment: bytes = b"") -> bytes:
    """Give the record at the end of a zip: how large its table is and where it begins."""
    return struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, entries, entries, size, offset, len(comment)) + comment


def end64(size: int, offset: int) -> bytes:
    """Give the larger record and what leads to it; they stand before the plain one."""
    record = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, 1, 1, size, offset)
    return record + struct.pack("<4sLQL", b"PK\6\7", 0, offset + size, 1)


def entry(name: bytes, method: int = 0, *, at: int = 0) -> bytes:
    """Give one line of a table of contents."""
    head = struct.pack("<4s6H3L", b"PK\1\2", 20, 20, 0, method, 0, 0x21, 0, 0, 0)
    return head + struct.pack("<5H2L", len(name), 0, 0, 0, 0, 0, at) + name


def sparse(path: Path, tail: bytes) -> Path:
    """Make a zip with a hole of 100 MiB between its head and its end: it takes no room and can be read."""
    with path.open("wb") as file:
        file.write(HEAD)
        file.truncate(len(HEAD) + LARGE)
        file.seek(0, os.SEEK_END)
        file.write(tail)
    return path


# a record whose own field reads like the beginning of a later one: who looks for the last mark finds the wrong one
DISGUISED = struct.pack("<4s4H4sLH", b"PK\5\6", 0, 0, 1, 1, b"PK\5\6", len(HEAD), 0)
TAILS: dict[str, bytes] = {
    "a large table": end(LARGE, len(HEAD)),
    "a large table and a comment": end(LARGE, len(HEAD), comment=b"a comment"),
    "a large table in the larger record": end64(LARGE, len(HEAD)) + end(0xFFFFFFFF, 0xFFFFFFFF),
    "a large table in a larger record that the plain one does not speak of": end64(LARGE, len(HEAD)) + end(46, 0),
    "a large table and a comment that speaks of a small one": end(LARGE, len(HEAD), comment=end(46, 0)[:-1]),
    "a size that reads like a mark": DISGUISED,
}


@pytest.mark.parametrize("name", TAILS)
async def test_a_table_of_contents_that_would_fill_the_memory_is_refused(ground: Ground, name: str) -> None:
    sparse(ground.top / "evil", TAILS[name])
    tracemalloc.start()
    try:
        outcome = await ground.call("extract", archive="evil", target="out")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert outcome.problem is not None
    assert outcome.problem.slug in ("too-large", "invalid-input"), outcome.problem.detail
    assert peak < 16 * 1024 * 1024
    assert os.listdir(ground.top) == ["evil"]
    assert ground.world.audit.records[-1].problem == outcome.problem.slug


@pytest.mark.parametrize("name", ["a large table", "a large table in the larger record"])
def test_a_large_table_is_said_to_be_one(tmp_path: Path, name: str) -> None:
    with sparse(tmp_path / "evil", TAILS[name]).open("rb") as file, pytest.raises(unpacking.TooMuch, match="table of"):
        list(unpacking.members(file.fileno(), unpacking.Limits()))


@pytest.mark.parametrize(("count", "more"), [(10_001, {}), (200_001, {"limits": {"max_entries": 1_000_000}})])
async def test_very_many_small_entries_are_refused_before_they_are_objects(
    ground: Ground, count: int, more: dict[str, Any]
) -> None:
    table = entry(b"") * count
    ground.write("evil", HEAD + table + end(len(table), len(HEAD), 1))
    tracemalloc.start()
    try:
        outcome = await ground.call("extract", archive="evil", target="out", **more)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert outcome.problem is not None
    assert "members" in outcome.problem.detail
    assert peak < len(table) * 2 + 8 * 1024 * 1024


async def test_an_entry_without_a_name_is_refused(ground: Ground) -> None:
    table = entry(b"")
    ground.write("evil", HEAD + table + end(len(table), len(HEAD)))
    assert "outside of its folder" in (await ground.refused("extract", archive="evil", target="out")).detail


async def test_a_table_that_says_it_is_larger_than_the_file_is_broken(ground: Ground) -> None:
    ground.write("evil", HEAD + entry(b"a") + end(1 << 20, len(HEAD)))
    assert "broken" in (await ground.refused("extract", archive="evil", target="out")).detail


@pytest.mark.parametrize("method", [14, 93, 99, 9])
async def test_methods_that_could_ask_for_gigabytes_are_not_read(ground: Ground, method: int) -> None:
    table = entry(b"a", method)
    ground.write("evil", HEAD + table + end(len(table), len(HEAD)))
    assert "method" in (await ground.refused("extract", archive="evil", target="out")).detail


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
async def test_an_honest_zip_with_a_comment_comes_out(ground: Ground, method: int) -> None:
    with zipfile.ZipFile(ground.top / "a", "w", method) as archive:
        archive.comment = b"PK\1\2 in a comment"
        archive.writestr("d/nested", b"PK\1\2" * 20_000)  # content that reads like very many entries
    await ground.undone("extract", archive="a", target="out")
    assert (ground.top / "out" / "d" / "nested").read_bytes() == b"PK\1\2" * 20_000


async def test_an_honest_zip_in_the_larger_form_comes_out(ground: Ground) -> None:
    table = entry(b"empty")
    head = struct.pack("<4s5H3L2H", b"PK\3\4", 20, 0, 0, 0, 0x21, 0, 0, 0, 5, 0) + b"empty"
    ground.write("a", head + table + end64(len(table), len(head)) + end(0xFFFFFFFF, 0xFFFFFFFF))
    await ground.do("extract", archive="a", target="out")
    assert (ground.top / "out" / "empty").read_bytes() == b""
