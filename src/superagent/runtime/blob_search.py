"""Search in a large file: block by block, in time that grows with its size and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import re2 as _untyped

from superagent.core.problems import InvalidInput

re2: Any = _untyped  # it comes without types
_BLOCK = 1024 * 1024
_OVERLAP = 64 * 1024  # a match may be this long and still be found where two blocks meet
_AROUND = 200


@dataclass(frozen=True, slots=True)
class Hit:
    """One match: its line (from 1, counted from where the search began), its byte offset, and the text around it.

    The text is the rest of the line, at most 200 bytes before and 200 after the match's beginning.
    """

    line: int
    offset: int
    text: str


def search(path: Path, pattern: str, limit: int, offset: int = 0) -> list[Hit]:
    """Find a pattern in a file from an offset on, at most `limit` times; `^` and `$` mean lines.

    Raises `InvalidInput` for a pattern that is none.
    """
    try:
        sought: Any = re2.compile(b"(?m)" + pattern.encode(), _options())
    except re2.error as fault:
        raise InvalidInput(f"this is not a pattern of RE2: {_said(fault)}") from fault
    hits: list[Hit] = []
    line = 1
    with open(path, "rb") as file:
        file.seek(offset)
        block, first = file.read(_BLOCK + _OVERLAP), 0
        while len(block) > first:
            end = min(len(block), _BLOCK + first)
            counted = first
            for found in sought.finditer(block, first):
                if found.start() >= end or len(hits) == limit:
                    break
                line += block.count(b"\n", counted, found.start())
                counted = found.start()
                hits.append(Hit(line, offset + found.start() - first, _line_around(block, found.start())))
            if len(hits) == limit:
                break
            line += block.count(b"\n", counted, end)
            offset += end - first
            # the byte before stays, so that the pattern sees whether a line begins here
            block, first = block[end - 1 :] + file.read(_BLOCK), 1
    return hits


def _line_around(block: bytes, at: int) -> str:
    first = max(block.rfind(b"\n", 0, at) + 1, at - _AROUND)
    last = block.find(b"\n", at, at + _AROUND)
    return block[first : last if last >= 0 else at + _AROUND].decode("utf-8", "replace")


def _options() -> Any:
    options: Any = re2.Options()
    options.max_mem = 2 * 1024 * 1024  # the library keeps the last 128 patterns with what they grew
    options.log_errors = False  # the caller is told; RE2 would write to stderr as well
    return options


def _said(fault: Exception) -> str:
    said: object = fault.args[0]
    return said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
