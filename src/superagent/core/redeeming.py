"""Redeeming: an approval that was given before its call, or for a call within another, is used once, or not at all."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from msgspec.structs import replace

from superagent.core.invocation import CHANGED, Covers, Invocation, Outcome, Status, Ticket
from superagent.core.looks import Look, Looks
from superagent.core.pipeline import Pipeline
from superagent.core.ports import Hands, Held
from superagent.core.problems import Conflict, Problem


class Redeeming:
    """Find what people approved of a call that needs them, and judge it by that."""

    def __init__(
        self, pipeline: Pipeline, hands: Hands, looks: Looks, counted: Callable[[Held], Awaitable[Held]]
    ) -> None:
        self._pipeline = pipeline
        self._hands = hands
        self._looks = looks
        self._counted = counted  # with the approvals that still count

    async def redeem(self, ticket: Ticket) -> Ticket | None:
        """Give the ticket of a call that was approved already, None when nobody has decided about it.

        Raises `Conflict` when what would happen is not what was approved: that approval is spent, and the next call
        asks anew.
        """
        try:
            within = await self._within(ticket)
            return within or await self._ahead(ticket)
        except Problem as problem:
            self._pipeline.refuse(ticket.invocation, problem, ticket.input_digest, ticket.decision, ticket.resources)
            raise

    async def approved(self, invocation: Invocation, held: Held, look: Look) -> Ticket:
        """Judge a call with its approvals, unless anything differs from what was approved. Raises `Conflict`."""
        if look.hash != held.hash:
            raise Conflict(CHANGED, hint="ask again; the approver sees the new effect")
        ready = replace(invocation, resumed=True, approvals=len(held.approved_by), shown=look.shown)
        ticket = await self._pipeline.admit(ready)
        if isinstance(ticket, Outcome) or ticket.decision.verdict != "allow":
            raise Conflict("policy changed since this was approved", hint="ask again")
        return ticket

    async def _within(self, ticket: Ticket) -> Ticket | None:
        """Use what the approval of the call around it covers."""
        covers = ticket.invocation.covers
        if covers is None or not set(ticket.decision.by) <= set(covers.by):
            return None
        if covers.hash:
            look = await self._looks.at(ticket, self._hands.clock.monotonic())
            ticket = replace(look.ticket, invocation=replace(look.ticket.invocation, shown=look.shown))
            named = {look.hash} if look.hash == covers.hash else set[str]()
        else:
            names = named_by(ticket)
            named = names if names <= covers.expects else set[str]()
        if not named or named & covers.spent:
            return None
        covers.spent.update(named)
        return await self._judged(ticket, covers)

    async def _judged(self, ticket: Ticket, covers: Covers) -> Ticket | None:
        again = await self._pipeline.admit(replace(ticket.invocation, resumed=True, approvals=covers.approvals))
        return again if isinstance(again, Ticket) and again.decision.verdict == "allow" else None

    async def _ahead(self, ticket: Ticket) -> Ticket | None:
        """Use an approval that was asked for ahead of this very call."""
        invocation = ticket.invocation
        principal = invocation.principal
        alike = [
            one
            for one in await self._hands.work.ahead(principal.tenant, principal.id)
            if one.invocation.call.operation == ticket.operation.name
            and one.invocation.principal.ids == principal.ids
            and one.input_digest == ticket.input_digest
        ]
        counted = [await self._counted(one) for one in alike]
        asked = [one for one in counted if len(one.approved_by) >= one.approvals_needed]
        if not asked:
            return None
        look = await self._looks.at(ticket, self._hands.clock.monotonic())
        held = next((one for one in asked if one.hash == look.hash), asked[0])
        if not await self._hands.work.move(principal.tenant, held.id, [Status.WAITING], Status.RUNNING):
            return None  # another call was quicker: an approval is used once
        used = Outcome(held.id, ticket.operation.name, Status.DONE, extra={"used_by": invocation.id})
        try:
            ready = await self.approved(look.ticket.invocation, held, look)
            detail = {"ahead": held.id, "hash": held.hash, "by": ", ".join(held.approved_by)}
            record = self._pipeline.recorder.event(
                "approvals.redeem", self._hands.clock.now(), principal.tenant, principal.id, detail
            )
            await self._hands.audit.durable(replace(record, kind="approved", invocation=invocation.id))
        except Problem as problem:
            used = replace(used, status=Status.FAILED, problem=problem)
            raise
        finally:
            await self._hands.work.finish(principal.tenant, used)
        return ready


def named_by(ticket: Ticket) -> set[str]:
    """Name a call as previews do that expect it: the operation, with each resource it touches."""
    name = ticket.operation.name
    return {f"{name} {one.id}" for one in ticket.resources} or {name}
