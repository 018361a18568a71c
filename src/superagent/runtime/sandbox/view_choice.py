"""Which differences are to become real, and in which steps: a pure choice over what was read of a view.

A step is one place that is put there, removed or given another mode as a whole, and kept for undo as one. So a folder
of ten thousand new files is one step, and a file changed in an old folder is one.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from superagent.core.problems import Conflict, Fault, InvalidInput, TooLarge
from superagent.core.resources import Effect
from superagent.core.steering import steers
from superagent.runtime.os_problems import printable
from superagent.runtime.sandbox.view_diff import Diff, Difference
from superagent.runtime.sandbox.view_rules import nameable

MOST_STEPS = 900  # an undo looks at a thousand kept entries at once
_MOST_TOLD = 20

STEERS = "it makes other programs run what it says, or steers agents: it is accepted only when it is named"
HOLDS_MORE = "it holds something that stays"
LIES_IN = "it lies in something that stays"
NOT_NAMEABLE = "its name is not UTF-8 text, or too long, so no grant can name it"


@dataclass(frozen=True, slots=True)
class Step:
    """One place; `parts` are the place itself and all it takes along, parents first."""

    does: Literal["put", "remove", "mode"]
    effect: Effect
    parts: tuple[Difference, ...]

    @property
    def path(self) -> str:
        """Give the place, relative to the workspace."""
        return self.parts[0].path


@dataclass(frozen=True, slots=True)
class Choice:
    """The steps, and what stays in the view, with the reason."""

    steps: tuple[Step, ...]
    left_out: tuple[tuple[Difference, str], ...]


def choose(diff: Diff, paths: Sequence[str] | None = None) -> Choice:
    """Choose all that may be accepted without being named, or what lies at and beneath these relative paths.

    Folders that a chosen path needs come along. Raises `InvalidInput` for a path that holds no difference, `Conflict`
    when something chosen was changed since, or when a path names what can never be accepted, `TooLarge`.
    """
    left_out: dict[str, str] = {}
    wanted = _all(diff.differences, left_out) if paths is None or "." in paths else _named(diff, paths, left_out)
    _with_parents(diff, wanted)
    _without_half_folders(diff, wanted, left_out, frozenset(paths or ()))
    chosen = [one for one in diff.differences if one.path in wanted]
    conflicts = [Fault(printable(one.path), one.conflict) for one in chosen if one.conflict]
    if conflicts:
        raise Conflict(
            f"`{conflicts[0].path}`: {conflicts[0].message}; nothing was accepted",
            hint="accept other paths by name, or discard the view and run the command again",
            errors=conflicts[:_MOST_TOLD],
        )
    steps = [one for one in _steps(chosen) if _can_be_named(one, left_out)]
    if len(steps) > MOST_STEPS:
        raise TooLarge(
            f"this changes {len(steps)} places, more than the {MOST_STEPS} that are accepted at once",
            hint="accept in several calls, each with a part of the paths",
        )
    return Choice(tuple(steps), tuple((one, left_out[one.path]) for one in diff.differences if one.path in left_out))


def _all(differences: Iterable[Difference], left_out: dict[str, str]) -> set[str]:
    stays = ""  # a folder that steers, would have been replaced, or have replaced something: what it holds stays too
    wanted: set[str] = set()
    for one in differences:
        if one.refused or one.steers:
            left_out[one.path] = one.refused or STEERS
        elif stays and one.path.startswith(stays):
            left_out[one.path] = LIES_IN
        else:
            wanted.add(one.path)
        replaced = one.kind == "replaced" and "directory" in (one.before.kind, one.after.kind)
        if one.path not in wanted and (replaced or (one.steers and one.folder)):
            stays = f"{one.path}/"
    return wanted


def _named(diff: Diff, paths: Sequence[str], left_out: dict[str, str]) -> set[str]:
    wanted: set[str] = set()
    ordered = [one for one in diff.differences if one.path != "."]
    keys = [one.path.split("/") for one in ordered]  # in this order: what a folder holds stands behind it
    for path in paths:
        key = path.split("/")
        begin = end = bisect_left(keys, key)
        while end < len(keys) and keys[end][: len(key)] == key:
            end += 1
        matched = ordered[begin:end]
        if not matched:
            raise InvalidInput(
                f"nothing differs at `{printable(path)}`", hint="name paths as `sandbox.diff` shows them"
            )
        if matched[0].path == path and matched[0].refused:
            raise Conflict(f"`{printable(path)}` cannot be accepted: {matched[0].refused}", hint="leave it out")
        whole = steers(path, folder=True)
        unmarked = [replace(one, steers=False) if whole or one.path == path else one for one in matched]
        wanted |= _all(unmarked, left_out)
    for path in wanted:
        left_out.pop(path, None)  # named elsewhere in the list
    return wanted


def _with_parents(diff: Diff, wanted: set[str]) -> None:
    """Add the new folders in which something chosen lies."""
    fresh = {one.path for one in diff.differences if one.after.kind == "directory" and one.before.kind != "directory"}
    for path in list(wanted):
        while path := path.rpartition("/")[0]:
            if path in fresh:
                wanted.add(path)


def _without_half_folders(diff: Diff, wanted: set[str], left_out: dict[str, str], named: frozenset[str]) -> None:
    """Leave a folder standing of which a part is to stay."""
    staying: set[str] = set()
    for one in reversed(diff.differences):  # what a folder holds comes before it
        goes = one.before.kind == "directory" and one.after.kind != "directory"
        if goes and one.path in staying and one.path in wanted:
            if one.path in named:
                raise Conflict(
                    f"`{printable(one.path)}` cannot be accepted: {HOLDS_MORE}",
                    hint="name that as well, or leave it out",
                )
            wanted.discard(one.path)
            left_out[one.path] = HOLDS_MORE
        if one.before.kind != "absent" and one.path not in wanted:
            staying.add(one.path.rpartition("/")[0])
    for path in wanted:
        left_out.pop(path, None)


def _steps(chosen: list[Difference]) -> list[Step]:
    steps: list[list[Difference]] = []
    cover = ""
    for one in chosen:
        if cover and one.path.startswith(cover):
            steps[-1].append(one)
            continue
        steps.append([one])
        whole = one.before.kind != one.after.kind and "directory" in (one.before.kind, one.after.kind)
        cover = f"{one.path}/" if whole else ""
    return [_step(tuple(parts)) for parts in steps]


def _step(parts: tuple[Difference, ...]) -> Step:
    top = parts[0]
    if top.after.kind == "absent":
        return Step("remove", Effect.DESTROY, parts)
    if top.kind == "mode":
        return Step("mode", Effect.CHANGE, parts)
    goes = top.before.kind == "directory" and top.after.kind != "directory"
    return Step("put", Effect.DESTROY if goes else Effect.CHANGE, parts)


def _can_be_named(step: Step, left_out: dict[str, str]) -> bool:
    if nameable(step.path):
        return True
    left_out.update({one.path: NOT_NAMEABLE for one in step.parts})
    return False
