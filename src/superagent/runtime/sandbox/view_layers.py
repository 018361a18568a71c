"""How the two kinds of view say what became of a name: an overlay's upper folder by marks, a copy by comparing.

An upper folder (kernel documentation, overlayfs) holds what was written. A character device 0/0, or in a folder marked
`x` an empty file with an attribute, says that the name is gone; a folder marked opaque hides all that lies below it.
Folders are never redirected and files never without their content here: such marks come from somewhere else.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import Literal, Protocol

from superagent.core.problems import Conflict
from superagent.runtime.beneath import look
from superagent.runtime.file_state import attributes_of
from superagent.runtime.os_problems import printable
from superagent.runtime.sandbox.view_origin import Mark, Origin
from superagent.runtime.sandbox.view_sides import Budget

_OPAQUE, _ORIGIN, _WHITEOUT = "user.overlay.opaque", "user.overlay.origin", "user.overlay.whiteout"
_FOREIGN = ("user.overlay.redirect", "user.overlay.metacopy")
_YES, _X = "eQ==", "eA=="  # `y` and `x` in base64, as `attributes_of` gives them

Entry = os.stat_result | Literal["gone", "untouched"]


class Folder(Protocol):
    """One folder of a view; `fd` is where it stands open at the moment."""

    names: list[str]

    def entry(self, fd: int, name: str) -> Entry:
        """Say what became of a name."""
        ...

    def had(self, fd: int, name: str) -> bool:
        """Tell whether the real folder held this name when the view was made, as far as the view can know."""
        ...


class Layer(Protocol):
    """One kind of view."""

    def folder(self, fd: int, path: str, dir_fd: int, name: str, lower_fd: int | None) -> Folder:
        """Read an open folder that lies at `name` in `dir_fd`; `lower_fd` is the real one it lies over."""
        ...

    def mode_kept(self, path: str, info: os.stat_result) -> bool:
        """Tell whether the mode of a folder is surely not of the command's doing."""
        ...


@dataclass(slots=True)
class OverlayLayer:
    """Read an upper folder."""

    budget: Budget

    def folder(self, fd: int, path: str, dir_fd: int, name: str, lower_fd: int | None) -> Folder:
        """Read an open folder; where it is opaque, the names below it are read as well."""
        marks = attributes_of(dir_fd, name)
        _require_own(marks, path)
        names = self.budget.names(fd)
        if lower_fd is not None and marks.get(_OPAQUE) == _YES:
            names = sorted({*names, *self.budget.names(lower_fd)})
        return _UpperFolder(path, names, marks.get(_OPAQUE) == _X)

    def mode_kept(self, path: str, info: os.stat_result) -> bool:
        """Tell nothing: the overlay copies a mode when it first writes in a folder."""
        return False


@dataclass(slots=True)
class _UpperFolder:
    path: str
    names: list[str]
    by_attribute: bool

    def entry(self, fd: int, name: str) -> Entry:
        info = look(fd, name)
        if info is None or (stat.S_ISCHR(info.st_mode) and info.st_rdev == 0):
            return "gone"
        if stat.S_ISREG(info.st_mode):
            marks = attributes_of(fd, name)
            _require_own(marks, f"{self.path}/{name}")
            if self.by_attribute and not info.st_size and _WHITEOUT in marks:
                return "gone"
        return info

    def had(self, fd: int, name: str) -> bool:
        return _ORIGIN in attributes_of(fd, name)


def _require_own(marks: dict[str, str], path: str) -> None:
    """Go on only with marks that this kind of overlay makes."""
    if any(one in marks for one in _FOREIGN):
        raise Conflict(
            f"`{printable(path.lstrip('/')) or '.'}` of the view leads elsewhere, which no command in it can have made",
            hint="discard the view",
        )


@dataclass(slots=True)
class CopyLayer:
    """Compare a copy with what was noted of it when it was made."""

    budget: Budget
    origin: Origin

    def folder(self, fd: int, path: str, dir_fd: int, name: str, lower_fd: int | None) -> Folder:
        """Read an open folder, and what it held at first."""
        marks = (self.origin.marks or {}).get(path, {})
        return _CopiedFolder(sorted({*self.budget.names(fd), *marks}), marks)

    def mode_kept(self, path: str, info: os.stat_result) -> bool:
        """Tell whether the mode of a folder is the one it was copied with."""
        parent, _, name = path.rpartition("/")
        mark = self.origin.mark(parent, name)
        return mark is not None and mark.mode == info.st_mode


@dataclass(slots=True)
class _CopiedFolder:
    names: list[str]
    marks: dict[str, Mark]

    def entry(self, fd: int, name: str) -> Entry:
        info, mark = look(fd, name), self.marks.get(name)
        if info is None:
            return "untouched" if mark is not None and not mark.mode else "gone"
        same = mark is not None and (mark.inode, mark.ctime_ns) == (info.st_ino, info.st_ctime_ns)
        return "untouched" if same and not stat.S_ISDIR(info.st_mode) else info

    def had(self, fd: int, name: str) -> bool:
        return name in self.marks
