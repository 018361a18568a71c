"""Neutral texts: what came from outside, so that whoever reads it is not fooled by what it does to the page."""

from __future__ import annotations

import re

# C0 and C1 controls (ECMA-48), which move the cursor or change the terminal; the marks that turn the direction of text
# around (Unicode UAX 9) or separate lines; halves of surrogate pairs, which are bytes that were no text
_ACTS = r"\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff"
ACTS = re.compile(f"[{_ACTS}]")
_LINE = re.compile(f"[{_ACTS}\t\n]")


def neutral(text: str) -> str:
    r"""Give text that came from outside so that it can only be read: whatever acts on a terminal becomes `\x1b`."""
    return ACTS.sub(_shown, text)


def neutral_line(text: str) -> str:
    r"""Do the same for a name: line feeds and tabs become `\n` and `\t` too, so that it cannot pretend to be two."""
    return _LINE.sub(_shown, text)


def _shown(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode("ascii")
