"""What the engine is given: places and entries by descriptor, and how it says that something does not fit."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Protocol


class Unfit(Exception):
    """The input does not fit the thing it names; `hint` is the next step."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class Differs(Unfit):
    """The present state is not the one this was made for."""


class TooMuch(Unfit):
    """A limit would be passed."""


class Entry(Protocol):
    """Something met on a walk: real path, open directory and name in it, what it is; see the runtime's `walk`."""

    @property
    def path(self) -> str:
        """Give the real path."""
        ...

    @property
    def dir_fd(self) -> int:
        """Give the open directory, until the walk goes on."""
        ...

    @property
    def name(self) -> str:
        """Give the name in it."""
        ...

    @property
    def stat(self) -> os.stat_result:
        """Give what it is, not followed."""
        ...

    @property
    def depth(self) -> int:
        """Give how deep it lies; 0 is the start."""
        ...

    @property
    def leaving(self) -> bool:
        """Say whether a directory is met for the second time, after all it holds."""
        ...

    @property
    def is_dir(self) -> bool:
        """Say whether it is a directory."""
        ...

    def open(self) -> int:
        """Open the file for reading; raises `OSError`."""
        ...


class Cursor(Protocol):
    """A directory that is moved down and up a tree."""

    fd: int

    def down(self, name: str) -> None:
        """Move into a directory."""
        ...

    def up(self) -> None:
        """Move back."""
        ...

    def close(self) -> None:
        """Let go."""
        ...


Cursors = Callable[[int], Cursor]
"""Begins a cursor at an open directory, which it closes."""

Tick = Callable[[], None]
"""Called now and then during long work; raises when the work is to end."""


def never() -> None:
    """Let work go on for as long as it takes."""
