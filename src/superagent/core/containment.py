"""Containment: what a command may use and touch, how these are narrowed, and what of it was really enforced."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import msgspec

from superagent.core.grants import ISOLATION, IsolationLevel
from superagent.core.problems import Fault, InvalidInput

Enforcement = Literal["enforced", "partial", "none"]
Workspace = Literal["none", "read", "write"]
Network = Literal["off", "listed", "host"]

MIB, GIB = 1024**2, 1024**3
_WORKSPACE: tuple[Workspace, ...] = ("none", "read", "write")
_NETWORK: tuple[Network, ...] = ("off", "listed", "host")


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one command may use: seconds, bytes, counts. All processes of it together, unless said otherwise.

    `file_bytes` is the size of one file and `open_files` counts for one process. `output_bytes` is what it may write to
    its two output streams, `scratch_bytes` what its own `/tmp` holds, `disk_bytes` and `disk_files` what it may add to
    the workspace.
    """

    wall_s: float = 120.0
    cpu_s: float = 60.0
    memory_bytes: int = 512 * MIB
    processes: int = 128
    cpus: float = 1.0
    disk_bytes: int = 256 * MIB
    disk_files: int = 65_536
    file_bytes: int = 256 * MIB
    open_files: int = 1024
    output_bytes: int = 256 * MIB
    scratch_bytes: int = 64 * MIB

    def narrowed(self, other: Limits) -> Limits:
        """Give the smaller of each."""
        return Limits(**{one.name: min(getattr(self, one.name), getattr(other, one.name)) for one in fields(Limits)})

    def asked(self, wanted: Mapping[str, float]) -> Limits:
        """Narrow them by what a call asks for. Raises `InvalidInput` that names each of these that makes no sense."""
        faults: list[Fault] = []
        for name, value in wanted.items():
            least = LEAST.get(name, 1)
            if name not in _NAMES:
                faults.append(Fault(f"$.limits.{name[:60]}", "is no limit"))
            elif name in _FRACTIONS:
                faults += [] if value > 0 else [Fault(f"$.limits.{name}", "must be above 0")]
            elif value != value // 1 or value < least:
                faults.append(Fault(f"$.limits.{name}", f"must be a whole number, at least {least}"))
        if faults:
            known = f"they are {', '.join(_NAMES)}; leave one out for the profile's own"
            raise InvalidInput(f"`{faults[0].path[2:]}` {faults[0].message}", hint=known, errors=faults)
        asked = {name: value if name in _FRACTIONS else int(value) for name, value in wanted.items()}
        return replace(self, **asked).narrowed(self)

    def of_processes(self) -> dict[str, float]:
        """Give those that hold processes, wherever what they write lies."""
        names = ("memory_bytes", "processes", "cpus", "cpu_s", "file_bytes", "open_files", "wall_s")
        return {name: getattr(self, name) for name in names}

    def document(self) -> dict[str, float]:
        """Give the numbers, for records and results."""
        return {one.name: getattr(self, one.name) for one in fields(Limits)}


_NAMES = tuple(one.name for one in fields(Limits))
_FRACTIONS = frozenset({"wall_s", "cpu_s", "cpus"})
LEAST: Mapping[str, int] = {"processes": 4, "disk_files": 16, "memory_bytes": 4 * MIB}
"""With less than this of each nothing can be contained at all: what contains it takes as much. Of all others 1."""


@dataclass(frozen=True, slots=True)
class Profile:
    """What a command may touch: its workspace, the network (`hosts` are `name:port` patterns), and its limits.

    `cache` says that the tenant's package cache can be written. `level` is the least isolation that it may run at.
    """

    name: str
    workspace: Workspace = "write"
    network: Network = "off"
    hosts: frozenset[str] = frozenset()
    cache: bool = False
    level: IsolationLevel = "landlock"
    limits: Limits = Limits()


PROFILES: Mapping[str, Profile] = {
    one.name: one
    for one in (
        Profile(
            "read-only", workspace="read", limits=Limits(wall_s=30, cpu_s=10, memory_bytes=256 * MIB, processes=64)
        ),
        Profile("workspace-write"),
        Profile("net-allowlist", network="listed"),
        Profile(
            "build",
            network="listed",
            cache=True,
            limits=Limits(
                wall_s=900, cpu_s=1800, memory_bytes=2 * GIB, processes=512, cpus=2, disk_bytes=4 * GIB, file_bytes=GIB
            ),
        ),
        Profile("danger-none", network="host", level="none"),
    )
}
DEFAULT_PROFILE = "workspace-write"


def narrow(profile: Profile, *others: Profile) -> Profile:
    """Give what all of them allow, under the first one's name: server, tenant, key and request can only take away."""
    for other in others:
        profile = replace(
            profile,
            workspace=min(profile.workspace, other.workspace, key=_WORKSPACE.index),
            network=min(profile.network, other.network, key=_NETWORK.index),
            hosts=profile.hosts & other.hosts,
            cache=profile.cache and other.cache,
            level=max(profile.level, other.level, key=lambda level: ISOLATION[level]),
            limits=profile.limits.narrowed(other.limits),
        )
    return profile


class Isolation(msgspec.Struct, frozen=True, gc=False):
    """How a command really ran: level, back end, what of each limit held, and which network it had.

    `amounts` are the numbers behind the limits; they stand in the record.
    """

    level: IsolationLevel
    backend: str
    limits: dict[str, Enforcement]
    network: Network = "off"
    amounts: dict[str, float] = {}

    def document(self) -> dict[str, Any]:
        """Give the isolation object of the contract."""
        return {"level": self.level, "backend": self.backend, "limits": self.limits, "network": self.network}
