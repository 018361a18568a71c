"""What launchers left behind that were killed: their groups, and processes that bear their name."""

from __future__ import annotations

import os
import signal
import time

from superagent_launcher.cgroups import Hierarchy, clear, left_behind, named_after_the_dead

PATIENCE_S = 2.0


def sweep(found: list[Hierarchy], proc: str = "/proc") -> None:
    """Kill and remove what dead launchers of this pid namespace left; what will not go is left to the next start."""
    for pid in _named(proc):
        try:
            os.kill(pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            continue
    until = time.monotonic() + PATIENCE_S
    for folder in left_behind(found, proc):
        while not clear(folder) and time.monotonic() < until:
            time.sleep(0.01)


def _named(proc: str) -> list[int]:
    """Give the processes that call themselves by the name of a launcher that is dead (see `runs.start`)."""
    found: list[int] = []
    for one in os.listdir(proc):
        if not one.isdigit():
            continue
        try:
            with open(f"{proc}/{one}/cmdline", "rb") as file:
                name = file.read(200).split(b"\0")[0].decode("utf-8", "replace")
        except OSError:
            continue
        if named_after_the_dead(name, proc):
            found.append(int(one))
    return found
