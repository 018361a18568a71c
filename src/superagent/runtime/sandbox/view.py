"""A copy-on-write view of a folder: a command sees the folder, and what it changes lands beside it.

This file is the value that describes a view and how it is mounted; it does nothing. `views.py` makes and keeps views,
`view_diff.py` reads what a command left in one, `view_accept.py` brings that into the real folder.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from superagent.runtime.protected import Inode

INSIDE = "/workspace"
"""Where a command finds its workspace."""

Mounting = Literal["bwrap", "before", "copy"]
"""How a view comes to be seen at its place.

`before`: the process that becomes bubblewrap mounts the overlay first, in a user namespace of its own
(the launcher's `overlay_mount`; any bubblewrap). `bwrap`: bubblewrap mounts it (its version 0.11 or newer). `copy`:
`upper` holds a whole copy.
"""

OVERLAY_SINCE = (0, 11)  # the first bubblewrap with --overlay


@dataclass(frozen=True, slots=True)
class View:
    """One view. All paths are absolute and real.

    `lower` is the real folder, which nothing in the sandbox can change; `inode` is what it was when the view was made.
    `upper`, `work` and `merged` lie in a folder of mode 0700 that belongs to `uid`, the user who runs the command.
    `began_ns` (epoch, kernel clock) divides times of last status change: what changed later, changed since.
    """

    id: str
    lower: str
    inode: Inode
    folder: str
    mounting: Mounting
    uid: int
    gid: int
    began_ns: int

    @property
    def upper(self) -> str:
        """Give the folder that takes what is written; of a copy, the copy."""
        return f"{self.folder}/upper"

    @property
    def work(self) -> str:
        """Give the folder that the overlay needs for itself."""
        return f"{self.folder}/work"

    @property
    def merged(self) -> str:
        """Give where the overlay is mounted when that is done before bubblewrap."""
        return f"{self.folder}/merged"

    @property
    def copied(self) -> bool:
        """Say whether it holds a whole copy instead of the differences."""
        return self.mounting == "copy"

    def arguments(self, inside: str = INSIDE) -> tuple[str, ...]:
        """Give the options by which bubblewrap shows the view at a path inside."""
        if self.mounting == "bwrap":
            return ("--overlay-src", self.lower, "--overlay", self.upper, self.work, inside)
        return ("--bind", self.merged if self.mounting == "before" else self.upper, inside)

    def mounts_before(self) -> tuple[str, str, str, str] | None:
        """Give lower, upper, work and merged for `overlay_mount.enter`; None when nothing is to be mounted before."""
        return (self.lower, self.upper, self.work, self.merged) if self.mounting == "before" else None


def mountings(version: tuple[int, ...]) -> tuple[Mounting, ...]:
    """Give the ways worth trying with a bubblewrap of this version, best first; each must prove itself here.

    Mounting before comes first: the mount table inside then shows no path of the host. It fails where only bubblewrap
    may make user namespaces (AppArmor rules by program).
    """
    return ("before", "bwrap", "copy") if version[:2] >= OVERLAY_SINCE else ("before", "copy")
