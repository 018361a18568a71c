"""The reserve: the last bytes of a disk, kept free because without any the audit stops, and everything with it."""

from __future__ import annotations

import os
from pathlib import Path

from superagent.core.problems import Unavailable


class Reserve:
    """So many bytes of the data folder's disk, and of each other one on which an agent changes something."""

    def __init__(self, folder: Path, reserve_bytes: int) -> None:
        self._folder = folder
        self._reserve = reserve_bytes

    def left(self, place: Path | int | None = None) -> int:
        """Give the bytes that may be written until only the reserve is free; below 0 when there is less already.

        `place` is a path or a descriptor on another disk than the data folder's.
        """
        state = os.statvfs(self._folder if place is None else place)
        return state.f_bavail * state.f_frsize - self._reserve

    def require(self, needed: int = 0, place: Path | int | None = None) -> int:
        """Go on only while so many bytes would leave the reserve; gives what is left. Raises `Unavailable`."""
        left = self.left(place)
        if left < needed or left < 0:
            which = "of the data folder" if place is None else "of that path"
            raise Unavailable(
                f"the disk {which} has less than the {self._reserve} bytes free that are kept there",
                hint="free space there (`files.delete`, `sandbox.discard`, `result.delete`, `jobs.forget`); "
                "the owner can lower `limits.reserve_bytes`",
            )
        return left
