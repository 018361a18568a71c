"""What a server does not have."""

from __future__ import annotations


class Lacking(Exception):
    """Something that is needed is not there; `cure` says how to get it."""

    def __init__(self, message: str, cure: str) -> None:
        super().__init__(message)
        self.message = message
        self.cure = cure
