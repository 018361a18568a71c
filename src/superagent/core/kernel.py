"""The kernel: what every surface receives; it turns calls into outcomes by way of the one line."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal

from msgspec.structs import replace

from superagent.core.answers import Answers
from superagent.core.approvals import ApprovalDesk
from superagent.core.events import Bus
from superagent.core.invocation import Call, Invocation, Outcome, Status, Ticket, Undo
from superagent.core.limits import Slots
from superagent.core.pipeline import Pipeline
from superagent.core.policy import Policy
from superagent.core.ports import Hands, Held
from superagent.core.principal import Credential, Principal
from superagent.core.problems import Conflict, Denied, InvalidInput, NeedsApproval, NotFound, Problem, Unauthenticated
from superagent.core.registry import Registry
from superagent.core.veil import put_away, taken_out

Mode = Literal["sequential", "parallel", "atomic"]
MOST_CALLS = 1000
ENDING_S = 10.0


@dataclass(slots=True)
class Running:
    """A call under way in this process, so that it can be cancelled; one that `finishes` a stop waits for."""

    task: asyncio.Task[Any]
    principal: Principal
    finishes: bool = False


class Kernel:
    """One installation's line and what stands around it: desks, running calls, background work."""

    def __init__(
        self,
        registry: Registry,
        hands: Hands,
        bus: Bus,
        slots: Slots | None = None,
        streams_per_key: int = 8,
    ) -> None:
        self.registry = registry
        self.hands = hands
        self.bus = bus
        # a stream holds something of the machine for hours: of inotify there are 128 for all of a user's programs
        self._streams = Slots(
            streams_per_key, 64, what="streams", hint="cancel one of yours, or wait until one ends by itself"
        )
        slots = slots or Slots(per_key=256, in_all=8192)
        self.pipeline = Pipeline(lambda: self.registry, hands, bus, slots, self._streams)
        self.approvals = ApprovalDesk(self.pipeline, hands, self._later, self._perform_approved)
        self._running: dict[str, Running] = {}
        self._group: asyncio.TaskGroup | None = None

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
            try:
                yield
            finally:
                self._group = None
                running = [one.task for one in self._running.values() if not one.finishes]
                for task in running:
                    task.cancel()
                if running:
                    await asyncio.wait(running, timeout=ENDING_S)

    def _later(self, work: Coroutine[Any, Any, Any]) -> None:
        if self._group is None:
            work.close()
            raise Conflict("the platform is stopping", hint="call again when it has started")
        self._group.create_task(work)

    # ---- calling

    def known(self, token: str, remote: str, channel: str) -> Principal | None:
        """Give the principal of a key recognised a moment ago, without a wait; None: it must be looked up."""
        return self.hands.identity.known(token, remote, channel)

    async def identify(self, credential: Credential) -> Principal:
        """Give the principal of a credential; a stranger is recorded. Raises `Unauthenticated`."""
        try:
            return await self.hands.identity.identify(credential)
        except Unauthenticated as problem:
            self.pipeline.refuse_stranger(problem, credential.facts)
            raise

    def policy_of(self, principal: Principal) -> Policy:
        """Give the policy under which a principal acts."""
        return self.hands.policies.of(principal.tenant)

    def invocation(
        self, call: Call, principal: Principal, channel: str, parent: str = "", trace: str = ""
    ) -> Invocation:
        """Give a call its identity and its deadline."""
        clock = self.hands.clock
        deadline = None if call.deadline_s is None else clock.monotonic() + call.deadline_s
        return Invocation(clock.new_id(), call, principal, channel, clock.now(), parent, deadline, trace=trace)

    def run(
        self, call: Call, principal: Principal, channel: str, parent: str = "", trace: str = ""
    ) -> Coroutine[Any, Any, Outcome]:
        """Take one call through the line; a refusal is an outcome with its problem."""
        return self.carry(self.invocation(call, principal, channel, parent, trace))

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

    async def carry(self, invocation: Invocation, *, waits: bool = True) -> Outcome:
        """Take an invocation through the line; unless it `waits`, one that needs approval fails."""
        try:
            ticket = await self.pipeline.admit(invocation)
            if isinstance(ticket, Outcome):
                return ticket
            call = invocation.call
            if ticket.decision.verdict == "ask":
                if not (waits or call.dry_run):
                    problem = NeedsApproval("a call of an atomic batch needs approval, so nothing of it was done")
                    self.pipeline.refuse(invocation, problem, ticket.input_digest, ticket.decision.verdict)
                    raise problem
                return await self.approvals.hold(ticket)
            if (call.queued or ticket.operation.stream) and not call.dry_run:
                return await self._queue(ticket)
        except Problem as problem:
            return Outcome(invocation.id, invocation.call.operation, Status.FAILED, problem=problem)
        if ticket.operation.inline:
            return await self.pipeline.perform(ticket)
        return await self._perform(ticket)

    async def _perform(self, ticket: Ticket, *, finishes: bool = False) -> Outcome:
        task = asyncio.current_task()
        assert task is not None
        self._running[ticket.invocation.id] = Running(task, ticket.invocation.principal, finishes)
        try:
            return await self.pipeline.perform(ticket)
        finally:
            del self._running[ticket.invocation.id]

    async def _perform_approved(self, ticket: Ticket) -> Outcome:
        return await self._perform_later(ticket, finishes=not ticket.operation.stream)

    async def _perform_later(self, ticket: Ticket, *, finishes: bool = False) -> Outcome:
        """Perform what nobody waits for; what begins when the platform stops is cancelled like the rest."""
        if self._group is None and not finishes:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
        return await self._perform(ticket, finishes=finishes)

    async def _queue(self, ticket: Ticket) -> Outcome:
        invocation, now = ticket.invocation, self.hands.clock.now()
        if ticket.operation.stream:  # told at once; what slips through at the same moment finds no slot when it begins
            try:
                self._streams.require_free(invocation.principal.key or invocation.principal.id)
            except Problem as problem:
                self.pipeline.refuse(invocation, problem, ticket.input_digest, ticket.decision.verdict)
                raise
        resources = tuple(one.id for one in ticket.resources)
        shown, sealed = put_away(invocation, self.hands.veil)
        held = Held(
            invocation.id, invocation.principal.tenant, Status.QUEUED, shown, now, now + 86_400,
            resources=resources,
            decision_digest=ticket.decision.digest,
            sealed=sealed,
        )  # fmt: skip
        await self.hands.work.hold(held)
        self._later(self.take_up(held))
        return Outcome(invocation.id, ticket.operation.name, Status.QUEUED, decision=ticket.decision)

    def resume(self, held: Held) -> None:
        """Take up an invocation that was queued before the platform stopped."""
        self._later(self.take_up(held))

    async def take_up(self, held: Held) -> None:
        """Perform a queued invocation, judged anew: between then and now a right may have been taken away."""
        if self._group is None or not await self.hands.work.move(held.tenant, held.id, [Status.QUEUED], Status.RUNNING):
            return  # the platform stops, and takes it up at its next start; or somebody else did
        principal = held.invocation.principal.without_proof()
        limit = held.invocation.call.deadline_s  # from now on: its turn has come
        deadline = None if limit is None else self.hands.clock.monotonic() + limit
        try:
            asked_for = taken_out(held.invocation, held.sealed, self.hands.veil)
            invocation = replace(asked_for, principal=principal, resumed=True, deadline=deadline)
            ticket = await self.pipeline.admit(invocation)
            if isinstance(ticket, Outcome):
                outcome = ticket
            elif ticket.decision.verdict == "ask":
                raise NeedsApproval("policy changed while this call waited for its turn")
            else:
                outcome = await self._perform_later(ticket)
        except Problem as problem:
            outcome = Outcome(held.id, held.invocation.call.operation, Status.FAILED, problem=problem)
        await self.hands.work.finish(held.tenant, outcome)

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
            invocations = [self._of_batch(call, principal, channel, batch, trace) for call in calls]
            return await self._in_parallel(invocations, answers)
        outcomes: list[Outcome] = []
        for call in calls:
            invocation = self._of_batch(call, principal, channel, batch, trace)
            outcome = await self.carry(invocation, waits=mode != "atomic")
            outcomes.append(await answers.take(outcome))
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

    def _of_batch(self, call: Call, principal: Principal, channel: str, batch: str, trace: str) -> Invocation:
        # not `parent`: each call of a batch pays its own rate and is undone on its own
        return replace(self.invocation(call, principal, channel, trace=trace), batch=batch)

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

    def may_look(self, principal: Principal, ids: tuple[str, ...], tenant: str) -> bool:
        """Tell whether a principal may see an invocation: its own, one on its behalf, any if it may read the audit."""
        if principal.tenant != tenant:
            return False
        if principal.id in ids:
            return True
        audit = self.registry.get("audit.query")
        return self.policy_of(principal).may_try(principal, audit)

    async def cancel(self, principal: Principal, id: str) -> Status:
        """Stop a running, queued or waiting invocation. Raises `NotFound`, or `Conflict` when it has ended."""
        running = self._running.get(id)
        if running is not None and self.may_look(principal, running.principal.ids, running.principal.tenant):
            self._own(principal, running.principal, id)
            running.task.cancel()
            return Status.CANCELLED
        held = await self.held(principal, id)
        self._own(principal, held.invocation.principal, id)
        if not await self.hands.work.move(principal.tenant, id, [Status.WAITING, Status.QUEUED], Status.CANCELLED):
            raise Conflict(f"`{id}` is {held.state.value} and cannot be cancelled here")
        return Status.CANCELLED

    def _own(self, principal: Principal, caller: Principal, id: str) -> None:
        # whoever may read the audit sees it, and is no master of it
        if principal.id not in caller.ids:
            raise Denied(f"`{id}` is not yours, nor was it made on your behalf")

    async def held(self, principal: Principal, id: str) -> Held:
        """Give a stored invocation that the caller may see. Raises `NotFound`."""
        held = await self.hands.work.get(principal.tenant, id)
        if held is None or not self.may_look(principal, held.invocation.principal.ids, held.tenant):
            raise NotFound(f"there is no invocation `{id[:100]}`")
        return held
