"""The groups of this launcher: version 2 where its controllers are at hand, else version 1, else none."""

from __future__ import annotations

import os
from typing import Any, Protocol

from superagent_launcher import cgroup_v1, cgroup_v2
from superagent_launcher.cgroups import Hierarchy, Make, Usage


class Group(Protocol):
    """The group of one run."""

    paths: tuple[str, ...]

    def told(self) -> dict[str, Any]:
        """Say where it lies, for `known`."""
        ...

    def join(self) -> None:
        """Move the calling process in."""
        ...

    def limit(self, limits: dict[str, float]) -> None:
        """Set the limits that the controllers at hand can hold. Raises `OSError`."""
        ...

    def cpu_s(self) -> float | None:
        """Give the processor time of all that ran in it; None where nothing counts it."""
        ...

    def usage(self, *, now: bool = True) -> Usage:
        """Give what was used so far, and with `now` what is used at this moment."""
        ...

    def forget_peak(self) -> None:
        """Let the most memory count from now on, where the kernel can do that."""
        ...

    def close(self) -> None:
        """Close what is open of it here: what is read again and again stays open till then."""
        ...

    def kill(self) -> bool:
        """Send SIGKILL to all that runs in it; True when nothing did."""
        ...

    def remove(self) -> bool:
        """Remove it; False while something is in it."""
        ...


def known(told: dict[str, Any] | None) -> Group | None:
    """Give a group that another process has made, to be looked at."""
    if told is None:
        return None
    if told["version"] == 2:
        return cgroup_v2.Group(told["path"], frozenset(told["controllers"]))
    return cgroup_v1.Group(told["places"])


class Groups:
    """What of groups works here: `version` is 2, 1 or 0 for none, `controllers` what can be limited."""

    def __init__(self, found: list[Hierarchy], name: str, make: Make = os.mkdir) -> None:
        unified = next((one for one in found if one.unified and "memory" in one.controllers), None)
        made: cgroup_v1.Groups | cgroup_v2.Groups | None = None
        if unified is not None:
            made = cgroup_v2.Groups(unified, name, make)
        if made is None or not made.controllers:
            made = cgroup_v1.Groups(found, name, make)
        self.controllers = made.controllers
        self.version = 0 if not self.controllers else 2 if isinstance(made, cgroup_v2.Groups) else 1
        self._made = made

    def new(self, number: int) -> Group | None:
        """Make the group of a run, None where there are none. Raises `OSError`."""
        return self._made.new(number) if self.controllers else None

    def close(self) -> bool:
        """Remove what is left; False when something would not go yet."""
        return self._made.close()
