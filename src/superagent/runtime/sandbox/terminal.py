"""Terminal: the outer side of a session's terminal, read as far as somebody looks at it, and what its shell reports."""

from __future__ import annotations

import array
import asyncio
import contextlib
import fcntl
import os
import re
import struct
import termios
import time
from collections.abc import Callable, Generator
from typing import Any

import re2

from superagent.core.principal import Secret
from superagent.core.redactor import Redactor

MOST_HELD = 1024 * 1024
"""Bytes of output that are kept. What nobody has read fills it; then the terminal is not read, and programs wait."""

CHUNK = 65_536
MOST_AT_ONCE = 4 * CHUNK
PAUSE_S = 0.02
"""After so many bytes reading rests for a moment, so that a flood takes no more than a share of this process."""

SETTLE_S = 0.02
PROMPT_S = 0.05
_PROMPT = b"$ "
_engine: Any = re2  # in time that grows with the output alone, whatever is waited for and whatever is said
_of_lines: Any = _engine.Options()
_of_lines.encoding = _of_lines.Encoding.LATIN1
_of_lines.never_nl = True
_RC = """exec 8<&-
PS1='$ ' PS2='> '
unset HISTFILE ENV
{how}
"""
_REPORT = "\x1b]133;D;%s;aid=%s\x07"  # as terminals that know of shells write it ("semantic prompts", FinalTerm)
_LONGEST = 64
_BEGINS = b"\x1b]133;D;"
_BY_SHELL = {
    # a descriptor of its own for the terminal: what is typed may send the others elsewhere
    "bash": """bind 'set enable-bracketed-paste off' 2>/dev/null
exec 9>&2
__superagent_status() { local code=$?; printf 'REPORT' "$code" >&9; return "$code"; }
PROMPT_COMMAND=__superagent_status""",
    "sh": "PS1='REPORT$ '",  # no command in it: each would be a process
}


def set_up(shell: str, marker: str) -> bytes:
    """Give what a shell reads when it starts: from then on it reports each prompt, with the last exit code, by itself.

    The reports come between what is printed and end with a marker that is drawn for each session, so nothing that is
    printed passes for one; they are taken out before anybody sees them.
    """
    code = "%d" if shell == "bash" else "$?"
    return _RC.format(how=_BY_SHELL[shell].replace("REPORT", _REPORT % (code, marker))).encode()


class Terminal:
    """One terminal: its output by offset, and prompts by number.

    `outside` is its controlling side, which is closed here. What is to be hidden is taken out before anything is kept,
    so no later reading shows it, wherever it begins or ends: what may be the beginning of a value is not shown until it
    is known to be none. `flooded` says that more than `most_bytes` were said: then nothing more is read.
    """

    def __init__(self, outside: int, marker: str, most_bytes: int, redactor: Redactor | None = None) -> None:
        self._outside = outside
        self._report = re.compile((re.escape(_REPORT) % ("([0-9]{1,3})", re.escape(marker))).encode())
        self._most = most_bytes
        self.redactor = Redactor() if redactor is None else redactor
        self._clean = self.redactor.stream()
        self._data = bytearray()
        self._start = 0
        self._seen = 0
        self._waiting = 0
        self._burst = (0.0, 0)
        self._held = b""
        self._resting: asyncio.TimerHandle | None = None
        self._reading = False
        self._waits: list[tuple[asyncio.Future[bool], Callable[[], bool]]] = []
        self._shell_group = 0
        self.prompts = 0
        self.exit_code: int | None = None
        self.flooded = False
        self.closed = False
        os.set_blocking(outside, False)
        self._listen()

    @property
    def end(self) -> int:
        """Give how many bytes it has said."""
        return self._start + len(self._data)

    def part(self, since: int, most: int) -> tuple[bytes, int, int]:
        """Give bytes from an offset on, where they begin, and how many before that are not kept any more.

        Half a character at the end is left for the next part.
        """
        begin = min(max(since, self._start), self.end)
        data = bytes(self._data[begin - self._start : begin - self._start + most])
        whole = data[: len(data) - _half(data)]
        if whole or (begin + len(data) == self.end and not self.closed):
            data = whole
        self._look_at(begin + len(data))
        return data, begin, max(0, begin - since)

    def hide(self, name: str, value: Secret) -> None:
        """Show a value nowhere from now on, also not in what is kept of what was said before. Raises `TooLarge`."""
        self.redactor.add(name, value)
        end = self.end
        self._data = bytearray(self.redactor.clean(bytes(self._data)))[-end:]
        self._start = end - len(self._data)  # what comes after it keeps its offset

    async def write(self, data: bytes, until: float) -> None:
        """Type bytes, as fast as they are taken; `until` is in loop time. Raises `TimeoutError`, `OSError`."""
        loop = asyncio.get_running_loop()
        left = memoryview(data)
        while left:
            try:
                left = left[os.write(self._outside, left[:1024]) :]
            except BlockingIOError:
                ready = loop.create_future()
                loop.add_writer(self._outside, _set, ready, True)
                try:
                    async with asyncio.timeout_at(until):
                        await ready
                finally:
                    loop.remove_writer(self._outside)

    async def prompted(self, after: int, since: int, until: float, *, settle: bool) -> bool:
        """Wait for a prompt beyond a number of prompts and an offset; False when none comes in time, or ever will.

        With `settle` a prompt only counts if the shell has nothing more to do: where several lines were typed.
        """
        loop = asyncio.get_running_loop()

        def shown() -> bool:
            return self.end > since and self._ends_with_prompt()

        with self._looking():
            while await self._beyond(after, until):
                # the report comes before the prompt itself, which is the last thing that is printed
                if not shown():
                    await self._until(shown, min(until, loop.time() + PROMPT_S))
                if not settle:
                    return True
                after = self.prompts
                while not await self._beyond(after, min(until, loop.time() + SETTLE_S)):
                    if self._at_rest():
                        return True
                    if loop.time() >= until or self.closed or self.flooded:
                        return False
                after = self.prompts - 1
        return False

    async def _beyond(self, prompts: int, until: float) -> bool:
        return await self._until(lambda: self.prompts > prompts, until)

    async def matched(self, pattern: str, since: int, until: float) -> bool:
        """Wait for a text in the output from an offset on; False when it does not come in time, or never will."""
        wanted = _engine.compile(b"[^\n]*".join(_engine.escape(one.encode()) for one in pattern.split("*")), _of_lines)
        looked = since

        def holds() -> bool:
            nonlocal looked  # only from the line on that was not whole at the last look
            at = max(0, looked - self._start)
            found = wanted.search(bytes(self._data[at:]) + self._clean.held) is not None
            looked = self._start + max(at, self._data.rfind(b"\n", at) + 1)
            return found

        with self._looking():
            return await self._until(holds, until)

    def resize(self, rows: int, columns: int) -> None:
        """Change its size; what runs in the foreground hears of it."""
        fcntl.ioctl(self._outside, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def close(self) -> None:
        """Close the descriptor; what was said stays."""
        if self._outside < 0:
            return
        self._read()  # what is there by now
        self._rest()
        if self._resting is not None:
            self._resting.cancel()
        os.close(self._outside)
        self._outside = -1
        self._end()

    # ---- reading

    def _listen(self) -> None:
        self._resting = None
        if not self._reading and self._outside >= 0 and not self.closed:
            self._reading = True
            asyncio.get_running_loop().add_reader(self._outside, self._read)

    def _ends_with_prompt(self) -> bool:
        """Tell whether a prompt is the last that was said, shown or not."""
        held = self._clean.held
        return (self._data[-len(_PROMPT) :] + held if held else self._data).endswith(_PROMPT)

    def _rest(self) -> None:
        if self._reading:
            self._reading = False
            asyncio.get_running_loop().remove_reader(self._outside)

    def _read(self) -> None:
        try:
            data = os.read(self._outside, CHUNK)
        except BlockingIOError:
            return
        except OSError:  # EIO: nobody inside has the other side open any more
            self._rest()
            self._end()
            return
        size = len(data)
        self._data += self._clean.feed(self._without_reports(data))
        if len(self._data) > MOST_HELD:
            self._start += len(self._data) - MOST_HELD
            del self._data[: len(self._data) - MOST_HELD]
        self.flooded = self.flooded or self.end > self._most
        self._tell()
        since, count = self._burst
        now = time.monotonic()
        self._burst = (now, size) if now - since > PAUSE_S else (since, count + size)
        if self.flooded or (not self._waiting and self.end - self._seen >= MOST_HELD):
            self._rest()
        elif self._burst[1] >= MOST_AT_ONCE:
            self._rest()
            self._resting = asyncio.get_running_loop().call_later(PAUSE_S, self._listen)

    def _look_at(self, offset: int) -> None:
        self._seen = max(self._seen, offset)
        if self._resting is None and not self.flooded:
            self._listen()

    @contextlib.contextmanager
    def _looking(self) -> Generator[None]:
        """Count what comes while the block runs as looked at."""
        self._waiting += 1
        self._look_at(self.end)
        try:
            yield
        finally:
            self._waiting -= 1
            self._seen = self.end

    async def _until(self, holds: Callable[[], bool], until: float) -> bool:
        """Wait until something holds: looked at as output comes, so that nothing else wakes whoever waits."""
        if holds():
            return True
        if self.closed or self.flooded:
            return False
        loop = asyncio.get_running_loop()
        wait = loop.create_future(), holds
        self._waits.append(wait)
        timer = loop.call_at(until, _set, wait[0], False)
        try:
            return await wait[0]
        finally:
            timer.cancel()
            self._waits.remove(wait)

    def _tell(self) -> None:
        for ready, holds in self._waits:
            if not ready.done() and holds():
                _set(ready, True)
            elif self.closed or self.flooded:
                _set(ready, False)

    def _end(self) -> None:
        self._data += self._clean.feed(self._held) + self._clean.close()
        self._held = b""
        self.closed = True
        self._tell()

    # ---- what the shell reports

    def _without_reports(self, data: bytes) -> bytes:
        """Take out the reports; what may be the beginning of one is held until it is known."""
        data = self._report.sub(self._reported, self._held + data)
        at = data.rfind(b"\x1b", max(0, len(data) - _LONGEST))
        if at >= 0 and (data.startswith(_BEGINS, at) or _BEGINS.startswith(data[at:])) and b"\x07" not in data[at:]:
            self._held = data[at:]
            return data[:at]
        self._held = b""
        return data

    def _reported(self, found: re.Match[bytes]) -> bytes:
        self.prompts += 1
        self.exit_code = int(found[1])
        self._shell_group = self._shell_group or self._group()
        return b""

    def _at_rest(self) -> bool:
        return not self.closed and self._group() == self._shell_group

    def _group(self) -> int:
        """Give the process group in the foreground, 0 when there is none."""
        found = array.array("i", [0])
        try:
            fcntl.ioctl(self._outside, termios.TIOCGPGRP, found)
        except OSError:
            return 0
        return found[0]


def _set(ready: asyncio.Future[bool], value: bool) -> None:
    if not ready.done():
        ready.set_result(value)


def _half(data: bytes) -> int:
    """Give how many bytes at the end begin a character that is not complete (UTF-8)."""
    for back in range(1, min(4, len(data)) + 1):
        byte = data[-back]
        if byte & 0xC0 == 0x80:
            continue
        size = 2 if byte & 0xE0 == 0xC0 else 3 if byte & 0xF0 == 0xE0 else 4 if byte & 0xF8 == 0xF0 else 1
        return back if size > back else 0
    return 0
