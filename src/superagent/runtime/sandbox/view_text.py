"""The text of a difference: a unified diff of two texts, within bounds that hold whatever the command wrote."""

from __future__ import annotations

import hashlib
import os

from superagent.core.line_diff import lines_of, unified
from superagent.runtime.beneath import open_file
from superagent.runtime.os_problems import printable
from superagent.runtime.sandbox.view_diff import Difference
from superagent.runtime.sandbox.view_places import open_beneath
from superagent.runtime.sandbox.view_sides import Side

MOST_BYTES = 256 * 1024  # of one side
MOST_LINES = 2000  # from the first that differs to the last


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
    return unified(before, after, old, new, most_lines=MOST_LINES)


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
        return lines_of(data.decode())
    except UnicodeDecodeError:
        return None
