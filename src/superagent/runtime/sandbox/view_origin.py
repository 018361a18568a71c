"""What the real folder was when a view was made: told from times of last status change, without a look at every file.

The kernel alone sets that time, and later than any moment before. So a view costs nothing to make however large the
folder is; only a whole copy notes each entry, since it looks at each anyway. Stated limits: a clock that is set back,
and a filesystem whose server keeps another clock (NFS) or only whole seconds.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

_COARSE = 5  # CLOCK_REALTIME_COARSE (linux/time.h), from which file times come
_STEP_S, _MOST_STEPS = 0.0005, 400  # a tick of the kernel is at most 10 ms

Stamp = tuple[int, int]
"""Inode number and time of last status change in nanoseconds: equal for a name means nobody touched it."""

REMOVED: Stamp = (0, 0)

Told = tuple[str, int, int, str, str]
"""A state in short: kind, mode, size, and the digests of content and of attributes."""


def dividing_moment() -> int:
    """Give a moment in nanoseconds: status changes made until now are not later, all that follow are.

    Waits for the tick of the clock from which file times are taken, a few milliseconds; blocks.
    """
    moment = time.clock_gettime_ns(time.CLOCK_REALTIME)
    for _ in range(_MOST_STEPS):
        if time.clock_gettime_ns(_COARSE) > moment:
            break
        time.sleep(_STEP_S)
    return moment


def stamp_of(info: os.stat_result) -> Stamp:
    """Give the stamp of what was looked at."""
    return info.st_ino, info.st_ctime_ns


class Mark(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One entry of a whole copy as it was made: kind and mode, and the stamp of the copy."""

    mode: int
    inode: int
    ctime_ns: int

    @property
    def is_dir(self) -> bool:
        """Tell whether it is a directory."""
        return stat.S_ISDIR(self.mode)


Marks = dict[str, dict[str, Mark]]
"""By directory (relative, empty for the top) and name, what a copy holds; a mode of 0 marks what was not copied."""


@dataclass(frozen=True, slots=True)
class Origin:
    """What is known of the real folder at the time a view of it was made.

    `accepted` holds what the platform itself brought there from this view since; `REMOVED` for what it removed. `seen`
    holds what stood there when an accepting began that did not succeed: what was put back is as new to the clock as
    anything, yet it is what it was. `marks` is there for a copy.
    """

    device: int
    began_ns: int
    accepted: Mapping[str, Stamp] = field(default_factory=dict[str, Stamp])
    seen: Mapping[str, Told] = field(default_factory=dict[str, Told])
    marks: Marks | None = None

    def touched(self, path: str, info: os.stat_result) -> bool:
        """Tell whether somebody else touched what stands at a path since."""
        return info.st_ctime_ns > self.began_ns and self.accepted.get(path) != stamp_of(info)

    def mark(self, folder: str, name: str) -> Mark | None:
        """Give what a copy held at a name."""
        return None if self.marks is None else self.marks.get(folder, {}).get(name)
