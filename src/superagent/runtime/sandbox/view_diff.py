"""What a command did in a view, path by path, as the difference to the real folder as it stands now.

Both sides are walked together by descriptors. What the command may have touched is known from the view alone; what it
amounts to is found by comparing, so a file that was rewritten with the same bytes is no difference.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

from superagent.core.problems import Conflict, TooLarge
from superagent.core.steering import steers
from superagent.runtime.beneath import LONGEST_PATH, look
from superagent.runtime.os_problems import os_errors_about, printable
from superagent.runtime.sandbox.view import View
from superagent.runtime.sandbox.view_layers import CopyLayer, Folder, Layer, OverlayLayer
from superagent.runtime.sandbox.view_origin import REMOVED, Origin, Stamp, stamp_of
from superagent.runtime.sandbox.view_places import open_sides
from superagent.runtime.sandbox.view_rules import real_mode, refusal
from superagent.runtime.sandbox.view_sides import Bounds, Budget, Side, Tick
from superagent.runtime.tree_walk import Cursor

Kind = Literal["created", "modified", "deleted", "replaced", "mode", "symlink", "directory"]

CHANGED_SINCE = "it was changed in the workspace since the view was made"
GONE_SINCE = "it may have been removed from the workspace since the view was made"
MOUNTED = "another filesystem is mounted there"


@dataclass(frozen=True, slots=True)
class Difference:
    """One path that the command left otherwise than it stands in the real folder.

    `path` is relative, bytes that are not UTF-8 as lone surrogates. `kind` is `directory` and `symlink` for new ones
    (and a link that leads elsewhere now), `mode` when only mode or attributes differ, `replaced` when another kind of
    thing stands there. `conflict` says what speaks against accepting it, `refused` why it never can be, `notes` what
    would be left away; `steers` means that it is accepted only by its name. `stamp` is of what stands in the real
    folder.
    """

    path: str
    kind: Kind
    before: Side
    after: Side
    conflict: str = ""
    refused: str = ""
    notes: tuple[str, ...] = ()
    steers: bool = False
    stamp: Stamp | None = None

    @property
    def folder(self) -> bool:
        """Tell whether it is a folder, and nothing else stood or will stand in its place."""
        return {self.before.kind, self.after.kind} <= {"absent", "directory"}


@dataclass(frozen=True, slots=True)
class Diff:
    """All differences, parents before what they hold; `digest` (SHA-256) is equal for equal differences."""

    differences: tuple[Difference, ...]
    digest: str


def read_diff(view: View, origin: Origin, bounds: Bounds | None = None, tick: Tick = lambda: None) -> Diff:
    """Compare a view with the real folder; blocks.

    Raises `TooLarge` beyond the bounds, `Conflict` when the real folder is another one or the view was tampered with.
    """
    budget = Budget(bounds or Bounds(), tick)
    layer = CopyLayer(budget, origin) if origin.marks is not None else OverlayLayer(budget)
    with os_errors_about(view.lower), open_sides(view) as (view_fd, lower_fd):
        found = tuple(_walked(view_fd, lower_fd, layer, origin, budget))
    return Diff(found, _digest(found))


def _walked(view_fd: int, lower_fd: int, layer: Layer, origin: Origin, budget: Budget) -> Iterator[Difference]:
    with Cursor(os.dup(view_fd)) as ours, Cursor(os.dup(lower_fd)) as theirs:
        yield from _Walk(ours, theirs, layer, origin, budget).differences(view_fd)


@dataclass(slots=True)
class _Level:
    """A folder in which the walk stands: in the view, in the real folder, or in both."""

    path: str
    names: Iterator[str]
    ours: Folder | None  # None: gone from the view
    theirs: os.stat_result | None  # None: nothing real there


@dataclass(slots=True)
class _Walk:
    view: Cursor
    lower: Cursor
    layer: Layer
    origin: Origin
    budget: Budget
    levels: list[_Level] = field(default_factory=list[_Level])
    accepted: dict[str, list[str]] = field(default_factory=dict[str, list[str]])

    def __post_init__(self) -> None:
        for path, stamp in self.origin.accepted.items():
            folder, _, name = path.rpartition("/")
            if name and stamp != REMOVED:
                self.accepted.setdefault(folder, []).append(name)

    def differences(self, view_fd: int) -> Iterator[Difference]:
        """Give each difference, parents first."""
        top = self._ours("", view_fd, ".", over=True)
        yield from self._of_top(view_fd)
        self.levels.append(_Level("", iter(self._names("", top)), top, os.fstat(self.lower.fd)))
        while self.levels:
            level = self.levels[-1]
            name = next(level.names, None)
            if name is None:
                self._leave(self.levels.pop())
            else:
                yield from self._visit(level, name)

    def _of_top(self, view_fd: int) -> Iterator[Difference]:
        ours, theirs = os.fstat(view_fd), os.fstat(self.lower.fd)
        if stat.S_IMODE(ours.st_mode) != stat.S_IMODE(theirs.st_mode):
            before, after = (Side("directory", stat.S_IMODE(one.st_mode)) for one in (theirs, ours))
            yield Difference(".", "mode", before, after, refused="the workspace's own folder stays as it is")

    def _leave(self, level: _Level) -> None:
        if self.levels:
            if level.ours is not None:
                self.view.up()
            if level.theirs is not None:
                self.lower.up()

    def _visit(self, level: _Level, name: str) -> Iterator[Difference]:
        path = f"{level.path}/{name}" if level.path else name
        if len(os.fsencode(path)) >= LONGEST_PATH:
            raise TooLarge(f"a path in the view is longer than {LONGEST_PATH} bytes", hint="discard the view")
        found = "gone" if level.ours is None else level.ours.entry(self.view.fd, name)
        if found == "untouched":
            return
        ours = None if found == "gone" else found
        theirs = None if level.theirs is None else look(self.lower.fd, name)
        after, before = self.budget.side(self.view.fd, name, ours), self.budget.side(self.lower.fd, name, theirs)
        if ours is not None and before.kind == after.kind == "directory" and self.layer.mode_kept(path, ours):
            after = replace(after, mode=before.mode)
        if theirs is not None and theirs.st_dev != self.origin.device:
            # the view shows what lies under the mount; whatever was done there, none of it can be taken over
            yield replace(_difference(path, before, after, MOUNTED, ours, theirs), kind="replaced")
            return
        if not before.same(after):
            known = self.origin.seen.get(path) == before.told()
            conflict = "" if known else self._conflict(level, name, path, theirs, after)
            yield _difference(path, before, after, conflict, ours, theirs)
        self._enter(path, name, in_view=after.kind == "directory", in_lower=before.kind == "directory")

    def _conflict(self, level: _Level, name: str, path: str, theirs: os.stat_result | None, after: Side) -> str:
        if theirs is not None:
            mark = self.origin.mark(level.path, name)
            if after.kind == "directory" and mark is not None and mark.mode == theirs.st_mode:
                return ""  # its names may have changed, its mode has not
            return CHANGED_SINCE if self.origin.touched(path, theirs) else ""
        # nothing is there: was there, and somebody removed it? a renamed file bears the overlay's mark as well, so that
        # alone does not tell; where nobody touched the folder, nothing was removed from it
        if level.ours is None or level.theirs is None or self.origin.accepted.get(path) == REMOVED:
            return ""
        if not level.ours.had(self.view.fd, name):
            return ""
        return GONE_SINCE if self.origin.marks is not None or self.origin.touched(level.path, level.theirs) else ""

    def _enter(self, path: str, name: str, *, in_view: bool, in_lower: bool) -> None:
        """Go on in what is a folder on one side or on both."""
        if not in_view and not in_lower:
            return
        dir_fd = os.dup(self.view.fd)
        try:
            if in_lower:
                self.lower.down(name)
            if in_view:
                self._down(path, name)
            ours = self._ours(path, dir_fd, name, over=in_lower) if in_view else None
        finally:
            os.close(dir_fd)
        names = self._names(path, ours) if ours is not None else self.budget.names(self.lower.fd)
        self.levels.append(_Level(path, iter(names), ours, os.fstat(self.lower.fd) if in_lower else None))

    def _names(self, path: str, ours: Folder) -> list[str]:
        """Give what to look at in a folder; what was accepted lies in the view, so if it does not, it was removed."""
        accepted = self.accepted.get(path)
        return sorted({*ours.names, *accepted}) if accepted else ours.names

    def _down(self, path: str, name: str) -> None:
        try:
            self.view.down(name)
        except PermissionError as error:
            raise Conflict(
                f"`{printable(path)}` in the view is closed to this server by its mode",
                hint="have the command open it to its owner again, or discard the view",
            ) from error

    def _ours(self, path: str, dir_fd: int, name: str, *, over: bool) -> Folder:
        return self.layer.folder(self.view.fd, path, dir_fd, name, self.lower.fd if over else None)


def _difference(
    path: str,
    before: Side,
    after: Side,
    conflict: str,
    ours: os.stat_result | None,
    theirs: os.stat_result | None,
) -> Difference:
    notes: list[str] = []
    if real_mode(after.kind, after.mode, before.mode if before.kind == after.kind else None) != after.mode:
        notes.append("the right to run as its owner or group is left away")
    if ours is not None and after.kind == "file" and ours.st_nlink > 1 and before.digest != after.digest:
        notes.append("a hard link becomes a file of its own")
    found = Difference(
        path,
        _kind(before, after),
        before,
        after,
        conflict,
        refusal(path, after.kind, after.target) or after.unread,
        tuple(notes),
        stamp=stamp_of(theirs) if theirs is not None else None,
    )
    return replace(found, steers=steers(path, folder=found.folder))


def _kind(before: Side, after: Side) -> Kind:
    if after.kind == "absent":
        return "deleted"
    if before.kind == "absent":
        return "directory" if after.kind == "directory" else "symlink" if after.kind == "link" else "created"
    if before.kind != after.kind:
        return "replaced"
    if after.kind == "link":
        return "symlink"
    return "mode" if before.digest == after.digest else "modified"


def _digest(found: tuple[Difference, ...]) -> str:
    state = hashlib.sha256()
    for one in found:
        # `ensure_ascii` writes names that are not UTF-8 as well
        line = json.dumps([one.path, one.kind, one.before.told(), one.after.told()], separators=(",", ":"))
        state.update(line.encode() + b"\n")
    return state.hexdigest()
