"""Regular expressions on RE2: time in proportion to the text, whatever the pattern, so none can stop the server."""

from __future__ import annotations

from typing import Any, Protocol, cast

import re2 as _untyped

from .places import Unfit

_re2 = cast(Any, _untyped)  # the library brings no types


class Match(Protocol):
    """Where a pattern was found."""

    def start(self) -> int:
        """Give the first byte."""
        ...


class Regex(Protocol):
    """A compiled pattern over UTF-8 bytes: the library would encode a text anew at each search."""

    def search(self, text: bytes, pos: int = 0) -> Match | None:
        """Find the next occurrence from a byte on."""
        ...

    def fullmatch(self, text: bytes) -> Match | None:
        """Match the whole."""
        ...


def compile_(pattern: str, *, literal: bool = False, ignore_case: bool = False) -> Regex:
    """Compile a pattern; `^` and `$` match at lines. Raises `Unfit` saying what is not understood."""
    options = _re2.Options()
    options.log_errors = False
    options.max_mem = 2 * 1024 * 1024  # the library keeps the last 128 patterns with what they grew
    options.case_sensitive = not ignore_case
    try:
        return _re2.compile("(?m)" + (_re2.escape(pattern) if literal else pattern), options)
    except (_re2.error, UnicodeEncodeError) as error:
        said = error.args[0]
        text = said.decode(errors="replace") if isinstance(said, bytes) else str(said)
        raise Unfit(
            f"the pattern is not understood: {text[:200]}", "RE2 has no backreferences or look-around"
        ) from error


def escape(text: str) -> str:
    """Give a pattern that matches exactly this text."""
    return _re2.escape(text)
