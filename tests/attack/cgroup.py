"""A control group of version 1 for one run, and the watch over what it used."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from tests.attack.runner import Limits
from tests.until import until

ROOT = Path("/sys/fs/cgroup")
CONTROLLERS = ("memory", "pids", "cpu", "cpuacct")
WATCH_S = 0.05
PERIOD_US = 100_000


def can_make() -> bool:
    """Say whether this process may make groups of version 1."""
    return all(os.access(ROOT / controller, os.W_OK) for controller in CONTROLLERS)


class Cgroup:
    """Folders of one run, one per controller."""

    def __init__(self, name: str, limits: Limits) -> None:
        self.folders = [ROOT / controller / name for controller in CONTROLLERS]
        for folder in self.folders:
            folder.mkdir()
        memory, pids, cpu, self._accounting = self.folders
        (memory / "memory.limit_in_bytes").write_text(str(limits.memory_bytes))
        (pids / "pids.max").write_text(str(limits.processes))
        (cpu / "cpu.cfs_period_us").write_text(str(PERIOD_US))
        (cpu / "cpu.cfs_quota_us").write_text(str(int(PERIOD_US * limits.cpus)))
        self._cpu_s = limits.cpu_s

    def kill(self) -> None:
        """End every process in the group, also those that it starts meanwhile."""
        until(self._empty, "the end of a group's processes", 10.0)

    def _empty(self) -> bool:
        pids = (self._accounting / "cgroup.procs").read_text().split()
        for pid in pids:
            try:
                os.kill(int(pid), signal.SIGKILL)
            except ProcessLookupError:
                continue
        return not pids

    async def watch(self) -> None:
        """End the group when all its processes together used up their time on the processor."""
        while int((self._accounting / "cpuacct.usage").read_text()) < self._cpu_s * 1_000_000_000:
            await asyncio.sleep(WATCH_S)
        self._empty()

    def remove(self) -> None:
        for folder in self.folders:
            folder.rmdir()


@contextmanager
def cgroup(name: str, limits: Limits) -> Generator[Cgroup]:
    group = Cgroup(name, limits)
    try:
        yield group
    finally:
        group.kill()
        group.remove()
