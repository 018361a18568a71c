"""Traces: the one line of a plugin's error output that its author looks for."""

from __future__ import annotations

import re

_PLACE = re.compile(r'File "([^"\n]*)", line (\d+)')
_THEIRS = "/opt/superagent/plugin/"
"""Where a plugin's folder lies in the sandbox."""
_MOST_BYTES = 65_536
MOST_CHARS = 300


def gist(said: bytes | str) -> str:
    """Give the last line of what was said, and where in the plugin's files it arose; empty where nothing was said."""
    text = said[-_MOST_BYTES:].decode("utf-8", "replace") if isinstance(said, bytes) else said[-_MOST_BYTES:]
    last = next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")
    places = [(path, line) for path, line in _PLACE.findall(text) if path.startswith(_THEIRS)]
    where = f" ({places[-1][0].removeprefix(_THEIRS)}, line {places[-1][1]})" if places else ""
    plain = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in last[:MOST_CHARS])
    return plain + where if last else ""
