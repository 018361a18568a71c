"""Texts of tools made harmless: no terminal escapes, no control characters, nothing that turns text around."""

from __future__ import annotations

import re

# CSI and OSC sequences (ECMA-48), with or without their end, and two-character escapes
_ESCAPES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"
    r"|\x1b[ -/]*[0-~]?"
)
# what is left that a terminal acts on, and the marks that make text look like another (UAX 9)
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u200e\u200f\u061c\ud800-\udfff]")


def plain(text: str, most: int = 0) -> str:
    """Give a text without what a terminal would act on; with `most`, at most so many characters of it.

    Newlines and tabs stay; a carriage return before a newline goes, other control characters become U+FFFD.
    """
    if most and len(text) > 4 * most:
        text = text[: 4 * most]
    text = _CONTROLS.sub("\ufffd", _ESCAPES.sub("", text.replace("\r\n", "\n")))
    return text if not most or len(text) <= most else text[:most] + " …"


def line(text: str, most: int = 500) -> str:
    """Give a text as one line."""
    return " ".join(plain(text, most).split())


def within(path: str, cwd: str, inside: str) -> str | None:
    """Give a path that a tool named, relative to the workspace; None for one that lies outside of it.

    What a tool says is not believed: `..` is resolved as text, and names with control characters are refused.
    """
    path = path.removeprefix("file://")
    if not path or len(path) > 4096 or _CONTROLS.search(path) or "\n" in path or "\t" in path:
        return None
    parts: list[str] = []
    for part in (path if path.startswith("/") else f"{cwd}/{path}").split("/"):
        if part == "..":
            if not parts:
                return None
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    whole = "/" + "/".join(parts)
    if not whole.startswith(inside + "/"):
        return None
    return whole[len(inside) + 1 :]
