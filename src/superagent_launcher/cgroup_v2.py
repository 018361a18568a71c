"""Groups of version 2: one tree for all controllers, made where this process may make them."""

from __future__ import annotations

import os
from typing import Any

from superagent_launcher.cgroups import Held, Hierarchy, Make, Usage, clear, kill, put, remove, words

PERIOD_US = 100_000
WANTED = ("memory", "pids", "cpu")


class Groups:
    """The groups of one launcher.

    A group with processes in it can have no sub-groups with controllers (cgroups(7), "no internal processes"), so they
    are made beneath the nearest group at or above this process that hands its controllers on and may be written to: a
    delegated one of an ordinary user, or the service's slice. Nearer is better, since limits above it hold then too.
    What groups between hand on is their owner's affair; only this process's own group and the topmost are asked to.
    """

    def __init__(self, hierarchy: Hierarchy, name: str, make: Make = os.mkdir) -> None:
        self._make = make
        self._base = ""
        self.controllers: frozenset[str] = frozenset()
        for parent in _upwards(hierarchy):
            base = f"{parent}/{name}"
            try:
                if parent in (hierarchy.own, hierarchy.top):
                    _hand_on(parent)
                if not _handed_on(parent):
                    continue
                make(base)
            except OSError:
                continue
            _hand_on(base)
            self.controllers = _handed_on(base)
            if self.controllers:
                self._base = base
                return
            remove(base)

    def new(self, number: int) -> Group:
        """Make the group of a run. Raises `OSError` when it cannot be made."""
        path = f"{self._base}/{number}"
        self._make(path)
        return Group(path, self.controllers)

    def close(self) -> bool:
        """Remove what is left; False when something would not go yet."""
        return not self._base or clear(self._base)


class Group:
    """The group of one run."""

    def __init__(self, path: str, controllers: frozenset[str]) -> None:
        self.paths = (path,)
        self._path = path
        self._held = Held()
        self._controllers = controllers

    def told(self) -> dict[str, Any]:
        """Say where it lies."""
        return {"version": 2, "path": self._path, "controllers": sorted(self._controllers)}

    def limit(self, limits: dict[str, float]) -> None:
        """Set the limits that the controllers at hand can hold."""
        path = self._path
        if "memory" in self._controllers:
            put(f"{path}/memory.max", int(limits["memory_bytes"]))
            put(f"{path}/memory.oom.group", 1)  # half of a command is worth nothing
            if os.path.exists(f"{path}/memory.swap.max"):
                put(f"{path}/memory.swap.max", 0)
        if "pids" in self._controllers:
            put(f"{path}/pids.max", int(limits["processes"]))
        if "cpu" in self._controllers:
            put(f"{path}/cpu.max", f"{max(1000, int(limits['cpus'] * PERIOD_US))} {PERIOD_US}")

    def join(self) -> None:
        """Move the calling process in."""
        put(f"{self._path}/cgroup.procs", 0)

    def cpu_s(self) -> float | None:
        """Give the processor time of all that ran in it."""
        spent = self._held.number_in(f"{self._path}/cpu.stat", "usage_usec")
        return None if spent is None else spent / 1e6

    def usage(self, *, now: bool = True) -> Usage:
        """Give what was used so far, and with `now` what is used at this moment."""
        usage, path = Usage(), self._path
        if now:
            usage.memory_bytes = self._held.number_in(f"{path}/memory.current")
            usage.processes = self._held.number_in(f"{path}/pids.current")
        usage.peak_bytes = self._held.number_in(f"{path}/memory.peak")
        usage.out_of_memory = self._held.number_in(f"{path}/memory.events", "oom_kill") or 0
        usage.refused_processes = self._held.number_in(f"{path}/pids.events", "max") or 0
        return usage

    def forget_peak(self) -> None:
        """Do nothing: here the kernel only forgets it for the one descriptor by which it was asked to."""

    def close(self) -> None:
        """Close what is open of it; safe to repeat."""
        self._held.close()

    def kill(self) -> bool:
        """Send SIGKILL to all that runs in it; True when nothing did."""
        return kill(self._path)

    def remove(self) -> bool:
        """Remove it; False while something is in it."""
        self.close()
        return remove(self._path)


def _upwards(hierarchy: Hierarchy) -> list[str]:
    """Give the group of this process and those above it, the nearest first."""
    found = [hierarchy.own]
    while found[-1] != hierarchy.top and found[-1].startswith(hierarchy.top + "/"):
        found.append(os.path.dirname(found[-1]))
    return found


def _hand_on(path: str) -> None:
    """Try to have a group hand on each controller that it has; what does not work shows in what it hands on."""
    for name in sorted(frozenset(WANTED) & frozenset(words(f"{path}/cgroup.controllers")) - _handed_on(path)):
        try:
            put(f"{path}/cgroup.subtree_control", f"+{name}")
        except OSError:
            continue


def _handed_on(path: str) -> frozenset[str]:
    return frozenset(words(f"{path}/cgroup.subtree_control")) & frozenset(WANTED)
