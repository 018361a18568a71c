"""Record texts: what most reads leave in the audit, as JSON put together from parts that are made once.

A record as a struct and its encoding cost more than the read of a trivial operation. Between two calls of one
principal only six values differ, so the long way is gone once with marks in their places, and these are where the next
ones' values go. A test compares both ways.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256

import msgspec
from msgspec.structs import replace

from superagent.core.audit import AuditRecord, encode
from superagent.core.invocation import DONE, Invocation, Outcome, Ticket
from superagent.core.operation import Operation
from superagent.core.policy import Decision
from superagent.core.principal import Principal
from superagent.core.resources import Resource

MOST_KEPT = 4096
LONGEST_KEPT = 16 * 1024
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


def spent(seconds: float) -> float:
    """Give how long a call took in whole microseconds: one at the least, and none for what was not done."""
    return (int(seconds * 1e6) or 1) / 1e6 if seconds else 0.0


def is_plain(outcome: Outcome) -> bool:
    """Tell whether there is nothing to record of what came of a call but its output."""
    return bool(
        outcome.status is DONE
        and outcome.output
        and outcome.seconds
        and not (outcome.effects or outcome.reached or outcome.extra or outcome.isolation)
    )


class Parts:
    """The text of one sort of record around the values that differ.

    What differs rarely (what was asked, what was answered) is joined to what stands around it when it does.
    """

    __slots__ = ("_asked", "_begin", "_between", "_end", "_middle", "_named", "_output", "_texts", "decision")

    def __init__(self, decision: Decision, texts: Sequence[bytes]) -> None:
        self.decision = decision
        self._begin, self._between, *self._texts = texts  # before, between and behind the six values
        self._asked = self._named = ""
        self._output, self._middle, self._end = b"", b"", b""

    def text(self, at: float, invocation: Invocation, asked: str, outcome: Outcome) -> bytes:
        """Give the record of a call; `asked` is the digest of its input."""
        named, id, batch = outcome.digest, invocation.id, invocation.batch
        # reads mostly give what they gave before, and comparing is cheaper than hashing
        if asked != self._asked or (named != self._named if named else outcome.output != self._output):
            self._look_at(asked, outcome)
        return b"".join(
            (
                self._begin,
                _number(at),
                self._between,
                (f'{id}","parent":"{batch}' if batch else id).encode(),
                self._middle,
                _number(spent(outcome.seconds)),
                self._end,
            )
        )

    def _look_at(self, asked: str, outcome: Outcome) -> None:
        """Take in another input, or another output."""
        named, output = outcome.digest, outcome.output
        self._asked, self._named = asked, named
        self._output = b"" if named or len(output) > LONGEST_KEPT else output
        before, between, behind, timed, end = self._texts
        digest = named or sha256(output).hexdigest()
        self._middle = b"".join((before, asked.encode(), between, digest.encode(), behind))
        self._end = b"%b%d%b" % (timed, len(output), end)


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
        call = invocation.call
        if (
            not is_plain(outcome)
            or operation.effect
            or (resources and not outcome.digest)
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
        return parts.text(at, invocation, ticket.input_digest, outcome)

    def of(
        self, principal: Principal, operation: Operation, channel: str, resources: tuple[Resource, ...] = ()
    ) -> Parts | None:
        """Give the parts for calls that touch this; None before one was written the long way."""
        return self._parts.get((principal, operation, channel, resources))

    def _learn(self, ticket: Ticket, record: AuditRecord) -> None:
        """Make the parts out of a record that was made the long way."""
        rest, texts = encode(replace(record, **_MARKED)), list[bytes]()
        for mark, name in _MARKS:
            before, found, rest = rest.partition(mark)
            if not found:
                return
            texts.append(before + name)
        invocation = ticket.invocation
        if len(self._parts) >= MOST_KEPT:
            self._parts.clear()
        key = (invocation.principal, ticket.operation, invocation.channel, ticket.resources)
        self._parts[key] = Parts(ticket.decision, [*texts, rest])
