"""The approval desk: tickets that wait for a person, bound to exactly what that person saw (rules.md 11)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Coroutine
from typing import Any

from msgspec.structs import replace

from superagent.core.context import Context
from superagent.core.invocation import Outcome, Status, Ticket
from superagent.core.limits import LocalBuckets, Rate
from superagent.core.looks import Looks
from superagent.core.operation import Preview
from superagent.core.pipeline import Pipeline
from superagent.core.ports import Hands, Held
from superagent.core.principal import Principal
from superagent.core.problems import Conflict, Denied, NotFound, Problem, RateLimited
from superagent.core.veil import put_away, taken_out

WAITS_S = 24 * 3600.0
ASKS = Rate(per_s=100 / 3600, burst=100)  # each waiting call costs room for a day, and somebody's attention


class ApprovalDesk:
    """Keep tickets until people have decided; approving judges the call anew and then performs it."""

    def __init__(
        self,
        pipeline: Pipeline,
        hands: Hands,
        later: Callable[[Coroutine[Any, Any, Any]], None],
        perform: Callable[[Ticket], Coroutine[Any, Any, Outcome]],
    ) -> None:
        self._pipeline = pipeline
        self._hands = hands
        self._later = later
        self._perform_ticket = perform
        self._asks = LocalBuckets()
        self._looks = Looks(pipeline)

    async def hold(self, ticket: Ticket) -> Outcome:
        """Let a ticket wait. A dry run is only told that it would."""
        invocation, decision = ticket.invocation, ticket.decision
        if invocation.call.dry_run:
            # no preview: it would show the present content to somebody who may perhaps not read it
            summary = Preview(summary=f"would wait for {decision.approvals} approval(s)", exact=False)
            return Outcome(
                invocation.id,
                ticket.operation.name,
                Status.PREVIEWED,
                ticket.operation.dump(summary),
                decision=decision,
            )
        now = self._hands.clock.now()
        try:
            self._charge(invocation.principal, now)
            with self._looks.place(ticket):
                look = await self._looks.at(ticket, self._hands.clock.monotonic())
        except Problem as problem:
            self._pipeline.refuse(invocation, problem, ticket.input_digest, decision.verdict)
            raise
        shown, sealed = put_away(invocation, self._hands.veil)
        held = Held(
            invocation.id,
            invocation.principal.tenant,
            Status.WAITING,
            shown,
            now,
            now + WAITS_S,
            look.hash,
            decision.digest,
            decision.approvals,
            decision.by,
            preview=look.preview,
            resources=tuple(f"{one.effect.name} {one.id}" for one in ticket.resources),
            sealed=sealed,
        )
        # no intent: nothing is about to happen, and after a crash this call still waits
        waits = replace(self._pipeline.recorder.of("event", ticket, now), status=Status.WAITING.value)
        await self._hands.audit.durable(waits)
        try:
            stored = await self._hands.work.ask(held)
        except Problem as problem:
            self._pipeline.refuse(invocation, problem, ticket.input_digest, decision.verdict)
            raise
        extra: dict[str, Any] = {"until": stored.until}
        if stored.id != held.id:  # the approver sees one request, and whoever asks again waits for that one
            self._hands.audit.note(replace(waits, detail={"joined": stored.id}))
            extra["asked"] = stored.asked
        return Outcome(stored.id, ticket.operation.name, Status.WAITING, decision=decision, extra=extra)

    def _charge(self, principal: Principal, now: float) -> None:
        wait = self._asks.take(f"{principal.tenant}/{principal.id}", ASKS, now)
        if wait:
            raise RateLimited(
                "more than 100 calls an hour that wait for a person", hint=f"wait {wait:.0f} s", retry_after_s=wait
            )

    async def decide(self, ctx: Context, id: str, approve: bool, reason: str) -> Held:
        """Approve or deny a waiting ticket as the person behind `ctx`. The last approval needed sets it off.

        Raises `NotFound`, `Denied` for somebody who may not decide this one, `Conflict` when it no longer waits.
        """
        held = await self._hands.work.get(ctx.tenant, id)
        if held is None:
            raise NotFound(f"no call `{id[:100]}` waits for approval")
        self._check_person(ctx.principal, held)
        if held.state is not Status.WAITING:
            raise Conflict(f"`{id}` is {held.state.value}")
        if held.until < ctx.now:
            await self._hands.work.move(ctx.tenant, id, [Status.WAITING], Status.EXPIRED)
            raise Conflict(f"`{id}` waited too long and has expired", hint="the caller asks again")
        detail = {"decision": "approve" if approve else "deny", "hash": held.hash, "reason": reason}
        record = self._pipeline.recorder.event("approvals.decide", ctx.now, ctx.tenant, ctx.principal.id, detail)
        await self._hands.audit.durable(replace(record, kind="approved", invocation=id))
        if not approve:
            if not await self._hands.work.move(ctx.tenant, id, [Status.WAITING], Status.CANCELLED):
                raise Conflict(f"`{id}` was decided by somebody else meanwhile")
            refused = Denied(f"{ctx.principal.id} did not approve" + (f": {reason}" if reason else ""))
            await self._hands.work.finish(
                ctx.tenant, Outcome(id, held.invocation.call.operation, Status.FAILED, problem=refused)
            )
            return dataclasses.replace(held, state=Status.CANCELLED)
        held = await self._hands.work.approve(ctx.tenant, id, ctx.principal.id)
        if len(held.approved_by) < held.approvals_needed:
            return held
        if not await self._hands.work.move(ctx.tenant, id, [Status.WAITING], Status.RUNNING):
            raise Conflict(f"`{id}` was decided by somebody else meanwhile")
        self._later(self._perform(held))
        return dataclasses.replace(held, state=Status.RUNNING)

    def _check_person(self, person: Principal, held: Held) -> None:
        requester = held.invocation.principal
        if person.kind != "human":
            raise Denied("only a person can approve")
        if person.id == requester.id:
            raise Denied("nobody approves a call of their own")
        if held.approvals_needed > 1 and person.id in requester.ids:
            raise Denied("two or more approvals must come from people on whose behalf the call is not made")
        # of `role:a and role:b`, one person must be both: two grants each demand an approval (ADR 16)
        if held.by and not any(person.subjects.issuperset(one.split(" and ")) for one in held.by):
            raise Denied(f"this one must be approved by {' or '.join(held.by)}")

    async def _perform(self, held: Held) -> None:
        try:
            outcome = await self._perform_ticket(await self._readmit(held))
        except Problem as problem:
            outcome = Outcome(held.id, held.invocation.call.operation, Status.FAILED, problem=problem)
        await self._hands.work.finish(held.tenant, outcome)

    async def _readmit(self, held: Held) -> Ticket:
        """Judge the call anew; anything that differs from what was approved makes it a conflict."""
        asked_for = taken_out(held.invocation, held.sealed, self._hands.veil)
        invocation = replace(
            asked_for, resumed=True, deadline=None, principal=held.invocation.principal.without_proof()
        )
        asked = await self._pipeline.admit(invocation)
        if isinstance(asked, Ticket) and asked.decision.verdict == "ask":
            look = await self._looks.at(asked, self._hands.clock.monotonic())
            if look.hash != held.hash:
                raise Conflict(
                    "what was approved is no longer what would happen",
                    hint="ask again; the approver sees the new effect",
                )
            asked = await self._pipeline.admit(replace(invocation, approvals=len(held.approved_by)))
        if isinstance(asked, Outcome) or asked.decision.verdict != "allow":
            raise Conflict("policy changed since this was approved", hint="ask again")
        return asked
