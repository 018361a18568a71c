"""What of a view is marked, changed or refused when it is to become real: pure judgements about names and modes."""

from __future__ import annotations

import stat
import tomllib
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path

from superagent.runtime.beneath import LONGEST_PATH

_DATA = tomllib.loads((Path(__file__).parent / "view_protected.toml").read_text("utf-8"))
PROTECTED: tuple[tuple[str, ...], ...] = tuple(tuple(one.split("/")) for one in _DATA["paths"])
HARMLESS: tuple[tuple[str, ...], ...] = tuple(tuple(one.split("/")) for one in _DATA["harmless"])
_FIRST = frozenset(one[0] for one in PROTECTED)
SAME_OUTSIDE: tuple[str, ...] = tuple(_DATA["same_outside"])

SET_BITS = stat.S_ISUID | stat.S_ISGID


def is_protected(path: str, kind: str = "file") -> bool:
    """Tell whether a path (relative to the workspace) makes other programs run what it says.

    A file or link named `.git` counts as well: it leads git to a configuration elsewhere.
    """
    # to a filesystem that folds case, `.GIT/Hooks` is the same place
    parts = path.lower().split("/")
    if _FIRST.isdisjoint(parts):  # nearly always
        return False
    if parts[-1] == ".git" and kind != "directory":
        return True
    return _within(parts, PROTECTED) and not _within(parts, HARMLESS)


def _within(parts: list[str], patterns: Iterable[tuple[str, ...]]) -> bool:
    return any(_begins(parts[at:], pattern) for pattern in patterns for at in range(len(parts)))


def _begins(parts: list[str], pattern: tuple[str, ...]) -> bool:
    """Tell whether a path is what a pattern names, or lies beneath it."""
    if not pattern:
        return True
    if pattern[0] == "**":
        return any(_begins(parts[at:], pattern[1:]) for at in range(len(parts)))
    return bool(parts) and fnmatchcase(parts[0], pattern[0]) and _begins(parts[1:], pattern[1:])


def leads_out(path: str, target: str) -> bool:
    """Tell whether a link at a path (relative to the workspace) could lead out of it.

    Only `..` at the beginning can be judged by its text: after another link's name it means that one's real parent.
    """
    if target.startswith("/"):
        plain = "//" not in target and not any(part in (".", "..") for part in target.split("/"))
        return not (plain and any(target == one or target.startswith(f"{one}/") for one in SAME_OUTSIDE))
    ups = 0
    inner = [part for part in target.split("/") if part not in ("", ".")]
    while ups < len(inner) and inner[ups] == "..":
        ups += 1
    return ".." in inner[ups:] or ups > path.count("/")


def refusal(path: str, kind: str, target: str) -> str:
    """Say why what stands at a path of the view can never become real; empty when it can."""
    if kind in ("socket", "device"):
        return f"a {kind} stays in the view"
    if kind == "link" and leads_out(path, target):
        return "the link could lead out of the workspace"
    return ""


def nameable(path: str) -> bool:
    """Tell whether policy and records can name a path: it is UTF-8 text and not too long."""
    try:
        return len(path.encode()) < LONGEST_PATH
    except UnicodeEncodeError:
        return False


def real_mode(kind: str, mode: int, before: int | None) -> int:
    """Give the mode with which something becomes real: a program never gets the right to run as somebody else.

    A folder keeps the group bit that stood there (`before`): it only says who owns what is made in it.
    """
    kept = (before or 0) & stat.S_ISGID if kind == "directory" else 0
    return (mode & ~SET_BITS) | (mode & kept)
