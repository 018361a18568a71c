"""A terminal's outer side by itself: what is kept of its output, what is found in it, and when it is not read."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass

import pytest
import pytest_asyncio

from superagent.runtime.sandbox import terminal
from superagent.runtime.sandbox.terminal import Terminal
from tests.until import until_async

PATIENCE_S = 20.0


@dataclass
class Inside:
    """What stands for the program at the terminal: where it prints, and how its shell reports."""

    terminal: Terminal
    prints: int

    async def print(self, data: bytes) -> None:
        """Print something, and wait until it was read."""
        end = self.terminal.end + len(data)
        while data:
            try:
                data = data[os.write(self.prints, data) :]
            except BlockingIOError:
                await asyncio.sleep(0.001)
        await until_async(lambda: self.terminal.end >= end, "what was printed")

    def report(self, code: int, marker: str = "marker") -> None:
        """Report a prompt."""
        os.write(self.prints, f"\x1b]133;D;{code};aid={marker}\x07$ ".encode())


@pytest_asyncio.fixture
async def inside() -> AsyncGenerator[Inside]:
    outside, prints = os.pipe2(os.O_CLOEXEC)
    os.set_blocking(prints, False)
    one = Terminal(outside, "marker", 10**8)
    yield Inside(one, prints)
    one.close()
    os.close(prints)


def soon() -> float:
    return asyncio.get_running_loop().time() + PATIENCE_S


async def test_half_a_character_waits_for_its_other_half(inside: Inside) -> None:
    await inside.print(b"a\xc3")
    assert inside.terminal.part(0, 100) == (b"a", 0, 0)
    assert inside.terminal.part(1, 100) == (b"", 1, 0)
    await inside.print("\N{LATIN SMALL LETTER A WITH DIAERESIS}".encode()[1:])
    assert inside.terminal.part(1, 100) == ("ä".encode(), 1, 0)
    assert inside.terminal.part(1, 1) == (b"\xc3", 1, 0)  # whoever asks for less than a character gets on all the same


async def test_what_is_not_kept_any_more_is_counted(inside: Inside) -> None:
    watching = asyncio.create_task(inside.terminal.matched("end", 0, soon()))
    await inside.print(b"x" * (terminal.MOST_HELD + 1000))
    await inside.print(b"end")

    assert await watching
    data, begin, lost = inside.terminal.part(10, 5)
    assert (data, begin, lost) == (b"xxxxx", 1003, 993)


async def test_a_text_is_found_in_pieces_and_only_within_a_line(inside: Inside) -> None:
    watching = asyncio.create_task(inside.terminal.matched("a*b", 0, soon()))
    await inside.print(b"a\nb\n..a.")
    assert not watching.done()
    await inside.print(b".b")
    assert await watching
    assert not await inside.terminal.matched("a*b", inside.terminal.end, asyncio.get_running_loop().time())


@pytest.mark.parametrize(
    ("pattern", "found"),
    [("a.c", False), ("(b", True), ("ä*ß", True), ("c\nd", False), ("d*", True), ("\\x64", False), ("*", True)],
)
async def test_a_text_is_taken_as_it_is_written(inside: Inside, pattern: str, found: bool) -> None:
    await inside.print("abc(b\nd ä ß".encode())
    assert await inside.terminal.matched(pattern, 0, asyncio.get_running_loop().time()) is found


@pytest.mark.parametrize("line", [b"\n", b"a\n", b"a" * 1000 + b"\n"])
async def test_looking_for_a_text_does_not_keep_others_waiting(inside: Inside, line: bytes) -> None:
    await inside.print(line * (terminal.MOST_HELD // len(line)))
    begun = time.process_time()
    assert not await inside.terminal.matched("a*" * 499 + "x", 0, asyncio.get_running_loop().time())
    assert time.process_time() - begun < 0.25  # comparing line by line took 1.4 s


async def test_a_prompt_is_a_report_with_the_marker_and_the_text_that_follows(inside: Inside) -> None:
    watching = asyncio.create_task(inside.terminal.prompted(0, 0, soon(), settle=False))
    strange = b"\x1b]133;D;0;aid=other\x07\x1b]133;D;1234;aid=marker\x07\x1b]133;D;;aid=marker\x07\x1b[1mout\n"
    await inside.print(strange)
    assert inside.terminal.prompts == 0
    inside.report(7)

    assert await watching
    assert (inside.terminal.prompts, inside.terminal.exit_code) == (1, 7)
    assert inside.terminal.part(0, 1000)[0] == strange + b"$ "  # nobody sees a report, and all that is none


async def test_a_report_is_heard_in_pieces_and_what_only_begins_like_one_is_shown(inside: Inside) -> None:
    watching = asyncio.create_task(inside.terminal.prompted(0, 0, soon(), settle=False))
    for at in b"a\x1b]133;D;5;aid=marker\x07$ ":
        os.write(inside.prints, bytes([at]))
        await asyncio.sleep(0.001)
    assert await watching
    assert (inside.terminal.exit_code, inside.terminal.part(0, 100)[0]) == (5, b"a$ ")

    os.write(inside.prints, b"\x1b]133;D;5;aid=")
    await asyncio.sleep(0.01)
    await inside.print(b"no\x07\x1b")
    inside.terminal.close()
    assert inside.terminal.part(3, 100)[0] == b"\x1b]133;D;5;aid=no\x07\x1b"
    assert inside.terminal.prompts == 1


@pytest.mark.slow
async def test_when_nobody_looks_reading_stops_and_goes_on_with_the_next_look(inside: Inside) -> None:
    written = 0
    for _ in range(3000):
        try:
            written += os.write(inside.prints, b"y" * 4096)
        except BlockingIOError:
            await asyncio.sleep(0.001)
    assert written <= terminal.MOST_HELD + 3 * terminal.CHUNK
    before = inside.terminal.end
    inside.terminal.part(0, terminal.MOST_HELD)
    await until_async(lambda: inside.terminal.end > before, "what had to wait")


async def test_a_terminal_that_is_closed_ends_every_wait(inside: Inside) -> None:
    waits = [
        asyncio.create_task(inside.terminal.matched("never", 0, soon())),
        asyncio.create_task(inside.terminal.prompted(5, 0, soon(), settle=True)),
    ]
    await asyncio.sleep(0)
    inside.terminal.close()
    assert await asyncio.gather(*waits) == [False, False]
