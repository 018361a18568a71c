"""Exact replacement in a text: it must match as often as was said, else nothing is changed."""

from __future__ import annotations

from .places import Differs, Unfit
from .texts import newline_of


def replace(text: str, old: str, new: str, count: int = 1) -> str:
    """Replace each occurrence of `old`; there must be exactly `count`.

    In a file whose lines all end in CRLF, plain newlines in `old` and `new` mean CRLF too.
    Raises `Unfit` when it matches another number of times, saying where.
    """
    if not old:
        raise Unfit("`old` must not be empty", "to create or fill a file use `files.write`")
    if newline_of(text) == "crlf" and "\r" not in old and "\r" not in new:
        old, new = old.replace("\n", "\r\n"), new.replace("\n", "\r\n")
    found = text.count(old)
    if found == count:
        return text.replace(old, new)
    if found == 0:
        raise Differs("`old` does not occur in the file", _nearly(text, old))
    where = ", ".join(str(line) for line in _lines_of(text, old))
    raise Differs(
        f"`old` occurs {found} times, not {count}: it begins in the lines {where}",
        f"give more of what stands around it, or `count: {found}` to replace each",
    )


def _lines_of(text: str, old: str, most: int = 20) -> list[int]:
    lines: list[int] = []
    at = text.find(old)
    while at >= 0 and len(lines) < most:
        lines.append(text.count("\n", 0, at) + 1)
        at = text.find(old, at + len(old))
    return lines


def _nearly(text: str, old: str) -> str:
    """Say what to look at when nothing matches: most often it is white space."""
    wanted = [line.strip() for line in old.strip().splitlines()]
    lines = [line.strip() for line in text.splitlines()]
    for number in range(len(lines) - len(wanted) + 1):
        if wanted and lines[number : number + len(wanted)] == wanted:
            return f"the lines from {number + 1} are the same but for white space: copy them exactly"
    return "read the file and copy the part exactly"
