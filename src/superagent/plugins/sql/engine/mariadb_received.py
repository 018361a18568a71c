"""A connection with MariaDB that takes only so many bytes of an answer into memory."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pymysql

from .names import TooMuch
from .session import counted

ROOM = 64 * 1024 * 1024
_RESET = 0x1F  # in the protocol since MySQL 5.7 and MariaDB 10.2


class Bounded(pymysql.Connection):
    """Raises `TooMuch` instead of reading more than `room` bytes; the connection is of no more use then."""

    room = ROOM
    abandoned = False  # with rows that nobody took
    crossed = 0, 0  # bytes in all, sent and received, once it has ended

    def reset(self) -> bool:
        """Have the server forget the session (`COM_RESET_CONNECTION`); False where rows are left to be sent."""
        if self.abandoned:
            return False
        made: Any = self  # unknown to its types
        made.room = ROOM
        made._execute_command(_RESET, b"")
        made._read_ok_packet()
        made.set_character_set("utf8mb4")
        return True

    def patience(self, timeout_s: float) -> None:
        """Wait so long for each answer."""
        made: Any = self
        made._read_timeout = made._write_timeout = timeout_s

    def fileno(self) -> int:
        """Give the handle of the socket; -1 once it is closed."""
        made: Any = self
        return -1 if made._sock is None else int(made._sock.fileno())

    def abandon(self, cursor: Any) -> None:
        """Leave what a cursor has not taken: its end would read all of it. The connection can only be closed then."""
        cursor.connection = None
        result: Any = vars(self).get("_result")  # unknown to its types
        if result is not None:
            self.abandoned = self.abandoned or result.unbuffered_active
            result.unbuffered_active = False

    def _force_close(self) -> None:
        made: Any = self
        if made._sock is not None:
            with suppress(OSError):
                self.crossed = counted(made._sock)
        super()._force_close()  # pyright: ignore[reportUnknownMemberType, reportAttributeAccessIssue]

    def _read_bytes(self, num_bytes: int) -> Any:
        self.room -= num_bytes
        if self.room < 0:
            raise TooMuch("the server answers with more than can be taken at once", "ask for fewer rows or columns")
        return super()._read_bytes(num_bytes)  # pyright: ignore[reportUnknownMemberType, reportAttributeAccessIssue, reportUnknownVariableType]
