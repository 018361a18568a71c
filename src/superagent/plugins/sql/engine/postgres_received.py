"""A connection with PostgreSQL that takes only so many bytes of an answer into memory.

The driver gathers a whole answer, and a value may have 1 GB. How much has come is known to the socket.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Generator
from contextlib import suppress
from typing import Any

import psycopg

from .names import TooMuch
from .session import counted

ROOM = 64 * 1024 * 1024


class Bounded(psycopg.Connection[Any]):
    """Raises `TooMuch` instead of taking more than 64 MiB by one command; the connection is closed then."""

    crossed = 0, 0  # bytes in all, sent and received, once it has ended

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self._beside = socket.socket(fileno=os.dup(self.fileno()))  # a handle of our own to the driver's socket

    @property
    def came(self) -> int:
        """Give the bytes that came since the last `mark`."""
        return counted(self._beside)[1] - self._marked

    def mark(self) -> None:
        """Count what comes from here on."""
        self._marked = counted(self._beside)[1] if self._beside.fileno() >= 0 else 0

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
        if self._beside.fileno() >= 0:
            self.crossed = counted(self._beside)
            self._beside.close()
        super().close()

    def _counted(self, gen: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
        sent, waits, before = None, 0, 0
        while True:
            try:
                wanted = gen.send(sent)
            except StopIteration as done:
                return done.value
            waits += 1
            if waits == 2:  # most answers come at once: only of those that do not, the rest is counted
                before = counted(self._beside)[1]
            elif waits > 2 and counted(self._beside)[1] - before > ROOM:
                raise TooMuch("the server answers with more than can be taken at once", "ask for fewer rows or columns")
            sent = yield wanted
