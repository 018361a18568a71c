"""The tail of the audit: read what stands in the segments and was not indexed yet, in blocks."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from superagent.runtime import audit_segment as files
from superagent.runtime.audit_block import Block, Seen, found_in, seen_in

BLOCK_BYTES = 256 * 1024
"""From this length on a block takes no more lines: few enough to read at once, many enough to share one row."""


@dataclass(frozen=True, slots=True)
class Position:
    """How far a chain was read; `ended` when nothing more will come.

    `reached` is the number behind that of its last line in a block, 0 for none. The last `lines` of them, from the byte
    `begin` of this segment on, are in a block that may still grow.
    """

    segment: int = 0
    place: int = 0
    ended: bool = False
    reached: int = 0
    begin: int = 0
    lines: int = 0


@dataclass(frozen=True, slots=True)
class Piece:
    """Fresh lines: the block they are in, whether it was there before, and what each tenant's records say.

    `lines` and `length` of what was seen are counted from the beginning of the block.
    """

    block: Block
    grown: bool
    seen: dict[str, Seen]


@dataclass(slots=True)
class Fresh:
    """What was read: pieces of blocks, the new position of each chain that moved, and whether more is there."""

    pieces: list[Piece] = field(default_factory=list[Piece])
    positions: dict[str, Position] = field(default_factory=dict[str, Position])
    more: bool = False


def read_fresh(directory: Path, positions: Mapping[str, Position], most_bytes: int) -> Fresh:
    """Read about so many bytes of lines behind these positions. Raises `OSError`."""
    last = max(positions, key=lambda chain: positions[chain].reached, default="")
    reading = _Reading(last, positions.get(last, Position()), most_bytes)
    # the chain of the last block first: it grows that block, which it cannot once another chain has begun one
    for chain in sorted(files.chain_names(directory), key=lambda name: name != last):
        start = positions.get(chain, Position())
        if start.ended:
            continue
        if reading.left <= 0:
            break
        end = reading.chain(directory / chain, start)
        if end != start:
            reading.fresh.positions[chain] = end
    reading.fresh.more = reading.left <= 0
    return reading.fresh


class _Reading:
    """Cut lines into blocks, and count them on from the last."""

    def __init__(self, chain: str, last: Position, most_bytes: int) -> None:
        self.fresh = Fresh()
        self.left = most_bytes
        number = last.reached - last.lines if last.reached else 1
        self._last: Block = Block(number, chain, last.segment, last.begin, last.place - last.begin, last.lines)

    def chain(self, folder: Path, start: Position) -> Position:
        """Read on in a chain, as far as may be."""
        ended = not files.has_lock(folder)  # looked at first: what a living process adds later is read later
        segment, place = start.segment, start.place
        for path in files.segment_files(folder):
            first = files.first_of(path)
            if first < start.segment:
                continue
            segment, place = first, place if first == segment else 0
            data, to_the_end = _whole_lines(path, place, self.left)
            self._cut(folder.name, segment, place, data)
            place += len(data)
            self.left = self.left - len(data) if to_the_end else 0
            if self.left <= 0:
                ended = False
                break
        if (segment, place) == (start.segment, start.place):
            return replace(start, ended=ended)
        last = self._last
        reached = last.number + last.lines if last.chain == folder.name else start.reached
        if _goes_on(last, folder.name, segment, place):
            return Position(segment, place, ended, reached, last.place, last.lines)
        return Position(segment, place, ended, reached, begin=place)  # behind a header

    def _cut(self, chain: str, segment: int, place: int, data: bytes) -> None:
        begin = 0
        if not place:  # the header is no record, and takes no number
            first = data.find(b"\n") + 1
            begin = 0 if found_in(data[:first]) else first
        while begin < len(data):
            block = self._last
            grown = _goes_on(block, chain, segment, place + begin) and 0 < block.length < BLOCK_BYTES
            if not grown:
                block = Block(block.number + block.lines, chain, segment, place + begin, 0, 0)
            end = data.find(b"\n", min(begin + BLOCK_BYTES - block.length, len(data)) - 1) + 1
            lines, seen = seen_in(data[begin:end])
            for one in seen.values():
                one.lines += block.lines
                one.length += block.length
            self.fresh.pieces.append(Piece(block, grown, seen))
            self._last = replace(block, length=block.length + end - begin, lines=block.lines + lines)
            begin = end


def _goes_on(block: Block, chain: str, segment: int, place: int) -> bool:
    """Tell whether a block ends at a place."""
    return (block.chain, block.segment, block.place + block.length) == (chain, segment, place)


def _whole_lines(path: Path, place: int, most: int) -> tuple[bytes, bool]:
    """Read about so many bytes of whole lines, and tell whether those are all that stand there.

    Gives at least one line, where there is a whole one.
    """
    with path.open("rb") as file:
        while True:
            data = os.pread(file.fileno(), most, place)
            end = data.rfind(b"\n") + 1
            if end or len(data) < most:
                return data[:end], len(data) < most
            most *= 2
