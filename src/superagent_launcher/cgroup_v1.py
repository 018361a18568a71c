"""Groups of version 1: one tree for each controller, so a run has a folder in each."""

from __future__ import annotations

import os
from typing import Any

from superagent_launcher.cgroups import Held, Hierarchy, Make, Usage, clear, kill, put, remove

PERIOD_US = 100_000


class Groups:
    """The groups of one launcher, beneath its own: no run gets more than the launcher itself may have."""

    def __init__(self, found: list[Hierarchy], name: str, make: Make = os.mkdir) -> None:
        self._make = make
        self._bases: dict[str, str] = {}
        for hierarchy in found:
            base = f"{hierarchy.own}/{name}"
            try:
                if not hierarchy.unified and hierarchy.controllers:
                    make(base)
                    self._bases |= dict.fromkeys(sorted(hierarchy.controllers), base)
            except OSError:
                continue  # read-only, or not this user's: what it would limit is reported as not limited

    @property
    def controllers(self) -> frozenset[str]:
        """Give which controllers can be used."""
        return frozenset(self._bases)

    def new(self, number: int) -> Group:
        """Make the group of a run. Raises `OSError` when it cannot be made: then nothing is left."""
        group = Group({name: f"{base}/{number}" for name, base in self._bases.items()})
        try:
            for path in group.paths:
                self._make(path)
        except OSError:
            group.remove()
            raise
        return group

    def close(self) -> bool:
        """Remove what is left; False when something would not go yet."""
        gone = [clear(base) for base in set(self._bases.values())]  # each of them, also after one that would not
        return all(gone)


class Group:
    """The group of one run."""

    def __init__(self, places: dict[str, str]) -> None:
        self._at = places
        self._held = Held()
        self.paths = tuple(dict.fromkeys(places.values()))

    def told(self) -> dict[str, Any]:
        """Say where it lies."""
        return {"version": 1, "places": self._at}

    def limit(self, limits: dict[str, float]) -> None:
        """Set the limits that the controllers at hand can hold."""
        if "memory" in self._at:
            bytes_, folder = int(limits["memory_bytes"]), self._at["memory"]
            put(f"{folder}/memory.limit_in_bytes", bytes_)
            if os.path.exists(f"{folder}/memory.memsw.limit_in_bytes"):
                put(f"{folder}/memory.memsw.limit_in_bytes", bytes_)  # swap counts too: else it would be a way out
        if "pids" in self._at:
            put(f"{self._at['pids']}/pids.max", int(limits["processes"]))
        if "cpu" in self._at:
            put(f"{self._at['cpu']}/cpu.cfs_period_us", PERIOD_US)
            put(f"{self._at['cpu']}/cpu.cfs_quota_us", max(1000, int(limits["cpus"] * PERIOD_US)))

    def join(self) -> None:
        """Move the calling process in."""
        for path in self.paths:
            put(f"{path}/cgroup.procs", 0)

    def cpu_s(self) -> float | None:
        """Give the processor time of all that ran in it."""
        spent = self._held.number_in(f"{self._at['cpuacct']}/cpuacct.usage") if "cpuacct" in self._at else None
        return None if spent is None else spent / 1e9

    def usage(self, *, now: bool = True) -> Usage:
        """Give what was used so far, and with `now` what is used at this moment."""
        usage = Usage()
        if "memory" in self._at:
            folder = self._at["memory"]
            usage.memory_bytes = self._held.number_in(f"{folder}/memory.usage_in_bytes") if now else None
            usage.peak_bytes = self._held.number_in(f"{folder}/memory.max_usage_in_bytes")
            usage.out_of_memory = self._held.number_in(f"{folder}/memory.oom_control", "oom_kill") or 0
        if "pids" in self._at:
            usage.processes = self._held.number_in(f"{self._at['pids']}/pids.current") if now else None
            usage.refused_processes = self._held.number_in(f"{self._at['pids']}/pids.events", "max") or 0
        return usage

    def forget_peak(self) -> None:
        """Let the most memory count from now on."""
        if "memory" in self._at:
            put(f"{self._at['memory']}/memory.max_usage_in_bytes", 0)

    def close(self) -> None:
        """Close what is open of it; safe to repeat."""
        self._held.close()

    def kill(self) -> bool:
        """Send SIGKILL to all that runs in it; True when nothing did."""
        none = [kill(path) for path in self.paths]
        return all(none)

    def remove(self) -> bool:
        """Remove it; False while something is in it."""
        self.close()
        gone = [remove(path) for path in self.paths]
        return all(gone)
