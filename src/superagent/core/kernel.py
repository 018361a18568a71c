"""The kernel: what every surface receives; it turns calls into outcomes by way of the one line."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Literal

from msgspec.structs import replace

from superagent.core.answers import Answers
from superagent.core.approvals import ApprovalDesk
from superagent.core.events import Bus
from superagent.core.execution import Tell
from superagent.core.held import Held, no_invocation
from superagent.core.invocation import Call, Invocation, Outcome, Status, Ticket, Undo
from superagent.core.limits import Slots
from superagent.core.mounts import Mount
from superagent.core.operation import Operation
from superagent.core.pipeline import Pipeline, found_by
from superagent.core.policy import Policy
from superagent.core.ports import Hands
from superagent.core.principal import Credential, Principal
from superagent.core.problems import Conflict, Denied, InvalidInput, NeedsApproval, Problem, Unauthenticated
from superagent.core.questions import Question
from superagent.core.queue import Queue
from superagent.core.registry import Registry
from superagent.core.turns import Turns
from superagent.core.under_way import UnderWay

Mode = Literal["sequential", "parallel", "atomic"]
MOST_CALLS = 1000
MOST_JOBS = 64
RESTING = (Status.WAITING, Status.QUEUED, Status.ASKING)


class Kernel:
    """One installation's line and what stands around it: desks, running calls, background work."""

    def __init__(
        self,
        registry: Registry,
        hands: Hands,
        bus: Bus,
        slots: Slots | None = None,
        streams_per_key: int = 8,
        jobs_per_key: int = 8,
    ) -> None:
        self.hands = hands
        self.bus = bus
        self.mounts: tuple[Mount, ...] = ()
        # a stream holds something of the machine for hours: of inotify there are 128 for all of a user's programs
        self._streams = Slots(
            streams_per_key, 64, what="streams", hint="cancel one of yours, or wait until one ends by itself"
        )
        slots = slots or Slots(per_key=256, in_all=8192)
        self._followed: dict[str, Tell] = {}  # by call: who takes the events of a stream as they come
        self.pipeline = Pipeline(registry, hands, bus, slots, self._streams, self._followed)
        self.approvals = ApprovalDesk(self.pipeline, hands, self._later, self._perform_approved, bus.publish)
        self.under_way = UnderWay(hands.identity.alive)
        self.queue = Queue(
            self.pipeline, hands, self.find, self._streams, Turns(jobs_per_key, MOST_JOBS), self._perform_later
        )
        self._group: asyncio.TaskGroup | None = None

    @property
    def registry(self) -> Registry:
        """Give the operations that there are; another registry takes the place of all at once."""
        return self.pipeline.registry

    @registry.setter
    def registry(self, registry: Registry) -> None:
        self.pipeline.registry = registry

    # ---- running

    @asynccontextmanager
    async def serving(self) -> AsyncGenerator[None]:
        """Own the background work while the body runs.

        At its end what still runs is cancelled, and waited for until it has recorded what became of it: 10 s at most,
        for a call that is in a thread ends with that. What a person has approved is done, unless it is a stream: nobody
        would ask for it again.
        """
        async with asyncio.TaskGroup() as group:
            self._group = group
            self.queue.open()
            try:
                yield
            finally:
                self._group = None
                self.queue.close()
                await self.under_way.end()

    def _later(self, work: Coroutine[Any, Any, Any]) -> None:
        if self._group is None:
            work.close()
            raise Conflict("the platform is stopping", hint="call again when it has started")
        self._group.create_task(work)

    def find(self, operation: str) -> Operation | None:
        """Give an operation by name, None when it is not installed."""
        return self.registry.find(operation)

    # ---- calling

    async def identify(self, credential: Credential) -> Principal:
        """Give the principal of a credential; a stranger is recorded. Raises `Unauthenticated`."""
        try:
            principal = await self.hands.identity.identify(credential)
        except Unauthenticated as problem:
            self.pipeline.refuse_stranger(problem, credential.facts)
            raise
        if not self.pipeline.recorder.knows(principal):
            await self.hands.thread(self.pipeline.recorder.prepare, principal)
        return principal

    def policy_of(self, principal: Principal) -> Policy:
        """Give the policy under which a principal acts."""
        return self.hands.policies.of(principal.tenant)

    def invocation(
        self,
        call: Call,
        principal: Principal,
        channel: str,
        parent: str = "",
        trace: str = "",
        able: tuple[str, ...] = (),
        batch: str = "",
    ) -> Invocation:
        """Give a call its identity and its deadline; `able` is what its caller's client can be asked for."""
        clock = self.hands.clock
        deadline = None if call.deadline_s is None else clock.monotonic() + call.deadline_s
        id, now = clock.new_id(), clock.now()
        # by place: a struct that is made with names takes three times as long
        return Invocation(id, call, principal, channel, now, parent, deadline, trace, batch, able)

    def run(
        self, call: Call, principal: Principal, channel: str, parent: str = "", trace: str = ""
    ) -> Coroutine[Any, Any, Outcome]:
        """Take one call through the line; a refusal is an outcome with its problem."""
        return self.carry(self.invocation(call, principal, channel, parent, trace))

    async def follow(self, call: Call, principal: Principal, channel: str, tell: Tell, trace: str = "") -> Outcome:
        """Take a call through the line, and hand over the events of a stream as they come: for a caller that stays.

        They are stored nowhere, and the stream ends with the task that awaits this. One that asks goes on by itself.
        """
        invocation = self.invocation(call, principal, channel, trace=trace)
        self._followed[invocation.id] = tell
        try:
            return await self.carry(invocation)
        finally:
            del self._followed[invocation.id]

    def refused(self, call: Call, principal: Principal, channel: str, problem: Problem, trace: str = "") -> Outcome:
        """Record a call that its surface could not even read; it costs its rate like every other."""
        invocation = self.invocation(call, principal, channel, trace=trace)
        try:
            self.pipeline.throttle(principal)
        except Problem as limited:
            problem = limited
        self.pipeline.refuse(invocation, problem)
        return Outcome(invocation.id, call.operation, Status.FAILED, problem=problem)

    def beside(self, principal: Principal, what: str = "") -> None:
        """Let a caller have what is no operation, such as an upload or the feed: charged, recorded as `what`.

        Raises `Unauthenticated`, `RateLimited`, `AuditUnavailable`.
        """
        if not self.hands.identity.alive(principal):
            raise Unauthenticated("this key is not known, or no longer valid")
        self.pipeline.throttle(principal)
        if what:
            now = self.hands.clock.now()
            self.hands.audit.note(self.pipeline.recorder.event(what, now, principal.tenant, principal.id))

    async def carry(self, invocation: Invocation, *, waits: bool = True, retry_of: str = "") -> Outcome:
        """Take an invocation through the line; unless it `waits`, one that needs approval fails.

        `retry_of` is the job that it repeats.
        """
        outcome = await self.pipeline.plain.perform(invocation)
        if outcome is not None:
            return outcome
        if asyncio.current_task() is None:  # a door took the first step in a callback: what may wait is a task's
            await asyncio.sleep(0)
        try:
            ticket, call = self.pipeline.permit(invocation), invocation.call
            if call.key:
                admitted = await self.pipeline.remember(ticket)
                if isinstance(admitted, Outcome):
                    return admitted
                ticket = admitted
            if ticket.decision.verdict == "ask":
                if not (waits or call.dry_run):
                    problem = NeedsApproval("a call of an atomic batch needs approval, so nothing of it was done")
                    self.pipeline.refuse(invocation, problem, ticket.input_digest, ticket.decision, ticket.resources)
                    raise problem
                later = call.dry_run or call.queued or ticket.operation.stream or ticket.operation.background
                approved = None if later else await self.pipeline.redeem(ticket)
                if approved is None:
                    return await self.approvals.hold(ticket)
                ticket = approved
            alone = ticket.operation.stream and invocation.id not in self._followed
            if (call.queued or alone or ticket.operation.background) and not call.dry_run:
                held = await self.queue.hold(ticket, retry_of)
                self.resume(held)
                return Outcome(
                    invocation.id, call.operation, Status.QUEUED, decision=ticket.decision,
                    extra={"background": True} if ticket.operation.background else {},
                )  # fmt: skip
        except Problem as problem:
            return Outcome(invocation.id, invocation.call.operation, Status.FAILED, problem=problem)
        if ticket.operation.inline:
            return await self.pipeline.perform(ticket)
        outcome = await self._perform(ticket)
        if outcome.status is Status.QUEUED:
            return await self._go_on_as_job(ticket, outcome, retry_of)
        if (found := found_by(outcome, invocation)) is not None:
            return await self.carry(found, waits=waits, retry_of=retry_of)
        if outcome.asks is None or not waits or call.dry_run:
            return outcome
        try:  # nothing has happened: it begins anew once a person has approved the call within it
            return await self.approvals.hold(ticket, inside=outcome.asks)
        except Problem as problem:
            return replace(outcome, problem=problem)

    async def _go_on_as_job(self, ticket: Ticket, outcome: Outcome, retry_of: str) -> Outcome:
        call = replace(ticket.invocation.call, queued=True)
        ticket = replace(ticket, invocation=replace(ticket.invocation, call=call))
        try:
            self.resume(await self.queue.hold(ticket, retry_of))
        except Problem as problem:
            return replace(outcome, status=Status.FAILED, problem=problem)
        return outcome

    async def _perform(self, ticket: Ticket, *, finishes: bool = False) -> Outcome:
        with self.under_way.holding(ticket.invocation.id, ticket.invocation.principal, finishes):
            return await self.pipeline.perform(ticket)

    async def _perform_approved(self, ticket: Ticket) -> Outcome:
        # what goes on until somebody ends it is not waited for
        return await self._perform_later(ticket, finishes=not (ticket.operation.stream or ticket.operation.background))

    async def _perform_later(self, ticket: Ticket, *, finishes: bool = False) -> Outcome:
        """Perform what nobody waits for; what begins when the platform stops is cancelled like the rest."""
        if self._group is None and not finishes:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
        return await self._perform(ticket, finishes=finishes)

    def resume(self, held: Held) -> None:
        """Take up an invocation that is queued, when its turn comes; one that is in line here already stays there."""
        if not self.queue.holds(held.id):
            self._later(self.queue.take_up(held))

    # ---- many at once

    async def batch(
        self, calls: list[Call], mode: Mode, stop_on_error: bool, principal: Principal, channel: str, trace: str = ""
    ) -> list[Outcome]:
        """Run many calls; `atomic` runs in order and takes everything back when one does not end well.

        Only the calls themselves are judged and recorded; they share the batch's id as parent. Their outputs come whole
        up to 16 MiB in all, then under handles.
        """
        if len(calls) > MOST_CALLS:
            raise InvalidInput(
                f"a batch takes at most {MOST_CALLS} calls", hint="send several batches, or use `/v1/stream`"
            )
        if mode == "atomic":
            self._refuse_irreversible(calls, principal)
        batch, answers = self.hands.clock.new_id(), Answers(self.hands.blobs, principal)
        if mode == "parallel":
            invocations = [self.invocation(one, principal, channel, trace=trace, batch=batch) for one in calls]
            return await self._in_parallel(invocations, answers)
        outcomes: list[Outcome] = []
        for call in calls:
            # not `parent`: each call of a batch pays its own rate and is undone on its own
            invocation = self.invocation(call, principal, channel, trace=trace, batch=batch)
            outcome = await self.carry(invocation, waits=mode != "atomic")
            outcomes.append(outcome if answers.fits(outcome) else await answers.apart(outcome))
            failed = outcome.problem is not None
            if mode == "atomic" and failed:
                return await self._take_back(outcomes, principal, channel, trace)
            if failed and stop_on_error:
                break
        return outcomes

    def _refuse_irreversible(self, calls: list[Call], principal: Principal) -> None:
        policy = self.policy_of(principal)
        for at, call in enumerate(calls):
            found = self.registry.find(call.operation)
            if found is not None and found.takes_back == "irreversible" and policy.may_try(principal, found):
                raise InvalidInput(
                    f"call {at}, `{found.name}`, cannot be taken back ({found.why}), so no atomic batch can hold it",
                    hint="run it by itself, after the batch",
                )

    async def _in_parallel(self, invocations: list[Invocation], answers: Answers) -> list[Outcome]:
        limit = asyncio.Semaphore(16)

        async def one(invocation: Invocation) -> Outcome:
            async with limit:
                return await answers.take(await self.carry(invocation))

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(invocation)) for invocation in invocations]
        return [task.result() for task in tasks]

    async def _take_back(
        self, outcomes: list[Outcome], principal: Principal, channel: str, trace: str
    ) -> list[Outcome]:
        for at in range(len(outcomes) - 2, -1, -1):
            done = outcomes[at]
            if done.undo is None or not done.undo.possible:
                continue
            back = await self.run(Call("undo.apply", {"ids": [done.invocation]}), principal, channel, trace=trace)
            if back.problem is None:
                outcomes[at] = replace(done, status=Status.UNDONE, undo=Undo(False, why="taken back with its batch"))
            else:
                last_problem = outcomes[-1].problem
                if last_problem is not None:
                    last_problem.changed = "partly"
                    last_problem.partly = (*last_problem.partly, *(one.resource for one in done.effects))
        return outcomes

    # ---- looking and stopping

    def may_look(self, principal: Principal, marks: tuple[str, ...], tenant: str) -> bool:
        """Tell whether a principal may see what was made by whom `marks` name: on its behalf, or if it may audit."""
        return principal.tenant == tenant and (principal.mark in marks or self.may_audit(principal))

    def may_audit(self, principal: Principal) -> bool:
        """Tell whether a principal may read the audit of its tenant."""
        found = self.registry.find("audit.query")
        return found is not None and self.policy_of(principal).may_try(principal, found)

    async def cancel(self, principal: Principal, id: str) -> Status:
        """Stop a running, queued or waiting invocation. Raises `NotFound`, or `Conflict` when it has ended."""
        caller = self.under_way.caller(id)
        if caller is not None and self.may_look(principal, caller.marks, caller.tenant):
            self.own(principal, caller, id)
            self.under_way.stop(id)
            return Status.CANCELLED
        held = await self.held(principal, id)
        self.own(principal, held.invocation.principal, id)
        if not await self.hands.work.move(principal.tenant, id, RESTING, Status.CANCELLED):
            raise Conflict(f"`{id}` is {held.state.value} and cannot be cancelled here")
        return Status.CANCELLED

    def own(self, principal: Principal, caller: Principal, id: str) -> None:
        """Go on only for the caller, and those on whose behalf it acted. Raises `Denied`.

        Whoever may read the audit sees a call, and is no master of it.
        """
        if principal.mark not in caller.marks:
            raise Denied(f"`{id}` is not yours, nor was it made on your behalf")

    async def answer(self, principal: Principal, id: str, answers: dict[str, Any]) -> tuple[Question, ...]:
        """Answer what a job asks, and give what it still asks; once that is nothing, it goes on.

        Raises `NotFound`, `Denied`, and `Conflict` when it asks for nothing.
        """
        held = await self.held(principal, id)
        self.own(principal, held.invocation.principal, id)
        held, left = await self.hands.work.answer(principal.tenant, id, answers)
        if not left:
            self.resume(held)
        return left

    async def held(self, principal: Principal, id: str) -> Held:
        """Give a stored invocation that the caller may see. Raises `NotFound`."""
        held = await self.stored(principal, id)
        if held is None:
            raise no_invocation(id)
        return held

    async def stored(self, principal: Principal, id: str) -> Held | None:
        """Give the same; None for one that is not there or not the caller's, found out in one way."""
        mark = "" if self.may_audit(principal) else principal.mark
        held = await self.hands.work.get(principal.tenant, id, mark)
        mine = held is not None and self.may_look(principal, held.invocation.principal.marks, held.tenant)
        return held if mine else None
