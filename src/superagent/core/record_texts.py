"""Record texts: what most reads leave in the audit, as JSON put together from parts that are made once.

A record as a struct and its encoding cost more than the read of a trivial operation. Between two calls of one
principal only six values differ, so the long way is gone once with marks in their places, and these are where the next
ones' values go. A test compares both ways.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256

import msgspec
from msgspec.structs import replace

from superagent.core.audit import AuditRecord, encode
from superagent.core.invocation import DONE, Outcome, Ticket
from superagent.core.operation import Operation
from superagent.core.policy import Decision
from superagent.core.principal import Principal
from superagent.core.resources import Resource

MOST_KEPT = 4096
_AT, _SECONDS, _BYTES = -7.125, -8.125, -9
_MARKED = {
    "at": _AT,
    "invocation": "I",
    "input_digest": "D",
    "output_digest": "O",
    "seconds": _SECONDS,
    "bytes": _BYTES,
    "parent": "",  # stands right behind the invocation: the batch of a call is written with that
}
# (what stands in the text for the value, what comes right before it); a quote inside a text is escaped, so none of
# these can stand in one
_MARKS = (
    (b'"at":-7.125', b'"at":'),
    (b'"invocation":"I', b'"invocation":"'),
    (b'"input_digest":"D', b'"input_digest":"'),
    (b'"output_digest":"O', b'"output_digest":"'),
    (b'"seconds":-8.125', b'"seconds":'),
    (b'"bytes":-9', b'"bytes":'),
)
_number = msgspec.json.Encoder().encode


class Parts:
    """The text of one sort of record around the values that differ, and what the output that came last adds to it."""

    __slots__ = ("decision", "digest", "length", "output", "text")

    def __init__(self, decision: Decision, text: bytes) -> None:
        self.decision = decision
        self.text = text  # with `%b` for each value
        self.output = self.digest = self.length = b""

    def look_at(self, output: bytes) -> None:
        """Take the digest of another output."""
        self.output, self.length = output, b"%d" % len(output)
        self.digest = sha256(output).hexdigest().encode()


class RecordTexts:
    """Texts of plain records, by who calls what through which door; `long_way` makes a record as a struct."""

    def __init__(self, long_way: Callable[[Ticket, float, Outcome], AuditRecord]) -> None:
        self._long_way = long_way
        self._parts: dict[tuple[Principal, Operation, str, tuple[Resource, ...]], Parts] = {}

    def text(self, ticket: Ticket, at: float, outcome: Outcome) -> bytes | None:
        """Give the record of a call that only read, and touched nothing or may be answered so again, as text.

        None when it says more than most, and the first time: then its parts are made.
        """
        invocation, operation, resources = ticket.invocation, ticket.operation, ticket.resources
        call, output, named, seconds = invocation.call, outcome.output, outcome.digest, outcome.seconds
        if (
            outcome.status is not DONE
            or not output
            or operation.effect
            or (resources and not named)
            or outcome.effects
            or outcome.reached
            or outcome.extra
            or seconds < 1e-6
            or call.reason
            or call.session
            or call.isolation
            or invocation.parent
            or invocation.trace
        ):
            return None
        parts = self._parts.get((invocation.principal, operation, invocation.channel, resources))
        if parts is None or parts.decision is not ticket.decision:
            self._learn(ticket, self._long_way(ticket, at, outcome))
            return None
        if named:  # known already, and too long to be kept here as well
            digest, length = named.encode(), b"%d" % len(output)
        else:
            if output != parts.output:  # reads mostly give what they gave before, and comparing is cheaper than hashing
                parts.look_at(output)
            digest, length = parts.digest, parts.length
        id, batch = invocation.id, invocation.batch
        return parts.text % (
            _number(at),
            (f'{id}","parent":"{batch}' if batch else id).encode(),
            ticket.input_digest.encode(),
            digest,
            _number(int(seconds * 1e6) / 1e6),
            length,
        )

    def _learn(self, ticket: Ticket, record: AuditRecord) -> None:
        """Make the parts out of a record that was made the long way."""
        rest, parts = encode(replace(record, **_MARKED)), list[bytes]()
        for mark, name in _MARKS:
            before, found, rest = rest.partition(mark)
            if not found:
                return
            parts += (before.replace(b"%", b"%%"), name, b"%b")
        invocation = ticket.invocation
        if len(self._parts) >= MOST_KEPT:
            self._parts.clear()
        key = (invocation.principal, ticket.operation, invocation.channel, ticket.resources)
        self._parts[key] = Parts(ticket.decision, b"".join((*parts, rest.replace(b"%", b"%%"))))
