"""A connection with PostgreSQL that takes only so many bytes of an answer into memory.

The driver gathers a whole answer, and a value may have 1 GB. How much has come is known to the socket.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Generator
from contextlib import suppress
from typing import Any

import psycopg

from .names import TooMuch

ROOM = 64 * 1024 * 1024
_RECEIVED = 128  # where `tcpi_bytes_received` lies in `struct tcp_info` of Linux


class Bounded(psycopg.Connection[Any]):
    """Raises `TooMuch` instead of taking more than 64 MiB by one command; the connection is closed then."""

    came = 0  # bytes by the last command

    def wait(self, gen: Any, *args: Any, **named: Any) -> Any:
        """Wait for a command, and count what comes."""
        try:
            return super().wait(self._counted(gen), *args, **named)
        except TooMuch:
            with suppress(psycopg.Error):
                self.close()
            raise

    def _counted(self, gen: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
        before, sent = _received(self.fileno()), None
        while True:
            try:
                wanted = gen.send(sent)
            except StopIteration as done:
                self.came = 0 if self.closed else _received(self.fileno()) - before
                return done.value
            if _received(self.fileno()) - before > ROOM:
                raise TooMuch("the server answers with more than can be taken at once", "ask for fewer rows or columns")
            sent = yield wanted


def _received(handle: int) -> int:
    duplicate = socket.socket(fileno=handle)
    try:
        told = duplicate.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
    finally:
        duplicate.detach()  # the handle is the driver's
    return int(struct.unpack_from("Q", told, _RECEIVED)[0])
