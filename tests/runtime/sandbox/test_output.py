"""What a command writes: kept at its beginning, in a blob as a whole, and never more than that in memory."""

from __future__ import annotations

import asyncio
import os
import resource
import threading
from collections.abc import AsyncGenerator, AsyncIterator

import pytest

from superagent.core.problems import TooLarge
from superagent.runtime.sandbox.output import Budget, Stream, shown
from superagent.runtime.sandbox.pipes import feed, in_memory


class Kept:
    """A store that counts, and keeps what it is told to."""

    def __init__(self, most: int | None = None) -> None:
        self.data = b""
        self.size = 0
        self._most = most

    async def put(self, chunks: AsyncIterator[bytes]) -> str:
        async for chunk in chunks:
            self.size += len(chunk)
            if self._most is not None and self.size > self._most:
                raise TooLarge("no room")
            if self.size < 1_000_000:
                self.data += chunk
        return "res_1"


def plenty() -> Budget:
    return Budget(10**12, lambda: None)


async def written(stream: Stream, *parts: bytes) -> None:
    """Write as a command would, from a thread, and close."""
    writing = os.dup(stream.writing)
    stream.handed_over()

    def work() -> None:
        for part in parts:
            left = memoryview(part)
            while left:
                left = left[os.write(writing, left) :]
        os.close(writing)

    thread = threading.Thread(target=work)
    thread.start()
    while thread.is_alive():
        await asyncio.sleep(0.001)


async def test_what_is_short_is_given_at_once_and_stored_nowhere() -> None:
    kept = Kept()
    stream = Stream(100, kept.put)

    _, captured = await asyncio.gather(written(stream, b"hello ", b"there"), stream.captured(plenty()))

    assert (captured.text, captured.encoding, captured.bytes, captured.handle) == ("hello there", "utf-8", 11, "")
    assert kept.size == 0


async def test_nothing_is_an_empty_text() -> None:
    stream = Stream(100, Kept().put)

    _, captured = await asyncio.gather(written(stream), stream.captured(plenty()))

    assert (captured.text, captured.encoding, captured.bytes) == ("", "utf-8", 0)


async def test_of_what_is_longer_the_beginning_is_given_and_all_of_it_stored() -> None:
    kept = Kept()
    stream = Stream(10, kept.put)

    _, captured = await asyncio.gather(written(stream, b"0123456", b"789ab", b"cdef"), stream.captured(plenty()))

    assert (captured.text, captured.bytes, captured.handle) == ("0123456789", 16, "res_1")
    assert kept.data == b"0123456789abcdef"


async def test_a_beginning_of_nothing_is_allowed() -> None:
    kept = Kept()
    stream = Stream(0, kept.put)

    _, captured = await asyncio.gather(written(stream, b"all"), stream.captured(plenty()))

    assert (captured.text, captured.handle, kept.data) == ("", "res_1", b"all")


async def test_a_hundred_megabytes_do_not_stay_in_memory() -> None:
    kept = Kept()
    stream = Stream(65_536, kept.put)
    part = os.urandom(1024 * 1024)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    _, captured = await asyncio.gather(written(stream, *([part] * 100)), stream.captured(plenty()))

    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert captured.bytes == kept.size == 100 * len(part)
    assert grown < 20 * 1024 * 1024


async def test_bytes_that_are_no_text_come_without_loss() -> None:
    stream = Stream(100, Kept().put)

    _, captured = await asyncio.gather(written(stream, b"caf\xe9 \x00"), stream.captured(plenty()))

    assert (captured.text, captured.encoding) == ("Y2Fm6SAA", "base64")


@pytest.mark.parametrize("cut", [1, 2, 3])
def test_half_a_character_at_the_end_of_a_beginning_makes_no_text_binary(cut: int) -> None:
    smile = "😀".encode()

    assert shown(b"ab" + smile[:cut], whole=False) == ("ab", "utf-8")
    assert shown(b"ab" + smile[:cut], whole=True)[1] == "base64"
    assert shown(smile[:cut] + b"ab" * 5, whole=False)[1] == "base64"


async def test_the_budget_is_one_for_all_streams_and_is_told_once_that_it_is_spent() -> None:
    told: list[str] = []
    budget = Budget(10, lambda: told.append("spent"))
    one, other = Stream(100, Kept().put), Stream(100, Kept().put)

    await asyncio.gather(written(one, b"12345678"), one.captured(budget))
    assert not told
    _, captured = await asyncio.gather(written(other, b"123", b"456" * 1000), other.captured(budget))

    assert told == ["spent"]
    assert captured.bytes >= 3
    assert captured.lost == "the command wrote more than it may"


async def test_what_cannot_be_stored_is_said_and_nobody_waits_for_ever() -> None:
    stream = Stream(4, Kept(most=100_000).put)

    _, captured = await asyncio.gather(
        written(stream, *([b"x" * 65_536] * 64)), asyncio.wait_for(stream.captured(plenty()), 20)
    )

    assert (captured.text, captured.handle, captured.lost) == ("xxxx", "", "no room")
    assert captured.bytes == 64 * 65_536


async def test_reading_that_is_cancelled_closes_its_end() -> None:
    stream = Stream(4, Kept().put)
    reading = asyncio.ensure_future(stream.captured(plenty()))
    os.write(stream.writing, b"12345678")
    await asyncio.sleep(0.01)

    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)

    with pytest.raises(OSError, match="Bad file descriptor"):
        os.write(stream.writing, b"more")


# ---- input


async def chunks(*parts: bytes) -> AsyncGenerator[bytes]:
    for part in parts:
        yield part


async def test_an_input_is_fed_as_fast_as_it_is_read() -> None:
    reading, writing = os.pipe()
    got: list[bytes] = []

    def read() -> None:
        while data := os.read(reading, 4096):
            got.append(data)

    thread = threading.Thread(target=read)
    thread.start()
    await feed(writing, chunks(b"a" * 300_000, b"b" * 10))
    await asyncio.to_thread(thread.join, 20)

    assert b"".join(got) == b"a" * 300_000 + b"b" * 10
    os.close(reading)


async def test_whoever_stops_reading_ends_the_feeding() -> None:
    reading, writing = os.pipe()
    feeding = asyncio.ensure_future(feed(writing, chunks(b"a" * 10_000_000)))
    await asyncio.sleep(0.01)
    os.close(reading)

    await asyncio.wait_for(feeding, 20)


def test_bytes_in_memory_are_read_from_their_beginning() -> None:
    data = os.urandom(3_000_000)

    with os.fdopen(in_memory(data), "rb") as file:
        assert file.read() == data
