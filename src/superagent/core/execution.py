"""Execution: run one permitted call, and say honestly what it left behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import aclosing, suppress
from contextvars import copy_context
from typing import Any

from msgspec.structs import replace

from superagent.core.asking import Deferred
from superagent.core.changes import resource_of, rights_of, to_its_end
from superagent.core.context import UNDO_KEPT_S, Context, Line
from superagent.core.current import CALL
from superagent.core.invocation import DONE, Invocation, Outcome, Status, Ticket, Undo
from superagent.core.leaks import without_keys
from superagent.core.limits import Slots
from superagent.core.operation import Operation, Preview
from superagent.core.policy import Policy
from superagent.core.ports import Hands, Kept
from superagent.core.problems import Broken, Cancelled, Deadline, Denied, Internal, NeedsApproval, NeedsInput, Problem
from superagent.core.reads import Answer, Reads
from superagent.core.records import Recorder
from superagent.core.redactor import Redactor, cleaned, loggable, present

INLINE_BYTES = 1024 * 1024
DEAD = "this key is revoked, expired, paused or stopped, or its roles have changed"
STOPS = "the platform stops"
"""Why a call is cancelled whom nobody told to end: what lasts longer than this process may go on elsewhere."""
LOOK_S = 1.0
"""How often a stream that says nothing is asked whether it may still go on."""

Tell = Callable[[bytes], Awaitable[None]]
"""Takes an event of a stream, as JSON, and returns when there is room for the next one."""


class Execution:
    """Run tickets. Only the pipeline has one: nothing else executes operations."""

    def __init__(
        self, hands: Hands, slots: Slots, streams: Slots, line: Line, recorder: Recorder, followed: dict[str, Tell]
    ) -> None:
        self._hands = hands
        self._slots = slots
        self._streams = streams
        self._line = line
        self._recorder = recorder
        self.reads = Reads(hands.veil)
        self._followed = followed

    def context(self, ticket: Ticket) -> Context:
        """Give what the implementation of a permitted call may do."""
        policy = self._hands.policies.of(ticket.invocation.principal.tenant)
        return Context(ticket, policy, self._hands, self._line)

    def run(self, ticket: Ticket, policy: Policy, *, whole: bool = False) -> Coroutine[Any, Any, Outcome]:
        """Run the operation under its deadline; catches everything, gives an outcome.

        `whole` says that its output is for the platform itself: however long it is, no handle is made of it.
        """
        return (self._guarded if ticket.operation.holds_secrets else self.plain)(ticket, policy, whole)

    def again(self, ticket: Ticket, policy: Policy) -> Outcome | None:
        """Give what a read was answered before, as long as that holds; None when it has to be run."""
        hands = self._hands
        started = hands.clock.monotonic()
        answer = self.reads.again(ticket, started, lambda: Context(ticket, policy, hands, self._line))
        if answer is None:
            return None
        data, tag, digest = answer
        took = hands.clock.monotonic() - started
        return Outcome(
            ticket.invocation.id, ticket.operation.name, DONE, data, None, (), None,
            ticket.decision, "", took, {}, None, None, "", None, tag, digest,
        )  # fmt: skip

    async def _guarded(self, ticket: Ticket, policy: Policy, whole: bool) -> Outcome:
        """Run what holds secrets: all that it gives, tells and logs goes through one redactor."""
        outer = present.get()
        redactor = Redactor() if outer is None else outer
        token = present.set(redactor)
        try:
            for argument, _ in ticket.operation.secrets:
                if ticket.values[argument] is not None:
                    redactor.add(argument, ticket.values[argument])
            return await self.plain(ticket, policy, whole)
        except Problem as problem:
            return failed(ticket, problem, 0.0)
        finally:
            present.reset(token)

    async def plain(self, ticket: Ticket, policy: Policy, whole: bool = False) -> Outcome:
        """Run what holds no secrets; as `run`."""
        invocation, operation, hands = ticket.invocation, ticket.operation, self._hands
        started = hands.clock.monotonic()
        ctx = Context(ticket, policy, hands, self._line)
        try:
            if operation.inline and not invocation.call.dry_run:  # it has ended before anything could count or stop it
                data, tag, digest = _written(operation, await operation.run(ctx, **ticket.values)), "", ""
            else:
                data, tag, digest = await self._answered(ctx, ticket, started)
            if ctx.notes:
                await to_its_end(self._ended(ctx))
            asked = invocation.call.max_bytes
            # nobody may ask for more at once than the platform would give by itself: a batch holds every answer
            most = INLINE_BYTES if asked is None else min(asked, INLINE_BYTES)
            handle = ""
            if len(data) > most and not whole:
                handle, data, tag, digest = await self._kept_apart(ctx, data), b"", "", ""
            return Outcome(  # by place: with names it takes three times as long
                invocation.id,
                operation.name,
                Status.PREVIEWED if invocation.call.dry_run else DONE,
                data,
                None,
                tuple(ctx.effects),
                undo_of(ctx) if operation.effect else None,
                ticket.decision,
                handle,
                hands.clock.monotonic() - started,
                {},
                ctx.isolation,
                ctx.cost,
                ctx.source,
                None,
                tag,
                digest,
                tuple(ctx.reached),
            )
        except Deferred:
            return Outcome(invocation.id, operation.name, Status.QUEUED, decision=ticket.decision)
        except Problem as problem:
            fault = problem
        except TimeoutError:
            fault = Deadline(
                f"`{operation.name}` did not end in time", hint="give it more time with `Superagent-Deadline`"
            )
        except asyncio.CancelledError as cut:
            late = invocation.deadline is not None and hands.clock.monotonic() >= invocation.deadline
            fault = Deadline(f"`{operation.name}` did not end in time") if late else Cancelled("the call was cancelled")
            if cut.args == (DEAD,):
                fault = dead()
            task = asyncio.current_task()
            if task is not None:
                task.uncancel()
        except Exception as bug:
            hands.fault(invocation.id, loggable(bug))
            told = bug.told if isinstance(bug, Broken) else "something broke inside the platform"
            fault = Internal(told, changed="unknown" if ctx.effects else "nothing")
        fault = await self._after_fault(ctx, fault)
        if ctx.found and isinstance(fault, NeedsApproval) and not (ctx.effects or ctx.changed or invocation.found):
            ctx.asks = replace(ticket, invocation=replace(invocation, found=tuple(ctx.found)))
        return failed(ticket, fault, hands.clock.monotonic() - started, ctx)

    async def _answered(self, ctx: Context, ticket: Ticket, started: float) -> Answer:
        """Give an output and its names; a read that was given before is given again for as long as that holds."""
        operation = ticket.operation
        if operation.validator is None or ticket.invocation.call.dry_run:
            return await self._afresh(ctx, ticket), "", ""
        again = self.reads.again(ticket, started, lambda: ctx)
        if again is None and await self.reads.other_read(ticket):
            again = self.reads.again(ticket, started, lambda: ctx)
        if again is not None:
            return again
        with self.reads.reading(ticket):
            return self.reads.take(ctx, ticket, await self._afresh(ctx, ticket), started)

    async def _afresh(self, ctx: Context, ticket: Ticket) -> bytes:
        operation = ticket.operation
        data = _written(operation, await self._counted(ctx, ticket))
        if operation.inline or operation.shows_keys:  # what takes under 20 µs has read no text of anybody's
            return data
        return self._told(ticket, data)

    async def _counted(self, ctx: Context, ticket: Ticket) -> Any:
        """Run what takes a while: it holds a slot, has a deadline, and what it reaches is told in its name."""
        invocation = ticket.invocation
        holder = invocation.principal.bucket
        under_way = CALL.set(invocation)
        try:
            if not invocation.parent:
                self._slots.enter(holder)
            try:
                async with asyncio.timeout_at(self._until(invocation, ticket.operation)):
                    return await self._run(ctx, ticket)
            finally:
                if not invocation.parent:
                    self._slots.leave(holder)
        finally:
            CALL.reset(under_way)

    def _until(self, invocation: Invocation, operation: Operation) -> float:
        own = self._hands.clock.monotonic() + operation.timeout_s
        return own if invocation.deadline is None else min(own, invocation.deadline)

    async def _run(self, ctx: Context, ticket: Ticket) -> Any:
        operation = ticket.operation
        if operation.refuses is not None:
            await operation.refuses(ctx.principal, ticket.values)
        if ticket.invocation.call.dry_run:
            if operation.preview is not None:
                return await operation.preview(ctx, **ticket.values)
            what = "reads" if not operation.effect else "would change"
            return Preview(
                summary=f"{what} {', '.join(one.id for one in ticket.resources) or 'nothing outside the platform'}",
                exact=False,
            )
        if operation.background or ("run" in operation.reaches and not operation.stream):
            # whoever waits for a command called at a moment that was right for it: only what is taken away ends it
            return await self._for_as_long_as_it_stands(
                ticket, operation.run(ctx, **ticket.values), anew=operation.background
            )
        if not operation.stream:
            return await operation.run(ctx, **ticket.values)
        holder, count = ctx.principal.bucket, 0
        self._streams.enter(holder)
        try:
            async with aclosing(self._while_it_stands(ticket, operation.run(ctx, **ticket.values))) as events:
                async for event in events:
                    data = self._told(ticket, cleaned(operation.dump(event)))
                    tell = self._followed.get(ticket.invocation.id)
                    if tell is None:
                        await self._hands.work.append(ctx.tenant, ticket.invocation.id, data)
                    else:
                        await tell(data)
                    count += 1
        finally:
            self._streams.leave(holder)
        return Preview(summary=f"{count} events")

    def _told(self, ticket: Ticket, data: bytes) -> bytes:
        """Give what a call gives without keys: each that is found is ended."""
        return without_keys(data, lambda token: self._hands.leaked(token, ticket.invocation))

    async def _for_as_long_as_it_stands(self, ticket: Ticket, work: Awaitable[Any], *, anew: bool) -> Any:
        """Do what goes on for long, but no longer than the key and the grant that allow it."""
        doing, why = asyncio.ensure_future(work), ()
        try:
            while not (await asyncio.wait([doing], timeout=LOOK_S))[0]:
                self._line.stands(ticket, anew=anew)
        except asyncio.CancelledError as cut:
            why = cut.args
            raise
        finally:
            while not doing.done():
                doing.cancel(*why)
                with suppress(asyncio.CancelledError):  # a second one reaches the work as well, and is waited for
                    await asyncio.wait([doing])
        return doing.result()

    async def _while_it_stands(self, ticket: Ticket, events: AsyncGenerator[Any]) -> AsyncGenerator[Any]:
        """Give events for as long as the permission stands: a silent stream must end with its key or grant too."""
        # each step is a task, and what one sets for itself, such as where it may connect, holds in the next
        inside, create = copy_context(), asyncio.get_running_loop().create_task
        try:
            while True:
                step = create(_next(events), context=inside)
                try:
                    while not (await asyncio.wait([step], timeout=LOOK_S))[0]:
                        self._line.stands(ticket)
                finally:
                    if not step.done():
                        step.cancel()
                        await asyncio.wait([step])
                event = step.result()
                if event is None:
                    return
                self._line.stands(ticket)
                yield event
        finally:
            await to_its_end(create(_closed(events), context=inside))

    async def _kept_apart(self, ctx: Context, data: bytes) -> str:
        """Store an output that is too long to be sent, and give its handle."""
        return await self._hands.blobs.put(ctx.principal, _once(data), what="result")

    async def _ended(self, ctx: Context) -> None:
        """Note that what an operation kept itself of its changes happened: it ended well.

        Only its end says so: of a call that was killed in between, or failed, nobody knows.
        """
        try:
            for entry in ctx.notes:
                await self._hands.undo.close(ctx.tenant, ctx.invocation.id, entry, None)
        except Exception as bug:  # the change is made, and can be taken back: it reads as unknown
            self._hands.fault(ctx.invocation.id, loggable(bug))

    async def _after_fault(self, ctx: Context, fault: Problem) -> Problem:
        """Say honestly what a failed call left behind; what is all or nothing is put back first, and verified."""
        if ctx.effects and (ctx.operation.atomic or isinstance(fault, NeedsApproval)):
            try:
                await self._put_back(ctx)
            except Exception as bug:
                self._hands.fault(ctx.invocation.id, loggable(bug))
        left = dict.fromkeys(one.resource for one in ctx.effects)
        if left or fault.changed == "nothing":
            fault.changed, fault.partly = ("partly" if left else "nothing"), tuple(left)
        if (redactor := present.get()) is not None:
            redactor.problem(fault)
        return fault

    async def _put_back(self, ctx: Context) -> None:
        """Put back, newest first, what a call and those it made have changed; what is as before is forgotten."""
        for kept in reversed(await self._hands.undo.of(ctx.tenant, ids=[ctx.invocation.id])):
            judged = self._as_made(ctx, kept).judged_as(rights_of(kept))
            resource = resource_of(kept)
            if kept.before is None:
                await undo_function(ctx.judged_as(kept.operation))(judged, kept)
            else:
                await judged.put_back(kept)
            if kept.before is None or await judged.state_of(resource) == kept.before:
                await self._hands.undo.drop(kept.id)
                ctx.effects[:] = [one for one in ctx.effects if one.resource != kept.resource]
                if kept.invocation != ctx.invocation.id:
                    record = self._recorder.event(kept.operation, ctx.now, ctx.tenant, ctx.principal.id)
                    self._hands.audit.note(
                        replace(record, kind="undo", invocation=kept.invocation, parent=ctx.invocation.id)
                    )

    def _as_made(self, ctx: Context, kept: Kept) -> Context:
        """Give the context of a call with the reach of the operation that changed something within it."""
        made = self._line.find(kept.operation)
        return ctx if made is None else self.context(replace(ctx.ticket, operation=made))


def _written(operation: Operation, output: Any) -> bytes:
    """Give an output as JSON text, without what the call under way has to hide."""
    data = operation.dump(output) if output is not None else b"{}"
    redactor = present.get()
    return data if redactor is None else redactor.document(data)


def undo_of(ctx: Context) -> Undo | None:
    """Say whether and until when a call can be taken back."""
    operation = ctx.operation
    if not operation.effect or ctx.invocation.call.dry_run:
        return None
    if operation.takes_back in ("ephemeral", "irreversible"):
        return Undo(False, why=operation.why)
    if ctx.isolation is not None and ctx.isolation.level == "none":
        return Undo(False, why="nothing contained it, so what it changed was not kept")
    if not ctx.effects:
        return Undo(False, why="nothing was changed")
    return Undo(True, until=round(ctx.now + UNDO_KEPT_S, 3))


def dead() -> Denied:
    """Give the problem of a credential that does not stand any more."""
    return Denied(DEAD, hint="ask its owner for a new one")


def failed(ticket: Ticket, problem: Problem, seconds: float, ctx: Context | None = None) -> Outcome:
    """Give the outcome of a call that did not succeed."""
    return Outcome(
        ticket.invocation.id,
        ticket.operation.name,
        Status.CANCELLED if isinstance(problem, Cancelled) else Status.FAILED,
        problem=problem,
        effects=tuple(ctx.effects) if ctx else (),
        undo=undo_of(ctx) if ctx and ctx.effects else None,
        decision=ticket.decision,
        seconds=seconds,
        isolation=ctx.isolation if ctx else None,
        cost=ctx.cost if ctx else None,
        source=ctx.source if ctx else "",
        asks=ctx.asks if ctx and isinstance(problem, NeedsApproval) else None,
        reached=tuple(ctx.reached) if ctx else (),
    )


def begins_anew(outcome: Outcome) -> bool:
    """Tell whether a call has done nothing yet and will be made again: it asks for something, or became a job."""
    return outcome.status is Status.QUEUED or isinstance(outcome.problem, NeedsInput)


def undo_function(ctx: Context) -> Callable[..., Awaitable[Any]]:
    """Give the function by which what a context is judged as takes itself back."""
    function = ctx.judged.undo
    assert function is not None  # only operations with one can keep anything
    return function


async def _next(events: AsyncGenerator[Any]) -> Any:
    return await anext(events, None)


async def _closed(events: AsyncGenerator[Any]) -> None:
    await events.aclose()


async def _once(data: bytes) -> AsyncGenerator[bytes]:
    yield data
