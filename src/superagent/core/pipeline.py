"""The line: every operation from every door is admitted here and performed here, in this fixed order.

admit    1 rate   2 find the operation   3 may this principal try it?   4 parse
         5 judge the resources of this very input   6 idempotency key seen?
perform  7 redeem, then write the intent down   8 do it   9 write down what came of it
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from msgspec.structs import replace

from superagent.core.context import Context
from superagent.core.events import Bus
from superagent.core.execution import Execution, Tell, begins_anew, dead, failed
from superagent.core.grants import ISOLATION
from superagent.core.invocation import Call, Invocation, Outcome, Performed, Ticket, digest_of_call, origin_of
from superagent.core.limits import Slots
from superagent.core.operation import Operation
from superagent.core.plain import Plain
from superagent.core.policy import Decision, Facts, Policy
from superagent.core.ports import Hands
from superagent.core.principal import Principal
from superagent.core.problems import (
    AuditUnavailable,
    Conflict,
    Deadline,
    Denied,
    Internal,
    NeedsApproval,
    Problem,
    RateLimited,
    StepUpRequired,
    TooLarge,
)
from superagent.core.reads import Reads
from superagent.core.records import Recorder
from superagent.core.refusals import Refusals
from superagent.core.registry import Registry
from superagent.core.resources import Resource, Risk
from superagent.core.tainting import Tainting, nothing_approved
from superagent.core.veil import hidden, marked_digest
from superagent.core.ways_out import no_operation, no_resource, refusal

DEEPEST = 16
"""Calls within calls: an operation that makes itself would do so for ever."""
_BEYOND = frozenset({"net", "connect", "run"})


class Pipeline:
    """Admit and perform; nothing else executes operations."""

    def __init__(
        self, registry: Registry, hands: Hands, bus: Bus, slots: Slots, streams: Slots, followed: dict[str, Tell]
    ) -> None:
        self.registry = registry
        self._hands = hands
        self._bus = bus
        self._budgeted = hands.identity.budgets.of_key
        self._recorder = Recorder(hands.audit.personal)
        self._followed = followed
        self._execution = Execution(hands, slots, streams, self, self._recorder, followed)
        refusals = Refusals(hands, self._recorder, self.find)
        self.refuse, self.refuse_stranger = refusals.refuse, refusals.stranger
        self.record_floods = refusals.record_floods
        self._tainting = Tainting(hands, self._recorder)
        self.plain = Plain(self, hands, bus, self._execution, self._recorder, self._tainting)
        self.redeem: Callable[[Ticket], Awaitable[Ticket | None]] = nothing_approved  # the approval desk's

    @property
    def reads(self) -> Reads:
        """Give the answers that may be given again."""
        return self._execution.reads

    @property
    def recorder(self) -> Recorder:
        """Give the maker of records."""
        return self._recorder

    # ---- admit

    async def admit(self, invocation: Invocation) -> Ticket | Outcome:
        """Give the permission to perform, or the earlier outcome of the same idempotency key.

        The ticket's verdict is `allow` or `ask`. Raises a problem for all else; the refusal is in the audit then.
        """
        ticket = self.permit(invocation)
        return await self.remember(ticket) if invocation.call.key else ticket

    def permit(self, invocation: Invocation) -> Ticket:
        """Give the permission to perform, whatever the idempotency key of the call. Raises as `admit` does."""
        call = invocation.call
        input_digest, judged, resources = "", None, ()
        try:
            principal = invocation.principal
            if not (invocation.parent or invocation.resumed):  # first: what is not there costs as much as what is
                self.throttle(principal)
            operation = self.registry.find(call.operation)
            policy = self._hands.policies.of(principal.tenant)
            if operation is None:
                raise no_operation(self.registry, policy, principal, call.operation)
            origin = origin_of(principal, invocation.channel)
            decision = None if invocation.tainted else policy.settled(principal, operation, origin)
            if decision is None and not policy.may_try(principal, operation):
                # the same words as for a name that does not exist: no oracle
                raise no_operation(self.registry, policy, principal, call.operation)
            if operation.secrets:  # what does not parse has no digest: its secret may stand under a wrong name
                values = operation.parse(call.input)
                invocation = hidden(invocation, operation)
                input_digest = marked_digest(invocation, self._hands.veil)
            else:
                input_digest = digest_of_call(call)
                values = operation.parse(call.input)
            resources = operation.resources(values, principal.workspace)
            if invocation.found:
                resources += invocation.found
            if operation.guarded and (not invocation.resumed or invocation.task == invocation.id):
                invocation, guarded = self._tainting.judged(invocation, operation, values, resources)
                decision = None if guarded else decision
            facts = None
            if decision is None or resources or operation.assess is not None:
                facts = self.facts(invocation, operation, values)
                decision = judged = policy.decide(principal, operation, resources, facts)
                if decision.verdict != "allow":
                    self.stop(invocation, operation, policy, resources, decision, facts)
            judged = decision
            return Ticket(invocation, operation, values, resources, decision, input_digest, facts)
        except Problem as problem:
            self.refuse(invocation, problem, input_digest, judged, resources)
            raise
        except Exception as bug:  # an operation's own code names what it touches: when that breaks, it is recorded too
            self._hands.fault(invocation.id, bug)
            broken = Internal("something broke inside the platform")
            self.refuse(invocation, broken, input_digest, judged, resources)
            raise broken from None

    async def remember(self, ticket: Ticket) -> Ticket | Outcome:
        """Give a ticket whose idempotency key is taken by it, or the key's earlier outcome. Raises as `admit` does."""
        invocation = ticket.invocation
        if invocation.call.dry_run or ticket.decision.verdict != "allow":
            return ticket
        try:
            return await self._remember(ticket)
        except Exception as fault:
            problem = fault if isinstance(fault, Problem) else Internal("something broke inside the platform")
            if problem is not fault:
                self._hands.fault(invocation.id, fault)
            self.refuse(invocation, problem, ticket.input_digest, ticket.decision, ticket.resources)
            raise problem from None

    def throttle(self, principal: Principal) -> None:
        """Take one token of the caller's rate, and one call of its budgets. Raises `RateLimited`, `BudgetExceeded`."""
        rate = self._hands.identity.rate_of(principal)
        if rate is not None:
            wait = self._hands.buckets.take(principal.bucket, rate, self._hands.clock.now())
            if wait:
                raise RateLimited(
                    f"more than {rate.per_s:g} calls a second", hint=f"wait {wait:.2f} s", retry_after_s=wait
                )
        if principal.key in self._budgeted:
            self._hands.identity.budgets.spend(principal)

    def facts(self, invocation: Invocation, operation: Operation, values: dict[str, Any]) -> Facts:
        """Gather what policy may look at besides resources."""
        principal = invocation.principal
        now = self._hands.clock.now()
        at = principal.second_factor_at
        risk = operation.risk if operation.assess is None else Risk(max(operation.risk, operation.assess(values)))
        age = 0.0 if principal.trusted_local else None if at is None else max(0.0, now - at)
        # only operations that execute code run at an isolation level; the rest is the platform's own code
        level = self._hands.runs_at() if "run" in operation.reaches else ISOLATION["vm"]
        tainted = bool(invocation.tainted)
        return Facts(
            origin_of(principal, invocation.channel),
            risk,
            now,
            principal.remote,
            age,
            level,
            invocation.approvals,
            tainted,
            values,
        )

    def stop(
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
            raise no_resource(self.registry, policy, invocation.principal, hidden[0].path)
        raise refusal(self.registry, policy, invocation, operation, resources, decision, facts)

    def sees(self, principal: Principal, resource: Resource, facts: Facts, policy: Policy | None = None) -> bool:
        """Tell whether the caller may know of a resource: some operation could use it."""
        judge = policy or self._hands.policies.of(principal.tenant)
        return judge.sees(principal, self.registry, resource, facts)

    def find(self, operation: str) -> Operation | None:
        """Give an operation by name, None when it is not installed."""
        return self.registry.find(operation)

    async def nested(self, ctx: Context, operation: str, input: dict[str, Any]) -> Any:
        """Take an operation's own call through the line, as the same principal. Raises the call's problem."""
        parent = ctx.invocation
        if len(parent.callers) >= DEEPEST:
            raise TooLarge(f"calls stand {DEEPEST} deep within each other, and no deeper", hint="call it from outside")
        # a preview has to look before it can show anything: what only looks, and here, is done for it
        asked = self.registry.find(operation)
        looks = asked is not None and not (asked.effect or asked.reaches & _BEYOND)
        call = Call(operation, input, session=parent.call.session, dry_run=parent.call.dry_run and not looks)
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
            tainted="",
            marked="",
            able=(),
        )
        outcome = await self._within(ctx, child)
        if (found := found_by(outcome, child)) is not None:
            outcome = await self._within(ctx, found)
        ctx.effects.extend(outcome.effects)
        ctx.asks = outcome.asks if outcome.asks is not None and not (ctx.effects or ctx.changed) else None
        ctx.source = ctx.source or outcome.source  # what another gave it, it may give on
        return outcome.result()

    async def _within(self, ctx: Context, child: Invocation) -> Outcome:
        """Admit and perform a call within another. Raises the problem of what is not permitted."""
        ticket = await self.admit(child)
        if isinstance(ticket, Outcome):
            return ticket
        if ticket.decision.verdict == "ask":
            approved = await self.redeem(ticket) if not child.call.dry_run else None
            if approved is None:
                # it may wait only where nothing has happened yet, and where what happens is told (rules.md 14)
                told = ctx.operation.takes_back in ("nothing", "undo", "compensate")
                ctx.asks = ticket if told and not (ctx.effects or ctx.changed) else None
                on = " on " + ", ".join(f"`{one.id}`" for one in ticket.resources[:5]) if ticket.resources else ""
                problem = NeedsApproval(
                    f"`{child.call.operation}`{on} inside `{ctx.operation.name}` needs a person's approval",
                    hint="ask for it first with `approvals.request`",
                )
                self.refuse(ticket.invocation, problem, ticket.input_digest, ticket.decision, ticket.resources)
                raise problem
            ticket = approved
        outcome = await self.perform(ticket)
        ctx.changed |= bool(ticket.operation.effect and outcome.asks is None)
        return outcome

    async def _remember(self, ticket: Ticket) -> Ticket | Outcome:
        until = ticket.invocation.deadline
        while (earlier := await self._hands.idempotency.begin(ticket)) is not None:
            if earlier.outcome is not None:
                await self.seen(ticket.invocation.principal, earlier.outcome)
                return earlier.outcome
            if until is None or self._hands.clock.monotonic() >= until:
                running = earlier.invocation
                raise Conflict(f"the same call runs already as `{running}`", hint=f"see `/v1/invocations/{running}`")
            await asyncio.sleep(0.05)
        return replace(ticket, remembered=True)

    async def seen(self, principal: Principal, outcome: Outcome) -> None:
        """Mark whoever is shown a stored outcome that holds untrusted text, also once more after a clearing."""
        if outcome.source:
            await self._tainting.mark(principal, "", outcome.source, outcome.invocation)

    # ---- perform

    async def perform(self, ticket: Ticket) -> Outcome:
        """Write the intent down, do it, write down what came of it. Never raises a problem: the outcome holds it."""
        invocation, operation, witness = ticket.invocation, ticket.operation, False
        try:
            policy = self._redeem(ticket)
            if operation.effect or operation.stream or operation.background:
                witness = await self._before(ticket)
        except Problem as problem:
            if not isinstance(problem, AuditUnavailable):
                self.refuse(invocation, problem, ticket.input_digest, ticket.decision, ticket.resources)
            if ticket.remembered:
                await self._hands.idempotency.forget(ticket)
            return failed(ticket, problem, 0.0)
        outcome = await self._execution.run(ticket, policy)
        if outcome.source or operation.untrusted != "never" or invocation.call.dry_run:
            outcome = await self._tainting.after(ticket, outcome)
        try:
            if ticket.resources and not witness and ticket.reads_outside:
                now = self._hands.clock.now()
                await self._hands.audit.durable(self._recorder.of("outcome", ticket, now, outcome))
            else:
                self._note(ticket, outcome)
        except AuditUnavailable as problem:
            if not witness:
                return failed(ticket, problem, outcome.seconds)  # a read that cannot be recorded is not answered
            # the change is made and its intent is on disk; the log itself reports the node unhealthy
        if ticket.remembered and (outcome.asks is not None or begins_anew(outcome)):
            await self._hands.idempotency.forget(ticket)
        elif ticket.remembered:
            await self._hands.idempotency.finish(ticket, outcome)
        if outcome.tag:
            self.plain.learn(ticket)
        if invocation.principal.key in self._budgeted:
            cost = {"bytes": float(len(outcome.output)), **(outcome.cost or {})}
            self._hands.identity.budgets.charge(invocation.principal, cost)
        if invocation.task == invocation.id:
            await self._tainting.ended(ticket)
        self._bus.publish(Performed(ticket, outcome))
        return outcome

    async def _before(self, ticket: Ticket) -> bool:
        """Mark and write down what has to be before anything happens; tells whether the intent is on record."""
        await self._tainting.before(ticket)
        # what leaves before the end is on record first, as what changes something is
        leaves = ticket.operation.stream and ticket.invocation.id in self._followed
        witness = (bool(ticket.operation.effect) or leaves) and not ticket.invocation.call.dry_run
        if witness:  # durable before the effect: after a crash we must know what we were about to do
            await self._hands.audit.durable(self._recorder.of("intent", ticket, self._hands.clock.now()))
        return witness

    def _note(self, ticket: Ticket, outcome: Outcome) -> None:
        """Let the record of what came of a call ride the next batch. Raises `AuditUnavailable`."""
        now = self._hands.clock.now()
        text = self._recorder.texts.text(ticket, now, outcome)
        if text is None:
            self._hands.audit.note(self._recorder.of("outcome", ticket, now, outcome))
        else:
            self._hands.audit.note_text(text)

    def _redeem(self, ticket: Ticket) -> Policy:
        """Check at the last moment that the permission still stands; gives the policy that was looked at."""
        hands, principal = self._hands, ticket.invocation.principal
        if not hands.identity.alive(principal):
            raise dead()
        policy = hands.policies.of(principal.tenant)
        if policy.version != ticket.decision.policy_version:
            self._check_policy(ticket, ticket.facts, "policy changed while this call was on its way")
        return policy

    def stands(self, ticket: Ticket, *, anew: bool = True) -> None:
        """Go on only while the permission of a call that takes long stands. Raises `Denied`.

        It is judged as of now; unless `anew`, as of its own moment, and only once policy has changed.
        """
        principal = ticket.invocation.principal
        if not self._hands.identity.alive(principal):
            raise dead()
        policy = self._hands.policies.of(principal.tenant)
        if anew or policy.version != ticket.decision.policy_version:
            self._check_policy(ticket, None if anew else ticket.facts, "the right to this was taken away while it ran")

    def _check_policy(self, ticket: Ticket, facts: Facts | None, otherwise: str) -> None:
        invocation, operation = ticket.invocation, ticket.operation
        judged = facts or self.facts(invocation, operation, ticket.values)
        policy = self._hands.policies.of(invocation.principal.tenant)
        if policy.decide(invocation.principal, operation, ticket.resources, judged).verdict != "allow":
            raise Denied(otherwise, hint="call again")

    async def rehearse(self, ticket: Ticket) -> Outcome:
        """Run only the preview of a ticket, without a record: for the approver, who sees it with the request."""
        policy = self._hands.policies.of(ticket.invocation.principal.tenant)
        return await self._execution.run(ticket, policy, whole=True)

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


def found_by(outcome: Outcome, invocation: Invocation) -> Invocation | None:
    """Give a call that did nothing yet with what it came upon named, which a person must approve; else None."""
    asks = outcome.asks.invocation if outcome.asks is not None else None
    return asks if asks is not None and asks.id == invocation.id and not invocation.found else None
