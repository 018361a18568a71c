"""Record texts: what most reads leave in the audit, as JSON put together from parts that are made once.

A record as a struct and its encoding cost more than the read of a trivial operation. Between two calls of one
principal only six values differ, so the long way is gone once with marks in their places, and its text is cut at the
marks. A test compares both ways.
"""

from __future__ import annotations

from hashlib import sha256

from msgspec.structs import replace

from superagent.core.audit import AuditRecord, encode
from superagent.core.invocation import Outcome, Status, Ticket
from superagent.core.operation import Operation
from superagent.core.policy import Decision
from superagent.core.principal import Principal

MOST_KEPT = 4096
_RECORD = b'%b"at":%a%b"invocation":"%b"%b"input_digest":"%b"%b"output_digest":"%b"%b"seconds":%a%b"bytes":%d%b'
_AT, _SECONDS, _BYTES = -7.125, -8.125, -9
_MARKED = {
    "at": _AT,
    "invocation": "I",
    "input_digest": "D",
    "output_digest": "O",
    "seconds": _SECONDS,
    "bytes": _BYTES,
}
# a quote inside a text is escaped, so none of these can stand in one
_MARKS = (
    b'"at":-7.125', b'"invocation":"I"', b'"input_digest":"D"', b'"output_digest":"O"', b'"seconds":-8.125',
    b'"bytes":-9',
)  # fmt: skip


class Parts:
    """The text of one sort of record around the values that differ, and the digest of the output that came last."""

    __slots__ = ("around", "decision", "digest", "output")

    def __init__(self, decision: Decision, around: tuple[bytes, ...]) -> None:
        self.decision = decision
        self.around = around
        self.output = self.digest = b""

    def text(self, ticket: Ticket, at: float, outcome: Outcome) -> bytes:
        """Give the record of a plain call."""
        output, around = outcome.output, self.around
        if output != self.output:  # reads mostly give what they gave before, and comparing is cheaper than hashing
            self.output, self.digest = output, sha256(output).hexdigest().encode()
        return _RECORD % (
            around[0],
            at,
            around[1],
            ticket.invocation.id.encode(),
            around[2],
            ticket.input_digest.encode(),
            around[3],
            self.digest,
            around[4],
            int(outcome.seconds * 1e6) / 1e6,
            around[5],
            len(output),
            around[6],
        )


def is_plain(ticket: Ticket, outcome: Outcome) -> bool:
    """Tell whether a call's record has nothing but what every record has."""
    invocation = ticket.invocation
    call = invocation.call
    return (
        outcome.status is Status.DONE
        and not (ticket.resources or ticket.operation.effect)
        and not (outcome.effects or outcome.extra)
        and bool(outcome.output)
        and outcome.seconds >= 1e-6
        and not (call.reason or call.session or call.isolation)
        and not (invocation.parent or invocation.batch or invocation.trace)
    )


class RecordTexts:
    """The parts of plain records, by who calls what through which door."""

    def __init__(self) -> None:
        self._parts: dict[tuple[Principal, Operation, str], Parts] = {}

    def find(self, ticket: Ticket) -> Parts | None:
        """Give the parts for such a call when they were made before, under the same decision."""
        invocation = ticket.invocation
        known = self._parts.get((invocation.principal, ticket.operation, invocation.channel))
        return known if known is not None and known.decision is ticket.decision else None

    def learn(self, ticket: Ticket, record: AuditRecord) -> None:
        """Make the parts out of a record that was made the long way."""
        rest, parts = encode(replace(record, **_MARKED)), list[bytes]()
        for mark in _MARKS:
            before, found, rest = rest.partition(mark)
            if not found:
                return
            parts.append(before)
        invocation = ticket.invocation
        if len(self._parts) >= MOST_KEPT:
            self._parts.clear()
        key = (invocation.principal, ticket.operation, invocation.channel)
        self._parts[key] = Parts(ticket.decision, (*parts, rest))
