"""Jobs: stored invocations as their owners look at them, wait for them, stop them and run them again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec.structs import replace

from superagent.core.context import Context
from superagent.core.invocation import Outcome, Status
from superagent.core.kernel import Kernel
from superagent.core.lookup import Invocations
from superagent.core.ports import Held
from superagent.core.problems import Conflict, Denied, TooLarge
from superagent.core.questions import MOST_BYTES, Question
from superagent.core.veil import taken_out
from superagent.runtime import log
from superagent.runtime.job_hands import JobHands
from superagent.runtime.sandbox.output import shown
from superagent.runtime.work import SqlWork
from superagent.runtime.work_logs import LogStream, StoredLogs

OPEN = frozenset({Status.WAITING, Status.QUEUED, Status.RUNNING, Status.ASKING})
LOOK_S = 0.2
ORDERS_S = 0.5
LOOKED_BACK = 50  # events among which the last word on progress and containment is looked for


class Jobs(Invocations):
    """Fill what the operations on jobs need; every method judges what its caller may see."""

    def __init__(self, kernel: Kernel, records: Any, work: SqlWork, logs: StoredLogs, hands: JobHands) -> None:
        super().__init__(kernel, records)
        self._work = work
        self._logs = logs
        self._hands = hands
        self._stopping: set[asyncio.Task[None]] = set()
        self._waits: dict[str, Wait] = {}  # by the call that waits
        work.repeats = kernel.queue.repeats

    @asynccontextmanager
    async def lifespan(self) -> AsyncGenerator[None]:
        """Hear what other processes want of the jobs that run here, while the body runs."""
        obeying = asyncio.create_task(self._obey())
        try:
            yield
        finally:
            obeying.cancel()
            for one in self._stopping:
                one.cancel()
            await asyncio.gather(obeying, *self._stopping, return_exceptions=True)

    # ---- looking

    async def page(
        self, ctx: Context, states: Sequence[str], mine: bool, cursor: str, limit: int
    ) -> tuple[list[dict[str, Any]], str | None]:
        """Give (jobs newest first, cursor of the next page): the caller's own, or all that it may see."""
        everybody = not mine and self._kernel.may_audit(ctx.principal)
        person = "" if everybody else ctx.principal.mark
        wanted = [Status.UNKNOWN if one == "interrupted" else Status(one) for one in states]
        found = await self._work.listed(ctx.tenant, person=person, states=wanted, before=cursor, limit=limit + 1)
        more = len(found) > limit
        return [about(one) for one in found[:limit]], found[limit - 1].id if more else None

    async def status(self, ctx: Context, id: str) -> dict[str, Any]:
        """Give what the caller may see of one. Raises `NotFound`."""
        known = await super().status(ctx, id)
        held = await self._work.get(ctx.tenant, id)
        job = {"state": state_of(Status(known["status"]))} if held is None else about(held)
        told = await self._told(ctx.tenant, id) if held is not None else {}
        return {**job, **told, **known}

    async def _told(self, tenant: str, id: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for data in await self._work.newest(tenant, id, LOOKED_BACK):
            event: Any = msgspec.json.decode(data)
            kind = event.get("kind")
            if kind in ("progress", "contained"):
                found.setdefault(kind, {name: value for name, value in event.items() if name != "kind"})
        return found

    async def logs(
        self, ctx: Context, id: str, stream: LogStream, since: int, most: int, wait_s: float
    ) -> dict[str, Any]:
        """Give a piece of a job's log; when there is none yet, wait for it up to `wait_s`. Raises `NotFound`."""
        await self._visible(ctx, id)
        until = asyncio.get_running_loop().time() + wait_s
        while True:
            state = (await self._work.states(ctx.tenant, [id])).get(id)
            ended = state not in OPEN
            # the state first: what was written before the end is in the log by the time the end is seen
            page = await self._logs.read(ctx.tenant, id, stream, since, most)
            if page.data or ended or asyncio.get_running_loop().time() >= until:
                break
            await asyncio.sleep(LOOK_S)
        last = page.offset + len(page.data) >= page.end
        text, encoding = shown(page.data, whole=ended and last)
        size = len(text.encode()) if encoding == "utf-8" else len(page.data)
        return {
            "invocation": id, "stream": stream, "text": text, "encoding": encoding, "offset": page.offset,
            "next": page.offset + size, "first": page.first, "end": page.end,
            "missed": max(0, page.offset - since) if since >= 0 else 0, "over": ended and last,
        }  # fmt: skip

    async def wait(self, ctx: Context, ids: Sequence[str], all: bool, timeout_s: float) -> list[dict[str, Any]]:
        """Wait until one or all of some jobs have ended, or the time is up; give how they stand.

        A job that waits for others gives its turn away meanwhile. Raises `NotFound`, and `Conflict` for one that would
        wait for itself, at once or by what the others wait for.
        """
        for id in ids:
            await self._visible(ctx, id)
        own = ctx.invocation
        wanted = Wait(own.callers[0] if own.callers else own.id, tuple(ids), all)
        if comes_back(self._waits.values(), wanted):
            raise Conflict("this job would wait for itself", hint="wait for other jobs, or outside of a job")
        self._waits[own.id] = wanted
        try:
            async with self._kernel.queue.resting(wanted.job, ends=not own.callers):
                return await self._waited(ctx, ids, all, timeout_s)
        finally:
            del self._waits[own.id]

    async def _waited(self, ctx: Context, ids: Sequence[str], all: bool, timeout_s: float) -> list[dict[str, Any]]:
        until = asyncio.get_running_loop().time() + timeout_s
        while True:
            states = await self._work.states(ctx.tenant, ids)
            ended = [id for id in ids if states.get(id) not in OPEN]
            if len(ended) == len(ids) or (ended and not all) or asyncio.get_running_loop().time() >= until:
                break
            await asyncio.sleep(LOOK_S)
        return [
            {"invocation": id, "state": state_of(states.get(id, Status.UNKNOWN)), "ended": id in ended} for id in ids
        ]

    async def _visible(self, ctx: Context, id: str) -> Held:
        return await self._kernel.held(ctx.principal, id)

    # ---- stopping

    async def stop(self, ctx: Context, id: str, grace_s: float) -> str:
        """Stop one and give its state; a command is asked first and has some seconds to end by itself, still `running`.

        Raises `NotFound`, `Denied` for one that is not the caller's, `Conflict` when it has ended.
        """
        held = await self._kernel.stored(ctx.principal, id)
        if held is None or held.state is not Status.RUNNING:
            return await self.cancel(ctx, id)
        await self._own(ctx, id)
        if id in self._kernel.under_way:
            self._begin_stop(id, grace_s)
        else:
            await self._work.order(ctx.tenant, id, "stop", grace_s)
        return Status.RUNNING.value

    async def signal(self, ctx: Context, id: str, number: int) -> None:
        """Send a signal to the command of a job. Raises `NotFound`, `Denied`, `Conflict` for one that runs none."""
        held = await self._own(ctx, id)
        if held.state is not Status.RUNNING:
            raise Conflict(f"`{id}` is {state_of(held.state)}, so there is nobody to signal")
        if id not in self._kernel.under_way:
            await self._work.order(ctx.tenant, id, "signal", number)
        elif not await self._hands.signal(id, number):
            raise Conflict(f"`{id}` runs no command now", hint="stop it with `jobs.cancel`")

    async def answer(self, ctx: Context, id: str, answers: dict[str, Any]) -> tuple[Question, ...]:
        """Answer what a job asks, and give what it still asks. Raises `NotFound`, `Denied`, `Conflict`, `TooLarge`."""
        if len(msgspec.json.encode(answers)) > MOST_BYTES:
            raise TooLarge(f"answers take up to {MOST_BYTES} bytes in all")
        return await self._kernel.answer(ctx.principal, id, answers)

    async def ended(self, ctx: Context, id: str, wait_s: float) -> Outcome | None:
        """Wait until a job has ended and give what came of it; None when it has not by then."""
        jobs = await self._waited(ctx, [id], all=True, timeout_s=wait_s)
        outcome = await self._work.outcome(ctx.tenant, id) if jobs[0]["ended"] else None
        ctx.source = outcome.source if outcome else ""
        return outcome

    async def _own(self, ctx: Context, id: str) -> Held:
        held = await self._visible(ctx, id)
        self._kernel.own(ctx.principal, held.invocation.principal, id)
        return held

    def _begin_stop(self, id: str, grace_s: float) -> None:
        task = asyncio.create_task(self._stop(id, grace_s))
        self._stopping.add(task)
        task.add_done_callback(self._stopping.discard)

    async def _stop(self, id: str, grace_s: float) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + grace_s
        if await self._hands.ask_to_stop(id):
            while id in self._kernel.under_way and loop.time() < until:  # noqa: ASYNC110 - a call ends without a bell
                await asyncio.sleep(min(LOOK_S, max(0.0, until - loop.time())))
        self._kernel.under_way.stop(id)

    async def _obey(self) -> None:
        while True:
            await asyncio.sleep(ORDERS_S)
            try:
                running = self._kernel.under_way.ids
                if not running:
                    continue
                for id, kind, value in await self._work.orders(running):
                    if kind == "stop":
                        self._begin_stop(id, value)
                    else:
                        await self._hands.signal(id, int(value))
            except Exception as fault:  # this must go on: without it nobody could stop what runs here
                log.fault("", fault)

    async def forget(self, ctx: Context, ids: Sequence[str]) -> None:
        """Remove what is stored of ended jobs; all of them or none. Raises `NotFound`, `Denied`, `Conflict`."""
        held = [await self._own(ctx, id) for id in ids]
        if alive := next((one for one in held if one.state in OPEN), None):
            raise Conflict(f"`{alive.id}` is {state_of(alive.state)}", hint="stop it first with `jobs.cancel`")
        for one in held:
            await self._work.forget(ctx.tenant, one.id)

    # ---- again

    async def retry(self, ctx: Context, id: str) -> Outcome:
        """Run a job that has ended once more, as a new one with the same input, by the line. Raises its refusal.

        Only who made a call may repeat it: the input is theirs, and under somebody else's rights it could do more.
        """
        held = await self._own(ctx, id)
        before = held.invocation
        if before.principal.mark != ctx.principal.mark:
            raise Denied(f"`{id}` is a call of `{before.principal.id}`", hint="it can only be repeated by who made it")
        if held.state in OPEN:
            raise Conflict(f"`{id}` is {state_of(held.state)}", hint="wait for it, or stop it with `jobs.cancel`")
        again = taken_out(before, held.sealed, self._kernel.hands.veil).call
        call = replace(again, key="", queued=True)
        invocation = self._kernel.invocation(call, ctx.principal, ctx.invocation.channel, trace=ctx.invocation.trace)
        outcome = await self._kernel.carry(invocation, retry_of=id)
        if outcome.problem is not None:
            raise outcome.problem
        return outcome


@dataclass(frozen=True, slots=True)
class Wait:
    """A job of this process that waits for others: for all of them, or for any one."""

    job: str
    ids: tuple[str, ...]
    every: bool

    def stuck(self, jobs: Collection[str]) -> bool:
        """Tell whether it never ends while these do not."""
        return (any if self.every else all)(id in jobs for id in self.ids)


def comes_back(waits: Collection[Wait], wanted: Wait) -> bool:
    """Tell whether a job would wait for itself for ever, by who waits for whom already."""
    jobs, known = {wanted.job}, 0
    while len(jobs) > known:
        known = len(jobs)
        jobs |= {one.job for one in waits if one.stuck(jobs)}
    return wanted.stuck(jobs)


def about(held: Held) -> dict[str, Any]:
    """Give what a list shows of a job; never its input."""
    invocation = held.invocation
    return {
        "invocation": held.id, "operation": invocation.call.operation, "state": state_of(held.state),
        "owner": invocation.principal.id, "name": held.name or None, "at": held.at, "started": held.started,
        "ended": held.ended, "retry_of": held.retry_of or None, "schedule": held.schedule or None,
    }  # fmt: skip


def state_of(status: Status) -> str:
    """Give the state of a job: `unknown` reads `interrupted` there (rules.md 3)."""
    return "interrupted" if status is Status.UNKNOWN else status.value
