"""A walk through blocks of the audit, newest first, until the newest records that fit are known."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import msgspec

from superagent.core.audit import UNREADABLE, parse
from superagent.runtime.audit_block import Block, Found, found_in, lines_of, tenant_of, written
from superagent.runtime.audit_search import LAST_NUMBER, Key, Search

Open = Callable[[str], str | None]
_SEALED = b'"personal":"'
_decode = msgspec.json.Decoder().decode


class Match(NamedTuple):
    """A record that fits; matches sort as pages do, but oldest first."""

    at: float
    number: int
    chain: str
    line: bytes

    @property
    def key(self) -> Key:
        """Give where it stands in the order of pages."""
        return self.at, self.number


class Segments:
    """Read blocks; a segment stays open until the end of the `with`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._stack = ExitStack()
        self._open: dict[tuple[str, int], int | None] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stack.close()

    def read(self, block: Block) -> bytes:
        """Give the lines of a block that stand there still."""
        key = block.chain, block.segment
        if key not in self._open:
            self._open[key] = self._descriptor(self._directory / block.chain / f"{block.segment:020d}.seg")
        descriptor = self._open[key]
        data = os.pread(descriptor, block.length, block.place) if descriptor is not None else b""
        return data[: data.rfind(b"\n") + 1]

    def _descriptor(self, path: Path) -> int | None:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            return None
        self._stack.callback(os.close, descriptor)
        return descriptor


class Walk:
    """The newest so many records below a key that fit a search and hold a text, as far as blocks were read.

    Blocks come with the newest first. `reached` is set when the walk is over: the key down to which everything was
    found, None when there is nothing below.
    """

    def __init__(
        self, search: Search, text: str, open_personal: Open | None, below: Key | None, most: int, patience: int
    ) -> None:
        self.found: list[Match] = []  # newest first
        self.reached: Key | None = None
        self._search = search
        self._needles = search.needles()
        self._text = text.casefold()
        self._wanted = written(text).casefold()  # as it is written in a line
        self._open = open_personal if text else None
        self._opened: dict[bytes, bool] = {}
        self._below = below
        self._most = most
        self._patience = patience

    def through(self, directory: Path, blocks: Iterable[Block]) -> bool:
        """Go through some blocks; gives False when the walk is over."""
        with Segments(directory) as segments:
            for block in blocks:
                if self._is_over(block):
                    return False
                matches = (one for one in self._matches(block, segments.read(block)) if self._is_below(one))
                self.found = sorted([*self.found, *matches], reverse=True)[: self._most]
                self._patience -= block.lines
        return True

    def end(self) -> None:
        """Say that no more blocks come."""
        self.reached = self.found[-1].key if len(self.found) == self._most else None

    def _is_over(self, block: Block) -> bool:
        if len(self.found) == self._most and self.found[-1].at > block.newest:
            self.end()
            return True
        # later, but never without having got on: whoever goes on from where it began would do the same again
        if self._patience <= 0 and (self._below is None or block.newest < self._below[0]):
            self.found = [one for one in self.found if one.at > block.newest]
            self.reached = block.newest, LAST_NUMBER
            return True
        return False

    def _is_below(self, match: Match) -> bool:
        return self._below is None or match.key < self._below

    def _matches(self, block: Block, data: bytes) -> Iterator[Match]:
        for index, line in self._likely(block, data):
            found = found_in(line)
            if found is not None and self._search.fits(found) and self._says(found, line):
                yield Match(found.at, block.number + index, block.chain, line)

    # --- passing by what cannot fit, without understanding it

    def _likely(self, block: Block, data: bytes) -> Iterable[tuple[int, bytes]]:
        """Give the lines that may fit, counted from 0.

        In a block of several tenants that is every line, so that the time it takes tells nobody what others' say.
        """
        if block.shared:
            return lines_of(data)
        if self._wanted and not (self._wanted in _folded(data) or self._opens_to_it(data)):
            return ()
        if not self._needles:
            return lines_of(data)
        first, *others = self._needles
        return (one for one in _with(data, first) if all(other in one[1] for other in others))

    def _says(self, found: Found, line: bytes) -> bool:
        if not self._wanted:
            return True
        return self._wanted in _folded(line[:-66]) or self._is_sealed_in(found.personal.encode())

    def _opens_to_it(self, data: bytes) -> bool:
        if self._open is None:
            return False
        at, sealed = data.find(_SEALED), set[bytes]()
        while at >= 0:
            begin = at + len(_SEALED)
            end = data.find(b'"', begin)
            sealed.add(data[begin:end])
            at = data.find(_SEALED, end)
        return any(self._is_sealed_in(one) for one in sealed)

    def _is_sealed_in(self, sealed: bytes) -> bool:
        """Tell whether the text stands in sealed personal detail; each is opened once in a walk."""
        if self._open is None or not sealed:
            return False
        if sealed not in self._opened:
            opened = self._open(sealed.decode(errors="replace"))
            self._opened[sealed] = self._text in (opened or "").casefold()
        return self._opened[sealed]


def record_in(line: bytes, chain: str) -> dict[str, Any] | None:
    """Give a record with its chain and hash; None when somebody made it unreadable."""
    parsed = parse(line)
    try:
        record: dict[str, Any] | None = _decode(parsed[0]) if parsed else None
        return {"chain": chain, **record, "hash": parsed[1].hex()} if parsed and record else None
    except UNREADABLE:
        return None


def lines_after(block: Block, data: bytes, tenant: str, number: int) -> Iterator[tuple[int, bytes]]:
    """Give the lines of a block that hold a tenant's records behind a number, each with its own."""
    for at, line in lines_of(data):
        if block.number + at > number:
            found = found_in(line)
            if found is not None and tenant_of(found) == tenant:
                yield block.number + at, line


def _folded(data: bytes) -> str:
    return data.decode(errors="replace").casefold()


def _with(data: bytes, needle: bytes) -> Iterator[tuple[int, bytes]]:
    """Give the lines that hold some bytes, counted from 0."""
    index = begin = 0
    while (at := data.find(needle, begin)) >= 0:
        start = data.rfind(b"\n", begin, at) + 1 or begin
        end = data.find(b"\n", at) + 1
        index += data.count(b"\n", begin, start)
        yield index, data[start:end]
        index, begin = index + 1, end
