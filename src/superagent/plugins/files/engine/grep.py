"""Searching content line by line."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

from . import texts
from .patterns import Regex

MOST_BYTES = 64 * 1024 * 1024
_LONGEST_LINE = 500  # characters; longer ones are cut


@dataclass(frozen=True, slots=True)
class Hit:
    """A line that matches, counted from 1, with the lines around it."""

    line: int
    text: str
    before: list[str]
    after: list[str]


def searchable(fd: int) -> bytes | None:
    """Give an open file's text in UTF-8; None when it is binary or larger than 64 MiB."""
    if os.fstat(fd).st_size > MOST_BYTES:
        return None
    with open(fd, "rb", closefd=False) as file:
        data = file.read(MOST_BYTES)
    head = texts.detect(data[: texts.SAMPLE], len(data) <= texts.SAMPLE)
    if head is None:
        return None
    if head == texts.UTF8:
        return data  # a stray byte further on is no reason not to find what stands around it
    decoded = texts.decode(data)
    return None if decoded is None else decoded[0].encode("utf-8", "replace")


def hits(data: bytes, pattern: Regex, context: int) -> Iterator[Hit]:
    """Give each line in which the pattern occurs, once, with `context` lines above and below."""
    at, line, counted = 0, 1, 0
    while at < len(data) and (found := pattern.search(data, at)) is not None:
        begin = data.rfind(b"\n", 0, found.start()) + 1
        if begin == len(data):
            return  # an empty match behind the last line end: there is no line
        end = data.find(b"\n", found.start())
        end = len(data) if end < 0 else end
        line += data.count(b"\n", counted, begin)
        counted = begin
        yield Hit(line, _shown(data[begin:end]), _above(data, begin, context), _below(data, end, context))
        at = end + 1


def _above(data: bytes, begin: int, count: int) -> list[str]:
    lines: list[str] = []
    while begin > 0 and len(lines) < count:
        start = data.rfind(b"\n", 0, begin - 1) + 1
        lines.append(_shown(data[start : begin - 1]))
        begin = start
    return lines[::-1]


def _below(data: bytes, end: int, count: int) -> list[str]:
    lines: list[str] = []
    while end + 1 < len(data) and len(lines) < count:
        stop = data.find(b"\n", end + 1)
        stop = len(data) if stop < 0 else stop
        lines.append(_shown(data[end + 1 : stop]))
        end = stop
    return lines


def _shown(line: bytes) -> str:
    text = line[: 4 * _LONGEST_LINE].removesuffix(b"\r").decode("utf-8", "replace")
    return text if len(text) <= _LONGEST_LINE and len(line) <= 4 * _LONGEST_LINE else text[:_LONGEST_LINE] + " …"
