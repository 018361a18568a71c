"""One chain of lines: follow the hashes, compare them with what was signed, and say where they break."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any, cast

from superagent_verifier.checkpoints import Claim
from superagent_verifier.entries import Entry
from superagent_verifier.report import Report

_LINE = re.compile(rb'(\{"seq":([1-9][0-9]{0,18}),.*\})\t([0-9a-f]{64})\n', re.DOTALL)
_LONGEST = 1 << 20  # a record has 64 KiB at most, and some headroom
_MOST_MISSING = 100_000  # numbers that are kept one by one
_FORMAT = 1


class Chain:
    """Read the segments of one chain in order. `signed` is how far its newest checkpoint reaches.

    After a fault it goes on from what stands there, so that each fault is told once and the later ones are found too.
    """

    def __init__(self, report: Report, name: str, claims: list[Claim], signed: int) -> None:
        self._report = report
        self._name = name
        self._claims = list(reversed(claims))
        self._signed = signed
        self._next = 1  # the number of the line that is due
        self._heads: set[bytes] | None = {bytes(32)}  # what it may go on from; None: anything
        self._missing: dict[int, str] = {}  # numbers passed over, with the segment in which that was seen
        self._gaps: list[tuple[int, int, str]] = []  # too many to list one by one: first, last, segment
        self._agreed = 0
        self._rewritten = False
        self._over = False
        self._file = ""
        report.chains += 1

    def read(self, entry: Entry) -> None:
        """Read one segment."""
        if entry.bytes is None or self._over:
            return
        self._file = entry.name
        first = True
        while line := entry.bytes.readline(_LONGEST):
            part = line
            while len(part) == _LONGEST and not part.endswith(b"\n"):
                part = entry.bytes.readline(_LONGEST)
            if not self._line(line, first=first, may_be_torn=entry.goes_on and self._next > self._signed):
                self._over = True
                return
            first = False

    def end(self, *, goes_on: bool) -> None:
        """Say that its last segment was read."""
        for first, last, file in (*_runs(self._missing), *self._gaps):
            self._fault("removed", first, f"{_lines(first, last)} missing", file)
        last = self._next - 1
        if last < self._signed:
            what = f"{_lines(last + 1, self._signed)} missing at the end"
            self._fault("truncated", last + 1, what)
        elif last > self._signed and goes_on and (self._signed or last == 1):
            self._report.unsigned += last - self._signed
        elif last > self._signed:
            self._fault("unsigned", self._signed + 1, f"no checkpoint speaks of {_lines(self._signed + 1, last, '')}")

    def _line(self, line: bytes, *, first: bool, may_be_torn: bool) -> bool:
        """Take one line; gives False when it is the unfinished end of a chain that goes on."""
        said = _parsed(line)
        if said is None:
            if may_be_torn:
                return False
            self._fault("changed", self._next, "the line cannot be read")
            self._next, self._heads = self._next + 1, None
            return True
        text, number, digest, record = said
        if may_be_torn and (number != self._next or not self._follows(text, digest)):
            return False
        self._report.lines += 1
        if first:
            self._header(record, number)
        elif record.get("kind") == "segment":
            self._fault("foreign", number, "a header stands in the middle of a segment")
        if record.get("kind") != "segment":
            self._report.records += 1
            self._when(record)
        if number < self._next:
            self._stray(number, digest)
        else:
            self._due(text, number, digest)
        return True

    def _stray(self, number: int, digest: bytes) -> None:
        before = self._next - 1
        if self._missing.pop(number, None) is not None:
            self._fault("moved", number, f"line {number} stands behind line {before}")
        else:
            self._fault("inserted", number, f"a second line {number} stands behind line {before}")
            if number == before and self._heads is not None:
                self._heads.add(digest)  # either of the two may be the right one

    def _due(self, text: bytes, number: int, digest: bytes) -> None:
        if number > self._next:
            self._pass_over(number - 1)
            self._heads = {digest}
        elif self._follows(text, digest):
            self._heads = {digest}
        else:
            self._fault("changed", number, f"line {number} is not what was written, or the line before it is not")
            # its text was changed or its hash was: the next line fits to one of the two
            heads = self._heads or set[bytes]()
            self._heads = {digest, *(hashlib.sha256(head + text).digest() for head in heads)}
        self._next = number + 1
        while self._claims and self._claims[-1].size <= number:
            self._compare(self._claims.pop(), number)

    def _compare(self, claim: Claim, number: int) -> None:
        if claim.size < number or self._rewritten:
            return
        if self._heads is None or claim.hash in self._heads:
            self._agreed = number
            return
        self._rewritten = True
        what = f"{_lines(self._agreed + 1, number)} not what checkpoint {claim.checkpoint} signed"
        self._fault("rewritten", self._agreed + 1, what)

    def _pass_over(self, last: int) -> None:
        if last - self._next + len(self._missing) < _MOST_MISSING:
            self._missing |= dict.fromkeys(range(self._next, last + 1), self._file)
        else:
            self._gaps.append((self._next, last, self._file))

    def _follows(self, text: bytes, digest: bytes) -> bool:
        return self._heads is None or any(hashlib.sha256(head + text).digest() == digest for head in self._heads)

    def _header(self, record: dict[str, Any], number: int) -> None:
        if record.get("kind") != "segment" or record.get("format") != _FORMAT:
            self._fault("foreign", number, f"the segment does not begin with a header of format {_FORMAT}")
        elif record.get("chain") != self._name:
            self._fault("foreign", number, f"the segment was written for the chain {str(record.get('chain'))[:200]}")
        elif self._file != f"{number:020d}.seg":
            self._fault("foreign", number, "the segment has the name of another")
        elif number == self._next and not self._goes_on_from(record.get("prev")):
            self._fault("foreign", number, "the segment does not go on where the one before it ended")

    def _goes_on_from(self, prev: object) -> bool:
        return self._heads is None or prev in {head.hex() for head in self._heads}

    def _when(self, record: dict[str, Any]) -> None:
        at = record.get("at")
        if isinstance(at, int | float) and not isinstance(at, bool):
            report = self._report
            report.first_at = at if report.first_at is None else min(at, report.first_at)
            report.last_at = at if report.last_at is None else max(at, report.last_at)

    def _fault(self, kind: str, line: int, what: str, file: str | None = None) -> None:
        self._report.fault(kind, what, chain=self._name, file=self._file if file is None else file, line=line)


def _parsed(line: bytes) -> tuple[bytes, int, bytes, dict[str, Any]] | None:
    """Give text, number, hash and record of a line; None when it has not the shape of one."""
    found = _LINE.fullmatch(line)
    if found is None or b"\n" in found[1] or b"\t" in found[1]:
        return None
    try:
        record: object = json.loads(found[1])
    except (ValueError, RecursionError):
        return None
    if not isinstance(record, dict):
        return None
    return found[1], int(found[2]), bytes.fromhex(found[3].decode()), cast("dict[str, Any]", record)


def _runs(missing: dict[int, str]) -> list[tuple[int, int, str]]:
    """Give numbers that follow each other as one: first, last and segment."""
    runs: list[tuple[int, int, str]] = []
    for number, file in sorted(missing.items()):
        if runs and runs[-1][1] == number - 1:
            runs[-1] = (runs[-1][0], number, runs[-1][2])
        else:
            runs.append((number, number, file))
    return runs


def _lines(first: int, last: int, verb: str = " are") -> str:
    if first == last:
        return f"line {first}{verb and ' is'}"
    return f"lines {first} to {last}{verb}"
