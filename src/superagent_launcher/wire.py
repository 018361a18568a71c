"""The wire: JSON messages with a length before each, and descriptors beside them, on one stream socket."""

from __future__ import annotations

import json
import os
import socket
from array import array
from collections import deque
from collections.abc import Iterator
from typing import Any, cast

MOST_BYTES = 4 * 1024 * 1024
MOST_DESCRIPTORS = 64
_PREFIX = 4
_encode = json.JSONEncoder(separators=(",", ":")).encode
_CHUNK = 64 * 1024


class Broken(Exception):
    """The peer speaks no protocol that we know, so nothing that it says can be believed any more."""


class Wire:
    """One end of the socket, not blocking: `receive` when it can be read, `flush` when it can be written.

    Descriptors that arrive stay in order; each message says in `fds` how many of them are its own.
    """

    def __init__(self, end: socket.socket) -> None:
        self.socket = end
        end.setblocking(False)
        self._inside = bytearray()
        self._descriptors: deque[int] = deque()
        self._outside: deque[_Parcel] = deque()

    @classmethod
    def of(cls, descriptor: int) -> Wire:
        """Take an inherited socket."""
        return cls(socket.socket(fileno=descriptor))

    def receive(self) -> Iterator[tuple[dict[str, Any], list[int]]]:
        """Give the messages that are there by now, each with its descriptors, which are the caller's to close.

        Raises `EOFError` when the peer is gone, `Broken` for what is no message.
        """
        yield from self._messages()  # that came with others, of which not all were taken
        while True:
            try:
                data, ancillary, flags, _ = self.socket.recvmsg(
                    _CHUNK, socket.CMSG_SPACE(4 * MOST_DESCRIPTORS), socket.MSG_CMSG_CLOEXEC
                )
            except BlockingIOError:
                return
            except ConnectionResetError:
                raise EOFError from None
            for level, kind, content in ancillary:
                if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                    arrived = array("i")
                    arrived.frombytes(content[: len(content) - len(content) % arrived.itemsize])
                    self._descriptors.extend(arrived)
            if flags & socket.MSG_CTRUNC or len(self._descriptors) > 2 * MOST_DESCRIPTORS:
                raise Broken("more descriptors than a message may carry")
            if not data:
                raise EOFError
            self._inside += data
            yield from self._messages()

    def _messages(self) -> Iterator[tuple[dict[str, Any], list[int]]]:
        while len(self._inside) >= _PREFIX:
            size = int.from_bytes(self._inside[:_PREFIX], "big")
            if size > MOST_BYTES:
                raise Broken(f"a message of {size} bytes")
            if len(self._inside) < _PREFIX + size:
                return
            try:
                said: Any = json.loads(self._inside[_PREFIX : _PREFIX + size])
            except (ValueError, RecursionError):
                raise Broken("a message that is no JSON") from None
            del self._inside[: _PREFIX + size]
            if not isinstance(said, dict):
                raise Broken("a message that is no object")
            message = cast("dict[str, Any]", said)
            own = message.get("fds", 0)
            if not isinstance(own, int) or isinstance(own, bool) or not 0 <= own <= len(self._descriptors):
                raise Broken("a message whose descriptors did not come with it")
            yield message, [self._descriptors.popleft() for _ in range(own)]

    def send(self, message: dict[str, Any], descriptors: tuple[int, ...] = ()) -> bool:
        """Send a message as far as the socket takes it; False when `flush` has to go on later.

        The descriptors are the caller's to close as soon as this returns. Raises `EOFError` when the peer is gone.
        """
        if descriptors:
            message = {**message, "fds": len(descriptors)}
        body = _encode(message).encode()
        self._outside.append(_Parcel(len(body).to_bytes(_PREFIX, "big") + body, descriptors))
        sent = self.flush()
        if not sent:
            self._outside[-1].keep()
        return sent

    def flush(self) -> bool:
        """Send what waits; False when some of it still does. Raises `EOFError` when the peer is gone."""
        while self._outside:
            parcel = self._outside[0]
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", parcel.descriptors))]
            try:
                sent = self.socket.sendmsg([parcel.data], rights if parcel.descriptors else [], socket.MSG_NOSIGNAL)
            except BlockingIOError:
                return False
            except (BrokenPipeError, ConnectionResetError):
                raise EOFError from None
            parcel.data = parcel.data[sent:]
            parcel.let_go()  # the descriptors went with the first byte
            if not parcel.data:
                self._outside.popleft()
        return True

    def close(self) -> None:
        """Close the socket, what arrived on it for nobody, and what was not sent."""
        self.socket.close()
        while self._descriptors:
            os.close(self._descriptors.popleft())
        while self._outside:
            self._outside.popleft().let_go()


class _Parcel:
    """A message on its way out: the rest of its bytes, and its descriptors until they went with the first of them."""

    __slots__ = ("_own", "data", "descriptors")

    def __init__(self, data: bytes, descriptors: tuple[int, ...]) -> None:
        self.data = memoryview(data)
        self.descriptors = descriptors
        self._own = False

    def keep(self) -> None:
        """Hold copies of the descriptors, since the caller may close its own now."""
        if not self._own:
            self.descriptors = tuple(os.dup(one) for one in self.descriptors)
            self._own = True

    def let_go(self) -> None:
        """Forget the descriptors, and close them where they are copies."""
        for one in self.descriptors if self._own else ():
            os.close(one)
        self.descriptors = ()
