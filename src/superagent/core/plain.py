"""Plain calls: the line in one step, for reads asked for plainly that touch nothing, or are given again (`reads`).

What steps 1, 2 and 5 found out about a caller, an operation and a door holds for every such call under one policy, and
is kept; for a read that is given again, about the very same input. What may differ is looked at each time: rate,
budget, input, whether the caller may still act; and each call has its record. Whatever is not plain in every respect,
or not right, goes the whole way, which says so. A test sends the same calls by both.
"""

from __future__ import annotations

from typing import Protocol

import msgspec

from superagent.core.events import Bus
from superagent.core.execution import Execution, failed
from superagent.core.invocation import Invocation, Outcome, Performed, Status, Ticket, digest_of_call, origin_of
from superagent.core.operation import Operation, Values
from superagent.core.policy import Decision, Policy
from superagent.core.ports import Hands
from superagent.core.principal import Principal
from superagent.core.problems import AuditUnavailable, Problem
from superagent.core.record_texts import MOST_KEPT, Parts, is_plain
from superagent.core.records import Recorder
from superagent.core.registry import Registry
from superagent.core.resources import Resource
from superagent.core.tainting import Tainting

LONGEST_INPUT = 4096
_UNCHANGING = frozenset({str, int, float, bool, type(None)})
_encode = msgspec.json.Encoder().encode


class Line(Protocol):
    """What a plain call needs of the line whose steps it takes at once."""

    registry: Registry

    def throttle(self, principal: Principal) -> None:
        """Take one token of the caller's rate, and one call of its budgets."""
        ...

    def refuse(self, invocation: Invocation, problem: Problem) -> None:
        """Record a call that is not permitted."""
        ...


class Standing(msgspec.Struct, frozen=True, gc=False):
    """What holds for each plain call of one operation by one caller through one door: who decided what, in which words.

    `texts` make the record of such a call.
    """

    policy: Policy
    decision: Decision
    texts: Parts


class Again(Standing, frozen=True, gc=False):
    """The same for a read with the very same input, whose answer may be given again."""

    values: Values
    resources: tuple[Resource, ...]
    digest: str


class Plain:
    """Take plain calls through the line; only the pipeline has one."""

    def __init__(
        self, line: Line, hands: Hands, bus: Bus, execution: Execution, recorder: Recorder, tainting: Tainting
    ) -> None:
        self._line = line
        self._hands = hands
        self._bus = bus
        self._execution = execution
        self._recorder = recorder
        self._tainting = tainting
        self._budgeted = hands.identity.budgets.of_key
        self._standings: dict[tuple[Principal, Operation, str], Standing] = {}
        self._reads: dict[tuple[Principal, Operation, str, bytes], Again] = {}

    async def perform(self, invocation: Invocation) -> Outcome | None:
        """Admit and perform a plain call; None, and nothing was done, for one that has to go the whole way."""
        call, principal, hands = invocation.call, invocation.principal, self._hands
        operation = self._line.registry.find(call.operation)
        if operation is None or not (operation.inline or operation.validator) or not _is_bare(invocation):
            return None
        outcome = None
        try:
            if operation.inline:
                standing = self._standing(principal, operation, invocation.channel)
                if standing is None or not hands.identity.alive(principal):
                    return None
                values, digest = operation.parse(call.input), digest_of_call(call)
                ticket = Ticket(invocation, operation, values, (), standing.decision, digest)
            else:
                standing = self._reads.get((principal, operation, invocation.channel, _encode(call.input)))
                if standing is None or standing.policy is not hands.policies.of(principal.tenant):
                    return None
                ticket = Ticket(
                    invocation, operation, standing.values, standing.resources, standing.decision, standing.digest
                )
                outcome = self._execution.again(ticket, standing.policy) if hands.identity.alive(principal) else None
                if outcome is None:
                    return None
        except Exception:  # nothing was done yet: the whole way finds the same, and says it
            return None
        try:
            try:
                self._line.throttle(principal)
            except Problem as problem:
                self._line.refuse(invocation, problem)
                raise
        except Problem as problem:
            return Outcome(invocation.id, operation.name, Status.FAILED, problem=problem)
        if outcome is None:
            outcome = await self._execution.plain(ticket, standing.policy)
        if outcome.source or operation.untrusted != "never":
            outcome = await self._tainting.after(ticket, outcome)
        now = hands.clock.now()
        try:
            if is_plain(outcome):
                hands.audit.note_text(standing.texts.text(now, invocation, ticket.input_digest, outcome))
            else:
                hands.audit.note(self._recorder.of("outcome", ticket, now, outcome))
        except AuditUnavailable as problem:  # a read that cannot be recorded is not answered
            return failed(ticket, problem, outcome.seconds)
        if principal.key in self._budgeted:
            hands.identity.budgets.charge(principal, {"bytes": float(len(outcome.output)), **(outcome.cost or {})})
        self._bus.publish(Performed(ticket, outcome))
        return outcome

    def learn(self, ticket: Ticket) -> None:
        """Keep what the whole way found out about a read whose answer may be given again."""
        invocation, operation, facts = ticket.invocation, ticket.operation, ticket.facts
        principal, channel = invocation.principal, invocation.channel
        text = _encode(invocation.call.input)
        if (
            facts is None
            or operation.assess
            or operation.guarded
            or operation.holds_secrets
            or ticket.reads_outside  # then its record has to be on the disk first
            or not self._execution.reads.keeps(ticket)
            or not _is_bare(invocation)
            or not _UNCHANGING.issuperset(map(type, ticket.values.values()))
            or b"null" in text  # NaN is written so, too
            or len(text) > LONGEST_INPUT
        ):
            return
        policy, decision = self._hands.policies.of(principal.tenant), ticket.decision
        texts = self._recorder.texts.of(principal, operation, channel, ticket.resources)
        if texts is None or texts.decision is not decision:
            return
        if not policy.lasts(decision, principal, operation, ticket.resources, facts):
            return
        if len(self._reads) >= MOST_KEPT:
            self._reads.clear()
        self._reads[principal, operation, channel, text] = Again(
            policy, decision, texts, ticket.values, ticket.resources, ticket.input_digest
        )

    def _standing(self, principal: Principal, operation: Operation, channel: str) -> Standing | None:
        """Give what is known of such calls; None until one went the whole way under this policy."""
        policy = self._hands.policies.of(principal.tenant)
        known = self._standings.get((principal, operation, channel))
        if known is not None and known.policy is policy:
            return known
        if not _touches_nothing(operation):
            return None
        decision = policy.settled(principal, operation, origin_of(principal, channel))
        texts = self._recorder.texts.of(principal, operation, channel)
        if decision is None or texts is None or texts.decision is not decision:
            return None
        if len(self._standings) >= MOST_KEPT:
            self._standings.clear()
        known = self._standings[principal, operation, channel] = Standing(policy, decision, texts)
        return known


def _is_bare(invocation: Invocation) -> bool:
    """Tell whether a call says nothing beside its input, and was made just now by its caller itself."""
    call = invocation.call
    return not (
        call.key
        or call.dry_run
        or call.deadline_s is not None
        or call.reason
        or call.max_bytes is not None
        or call.isolation
        or call.session
        or call.queued
        or call.answers
        or invocation.parent
        or invocation.trace
        or invocation.resumed
        or invocation.tainted
        or invocation.marked
        or invocation.task
        or invocation.found
    )


def _touches_nothing(operation: Operation) -> bool:
    """Tell whether no call of an operation can be judged, guarded or marked by what it names, holds or gives."""
    return not (
        operation.effect
        or operation.touched
        or operation.more
        or operation.assess
        or operation.secrets
        or operation.holds_secrets
        or operation.guarded
        or operation.stream
        or operation.background
        or operation.untrusted != "never"
    )
