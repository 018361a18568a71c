"""How a process is served: its priority at the processor (nice) and its class at the disk (ionice)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, Literal

import psutil

IoClass = Literal["none", "realtime", "best-effort", "idle"]
CLASSES: tuple[IoClass, ...] = ("none", "realtime", "best-effort", "idle")
"""By the numbers that ioprio_set(2) gives them."""

_processes: Any = psutil


@dataclass(frozen=True, slots=True)
class Served:
    """`nice` from -20 to 19; `io_class` by number, with the level `io_level` within it."""

    nice: int
    io_class: int
    io_level: int

    @property
    def io_name(self) -> IoClass:
        """Name the class."""
        return CLASSES[self.io_class]


def served(pid: int) -> Served:
    """Tell how a process is served. Raises `ProcessLookupError`, `psutil.Error`."""
    io = _processes.Process(pid).ionice()
    return Served(os.getpriority(os.PRIO_PROCESS, pid), int(io.ioclass), int(io.value))


def serve(pid: int, nice: int | None, io: tuple[int, int] | None) -> None:
    """Change it; None leaves it. Raises `PermissionError`, `ProcessLookupError`, `psutil.Error`."""
    if nice is not None:
        os.setpriority(os.PRIO_PROCESS, pid, nice)
    if io is not None:
        _processes.Process(pid).ionice(io[0], io[1] or None)
