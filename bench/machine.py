"""Machine: where and of what a figure was measured, and how much of the processor others took meanwhile."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
MEASURED = ("fastapi", "httptools", "msgspec", "pydantic", "starlette", "superagent", "uvicorn", "uvloop")


@dataclass(frozen=True, slots=True)
class Ticks:
    """Processor time of the whole machine so far, in ticks: in use by its own processes, idle, taken by the host."""

    busy: int
    idle: int
    stolen: int

    def stolen_since(self, earlier: Ticks) -> float:
        """Give the share of the wanted time that the host gave to other machines, 0 to 1."""
        stolen = self.stolen - earlier.stolen
        wanted = self.busy - earlier.busy + stolen
        return stolen / wanted if wanted else 0.0


def parse_ticks(text: str) -> Ticks:
    """Read the first line of `/proc/stat` (proc(5)); guest time is part of user time there already."""
    user, nice, system, idle, wait, irq, soft, stolen = (int(field) for field in text.split("\n")[0].split()[1:9])
    return Ticks(user + nice + system + irq + soft, idle + wait, stolen)


def ticks() -> Ticks:
    """Read them now."""
    return parse_ticks(Path("/proc/stat").read_text())


def describe() -> dict[str, Any]:
    """Say what this machine and its software are."""
    model = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return {
        "processor": model.group(1) if model else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "system": platform.system() + " " + platform.release(),
        "python": platform.python_version(),
        "load": [round(load, 2) for load in os.getloadavg()],
        "versions": {name: metadata.version(name) for name in MEASURED},
    }


def commit() -> tuple[str, bool]:
    """Give the short commit that is measured, `none` without one, and whether files differ from it."""
    short = _git("rev-parse", "--short", "HEAD")
    return (short or "none", short is None or bool(_git("status", "--porcelain", "--untracked-files=no")))


def _git(*arguments: str) -> str | None:
    try:
        ended = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)
    except FileNotFoundError:
        return None
    return ended.stdout.strip() if ended.returncode == 0 else None
