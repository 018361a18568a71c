"""JUnit XML, the report that most runners of tests can write, read piece by piece.

The report comes from code that may be hostile: documents with a declared type are refused, so there are no entities to
expand or fetch; depth, texts and attributes are cut. Expat itself fetches nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal
from xml.parsers import expat

MOST_DEPTH = 64
MOST_TEXT = 16_384
MOST_TAG = 4 * 1024 * 1024
_KINDS: dict[str, Literal["failed", "error", "skipped"]] = {
    "failure": "failed",
    "error": "error",
    "skipped": "skipped",
}


@dataclass(slots=True)
class Raw:
    """One test as a runner said it."""

    name: str
    status: Literal["passed", "failed", "error", "skipped"]
    file: str = ""
    line: int | None = None
    seconds: float | None = None
    message: str = ""


def read(text: str) -> Iterator[Raw]:
    """Give the tests of a report, suites within suites. Raises `ValueError` for what is no plain XML."""
    reader = _Reader()
    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = _refuse
    parser.EntityDeclHandler = _refuse
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.text
    data = text.encode("utf-8", "replace")
    try:
        for at in range(0, len(data), 65_536):  # in pieces, so that others have their turn in between
            parser.Parse(data[at : at + 65_536], False)
            yield from reader.taken()
            if at - parser.CurrentByteIndex > MOST_TAG:  # of a tag all attributes are kept until it ends
                raise ValueError("it has a tag without an end")
        parser.Parse(b"", True)
    except expat.ExpatError as bad:
        raise ValueError(f"it is no XML: {bad}") from None
    yield from reader.taken()


def _refuse(*_: object) -> None:
    raise ValueError("it declares a document type or entities")


class _Reader:
    """What is known while elements come and go."""

    def __init__(self) -> None:
        self._done: list[Raw] = []
        self._case: Raw | None = None
        self._inside = ""
        self._files: list[str] = []
        self._depth = 0

    def taken(self) -> list[Raw]:
        """Give the tests that have ended since."""
        found, self._done = self._done, []
        return found

    def start(self, tag: str, given: dict[str, str]) -> None:
        """Note where an element begins."""
        self._depth += 1
        if self._depth > MOST_DEPTH:
            raise ValueError("its elements lie too deep")
        if tag == "testsuite":
            self._files.append(given.get("file", "") or given.get("filepath", ""))
        elif tag == "testcase":
            outer = given.get("classname", "")[:500]
            name = given.get("name", "")[:500]
            self._case = Raw(f"{outer}::{name}" if outer and not name.startswith(outer) else name, "passed")
            self._case.file = given.get("file", "") or next((one for one in reversed(self._files) if one), "")
            self._case.line = _line(given.get("line", ""))
            self._case.seconds = _seconds(given.get("time", ""))
        elif tag in _KINDS and self._case is not None:
            if self._case.status != "error":
                self._case.status = _KINDS[tag]
            self._inside = tag
            self._add(given.get("message", ""))

    def end(self, tag: str) -> None:
        """Note where it ends."""
        self._depth -= 1
        if tag == "testsuite":
            self._files.pop()
        elif tag == "testcase" and self._case is not None:
            self._done.append(self._case)
            self._case = None
        elif tag == self._inside:
            self._inside = ""

    def text(self, data: str) -> None:
        """Take a piece of text."""
        if self._inside and self._case is not None:
            self._add(data)

    def _add(self, text: str) -> None:
        case = self._case
        if case is not None and text and len(case.message) < MOST_TEXT:
            case.message += text[:MOST_TEXT] + ("\n" if not case.message else "")


def _line(text: str) -> int | None:
    # pytest counts from 0, in an attribute that the format does not know; others write none
    return int(text) + 1 if text.isdecimal() and text.isascii() and len(text) < 10 else None


def _seconds(text: str) -> float | None:
    try:
        return float(text[:30].replace(",", ""))
    except ValueError:
        return None
