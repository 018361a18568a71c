"""Tainting: the line's part in taint: who gets marked by which call, and which calls are made under a mark."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from superagent.core.execution import failed
from superagent.core.invocation import Invocation, Outcome, Ticket
from superagent.core.operation import Operation
from superagent.core.ports import Hands
from superagent.core.principal import Principal
from superagent.core.problems import Cancelled, Deadline, Denied, Locked, NeedsApproval, NotFound, Problem
from superagent.core.records import Recorder
from superagent.core.resources import Effect, Resource, Risk
from superagent.core.taint import LONGEST_SOURCE, Mark, needs_person, places_of, said, source_of, subjects_of

_OURS = (NotFound, Denied, NeedsApproval, Locked, Cancelled, Deadline)
"""Problems in the platform's own words: whoever is refused a text has not read it."""


class Tainting:
    """Mark callers and places; the pipeline has one."""

    def __init__(self, hands: Hands, recorder: Recorder) -> None:
        self._hands = hands
        self._recorder = recorder

    def judged(
        self, invocation: Invocation, operation: Operation, values: dict[str, Any], resources: tuple[Resource, ...]
    ) -> tuple[Invocation, bool]:
        """Say in a call what its caller had read when it was made, if it therefore needs a person.

        It stays so for as long as the call waits: text that is read later has no part in it. What always asks says why.
        """
        principal = invocation.principal
        if operation.asks and any(hop.kind != "human" for hop in principal.chain()):
            return replace(invocation, tainted=operation.asks), True
        subjects = subjects_of(principal, invocation.task)
        mark = self._hands.taints.of(principal.tenant, subjects) if subjects else None
        if mark is None and invocation.task and principal.workspace and "run" in operation.reaches:
            # a task has read nothing yet, but what it runs lies where somebody marked may have written it
            mark = self._hands.taints.left_in(principal.tenant, principal.workspace)
        if mark is None:
            return invocation, False
        if "run" in operation.reaches:  # what a command sends to shows while it runs
            invocation = replace(invocation, marked=said(mark))
        risk = operation.risk if operation.assess is None else Risk(max(operation.risk, operation.assess(values)))
        if not needs_person(operation.effect, risk, operation.sends, values, resources):
            return invocation, False
        return replace(invocation, tainted=said(mark)), True

    async def before(self, ticket: Ticket) -> None:
        """Mark what must be marked before a call does anything: its effects, or its events, cannot be held back."""
        operation, invocation = ticket.operation, ticket.invocation
        if invocation.call.dry_run:
            return
        if operation.untrusted != "never":
            await self.mark(invocation.principal, invocation.task, self._source(ticket), invocation.id, invocation)
        if operation.effect and ticket.resources:
            await self._mark_places(ticket)

    async def after(self, ticket: Ticket, outcome: Outcome) -> Outcome:
        """Label what a call gave, and mark its caller before it is answered; what cannot be noted is not answered."""
        invocation = ticket.invocation
        source = outcome.source or self._source(ticket)
        if not source or (isinstance(outcome.problem, _OURS) and not outcome.source):
            return outcome
        try:
            await self.mark(invocation.principal, invocation.task, source, invocation.id, invocation)
            if outcome.source and ticket.operation.effect and not invocation.call.dry_run:
                places = places_of(ticket.resources, invocation.principal.workspace)
                await self._add(invocation.principal, places, source, invocation.id, invocation)
        except Problem as problem:
            if ticket.operation.effect and not invocation.call.dry_run:  # it is done, and says so without its text
                return replace(outcome, output=b"", handle="", source=source)
            return failed(ticket, problem, outcome.seconds)
        return replace(outcome, source=source)

    async def mark(
        self, principal: Principal, task: str, source: str, id: str, invocation: Invocation | None = None
    ) -> None:
        """Mark everybody who acts in a call, but people; whoever is marked already costs nothing."""
        subjects = subjects_of(principal, task) if source else ()
        if subjects:
            await self._add(principal, subjects, source, id, invocation)

    async def ended(self, ticket: Ticket) -> None:
        """Let the taint of a task that the platform started end with it."""
        invocation = ticket.invocation
        if self._hands.taints.of(invocation.principal.tenant, [f"task:{invocation.task}"]) is not None:
            await self._hands.taints.clear(invocation.principal.tenant, f"task:{invocation.task}")

    async def _mark_places(self, ticket: Ticket) -> None:
        """Mark where untrusted text is left, for whoever reads it there: what somebody marked writes, and copies."""
        invocation = ticket.invocation
        principal = invocation.principal
        places = places_of(ticket.resources, principal.workspace)
        if not places:
            return
        mark = self._hands.taints.of(principal.tenant, subjects_of(principal, invocation.task))
        taken = tuple(one for one in ticket.resources if one.kind != "path" or one.effect is not Effect.CHANGE)
        source = (
            mark.source
            if mark
            else source_of("places", taken, principal.workspace, self._left_in(ticket))
            if taken
            else ""
        )
        if source:
            await self._add(principal, places, source, invocation.id, invocation)

    async def _add(
        self, principal: Principal, subjects: tuple[str, ...] | list[str], source: str, id: str,
        invocation: Invocation | None,
    ) -> None:  # fmt: skip
        taints, tenant = self._hands.taints, principal.tenant
        new = [one for one in subjects if taints.of(tenant, (one,)) is None]
        if not new:
            return
        now = self._hands.clock.now()
        session = invocation.call.session if invocation else ""
        marks = [Mark(one, source[:LONGEST_SOURCE], now, id, session) for one in new]
        for mark in await taints.add(tenant, marks):
            detail = {"subject": mark.subject, "source": mark.source}
            record = self._recorder.event("access.taint", now, tenant, principal.id, detail)
            self._hands.audit.note(replace(record, invocation=id, chain_of=principal.ids))

    def _source(self, ticket: Ticket) -> str:
        invocation, operation = ticket.invocation, ticket.operation
        workspace = invocation.principal.workspace
        # a preview shows what stands there, whatever the operation itself would tell
        shows = invocation.call.dry_run and any(one.kind == "path" for one in ticket.resources)
        untrusted = "places" if shows and operation.untrusted == "never" else operation.untrusted
        return source_of(untrusted, ticket.resources, workspace, self._left_in(ticket))

    def _left_in(self, ticket: Ticket) -> Callable[[str], Mark | None]:
        tenant = ticket.invocation.principal.tenant
        return lambda folder: self._hands.taints.left_in(tenant, folder)


async def nothing_approved(ticket: Ticket) -> Ticket | None:
    """Redeem nothing: what holds until there is an approval desk."""
    return None
