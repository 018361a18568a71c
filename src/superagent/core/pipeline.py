"""The line: every operation from every door is admitted here and performed here, in this fixed order.

admit    1 find the operation   2 may this principal try it?   3 rate   4 parse
         5 judge the resources of this very input   6 idempotency key seen?
perform  7 redeem, then write the intent down   8 do it   9 write down what came of it
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
from msgspec.structs import replace

from superagent.core.context import Context
from superagent.core.events import Bus
from superagent.core.execution import Execution, failed
from superagent.core.grants import ISOLATION
from superagent.core.invocation import Call, Invocation, Outcome, Ticket, digest_of
from superagent.core.limits import Slots
from superagent.core.operation import Operation
from superagent.core.policy import Decision, Facts, Policy
from superagent.core.ports import Hands
from superagent.core.principal import Principal
from superagent.core.problems import (
    AuditUnavailable,
    Conflict,
    Deadline,
    Denied,
    NeedsApproval,
    NotFound,
    Problem,
    RateLimited,
    StepUpRequired,
    Unauthenticated,
)
from superagent.core.records import Flood, Recorder
from superagent.core.registry import Registry
from superagent.core.resources import Resource, Risk
from superagent.core.rules import Origin
from superagent.core.veil import hidden, marked_digest


class Performed(msgspec.Struct, frozen=True):
    """A call ended: what observers hear."""

    ticket: Ticket
    outcome: Outcome


class Pipeline:
    """Admit and perform; nothing else executes operations."""

    def __init__(self, registry: Callable[[], Registry], hands: Hands, bus: Bus, slots: Slots, streams: Slots) -> None:
        self._registry = registry
        self._hands = hands
        self._bus = bus
        self._recorder = Recorder(hands.audit.personal)
        self._execution = Execution(hands, slots, streams, self, self._recorder)
        self._flood = Flood()

    @property
    def recorder(self) -> Recorder:
        """Give the maker of records."""
        return self._recorder

    # ---- admit

    async def admit(self, invocation: Invocation) -> Ticket | Outcome:
        """Give the permission to perform, or the earlier outcome of the same idempotency key.

        The ticket's verdict is `allow` or `ask`. Raises a problem for all else; the refusal is in the audit then.
        """
        call = invocation.call
        input_digest = verdict = ""
        try:
            principal = invocation.principal
            operation = self._registry().get(call.operation)
            policy = self._hands.policies.of(principal.tenant)
            origin = origin_of(invocation)
            decision = policy.settled(principal, operation, origin)
            if decision is None and not policy.may_try(principal, operation):
                # the same words as for a name that does not exist: no oracle
                raise no_operation(call.operation)
            if not (invocation.parent or invocation.resumed):
                self.throttle(invocation.principal)
            if operation.secrets:  # what does not parse has no digest: its secret may stand under a wrong name
                values = operation.parse(call.input)
                invocation = hidden(invocation, operation)
                input_digest = marked_digest(invocation, self._hands.veil)
            else:
                input_digest = digest_of(call.input)
                values = operation.parse(call.input)
            resources = operation.resources(values, invocation.principal.workspace)
            facts = None
            if decision is None or resources or operation.assess is not None:
                facts = self.facts(invocation, operation, values)
                decision = policy.decide(principal, operation, resources, facts)
                verdict = decision.verdict
                if verdict != "allow":
                    self._stop(invocation, operation, policy, resources, decision, facts)
            verdict = decision.verdict
            ticket = Ticket(invocation, operation, values, resources, decision, input_digest, facts)
            if call.key and not call.dry_run and verdict == "allow":
                return await self._remember(ticket)
        except Problem as problem:
            self.refuse(invocation, problem, input_digest, verdict)
            raise
        return ticket

    def throttle(self, principal: Principal) -> None:
        """Take one token of the caller's rate. Raises `RateLimited`."""
        rate = self._hands.identity.rate_of(principal)
        if rate is None:
            return
        wait = self._hands.buckets.take(
            f"{principal.tenant}/{principal.key or principal.id}", rate, self._hands.clock.now()
        )
        if wait:
            raise RateLimited(f"more than {rate.per_s:g} calls a second", hint=f"wait {wait:.2f} s", retry_after_s=wait)

    def facts(self, invocation: Invocation, operation: Operation, values: dict[str, Any]) -> Facts:
        """Gather what policy may look at besides resources."""
        principal = invocation.principal
        now = self._hands.clock.now()
        at = principal.second_factor_at
        risk = operation.risk if operation.assess is None else Risk(max(operation.risk, operation.assess(values)))
        return Facts(
            origin=origin_of(invocation),
            risk=risk,
            now=now,
            remote=principal.remote,
            second_factor_age_s=0.0 if principal.trusted_local else None if at is None else max(0.0, now - at),
            # only operations that execute code run at an isolation level; the rest is the platform's own code
            isolation=self._hands.runs_at() if "run" in operation.reaches else ISOLATION["vm"],
            approvals=invocation.approvals,
            args=values,
        )

    def _stop(
        self,
        invocation: Invocation,
        operation: Operation,
        policy: Policy,
        resources: tuple[Resource, ...],
        decision: Decision,
        facts: Facts,
    ) -> None:
        """Raise the problem of a verdict that is not to go on; `ask` goes on to wait."""
        if decision.verdict == "ask":
            return
        if decision.verdict == "step_up":
            raise StepUpRequired(f"`{operation.name}` needs a fresh second factor")
        hidden = [one for one in resources if not self.sees(invocation.principal, one, facts, policy)]
        if hidden:
            raise NotFound(f"there is no `{hidden[0].path}`")
        raise Denied(f"`{operation.name}` is refused: {decision.reason}")

    def sees(self, principal: Principal, resource: Resource, facts: Facts, policy: Policy | None = None) -> bool:
        """Tell whether the caller may know of a resource: some operation could use it."""
        judge = policy or self._hands.policies.of(principal.tenant)
        return judge.sees(principal, self._registry(), resource, facts)

    def find(self, operation: str) -> Operation | None:
        """Give an operation by name, None when it is not installed."""
        return self._registry().find(operation)

    async def nested(self, ctx: Context, operation: str, input: dict[str, Any]) -> Any:
        """Take an operation's own call through the line, as the same principal. Raises the call's problem."""
        parent = ctx.invocation
        call = Call(operation, input, session=parent.call.session, dry_run=parent.call.dry_run)
        clock = self._hands.clock
        child = replace(
            parent,
            id=clock.new_id(),
            call=call,
            at=clock.now(),
            parent=parent.id,
            callers=(*parent.callers, parent.id),
            approvals=0,
            resumed=False,
        )
        ticket = await self.admit(child)
        if isinstance(ticket, Outcome):
            return ticket.result()
        if ticket.decision.verdict == "ask":
            on = " on " + ", ".join(f"`{one.id}`" for one in ticket.resources[:5]) if ticket.resources else ""
            problem = NeedsApproval(f"`{operation}`{on} inside `{parent.call.operation}` needs a person's approval")
            self.refuse(ticket.invocation, problem, ticket.input_digest, ticket.decision.verdict)
            raise problem
        outcome = await self.perform(ticket)
        ctx.effects.extend(outcome.effects)
        return outcome.result()

    async def _remember(self, ticket: Ticket) -> Ticket | Outcome:
        until = ticket.invocation.deadline
        while (earlier := await self._hands.idempotency.begin(ticket)) is not None:
            if earlier.outcome is not None:
                return earlier.outcome
            if until is None or self._hands.clock.monotonic() >= until:
                running = earlier.invocation
                raise Conflict(f"the same call runs already as `{running}`", hint=f"see `/v1/invocations/{running}`")
            await asyncio.sleep(0.05)
        return replace(ticket, remembered=True)

    def refuse(self, invocation: Invocation, problem: Problem, input_digest: str = "", verdict: str = "") -> None:
        """Record a call that is not permitted."""
        now = self._hands.clock.now()
        if isinstance(problem, RateLimited):  # a flood of refusals must not become a flood of records
            first, _ = self._flood.admit((invocation.principal.id, invocation.call.operation, problem.slug), now)
            if not first:
                return
        self._hands.audit.note(self._recorder.refused(invocation, now, problem, input_digest, verdict))

    def refuse_stranger(self, problem: Unauthenticated, facts: Any) -> None:
        """Record a credential that was not recognised; a flood from one source is counted, not listed."""
        now = self._hands.clock.now()
        first, swallowed = self._flood.admit((facts.remote, facts.channel, problem.slug), now)
        if first:
            self._hands.audit.note(self._recorder.stranger(facts, now, problem, 1 + swallowed))

    def record_floods(self, *, every: bool = False) -> None:
        """Record how many refusals were counted instead of listed, for windows that have ended (or for every one)."""
        now = self._hands.clock.now()
        for (source, what, _), count in self._flood.rest(now, every):
            detail = {"source": source, "what": what}
            record = self._recorder.event("refusals.counted", now, who="anonymous", detail=detail)
            self._hands.audit.note(replace(record, kind="refused", count=count))

    # ---- perform

    async def perform(self, ticket: Ticket) -> Outcome:
        """Write the intent down, do it, write down what came of it. Never raises a problem: the outcome holds it."""
        try:
            self._redeem(ticket)
            if ticket.needs_witness:  # durable before the effect: after a crash we must know what we were about to do
                await self._hands.audit.durable(self._recorder.of("intent", ticket, self._hands.clock.now()))
        except Problem as problem:
            if not isinstance(problem, AuditUnavailable):
                self.refuse(ticket.invocation, problem, ticket.input_digest, ticket.decision.verdict)
            if ticket.remembered:
                await self._hands.idempotency.forget(ticket)
            return failed(ticket, problem, 0.0)
        outcome = await self._execution.run(ticket)
        try:
            if ticket.reads_outside and not ticket.needs_witness:
                now = self._hands.clock.now()
                await self._hands.audit.durable(self._recorder.of("outcome", ticket, now, outcome))
            else:
                self._note(ticket, outcome)
        except AuditUnavailable as problem:
            if not ticket.needs_witness:
                return failed(ticket, problem, outcome.seconds)  # a read that cannot be recorded is not answered
            # the change is made and its intent is on disk; the log itself reports the node unhealthy
        if ticket.remembered:
            await self._hands.idempotency.finish(ticket, outcome)
        self._bus.publish(Performed(ticket, outcome))
        return outcome

    def _note(self, ticket: Ticket, outcome: Outcome) -> None:
        """Let the record of what came of a call ride the next batch. Raises `AuditUnavailable`."""
        now = self._hands.clock.now()
        text = self._recorder.text_of(ticket, now, outcome)
        if text is None:
            self._hands.audit.note(self._recorder.of("outcome", ticket, now, outcome))
        else:
            self._hands.audit.note_text(text)

    def _redeem(self, ticket: Ticket) -> None:
        """Check at the last moment that the permission still stands."""
        self._check_alive(ticket)
        if self._hands.policies.of(ticket.invocation.principal.tenant).version != ticket.decision.policy_version:
            self._check_policy(ticket, ticket.facts, "policy changed while this call was on its way")

    def stands(self, ticket: Ticket) -> None:
        """Go on only while the permission of a call that takes long stands, judged as of now. Raises `Denied`."""
        self._check_alive(ticket)
        self._check_policy(ticket, None, "the right to this was taken away while it ran")

    def _check_alive(self, ticket: Ticket) -> None:
        if not self._hands.identity.alive(ticket.invocation.principal):
            raise Denied("this key is revoked, expired or paused", hint="ask its owner for a new one")

    def _check_policy(self, ticket: Ticket, facts: Facts | None, otherwise: str) -> None:
        invocation, operation = ticket.invocation, ticket.operation
        judged = facts or self.facts(invocation, operation, ticket.values)
        policy = self._hands.policies.of(invocation.principal.tenant)
        if policy.decide(invocation.principal, operation, ticket.resources, judged).verdict != "allow":
            raise Denied(otherwise, hint="call again")

    async def rehearse(self, ticket: Ticket) -> Outcome:
        """Run only the preview of a ticket, without a record: for the approver, who sees it with the request."""
        return await self._execution.run(ticket, whole=True)

    async def state_of(self, ticket: Ticket, resource: Resource) -> str | None:
        """Give the digest of a resource as the caller of a ticket would find it; None when it cannot be told.

        Raises `Deadline`.
        """
        try:
            return await self._execution.context(ticket).state_of(resource)
        except Deadline:
            raise
        except Problem as problem:
            return f"problem:{problem.slug}"


def origin_of(invocation: Invocation) -> Origin:
    """Give where a call comes from, as policy sees it."""
    if invocation.channel == "workflow":
        return "workflow"
    return "human" if invocation.principal.kind == "human" else "agent"


def no_operation(name: str) -> NotFound:
    """Give the problem of an operation that does not exist, or that the caller may not know of."""
    return NotFound(f"there is no operation `{name[:200]}`", hint="search with `GET /v1/operations?q=…`")
