"""Choosing entries: by name, pattern, kind, size and age. Patterns run on RE2, so none can take forever."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from .listing import kind
from .patterns import compile_, escape
from .places import Entry, Unfit

_UNITS = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3, "t": 1024**4}
_AGES = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def glob(pattern: str) -> Callable[[str], bool]:
    """Compile a glob over relative paths: `*` and `?` within a name, `[a-z]`, `{a,b}`, `**` over any number of folders.

    Raises `Unfit` for a pattern that is not closed or too large.
    """
    try:
        compiled = compile_(_regex(pattern))
    except Unfit as error:
        raise Unfit(f"`{pattern[:80]}` is no glob pattern", "use `*`, `?`, `[abc]`, `{a,b}` and `**`") from error
    return lambda path: compiled.fullmatch(os.fsencode(path)) is not None


def depth_of(pattern: str) -> int | None:
    """Tell how deep a glob can match at most; None for any depth."""
    return None if "**" in pattern else pattern.count("/") + 1


@dataclass(frozen=True, slots=True)
class Range:
    """Numbers from `low` to `high`, both included; None for no bound."""

    low: float | None
    high: float | None

    def holds(self, number: float) -> bool:
        """Say whether a number lies in it."""
        return (self.low is None or number >= self.low) and (self.high is None or number <= self.high)


def size_range(text: str) -> Range:
    """Read `>10k`, `<1M`, `10k..2M` or `0`: bytes, with the units k, M, G and T of 1,024."""

    def number(part: str) -> float:
        found = re.fullmatch(r"(\d{1,15})\s*([kmgt]?)b?", part.strip().lower())
        if found is None:
            raise Unfit(f"`size` does not take `{text[:40]}`", "write `>10k`, `<1M`, `10k..2M` or `0`")
        return int(found[1]) * _UNITS[found[2]]

    return _range(text, number)


def time_range(text: str, now: float) -> Range:
    """Read `<2d` (changed within two days), `>1w`, `1d..2d`, or moments such as `>2026-01-31`.

    Gives epoch seconds. An age counts back from `now`; a moment without an offset is UTC.
    """
    if re.search(r"\d{4}-", text):
        return _range(text, _moment)

    def age(part: str) -> float:
        found = re.fullmatch(r"(\d{1,9})\s*([smhdw])", part.strip().lower())
        if found is None:
            raise Unfit(f"`mtime` does not take `{text[:40]}`", "write `<2d`, `>1w`, `1d..2d` or `>2026-01-31`")
        return int(found[1]) * _AGES[found[2]]

    ages = _range(text, age)
    return Range(
        None if ages.high is None else now - ages.high,
        None if ages.low is None else now - ages.low,
    )


def chosen(
    entry: Entry, *, name: Callable[[str], bool] | None, type_: str | None, size: Range | None, mtime: Range | None
) -> bool:
    """Say whether an entry has all that was asked for; None asks for nothing."""
    return (
        (name is None or name(entry.name))
        and (type_ is None or kind(entry.stat) == type_)
        and (size is None or size.holds(entry.stat.st_size))
        and (mtime is None or mtime.holds(entry.stat.st_mtime))
    )


def _range(text: str, number: Callable[[str], float]) -> Range:
    low, dots, high = text.partition("..")
    if dots:
        return Range(number(low) if low.strip() else None, number(high) if high.strip() else None)
    if text.startswith(">"):
        return Range(number(text[1:].removeprefix("=")), None)
    if text.startswith("<"):
        return Range(None, number(text[1:].removeprefix("=")))
    return Range(number(text), number(text))


def _moment(part: str) -> float:
    try:
        moment = datetime.fromisoformat(part.strip())
    except ValueError as error:
        raise Unfit(f"`mtime` does not take `{part[:40]}`", "write a moment as `2026-01-31` or with a time") from error
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _regex(pattern: str) -> str:
    out: list[str] = []
    at, braces = 0, 0
    while at < len(pattern):
        char = pattern[at]
        if pattern.startswith("**/", at) and (at == 0 or pattern[at - 1] == "/"):
            out.append("(?:.*/)?")
            at += 3
            continue
        if pattern.startswith("**", at):
            out.append(".*")
            at += 2
            continue
        if char == "[" and (end := pattern.find("]", at + 2)) > 0:
            inside = pattern[at + 1 : end].replace("\\", "\\\\").replace("[", "\\[")
            out.append("[" + ("^/" + inside[1:] if inside[0] in "!^" else inside) + "]")
            at = end + 1
            continue
        if char == "{":
            braces += 1
        elif char == "}":
            braces -= 1
        special = {"*": "[^/]*", "?": "[^/]", "{": "(?:", "}": ")", ",": "|" if braces > 0 else ","}
        out.append(special.get(char) or escape(char))
        at += 1
    return "(?s)" + "".join(out)
