"""Carried: what reaches give as plain data, the same in this process and in that of a hosted plugin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class FoundFile:
    """One entry of a folder; `size` in bytes, `modified` in epoch seconds."""

    name: str
    kind: Literal["file", "directory", "link", "fifo", "socket", "device"]
    size: int
    modified: float


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back over HTTP: status, headers in lower case, the body as sent. `url` is where the last hop led."""

    status: int
    headers: tuple[tuple[str, str], ...]
    url: str
    body: bytes = b""

    def header(self, name: str) -> str | None:
        """Give the first value of a header, None when there is none."""
        return next((value for key, value in self.headers if key == name.lower()), None)
