"""The text of a difference: a unified diff of two texts, within bounds that hold whatever the command wrote."""

from __future__ import annotations

import difflib
import hashlib
import os
import re

from superagent.runtime.beneath import open_file
from superagent.runtime.os_problems import printable
from superagent.runtime.sandbox.view_diff import Difference
from superagent.runtime.sandbox.view_places import open_beneath
from superagent.runtime.sandbox.view_sides import Side

MOST_BYTES = 256 * 1024  # of one side
MOST_LINES = 2000  # of what is compared: that takes time that grows faster than they do
_CONTEXT = 3
_HUNK = re.compile(r"@@ -(\d+)(,\d+)? \+(\d+)(,\d+)? @@")
_LINE = re.compile(r"[^\n]*\n|[^\n]+")  # `splitlines` ends lines at characters at which no other program does


def text_of(one: Difference, view_fd: int, lower_fd: int) -> str:
    """Give the unified diff of a file; empty where a side is no text, or is not there any more as it was read.

    A link's target is shown like a file of one line.
    """
    before, after = _lines(one.before, lower_fd, one.path), _lines(one.after, view_fd, one.path)
    if before is None or after is None or before == after:
        return ""
    name = printable(one.path)
    old = f"a/{name}" if one.before.kind != "absent" else "/dev/null"
    new = f"b/{name}" if one.after.kind != "absent" else "/dev/null"
    same = _alike(before, after)
    tail = _alike(before[same:][::-1], after[same:][::-1])
    skip = max(same - _CONTEXT, 0)
    end = max(tail - _CONTEXT, 0)
    before, after = before[skip : len(before) - end], after[skip : len(after) - end]
    if len(before) > MOST_LINES or len(after) > MOST_LINES:
        return f"--- {old}\n+++ {new}\nmore than {MOST_LINES} lines differ, too many to show\n"
    shown = difflib.unified_diff(before, after, old, new, n=_CONTEXT)
    return "".join(_ended(_moved(line, skip)) for line in shown)


def _moved(line: str, by: int) -> str:
    """Give a hunk the numbers of the whole file: lines in front that are the same were not compared."""
    found = _HUNK.match(line)
    if not found:
        return line
    # an empty side is numbered by the line before it
    return f"@@ -{int(found[1]) + by}{found[2] or ''} +{int(found[3]) + by}{found[4] or ''} @@\n"


def _ended(line: str) -> str:
    return line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"


def _alike(one: list[str], other: list[str]) -> int:
    """Count the lines at the beginning that are the same."""
    count = 0
    for mine, yours in zip(one, other, strict=False):
        if mine != yours:
            break
        count += 1
    return count


def _lines(side: Side, top_fd: int, path: str) -> list[str] | None:
    if side.kind == "absent":
        return []
    if side.kind == "link":
        return [printable(side.target)]
    if side.kind != "file" or side.size > MOST_BYTES:
        return None
    try:
        folder = open_beneath(top_fd, path.rpartition("/")[0])
        try:
            fd = open_file(folder, path.rpartition("/")[2])
        finally:
            os.close(folder)
    except OSError:
        return None
    with open(fd, "rb") as file:
        data = file.read(MOST_BYTES)
    if b"\0" in data or hashlib.sha256(data).hexdigest() != side.digest:
        return None
    try:
        return _LINE.findall(data.decode())
    except UnicodeDecodeError:
        return None
