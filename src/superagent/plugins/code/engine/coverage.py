"""Coverage, as the tools of each language report it: percent of all lines, and of each file of the workspace."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import re2 as _untyped

from .clean import within
from .findings import Unreadable, parsed, rows

re2: Any = _untyped  # it comes without types

MOST_FILES = 5000
_GO = re2.compile(r"coverage: ([0-9.]{1,8})% of statements")


@dataclass(frozen=True, slots=True)
class Covered:
    """How many percent of the lines ran: of all that was measured, and of each file."""

    percent: float
    files: tuple[tuple[str, float], ...] = ()


def read(form: str, text: str, cwd: str, inside: str) -> Covered | None:
    """Read it from what a tool wrote; None where it says nothing of it. Raises `Unreadable`."""
    try:
        if form == "junit":
            return _coverage_py(parsed(text), cwd, inside) if text.strip() else None
        return _node(text, cwd, inside) if form == "node" else _go(text)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as bad:
        raise Unreadable(f"it is not the report of coverage that was asked for ({type(bad).__name__})") from None


def _coverage_py(found: dict[str, Any], cwd: str, inside: str) -> Covered:
    files: list[tuple[str, float]] = []
    for name, one in list(found["files"].items())[:MOST_FILES]:
        place = within(str(name), cwd, inside)
        if place is not None:
            files.append((place, _percent(one["summary"]["percent_covered"])))
    return Covered(_percent(found["totals"]["percent_covered"]), tuple(sorted(files)))


def _node(text: str, cwd: str, inside: str) -> Covered | None:
    told = [row for row in rows(text) if row.startswith('{"percent":')]
    if not told:
        return None
    found = parsed(told[-1])
    files: list[tuple[str, float]] = []
    for name, percent in found["files"][:MOST_FILES]:
        place = within(str(name), cwd, inside)
        if place is not None:
            files.append((place, _percent(percent)))
    return Covered(_percent(found["percent"]), tuple(sorted(files)))


def _go(text: str) -> Covered | None:
    """Give the mean over packages: what go says of each is all that it says."""
    found = [float(one.group(1)) for one in _GO.finditer(text)]
    return Covered(_percent(sum(found) / len(found))) if found else None


def _percent(value: Any) -> float:
    number = float(value)
    if not 0 <= number <= 100:
        raise ValueError("no percentage")
    return round(number, 2)
