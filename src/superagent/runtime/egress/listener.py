"""The listener: the socket that a sandbox has handed out, checked, and accepted on in a thread of its own.

Whoever made the sandbox's file tree may hold another descriptor of the same socket and switch it to blocking at any
moment. An event loop that accepts on it would then stand still; this thread would, and nobody else.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import os
import socket
import threading
from collections.abc import Callable

from superagent.core.problems import SandboxUnavailable
from superagent_launcher.egress_init import HELLO, HOST, PORT

_RETRY_S = 0.1


async def received(control: socket.socket, timeout_s: float) -> socket.socket:
    """Wait for the one message of a sandbox and give its listening socket. Raises `SandboxUnavailable`."""
    loop = asyncio.get_running_loop()
    ready = loop.create_future()
    loop.add_reader(control.fileno(), lambda: ready.done() or ready.set_result(None))
    try:
        async with asyncio.timeout(timeout_s):
            await ready
    except TimeoutError:
        raise SandboxUnavailable("the sandbox did not open its network in time") from None
    finally:
        loop.remove_reader(control.fileno())
    try:
        return _taken(control)
    except OSError as bad:
        raise SandboxUnavailable(f"the sandbox did not open its network: {bad.strerror or bad}") from None


def _taken(control: socket.socket) -> socket.socket:
    """Take the message. Raises `OSError` for anything but one listening socket on the loopback of another network."""
    size = array.array("i").itemsize
    data, ancillary, flags, _ = control.recvmsg(
        64, socket.CMSG_SPACE(4 * size), socket.MSG_CMSG_CLOEXEC | socket.MSG_DONTWAIT
    )
    numbers = array.array("i")
    for level, kind, passed in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            numbers.frombytes(passed[: len(passed) - len(passed) % size])
    if data != HELLO or len(numbers) != 1 or flags & socket.MSG_CTRUNC:
        for number in numbers:
            os.close(number)
        raise OSError("it ended before" if not data else "it sent something else")
    try:
        sock = socket.socket(fileno=numbers[0])
    except OSError:  # a file, a pipe …
        os.close(numbers[0])
        raise OSError("it sent something else") from None
    listens = sock.family == socket.AF_INET and sock.type == socket.SOCK_STREAM
    if (
        not listens
        or not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        or sock.getsockname() != (HOST, PORT)
    ):
        sock.close()
        raise OSError("it sent something else")
    return sock


class Listener:
    """Accept connections, at most `most` at once, and give each to the event loop; `done` frees its place."""

    def __init__(self, sock: socket.socket, most: int, take: Callable[[socket.socket], None]) -> None:
        self._sock = sock
        self._take = take
        self._places = threading.Semaphore(most)
        self._loop = asyncio.get_running_loop()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="egress-accept", daemon=True)
        self._thread.start()

    def done(self) -> None:
        """Free the place of a connection that has ended."""
        self._places.release()

    async def close(self) -> None:
        """Stop accepting, whatever the sandbox does to its end of the socket."""
        self._ending.set()
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)  # wakes a thread that waits in `accept`
        self._places.release()
        await asyncio.to_thread(self._thread.join, 5.0)
        self._sock.close()

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            self._sock.setblocking(True)
        while not self._ending.is_set():
            self._places.acquire()
            if self._ending.is_set():
                return
            try:
                connection, _ = self._sock.accept()
            except OSError:  # out of descriptors, or the socket is gone or was tampered with
                self._places.release()
                self._ending.wait(_RETRY_S)
                continue
            try:
                self._loop.call_soon_threadsafe(self._take, connection)
            except RuntimeError:  # the loop is closed
                connection.close()
                return
