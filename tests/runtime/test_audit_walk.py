"""A walk through blocks of lines finds what fits, numbers it as the feed does, and stops where it may."""

from __future__ import annotations

from pathlib import Path

import pytest

from superagent.core.audit import AuditRecord, Chain, encode
from superagent.runtime.audit_block import Block
from superagent.runtime.audit_search import LAST_NUMBER, Key, Search
from superagent.runtime.audit_walk import Walk

WHO = ["ann", "bob", "ann", "bob", "bob", "ann"]


def a_block(directory: Path, number: int, at: float, records: int = len(WHO), spare: int = 0) -> Block:
    """Write a segment of its own, one record for each of WHO, and give the block that it is."""
    chain = Chain(number)
    lines = [
        chain.append(encode(AuditRecord(kind="event", at=at + n, tenant="t", who=who))) for n, who in enumerate(WHO)
    ]
    path = directory / "c" / f"{number:020d}.seg"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"x" * spare + b"".join(lines))
    return Block(number, "c", number, spare, len(b"".join(lines)), len(WHO), records, at, at + len(WHO) - 1)


def numbers(walk: Walk) -> list[int]:
    return [one.number for one in walk.found]


@pytest.mark.parametrize("records", [len(WHO), 3])  # of one tenant alone, and of several
def test_a_match_has_the_number_of_its_line(tmp_path: Path, records: int) -> None:
    walk = Walk(Search("t", actor="ann"), "", None, None, 10, 1000)
    assert walk.through(tmp_path, [a_block(tmp_path, 100, 5.0, records, spare=7)])
    walk.end()
    assert numbers(walk) == [105, 102, 100]
    assert walk.reached is None


def test_a_walk_stops_before_a_block_that_is_older_than_all_it_wants(tmp_path: Path) -> None:
    blocks = [a_block(tmp_path, 100, 50.0), Block(1, "not", 1, 0, 9, 9, 9, 1.0, 49.9)]
    walk = Walk(Search("t"), "", None, None, 6, 1000)
    assert not walk.through(tmp_path, blocks)
    assert numbers(walk) == [105, 104, 103, 102, 101, 100]
    assert walk.reached == (50.0, 100)


def test_blocks_that_overlap_in_time_are_read_together(tmp_path: Path) -> None:
    blocks = [a_block(tmp_path, 100, 50.0), a_block(tmp_path, 200, 49.0)]
    walk = Walk(Search("t"), "", None, None, 5, 1000)
    assert walk.through(tmp_path, blocks)
    walk.end()
    assert numbers(walk) == [105, 205, 104, 204, 103]


@pytest.mark.parametrize(
    ("below", "found", "reached"),
    [
        (None, [105, 104], (53.0, LAST_NUMBER)),
        ((54.0, 104), [], (53.0, LAST_NUMBER)),
        ((53.0, 103), [202, 102, 201, 101, 200, 100], (50.0, 100)),  # from here it would not get on: it reads further
    ],
)
def test_a_walk_that_has_read_enough_says_how_far_it_got(
    tmp_path: Path, below: Key | None, found: list[int], reached: Key
) -> None:
    first, second = a_block(tmp_path, 100, 50.0), a_block(tmp_path, 200, 50.0)
    later = Block(second.number, "c", 200, 0, second.length, second.lines, second.records, 50.0, 53.0)
    walk = Walk(Search("t"), "", None, below, 6, 1)
    if walk.through(tmp_path, [first, later]):
        walk.end()
    assert (numbers(walk), walk.reached) == (found, reached)
