"""Plan: how long a run takes, what it is drawn with, and where it leaves its raw samples."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ISSUE = "speed floor"


@dataclass(slots=True)
class Plan:
    """What each group of rows is told.

    A server is loaded for `seconds` in each of `rounds`; `soak` takes memory to a million calls.
    `folder` is temporary and the group's own; `raw` collects what the rows were computed from.
    """

    folder: Path
    seconds: float = 2.0
    rounds: int = 7
    soak: bool = False
    draw: random.Random = field(default_factory=random.Random)
    say: Callable[[str], None] = print
    raw: dict[str, Any] = field(default_factory=dict[str, Any])

    @property
    def few(self) -> int:
        """Give the number of rounds for a figure that only informs."""
        return max(1, self.rounds // 3)

    def place(self, name: str) -> Path:
        """Make a folder below the run's own."""
        made = self.folder / name
        made.mkdir()
        return made
