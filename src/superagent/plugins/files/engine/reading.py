"""Reading a file: as text in its own encoding, by lines or bytes, or as base64 when it is not text."""

from __future__ import annotations

import base64
import codecs
import hashlib
import io
import os
import re
from dataclasses import dataclass

from . import texts
from .places import Tick, Unfit, never

HASHED_BYTES = 64 * 1024 * 1024
_CHUNK = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Content:
    """What was read; lines count from 1, None where bytes were given; `sha256` is of the whole file, unless huge."""

    content: str
    encoding: str
    newline: str | None
    size: int
    truncated: bool
    first_line: int | None
    last_line: int | None
    sha256: str | None


def read(
    fd: int, *, encoding: str = "auto", lines: str | None = None, bytes_: str | None = None, max_bytes: int = 262_144
) -> Content:
    """Read an open file.

    `encoding` is `auto`, `bytes` for base64, or a name; `lines` like `10-20` from 1, `bytes_` like `0-99` from 0, both
    with their last included and an open end allowed. At most `max_bytes` bytes of the file are given; `truncated` says
    that more would have belonged to the answer.
    """
    if lines is not None and bytes_ is not None:
        raise Unfit("give `lines` or `range`, not both")
    size = os.fstat(fd).st_size
    if encoding == "bytes":
        if lines is not None:
            raise Unfit("lines can be counted in text only", "give `range` with the encoding `bytes`")
        return _as_bytes(fd, size, bytes_, max_bytes)
    sample = os.pread(fd, texts.SAMPLE, 0)
    if encoding == "auto":
        chosen = texts.detect(sample, len(sample) >= size)
    else:
        chosen = texts.named(encoding)
        chosen = next((one for one in (texts.detect(sample, False),) if one and one.name == chosen.name), chosen)
    if chosen is None:
        if lines is not None:
            raise Unfit("this file is not text, so it has no lines", "read it with the encoding `bytes`")
        return _as_bytes(fd, size, bytes_, max_bytes)
    try:
        if bytes_ is not None:
            return _as_part(fd, size, bytes_, max_bytes, chosen)
        return _as_lines(fd, size, lines, max_bytes, chosen)
    except UnicodeDecodeError as error:
        if encoding == "auto" and lines is None:
            return _as_bytes(fd, size, bytes_, max_bytes)
        raise Unfit(f"this file is not text in `{chosen.name}`", "read it with `auto` or `bytes`") from error


def span(text: str, what: str, first: int) -> tuple[int, int | None]:
    """Read `7`, `7-9` or `7-`; the last is included, None for an open end."""
    found = re.fullmatch(r"(\d{1,15})(?:(-)(\d{1,15})?)?", text)
    if found is None:
        raise Unfit(f"`{what}` must look like `{first}-10`, `7` or `7-`")
    begin = int(found[1])
    end = int(found[3]) if found[3] else None if found[2] else begin
    if begin < first or (end is not None and end < begin):
        raise Unfit(f"`{what}` must begin at {first} or later and not end before it begins")
    return begin, end


def sha256_of(fd: int, tick: Tick = never) -> str:
    """Give the SHA-256 in hex of a whole open file."""
    state = hashlib.sha256()
    offset = 0
    while chunk := os.pread(fd, _CHUNK, offset):
        tick()
        state.update(chunk)
        offset += len(chunk)
    return state.hexdigest()


def _as_bytes(fd: int, size: int, bytes_: str | None, max_bytes: int) -> Content:
    data, cut = _slice(fd, size, bytes_, max_bytes)
    return Content(base64.b64encode(data).decode(), "base64", None, size, cut, None, None, _hash(fd, size))


def _as_part(fd: int, size: int, bytes_: str, max_bytes: int, chosen: texts.Encoding) -> Content:
    data, cut = _slice(fd, size, bytes_, max_bytes)
    if chosen.name == "utf-8":
        data = data.lstrip(bytes(range(0x80, 0xC0)))  # the rest of a character before
    text = codecs.getincrementaldecoder(chosen.name)().decode(data.removeprefix(chosen.mark), False)
    return Content(text, chosen.name, texts.newline_of(text), size, cut, None, None, _hash(fd, size))


def _as_lines(fd: int, size: int, lines: str | None, max_bytes: int, chosen: texts.Encoding) -> Content:
    begin, end = span(lines, "lines", 1) if lines is not None else (1, None)
    os.lseek(fd, len(chosen.mark), os.SEEK_SET)
    taken: list[str] = []
    left = max_bytes
    number, cut, at_start = 1, False, True
    with io.TextIOWrapper(io.FileIO(fd, closefd=False), encoding=chosen.name, newline="") as file:
        while end is None or number <= end:
            piece = file.readline(_CHUNK)  # a line without an end must not fill the memory
            if not piece:
                break
            if number >= begin:
                weight = len(piece.encode(chosen.name))
                if weight > left:
                    cut = True
                    if not taken and at_start:
                        taken.append(piece.encode(chosen.name)[:left].decode(chosen.name, "ignore"))
                    break
                taken.append(piece)
                left -= weight
            at_start = piece.endswith(("\n", "\r"))
            number += at_start
    text = "".join(taken)
    last = begin + max(len(text.splitlines()) - 1, 0)
    return Content(text, chosen.name, texts.newline_of(text), size, cut, begin, last, _hash(fd, size))


def _slice(fd: int, size: int, bytes_: str | None, max_bytes: int) -> tuple[bytes, bool]:
    begin, end = span(bytes_, "range", 0) if bytes_ is not None else (0, None)
    stop = size if end is None else min(end + 1, size)
    wanted = max(stop - begin, 0)
    return os.pread(fd, min(wanted, max_bytes), begin), wanted > max_bytes


def _hash(fd: int, size: int) -> str | None:
    return sha256_of(fd) if size <= HASHED_BYTES else None
