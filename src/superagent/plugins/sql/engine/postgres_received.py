"""A connection with PostgreSQL that takes only so many bytes of an answer into memory.

The driver gathers a whole answer, and a value may have 1 GB. How much has come is known to the socket.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Generator
from contextlib import suppress
from typing import Any

import psycopg

from .names import TooMuch

ROOM = 64 * 1024 * 1024
_COUNT = struct.Struct("Q")
_RECEIVED = 128  # where `tcpi_bytes_received` lies in `struct tcp_info` of Linux


class Bounded(psycopg.Connection[Any]):
    """Raises `TooMuch` instead of taking more than 64 MiB by one command; the connection is closed then."""

    came = 0  # bytes by the last command
    _all = 0  # that came until then
    _beside: socket.socket | None = None  # a handle of our own to the driver's socket

    def wait(self, gen: Any, *args: Any, **named: Any) -> Any:
        """Wait for a command, and count what comes."""
        try:
            return super().wait(self._counted(gen), *args, **named)
        except TooMuch:
            with suppress(psycopg.Error):
                self.close()
            raise

    def close(self) -> None:
        """End the connection."""
        if self._beside is not None:
            self._beside.close()
        super().close()

    def _counted(self, gen: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
        before, sent = self._all, None
        waited = False
        while True:
            try:
                wanted = gen.send(sent)
            except StopIteration as done:
                self._all = before if self.closed else self._received()
                self.came = self._all - before
                return done.value
            if waited and self._received() - before > ROOM:
                raise TooMuch("the server answers with more than can be taken at once", "ask for fewer rows or columns")
            sent, waited = (yield wanted), True

    def _received(self) -> int:
        if self._beside is None:
            self._beside = socket.socket(fileno=os.dup(self.fileno()))
        told = self._beside.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _RECEIVED + 8)
        return int(_COUNT.unpack_from(told, _RECEIVED)[0])
