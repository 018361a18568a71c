"""What of a view is marked, changed or refused when it is to become real: pure judgements about names and modes."""

from __future__ import annotations

import stat

from superagent.runtime.beneath import LONGEST_PATH

# folders of the system that the sandbox shows as they are outside; a link may lead to them by its absolute path
SAME_OUTSIDE = ("/usr",)

SET_BITS = stat.S_ISUID | stat.S_ISGID


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
