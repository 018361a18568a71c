"""Blocks of the audit index: what a search can know of many lines without reading them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from io import BytesIO

import msgspec

from superagent.core.audit import UNREADABLE

ON_TIME_S = 5.0
"""A record at most so far from the time in its invocation's id is found by that time."""

_TAIL = 66  # a tab, 64 hex digits and the line feed
_LETTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_ULID = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}", re.ASCII)
_MOST_MS = (1 << 48) - 1


class Found(msgspec.Struct, frozen=True, gc=False):
    """What of a record can be searched for."""

    kind: str
    at: float
    invocation: str = ""
    tenant: str = ""
    who: str = ""
    chain_of: tuple[str, ...] = ()
    operation: str = ""
    resources: tuple[tuple[str, str], ...] = ()
    personal: str = ""

    @property
    def human(self) -> str:
        """Give for whom it was done in the end."""
        return self.chain_of[-1] if self.chain_of else self.who


@dataclass(frozen=True, slots=True)
class Block:
    """Contiguous lines of one segment, as one tenant sees them.

    `number` is that of the first line; `place` is the byte at which it begins, `length` that many bytes; `segment` is
    the first number of its file. `records` are the tenant's, `oldest` and `newest` their times.
    """

    number: int
    chain: str
    segment: int
    place: int
    length: int
    lines: int
    records: int = 0
    oldest: float = 0.0
    newest: float = 0.0

    @property
    def shared(self) -> bool:
        """Tell whether other tenants' records stand in it, too."""
        return self.records < self.lines


@dataclass(slots=True)
class Seen:
    """What one tenant's records among some lines say; `lines` and `length` reach to the end of the last of them."""

    lines: int = 0
    length: int = 0
    records: int = 0
    oldest: float = 0.0
    newest: float = 0.0
    actors: set[str] = field(default_factory=set[str])
    operations: set[str] = field(default_factory=set[str])
    resources: set[str] = field(default_factory=set[str])
    strays: set[str] = field(default_factory=set[str])


_decode = msgspec.json.Decoder(Found).decode


def found_in(line: bytes) -> Found | None:
    """Give what can be searched for; None for headers and for lines that somebody made unreadable."""
    try:
        found = _decode(line[:-_TAIL])
    except UNREADABLE:
        return None
    return found if found.kind != "segment" else None


def tenant_of(found: Found) -> str:
    """Give to whom a record belongs; what belongs to nobody is the installation's."""
    return found.tenant[:64] or "system"


def lines_of(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Give whole lines, counted from 0."""
    return enumerate(BytesIO(data))


def seen_in(data: bytes) -> tuple[int, dict[str, Seen]]:
    """Give the number of lines, and what each tenant's records among them say."""
    count, end = 0, 0
    tenants: dict[str, tuple[Seen, list[Found]]] = {}
    for line in BytesIO(data):
        count += 1
        end += len(line)
        found = found_in(line)
        if found is not None:
            tenant = tenant_of(found)
            seen, records = tenants.get(tenant) or tenants.setdefault(tenant, (Seen(), []))
            records.append(found)
            seen.lines = count
            seen.length = end
    for seen, records in tenants.values():
        _summarise(seen, records)
    return count, {tenant: seen for tenant, (seen, _) in tenants.items()}


def _summarise(seen: Seen, records: list[Found]) -> None:
    times = [one.at for one in records]
    seen.records, seen.oldest, seen.newest = len(records), min(times), max(times)
    seen.actors = {one.who for one in records} | {one.chain_of[-1] for one in records if one.chain_of}
    seen.operations = {one.operation for one in records}
    seen.resources = {name for one in records if one.resources for name, _ in one.resources}
    first, last = _time_letters(seen.oldest - ON_TIME_S), _time_letters(seen.newest + ON_TIME_S) + "~"
    invocations = (one.invocation for one in records)
    seen.strays = {id[:64] for id in invocations if not first <= id <= last and id}


def time_in(invocation: str) -> float | None:
    """Give the epoch seconds that a ULID begins with; None for a text that is none (https://github.com/ulid/spec)."""
    if not _ULID.fullmatch(invocation):
        return None
    number = 0
    for letter in invocation[:10]:
        number = number << 5 | _LETTERS.index(letter)
    return number / 1000


def _time_letters(at: float) -> str:
    number = int(max(0.0, min(at * 1000, _MOST_MS)))
    return "".join(_LETTERS[number >> shift & 31] for shift in range(45, -5, -5))


# --- names in a row: each as it is written in a line (so without a line feed), with a line feed before and after


def written(text: str) -> str:
    """Give a text as it stands between the quotes of a JSON string."""
    return msgspec.json.encode(text)[1:-1].decode()


def joined(names: Iterable[str]) -> str:
    """Give the text that holds these names."""
    return "\n".join(("", *sorted(map(written, names)), ""))


def merged(text: str, more: str) -> str:
    """Give the text that holds the names of both."""
    return "\n".join(("", *sorted({*text.split("\n")[1:-1], *more.split("\n")[1:-1]}), ""))
