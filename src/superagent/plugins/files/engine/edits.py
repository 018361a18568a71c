"""Exact replacement in a text: it must match as often as was said, else nothing is changed."""

from __future__ import annotations

from .places import Differs, TooMuch, Unfit
from .texts import newline_of


def replace(text: str, old: str, new: str, count: int, most: int) -> str:
    """Replace each occurrence of `old`; there must be exactly `count`, and the text may become `most` characters long.

    In a file whose lines all end in CRLF, plain newlines in `old` and `new` mean CRLF too.
    Raises `Unfit` when it matches another number of times, saying where, and `TooMuch` when it would become longer.
    """
    if not old:
        raise Unfit("`old` must not be empty", "to create or fill a file use `files.write`")
    if newline_of(text) == "crlf" and "\r" not in old and "\r" not in new:
        old, new = old.replace("\n", "\r\n"), new.replace("\n", "\r\n")
    found = text.count(old)
    if found == count:
        size = len(text) + count * (len(new) - len(old))
        if size > most:  # before anything is made of that size
            raise TooMuch(f"the text would have {size} characters, more than {most}", "replace less at once")
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
    wanted = "\n".join(line.strip() for line in old.strip().splitlines())
    lines = "\n".join(line.strip() for line in text.splitlines())
    # between line ends on both sides; `str.find` is linear (two-way matching in CPython)
    at = f"\n{lines}\n".find(f"\n{wanted}\n") if wanted else -1
    if at >= 0:
        number = lines.count("\n", 0, at) + 1
        return f"the lines from {number} are the same but for white space: copy them exactly"
    return "read the file and copy the part exactly"
