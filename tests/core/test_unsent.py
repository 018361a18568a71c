"""Answers that wait to be sent take so much memory and no more: what does not fit comes under a handle."""

from __future__ import annotations

from collections.abc import Iterable

from superagent.core.answers import Answers, Room
from superagent.core.invocation import Outcome, Status
from superagent.memory import MemoryBlobs
from superagent.testing import person

ADA, BOB = person("ada"), person("bob")


def outcomes(sizes: Iterable[int]) -> list[Outcome]:
    return [Outcome("i", "notes.read", Status.DONE, b"x" * size) for size in sizes]


async def test_what_finds_no_room_comes_under_a_handle_until_something_was_sent() -> None:
    room, blobs = Room(each=100, in_all=150), MemoryBlobs()
    answers = Answers(blobs, ADA, room)
    first, second, third = [await answers.take(one) for one in outcomes([60, 30, 20])]
    assert [len(one.output) for one in (first, second, third)] == [60, 30, 0]
    assert await blobs.read(ADA, third.handle) == (b"x" * 20, 20)
    (of_another,) = [await Answers(blobs, BOB, room).take(one) for one in outcomes([70])]
    assert of_another.handle  # of all together there is a measure too
    room.give(ADA.bucket, 60)
    assert [bool((await answers.take(one)).handle) for one in outcomes([70, 1])] == [False, True]
    room.give(ADA.bucket, 1000)
    assert room.take(BOB.bucket, 100)
