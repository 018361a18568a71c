"""A connection with MariaDB that takes only so many bytes of an answer into memory."""

from __future__ import annotations

from typing import Any

import pymysql

from .names import TooMuch

ROOM = 64 * 1024 * 1024


class Bounded(pymysql.Connection):
    """Raises `TooMuch` instead of reading more than `room` bytes; the connection is of no more use then."""

    room = ROOM

    def abandon(self, cursor: Any) -> None:
        """Leave what a cursor has not taken: its end would read all of it. The connection can only be closed then."""
        cursor.connection = None
        result: Any = vars(self).get("_result")  # unknown to its types
        if result is not None:
            result.unbuffered_active = False

    def _read_bytes(self, num_bytes: int) -> Any:
        self.room -= num_bytes
        if self.room < 0:
            raise TooMuch("the server answers with more than can be taken at once", "ask for fewer rows or columns")
        return super()._read_bytes(num_bytes)  # pyright: ignore[reportUnknownMemberType, reportAttributeAccessIssue, reportUnknownVariableType]
