"""Plain calls: the line in one step, for what short calls mostly are: a read that touches nothing, asked for plainly.

What steps 1, 2 and 5 found out about a caller, an operation and a door holds for every such call under one policy, and
is kept. What may differ is looked at each time: rate, budget, input, whether the caller may still act; and each call
has its record. Whatever is not plain in every respect, or not right, goes the whole way, which says so. A test sends
the same calls by both.
"""

from __future__ import annotations

from typing import Protocol

import msgspec

from superagent.core.events import Bus
from superagent.core.execution import Execution, failed
from superagent.core.invocation import Invocation, Outcome, Performed, Status, Ticket, digest_of_call, origin_of
from superagent.core.operation import Operation
from superagent.core.policy import Decision, Policy
from superagent.core.ports import Hands
from superagent.core.principal import Principal
from superagent.core.problems import AuditUnavailable, Problem
from superagent.core.record_texts import MOST_KEPT, Parts, is_plain
from superagent.core.records import Recorder
from superagent.core.registry import Registry


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


class Plain:
    """Take plain calls through the line; only the pipeline has one."""

    def __init__(self, line: Line, hands: Hands, bus: Bus, execution: Execution, recorder: Recorder) -> None:
        self._line = line
        self._hands = hands
        self._bus = bus
        self._execution = execution
        self._recorder = recorder
        self._budgeted = hands.identity.budgets.of_key
        self._standings: dict[tuple[Principal, Operation, str], Standing] = {}

    async def perform(self, invocation: Invocation) -> Outcome | None:
        """Admit and perform a plain call; None, and nothing was done, for one that has to go the whole way."""
        call, principal, hands = invocation.call, invocation.principal, self._hands
        operation = self._line.registry.find(call.operation)
        if operation is None or not operation.inline or not _is_bare(invocation):
            return None
        try:
            standing = self._standing(principal, operation, invocation.channel)
            if standing is None or not hands.identity.alive(principal):
                return None
            values, digest = operation.parse(call.input), digest_of_call(call)
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
        ticket = Ticket(invocation, operation, values, (), standing.decision, digest)
        outcome = await self._execution.run(ticket, standing.policy)
        now = hands.clock.now()
        try:
            if is_plain(outcome):
                hands.audit.note_text(standing.texts.text(now, invocation, digest, outcome))
            else:
                hands.audit.note(self._recorder.of("outcome", ticket, now, outcome))
        except AuditUnavailable as problem:  # a read that cannot be recorded is not answered
            return failed(ticket, problem, outcome.seconds)
        if principal.key in self._budgeted:
            hands.identity.budgets.charge(principal, {"bytes": float(len(outcome.output)), **(outcome.cost or {})})
        self._bus.publish(Performed(ticket, outcome))
        return outcome

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
