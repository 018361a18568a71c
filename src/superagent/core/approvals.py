"""The approval desk: tickets that wait for a person, bound to exactly what that person saw (rules.md 11)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Coroutine
from typing import Any

from msgspec.structs import replace

from superagent.core.approvers import Approvers
from superagent.core.context import Context
from superagent.core.invocation import Call, Covers, Invocation, Outcome, Status, Ticket
from superagent.core.limits import LocalBuckets, Rate
from superagent.core.looks import Looks
from superagent.core.operation import Preview
from superagent.core.pipeline import Pipeline, found_by
from superagent.core.ports import Hands, Held
from superagent.core.principal import Principal
from superagent.core.problems import (
    Conflict,
    Denied,
    InvalidInput,
    NeedsApproval,
    NotFound,
    Problem,
    RateLimited,
)
from superagent.core.redeeming import Redeeming
from superagent.core.veil import put_away, taken_out

WAITS_S = 24 * 3600.0
DECIDES_S = 10.0
ASKS = Rate(per_s=100 / 3600, burst=100)  # each waiting call costs room for a day, and somebody's attention


@dataclasses.dataclass(frozen=True, slots=True)
class Waits:
    """A call began to wait for a person: what observers hear."""

    held: Held


class ApprovalDesk:
    """Keep tickets until people have decided; approving judges the call anew and then performs it."""

    def __init__(
        self,
        pipeline: Pipeline,
        hands: Hands,
        later: Callable[[Coroutine[Any, Any, Any]], None],
        perform: Callable[[Ticket], Coroutine[Any, Any, Outcome]],
        tell: Callable[[object], None] = lambda _: None,
    ) -> None:
        self._pipeline = pipeline
        self._hands = hands
        self._later = later
        self._perform_ticket = perform
        self._asks = LocalBuckets()
        self._tell = tell
        self._looks = Looks(pipeline)
        self._approvers = Approvers(pipeline, hands)
        self._redeeming = Redeeming(pipeline, hands, self._looks, self._approvers.counted)
        pipeline.redeem = self._redeeming.redeem

    async def hold(self, ticket: Ticket, *, ahead: bool = False, inside: Ticket | None = None) -> Outcome:
        """Let a ticket wait. A dry run is only told that it would.

        `ahead` of a call that is not made yet; for a call `inside` it, which a person must approve first.
        """
        asked = inside or ticket
        invocation, decision = ticket.invocation, asked.decision
        if invocation.call.dry_run:
            # no preview: it would show the present content to somebody who may perhaps not read it
            summary = Preview(
                summary=f"would wait for {decision.approvals} approval(s): {decision.reason}",
                changes=[one.path for one in asked.invocation.found],
                exact=False,
            )
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
            if inside is not None and inside.operation.secrets:
                raise NeedsApproval(f"`{inside.operation.name}` takes secrets, which do not wait inside another call")
            with self._looks.place(asked):
                look = await self._looks.at(asked, self._hands.clock.monotonic())
            asked = look.ticket
            decision, ticket = asked.decision, ticket if inside is not None else asked
        except Problem as problem:
            self._pipeline.refuse(invocation, problem, ticket.input_digest, decision, ticket.resources)
            raise
        shown, sealed = put_away(ticket.invocation, self._hands.veil)
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
            resources=tuple(f"{one.effect.name} {one.id}" for one in asked.resources),
            sealed=sealed,
            ahead=ahead,
            input_digest=ticket.input_digest,
            inside=asked.invocation.call if inside is not None else None,
            tainted=asked.invocation.tainted,
            why=decision.reason,
        )
        # no intent: nothing is about to happen, and after a crash this call still waits
        waits = replace(self._pipeline.recorder.of("event", asked, now), status=Status.WAITING.value)
        waits = replace(waits, invocation=invocation.id)
        await self._hands.audit.durable(waits)
        try:
            stored = await self._hands.work.ask(held)
        except Problem as problem:
            self._pipeline.refuse(invocation, problem, ticket.input_digest, decision, ticket.resources)
            raise
        extra: dict[str, Any] = {"until": stored.until}
        if stored.id != held.id:  # the approver sees one request, and whoever asks again waits for that one
            self._hands.audit.note(replace(waits, detail={"joined": stored.id}))
            extra["asked"] = stored.asked
        else:
            self._tell(Waits(held))
        return Outcome(stored.id, ticket.operation.name, Status.WAITING, decision=decision, extra=extra)

    async def ahead(self, ctx: Context, call: Call) -> Outcome:
        """Ask for an approval of a call before it is made; it can be used once, by that very call.

        Raises what the call itself would, `Conflict` where nobody needs to approve it, and `InvalidInput` for what
        would wait by itself.
        """
        clock = self._hands.clock
        asked = Invocation(
            clock.new_id(), call, ctx.principal, ctx.invocation.channel, clock.now(), parent=ctx.invocation.id,
            task=ctx.invocation.task,
        )  # fmt: skip
        ticket = await self._pipeline.admit(asked)
        if isinstance(ticket, Ticket) and ticket.decision.verdict == "allow" and ticket.operation.preview is not None:
            ticket = await self._looked_for(ticket)  # it may come upon something that needs a person
        if isinstance(ticket, Outcome) or ticket.decision.verdict != "ask":
            raise Conflict(f"nobody has to approve this `{call.operation}`", hint="make the call")
        if ticket.operation.stream or ticket.operation.background:
            raise InvalidInput(
                f"`{call.operation}` goes on in the background", hint="make the call: it waits by itself"
            )
        own = replace(ticket, invocation=replace(ticket.invocation, parent=""))
        return await self.hold(own, ahead=True)

    async def _looked_for(self, ticket: Ticket) -> Ticket | Outcome:
        asked = ticket.invocation
        with self._looks.place(ticket):
            dry = replace(ticket, invocation=replace(asked, call=replace(asked.call, dry_run=True)))
            found = found_by(await self._pipeline.rehearse(dry), asked)
        return ticket if found is None else await self._pipeline.admit(replace(asked, found=found.found))

    def _charge(self, principal: Principal, now: float) -> None:
        wait = self._asks.take(f"{principal.tenant}/{principal.account}", ASKS, now)
        if wait:
            raise RateLimited(
                "more than 100 calls an hour that wait for a person", hint=f"wait {wait:.0f} s", retry_after_s=wait
            )

    async def decide(
        self,
        ctx: Context,
        id: str,
        approve: bool,
        reason: str,
        signature: dict[str, Any] | None = None,
        hash: str = "",
    ) -> Held:
        """Approve or deny a waiting ticket as the person behind `ctx`. The last approval needed sets it off.

        Raises `NotFound`, `Denied` for somebody who may not decide this one or did not sign, `Conflict` when it no
        longer waits or has another `hash` than was read, `Unavailable` for a signature that nobody here can check.
        """
        await self._held(ctx, id)  # before anything is held for them: nobody else learns what waits
        # one decision at a time, across processes too: whoever comes second finds it decided before it is recorded
        async with self._hands.locks.hold(ctx.tenant, f"approval://-/{id}", DECIDES_S):
            return await self._decide(ctx, await self._held(ctx, id), approve, reason, signature, hash)

    async def _decide(
        self, ctx: Context, held: Held, approve: bool, reason: str, signature: dict[str, Any] | None, hash: str
    ) -> Held:
        id = held.id
        if hash and hash != held.hash:
            raise Conflict("what waits is not what you read", hint="read it again, then decide")
        if held.state is not Status.WAITING:
            raise Conflict(f"`{id}` is {held.state.value}", hint="it was decided, or taken back, before you")
        if held.until < ctx.now:
            await self._hands.work.move(ctx.tenant, id, [Status.WAITING], Status.EXPIRED)
            raise Conflict(f"`{id}` waited too long and has expired", hint="the caller asks again")
        if approve and len(held.approved_by) >= held.approvals_needed:
            raise Conflict(f"`{id}` is approved already", hint="it waits for its call, or runs in a moment")
        if approve and ctx.principal.id in held.approved_by:
            raise Conflict(f"you have approved `{id}` already", hint="somebody else has to approve it too")
        detail = {"decision": "approve" if approve else "deny", "hash": held.hash, "reason": reason}
        signed = await self._approvers.signed(ctx.principal, held, approve, signature)
        record = self._pipeline.recorder.event("approvals.decide", ctx.now, ctx.tenant, ctx.principal.id, detail)
        if signed is not None:
            record = replace(record, detail={**detail, "signed": signed.name, "proof": signed.proof})
        record = replace(record, kind="approved", invocation=id)
        await self._hands.audit.durable(record)
        try:
            return await self._take(ctx, held, approve, reason)
        except Problem as problem:  # nothing came of what was just recorded, and the record says so
            none = {**detail, "effective": False}
            self._hands.audit.note(replace(record, kind="refused", problem=problem.slug, detail=none))
            raise

    async def _take(self, ctx: Context, held: Held, approve: bool, reason: str) -> Held:
        """Let a recorded decision have its effect. Raises `Conflict`, `Denied` for who could be another approver."""
        id = held.id
        if not approve:
            if not await self._hands.work.move(ctx.tenant, id, [Status.WAITING], Status.CANCELLED):
                raise Conflict(f"`{id}` was decided by somebody else meanwhile")
            refused = Denied(
                f"{ctx.principal.id} denied this call" + (f": {reason}" if reason else ""),
                hint=f"do not make it again as it is: change it, or talk to {ctx.principal.id}",
            )
            await self._hands.work.finish(
                ctx.tenant, Outcome(id, held.invocation.call.operation, Status.FAILED, problem=refused)
            )
            return dataclasses.replace(held, state=Status.CANCELLED)
        held = await self.counted(await self._hands.work.approve(ctx.tenant, id, ctx.principal.id))
        if len(held.approved_by) < held.approvals_needed or held.ahead:
            return held
        if not await self.set_off(held):
            raise Conflict(f"`{id}` was decided by somebody else meanwhile")
        return dataclasses.replace(held, state=Status.RUNNING)

    async def challenge(self, ctx: Context, id: str, approve: bool, origin: str) -> dict[str, Any]:
        """Give what a browser at `origin` needs so that a passkey signs a decision. Raises as `decide` does."""
        return await self._approvers.challenge(ctx.principal, await self._held(ctx, id), approve, origin)

    async def _held(self, ctx: Context, id: str) -> Held:
        self._approvers.require_person(ctx.principal)  # first: nobody else learns what waits by how it is refused
        held = await self._hands.work.get(ctx.tenant, id)
        if held is None:
            raise NotFound(f"no call `{id[:100]}` waits for approval")
        await self._approvers.check(ctx.principal, held)
        return await self.counted(held)

    async def counted(self, held: Held) -> Held:
        """Give a waiting call with the approvals that still count."""
        return await self._approvers.counted(held)

    async def set_off(self, held: Held) -> bool:
        """Perform what enough people have approved; False when somebody else did, or it waits no more."""
        held = await self.counted(held)
        if len(held.approved_by) < held.approvals_needed:
            return False
        if not await self._hands.work.move(held.tenant, held.id, [Status.WAITING], Status.RUNNING):
            return False
        self._later(self._perform(held))
        return True

    async def _perform(self, held: Held) -> None:
        try:
            outcome = await self._perform_ticket(await self._readmit(held))
        except Problem as problem:
            outcome = Outcome(held.id, held.invocation.call.operation, Status.FAILED, problem=problem)
        await self._hands.work.finish(held.tenant, outcome)

    async def _readmit(self, held: Held) -> Ticket:
        """Judge the call anew; anything that differs from what was approved makes it a conflict."""
        asked_for = taken_out(held.invocation, held.sealed, self._hands.veil)
        principal = await self._hands.identity.renewed(held.invocation.principal)
        invocation = replace(asked_for, resumed=True, deadline=None, principal=principal.without_proof())
        asked = await self._pipeline.admit(invocation)
        if held.inside is not None:
            covers = Covers(len(held.approved_by), held.by, hash=held.hash)
            if isinstance(asked, Outcome) or asked.decision.verdict != "allow":
                raise Conflict("policy changed since this was approved", hint="ask again")
            return replace(asked, invocation=replace(asked.invocation, covers=covers))
        if isinstance(asked, Ticket) and asked.decision.verdict == "ask":
            look = await self._looks.at(asked, self._hands.clock.monotonic())
            ticket = await self._redeeming.approved(invocation, held, look)
            expects = frozenset(str(one) for one in (held.preview or {}).get("expects", ()))
            covers = Covers(len(held.approved_by), held.by, expects=expects) if expects else None
            return replace(ticket, invocation=replace(ticket.invocation, covers=covers))
        if isinstance(asked, Outcome) or asked.decision.verdict != "allow":
            raise Conflict("policy changed since this was approved", hint="ask again")
        return asked
