"""Interpreter: the outer side of a session that runs snippets, and what its worker says, believed only in its shape."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import socket
import time
from collections.abc import Iterable
from typing import Annotated, Any, cast

import msgspec

MOST_KEPT = 1024 * 1024
"""Bytes of each output stream that are kept of one snippet; what nobody waits for is read no further than that."""

MOST_ANSWER = 16 * 1024 * 1024
MOST_KINDS = 32
MOST_UNASKED = 64
"""Answers that nobody asked for, before a worker is taken for one that floods us with them."""

MOST_TEXT = 65_536
"""Characters of one text of an answer; what workers show is cut to less, so a longer one is none of theirs."""

MOST_PIPED = 1024 * 1024
"""What a pipe holds at the very most, unless root made it larger (fs.pipe-max-size of Linux)."""

MOST_PLAIN = 4 * MOST_TEXT
MOST_DEEP = 200
"""Lists in lists of plain data: what writes answers, and many who read them, go no deeper than 255."""

CHUNK = 65_536
MOST_AT_ONCE = 4 * CHUNK
PAUSE_S = 0.02


_Text = Annotated[str, msgspec.Meta(max_length=MOST_TEXT)]
_Name = Annotated[str, msgspec.Meta(max_length=1000)]


class Value(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a snippet's last expression was: `mime` holds texts, and images as base64, by their types."""

    repr: _Text
    type: _Name
    json: msgspec.Raw = msgspec.Raw()
    mime: Annotated[dict[_Name, str], msgspec.Meta(max_length=MOST_KINDS)] = {}


class Frame(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One line of a traceback."""

    file: _Name
    line: int
    name: _Name
    text: _Name


class Error(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which exception ended a snippet, the innermost frame last, and how the interpreter itself would show it."""

    type: _Name
    message: _Text
    traceback: Annotated[list[Frame], msgspec.Meta(max_length=50)]
    text: _Text


class Answer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a worker says of a snippet."""

    id: str
    value: Value | None
    error: Error | None


_ANSWER = msgspec.json.Decoder(Answer)


def plain_of(json: msgspec.Raw) -> Any:
    """Give the plain data of a value; `msgspec.UNSET` for none, and for what is larger or deeper than is passed on."""
    if not 0 < len(memoryview(json)) <= MOST_PLAIN:
        return msgspec.UNSET
    try:
        found: list[Any] = [msgspec.json.decode(json)]
    except (msgspec.MsgspecError, RecursionError):  # such as a number that is none here
        return msgspec.UNSET
    level = found
    for _ in range(MOST_DEEP + 1):
        level = [
            inner
            for one in level
            if isinstance(one, list | dict)
            for inner in cast("Iterable[Any]", one.values() if isinstance(one, dict) else one)
        ]
        if not level:
            return found[0]
    return msgspec.UNSET


class Gone(Exception):
    """The worker has ended, or speaks no protocol that we know."""


class Interpreter:
    """One worker: its socket and its two output streams, which are closed here.

    `left` is how many bytes it may still write; `flooded` says that it wrote more: then nothing more is read.
    """

    def __init__(self, wire: socket.socket, stdout: int, stderr: int, left: int = 2**62) -> None:
        self._wire = wire
        self._streams = {stdout: bytearray(), stderr: bytearray()}
        self._order = (stdout, stderr)
        self.left = left
        self._lost = self._asked = 0
        self._burst = (0.0, 0)
        self._waiting = False
        self._listening: set[int] = set()
        self._inside = bytearray()
        self._came: asyncio.Future[None] | None = None
        self._hearing = self._over = self._half = False
        self.flooded = False
        self.closed = False
        wire.setblocking(False)
        self._looks = select.poll()
        for one in self._order:
            os.set_blocking(one, False)
            self._looks.register(one, select.POLLIN)
        self._listen()

    def expect(self) -> None:
        """Say that a snippet is about to come: a worker that has waited for a while takes its time to wake up."""
        with contextlib.suppress(OSError):  # whoever sends the snippet will hear of it
            if not self._half and not self.closed:
                self._wire.send(bytes(4))

    async def evaluate(self, id: str, code: str) -> Answer:
        """Send a snippet, its id in letters and digits, and wait for its answer; cancelled, it goes on inside.

        Raises `Gone`.
        """
        data = f"{id}\0{code}".encode()
        self._asked += 1
        left = self._said(len(data).to_bytes(4, "big") + data)  # first, so that it runs while the rest is done here
        before, self._waiting = self._waiting, True
        self._listen()
        try:
            if left:
                await self._say(left)
            while True:
                found = self._whole() or await self._more()
                if found is not None and found.id == id:  # older ones, which nobody waits for, are passed over
                    return found
        finally:
            self._waiting = before

    def taken(self) -> tuple[bytes, bytes, int]:
        """Give what was written to both streams since this was asked last, and how many bytes of it are lost."""
        if not self.closed:
            for one, _ in self._looks.poll(0):  # mostly there is nothing, and asking twice costs twice
                self._drain(one)
            self._listen()
        stdout, stderr = (bytes(self._streams[one]) for one in self._order)
        lost, self._lost = self._lost, 0
        for one in self._order:
            self._streams[one].clear()
        return stdout, stderr, lost

    def close(self) -> None:
        """Close what is open; what was written stays."""
        if self.closed:
            return
        self._rest()
        self._deaf()
        for one in self._order:
            self._drain(one)
            os.close(one)
        self.closed = True
        if self._came is not None and not self._came.done():
            self._over = True
            self._came.set_result(None)
        self._wire.close()

    # ---- inside

    def _said(self, data: bytes) -> bytes:
        """Say as much as the socket takes at once, which is all but for what is long; gives the rest. Raises `Gone`."""
        if self._half:
            raise Gone  # the worker would take what comes now for the rest of what it was told before
        try:
            return data[self._wire.send(data) :]
        except BlockingIOError:
            return data
        except OSError:
            raise Gone from None

    async def _say(self, data: bytes) -> None:
        self._half = True
        try:
            await asyncio.get_running_loop().sock_sendall(self._wire, data)
        except OSError:
            raise Gone from None
        self._half = False

    def _whole(self) -> Answer | None:
        """Take an answer out of what has come, None while none is there as a whole. Raises `Gone`."""
        if len(self._inside) < 4:
            return None
        size = int.from_bytes(self._inside[:4], "big")
        if size > MOST_ANSWER:
            raise Gone
        if len(self._inside) < 4 + size:
            return None
        try:
            found = _ANSWER.decode(self._inside[4 : 4 + size])
        except (msgspec.MsgspecError, RecursionError):
            raise Gone from None
        del self._inside[: 4 + size]
        self._asked -= 1
        if self._asked < -MOST_UNASKED:
            raise Gone
        return found

    async def _more(self) -> Answer | None:
        """Wait until more has come, and give the answer if one is there as a whole. Raises `Gone`."""
        if self._over:
            raise Gone
        self._came = asyncio.get_running_loop().create_future()
        if not self._hearing and not self.closed:
            self._hearing = True
            asyncio.get_running_loop().add_reader(self._wire.fileno(), self._answered)
        try:
            await self._came
        finally:
            self._came = None
        return self._whole()

    def _answered(self) -> None:
        """Read what the worker says, as long as somebody waits for it: what nobody wants fills its socket."""
        if self._came is None or self._came.done():
            self._deaf()
            return
        try:
            data = self._wire.recv(CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self._inside += data
        self._over = not data
        self._came.set_result(None)

    def _deaf(self) -> None:
        if self._hearing:
            self._hearing = False
            asyncio.get_running_loop().remove_reader(self._wire.fileno())

    def _listen(self) -> None:
        for one in self._order if len(self._listening) < len(self._order) else ():
            if one not in self._listening and not self.closed and not self.flooded:
                self._listening.add(one)
                asyncio.get_running_loop().add_reader(one, self._heard, one)

    def _rest(self) -> None:
        for one in list(self._listening):
            self._unlisten(one)

    def _unlisten(self, one: int) -> None:
        if one in self._listening:
            self._listening.discard(one)
            asyncio.get_running_loop().remove_reader(one)

    def _heard(self, one: int) -> None:
        size = self._read(one)
        if not size:
            self._unlisten(one)
            return
        since, count = self._burst
        now = time.monotonic()
        self._burst = (now, size) if now - since > PAUSE_S else (since, count + size)
        if self.flooded or (not self._waiting and len(self._streams[one]) >= MOST_KEPT):
            self._unlisten(one)
        elif self._burst[1] >= MOST_AT_ONCE:
            self._rest()
            asyncio.get_running_loop().call_later(PAUSE_S, self._listen)

    def _drain(self, one: int) -> None:
        """Read what is there, and not what somebody in the background goes on to write meanwhile."""
        left = MOST_PIPED
        while left > 0 and (size := self._read(one)):
            left -= size

    def _read(self, one: int) -> int:
        """Read what is there, give how much it was: 0 for nothing now, or no more."""
        if self.flooded:
            return 0
        try:
            data = os.read(one, CHUNK)
        except (BlockingIOError, OSError):
            return 0
        self.left -= len(data)
        self.flooded = self.left < 0
        held = self._streams[one]
        fits = data[: max(0, MOST_KEPT - len(held))]
        held += fits
        self._lost += len(data) - len(fits)
        return len(data)
