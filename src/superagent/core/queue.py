"""The queue: calls that were admitted and are performed later, each judged anew when its turn comes."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

from msgspec.structs import replace

from superagent.core.invocation import Outcome, Status, Ticket
from superagent.core.limits import Slots
from superagent.core.operation import Operation
from superagent.core.pipeline import Pipeline
from superagent.core.ports import Hands, Held
from superagent.core.problems import Internal, NeedsApproval, NeedsInput, Problem
from superagent.core.turns import Turns
from superagent.core.veil import put_away, taken_out

QUEUED_S = 86_400.0
LONGEST_NAME = 100
MOST_RESTING = 32


class Queue:
    """What is queued is stored; this process takes it up when a turn is free, and so does every other."""

    def __init__(
        self,
        pipeline: Pipeline,
        hands: Hands,
        find: Callable[[str], Operation | None],
        streams: Slots,
        turns: Turns,
        perform: Callable[[Ticket], Awaitable[Outcome]],
    ) -> None:
        self._pipeline = pipeline
        self._hands = hands
        self._find = find
        self._streams = streams
        self._turns = turns
        self._perform = perform
        self._in_line: set[str] = set()
        self._holding: dict[str, str] = {}  # who has which turn, by invocation
        self._resting: Counter[str] = Counter()
        self._closed = False

    def open(self) -> None:
        """Take up what is queued from now on."""
        self._closed = False
        self._turns.open()

    def close(self) -> None:
        """Take up nothing more: what waits for its turn stays queued, for the next start."""
        self._closed = True
        self._turns.close()

    def holds(self, id: str) -> bool:
        """Tell whether an invocation is in line here already."""
        return id in self._in_line

    async def hold(self, ticket: Ticket, retry_of: str) -> Held:
        """Store an admitted call that waits for its turn. Raises `Overloaded`; that is in the audit then."""
        invocation, now, operation = ticket.invocation, self._hands.clock.now(), ticket.operation
        if operation.stream:  # told at once; what slips through at the same moment finds no slot when it begins
            try:
                self._streams.require_free(invocation.principal.bucket)
            except Problem as problem:
                self._pipeline.refuse(invocation, problem, ticket.input_digest, ticket.decision, ticket.resources)
                raise
        shown, sealed = put_away(invocation, self._hands.veil)
        held = Held(
            invocation.id, invocation.principal.tenant, Status.QUEUED, shown, now, now + QUEUED_S,
            resources=tuple(one.id for one in ticket.resources),
            decision_digest=ticket.decision.digest,
            sealed=sealed,
            name=str(ticket.values.get("name") or "")[:LONGEST_NAME] if operation.background else "",
            retry_of=retry_of,
        )  # fmt: skip
        try:
            await self._hands.work.hold(held)
        except Problem as problem:
            self._pipeline.refuse(invocation, problem, ticket.input_digest, ticket.decision, ticket.resources)
            raise
        return held

    async def take_up(self, held: Held) -> None:
        """Wait for a turn, then perform a queued invocation unless somebody else has taken it up by then."""
        operation = self._find(held.invocation.call.operation)
        if operation is not None and operation.stream:  # streams have slots of their own
            await self._begin(held)
            return
        holder = held.invocation.principal.bucket
        self._in_line.add(held.id)
        try:
            if not await self._turns.take(holder):
                return
        finally:
            self._in_line.discard(held.id)
        self._holding[held.id] = holder
        try:
            await self._begin(held)
        finally:
            if self._holding.pop(held.id, None) is not None:
                self._turns.give(holder)

    @asynccontextmanager
    async def resting(self, id: str, *, ends: bool = False) -> AsyncGenerator[None]:
        """Let others have the turn of an invocation while the body only waits; afterwards it takes one again.

        So jobs that wait for others do not keep these from running. `ends` says that nothing is done after the body.
        Of one holder so many rest at most; for more than these, and for what holds no turn, nothing happens.
        """
        holder = self._holding.get(id)
        if holder is None or self._resting[holder] >= MOST_RESTING:
            yield
            return
        del self._holding[id]
        self._resting[holder] += 1
        self._turns.give(holder)
        try:
            yield
        finally:
            self._resting[holder] -= 1
            if not self._resting[holder]:
                del self._resting[holder]
        if not ends and await self._turns.take(holder, first=True):
            self._holding[id] = holder

    def repeats(self, held: Held) -> bool:
        """Tell whether a call that was cut off may be run again by itself: only if its operation says so."""
        operation = self._find(held.invocation.call.operation)
        return operation is not None and (operation.idempotent or operation.resumes) and not operation.stream

    async def _begin(self, held: Held) -> None:
        work = self._hands.work
        if self._closed or not await work.move(held.tenant, held.id, [Status.QUEUED], Status.RUNNING):
            return  # the platform stops, and takes it up at its next start; or somebody else did
        try:
            outcome = await self._judged_anew(held)
        except Problem as problem:
            outcome = Outcome(held.id, held.invocation.call.operation, Status.FAILED, problem=problem)
        if outcome.status is Status.CANCELLED and self._closed and self._lasts(held):
            # nobody stopped it but the platform itself
            if self.repeats(held):
                await work.move(held.tenant, held.id, [Status.RUNNING], Status.QUEUED)
                return
            outcome = _interrupted(outcome)
        asks = isinstance(outcome.problem, NeedsInput) and self._lasts(held)
        if asks and await work.park(held, replace(outcome, status=Status.ASKING)):
            return
        await work.finish(held.tenant, outcome)

    async def _judged_anew(self, held: Held) -> Outcome:
        """Perform it as the policy is now: between then and now a right may have been taken away."""
        principal = (await self._hands.identity.renewed(held.invocation.principal)).without_proof()
        limit = held.invocation.call.deadline_s  # from now on: its turn has come
        deadline = None if limit is None else self._hands.clock.monotonic() + limit
        asked_for = taken_out(held.invocation, held.sealed, self._hands.veil)
        ticket = await self._pipeline.admit(replace(asked_for, principal=principal, resumed=True, deadline=deadline))
        if isinstance(ticket, Outcome):
            return ticket
        if ticket.decision.verdict == "ask":
            problem = NeedsApproval("this call needs a person's approval now that its turn has come")
            self._pipeline.refuse(ticket.invocation, problem, ticket.input_digest, ticket.decision, ticket.resources)
            raise problem
        return await self._perform(ticket)

    def _lasts(self, held: Held) -> bool:
        operation = self._find(held.invocation.call.operation)
        return operation is None or not operation.stream


def _interrupted(outcome: Outcome) -> Outcome:
    """Give what became of a job that ended only because the platform stopped: it is never run again by itself."""
    changed, partly = "unknown", ()
    if outcome.problem is not None:
        changed, partly = outcome.problem.changed, outcome.problem.partly
    fault = Internal(
        "the platform stopped while this job ran",
        hint="look at what it did, then `jobs.retry`",
        changed=changed,
        partly=partly,
    )
    return replace(outcome, status=Status.UNKNOWN, problem=fault)
