"""Jobs: invocations that nobody waits for; look at them, read their logs, wait for them, stop them, run them again."""

from __future__ import annotations

import signal as signals
from collections.abc import Awaitable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Annotated, Any, Literal, Protocol

from pydantic import Field

from superagent.sdk import Context, Effect, Example, Face, Outcome, Plugin, Preview, Question, Risk

from .model import (
    Again,
    Answered,
    Asked,
    Awaited,
    AwaitedAll,
    Forgotten,
    Id,
    Job,
    Listed,
    Log,
    Signal,
    Signalled,
    Standing,
    State,
    Stopped,
    Stream,
)
from .scheduling import Schedules, add_to

FOLLOW_S = 30.0
ENDING_S = 15.0
MOST_ANSWERS = 32

Grace = Annotated[float, Field(ge=0, le=60, description="seconds that a command has to end by itself")]
Limit = Annotated[int, Field(ge=1, le=500)]
MostBytes = Annotated[int, Field(ge=1, le=1024 * 1024)]
Patience = Annotated[float, Field(ge=0, le=3600)]


class Jobs(Protocol):
    """What is known of jobs, and what can be done to them; each method judges what its caller may see."""

    def lifespan(self) -> AbstractAsyncContextManager[None]:
        """Hear what other processes want, while the body runs."""
        ...

    def page(
        self, ctx: Context, states: Sequence[str], mine: bool, cursor: str, limit: int
    ) -> Awaitable[tuple[list[dict[str, Any]], str | None]]:
        """Give (jobs newest first, cursor of the next page)."""
        ...

    def status(self, ctx: Context, id: str) -> Awaitable[dict[str, Any]]:
        """Give what the caller may see of one. Raises `NotFound`."""
        ...

    def logs(
        self, ctx: Context, id: str, stream: Stream, since: int, most: int, wait_s: float
    ) -> Awaitable[dict[str, Any]]:
        """Give a piece of a log. Raises `NotFound`."""
        ...

    def wait(self, ctx: Context, ids: Sequence[str], all: bool, timeout_s: float) -> Awaitable[list[dict[str, Any]]]:
        """Wait for one or all. Raises `NotFound`."""
        ...

    def stop(self, ctx: Context, id: str, grace_s: float) -> Awaitable[str]:
        """Stop one and give its state. Raises `NotFound`, `Denied`, `Conflict` when it has ended."""
        ...

    def ended(self, ctx: Context, id: str, wait_s: float) -> Awaitable[Outcome | None]:
        """Give what came of one once it has ended, None when it has not by then."""
        ...

    def signal(self, ctx: Context, id: str, number: int) -> Awaitable[None]:
        """Send a signal to the command of one. Raises `NotFound`, `Denied`, `Conflict`."""
        ...

    def answer(self, ctx: Context, id: str, answers: dict[str, Any]) -> Awaitable[tuple[Question, ...]]:
        """Answer one, and give what it still asks. Raises `NotFound`, `Denied`, `Conflict`, `TooLarge`."""
        ...

    def forget(self, ctx: Context, ids: Sequence[str]) -> Awaitable[None]:
        """Remove what is stored of some that have ended. Raises `NotFound`, `Denied`, `Conflict`."""
        ...

    def retry(self, ctx: Context, id: str) -> Awaitable[Outcome]:
        """Run one again as a new one. Raises `NotFound`, `Denied`, `Conflict`, and what the line raises."""
        ...


def plugin(jobs_: Jobs, schedules: Schedules) -> Plugin:
    """Make the plugin over the jobs and schedules of this installation."""
    jobs = Plugin("jobs")
    jobs.lifespans.append(jobs_.lifespan)

    @jobs.operation(name="jobs.list", risk=Risk.LOW, effect=Effect.READ)
    async def list_(
        ctx: Context, state: list[State] | None = None, mine: bool = False, cursor: str = "", limit: Limit = 50
    ) -> Listed:
        """List jobs, newest first: yours, those of your agents, and all of them if you may read the audit.

        A job is a call that waits, is queued, runs, or ran in the background in the last seven days. `mine` leaves out
        what you only see because you may read the audit.
        """
        found, next = await jobs_.page(ctx, state or (), mine, cursor, limit)
        return Listed(jobs=[Job(**one) for one in found], cursor=next)

    @jobs.operation(risk=Risk.LOW, effect=Effect.READ, face=Face(uri="invocation://{id}"))
    async def status(ctx: Context, id: Id) -> Standing:
        """Give the state of a job or any other invocation, how far it is, how it is limited, and what came of it."""
        return Standing(**await jobs_.status(ctx, id))

    @jobs.operation(risk=Risk.LOW, effect=Effect.READ, timeout_s=FOLLOW_S + 30, returns_untrusted="always")
    async def logs(
        ctx: Context,
        id: Id,
        stream: Stream = "stdout",
        since: int = 0,
        max_bytes: MostBytes = 64 * 1024,
        follow: bool = False,
    ) -> Log:
        """Read what the command of a job has written so far, from an offset on; a negative one counts from the end.

        With `follow`, wait up to 30 s until there is something new: ask again from `next` until it is `over`. Of each
        stream the newest 4 MiB are kept; secret values that the call knows are not shown.
        """
        left = ctx.remaining_s
        wait_s = 0.0 if not follow else FOLLOW_S if left is None else max(0.0, min(FOLLOW_S, left - 0.5))
        return Log(**await jobs_.logs(ctx, id, stream, since, max_bytes, wait_s))

    @jobs.operation(risk=Risk.LOW, effect=Effect.READ, timeout_s=3630.0)
    async def wait(
        ctx: Context,
        ids: Annotated[list[Id], Field(min_length=1, max_length=100)],
        mode: Literal["all", "any"] = "all",
        timeout_s: Patience = 30.0,
    ) -> AwaitedAll:
        """Wait until all of some jobs have ended, or any one of them, or the time is up; then say how they stand."""
        left = ctx.remaining_s
        most = timeout_s if left is None else max(0.0, min(timeout_s, left - 0.5))
        found = [Awaited(**one) for one in await jobs_.wait(ctx, ids, mode == "all", most)]
        enough = all if mode == "all" else any
        return AwaitedAll(jobs=found, done=enough(one.ended for one in found))

    @jobs.operation(
        risk=Risk.LOW,
        effect=Effect.CHANGE,
        timeout_s=120.0,
        ephemeral="it only ends what is under way; what was changed can be undone",
    )
    async def cancel(ctx: Context, id: Id, grace_s: Grace = 5.0, undo: bool = False) -> Stopped:
        """Stop an invocation that waits, is queued or runs; with `undo`, take back what it has changed by then.

        A command is asked to end (SIGTERM) and killed after `grace_s` seconds. To take back needs the right to it.
        """
        status = await jobs_.stop(ctx, id, grace_s)
        if status != "running" and not undo:
            return Stopped(invocation=id, status=status)
        outcome = await jobs_.ended(ctx, id, grace_s + ENDING_S)
        if outcome is None:
            why = "it has not ended yet: undo it when it has" if undo else None
            return Stopped(invocation=id, status=status, why_not=why)
        if not undo:
            return Stopped(invocation=id, status=outcome.status)
        if outcome.undo is None or not outcome.undo.possible:
            why = "nothing was changed" if outcome.undo is None else outcome.undo.why
            return Stopped(invocation=id, status=outcome.status, why_not=why)
        await ctx.call("undo.apply", {"ids": [id]})
        return Stopped(invocation=id, status=outcome.status, undone=True)

    @jobs.operation(
        risk=Risk.LOW,
        effect=Effect.CHANGE,
        ephemeral="the job goes on with what it was told; what it changes then is taken back on its own",
        examples=(Example("say the name", {"id": "01J…", "answers": {"name": {"name": "notes"}}}),),
    )
    async def answer(
        ctx: Context, id: Id, answers: Annotated[dict[str, Any], Field(min_length=1, max_length=MOST_ANSWERS)]
    ) -> Answered:
        """Answer what a job of yours asks (`jobs.status` shows it): a value for each name, null to refuse.

        It goes on once all is answered, judged anew.
        """
        left = await jobs_.answer(ctx, id, answers)
        return Answered(invocation=id, asks=[Asked(**one.document()) for one in left])

    @jobs.operation(risk=Risk.LOW, effect=Effect.CHANGE, ephemeral="a signal is heard or not, and nothing of it stays")
    async def signal(ctx: Context, id: Id, signal: Signal) -> Signalled:
        """Send a signal to the command of a running job and what shares its process group."""
        await jobs_.signal(ctx, id, signals.Signals[f"SIG{signal}"].value)
        return Signalled(invocation=id, signal=signal)

    @jobs.operation(
        risk=Risk.LOW,
        effect=Effect.DESTROY,
        irreversible="what is forgotten is not kept a second time; the audit keeps its records of it",
        examples=(Example("make room", {"ids": ["01J…"]}),),
    )
    async def forget(ctx: Context, ids: Annotated[list[Id], Field(min_length=1, max_length=100)]) -> Forgotten:
        """Forget jobs of yours that have ended, with their logs, events and outcomes, before their week is over.

        It makes room where jobs, views and undo hold more than they may. What they changed can still be undone.
        """
        await jobs_.forget(ctx, ids)
        return Forgotten(invocations=ids)

    @forget.preview
    async def _(ctx: Context, ids: list[str]) -> Preview:
        found = [await jobs_.status(ctx, id) for id in ids]
        changes = [f"{one['invocation']}: {one['operation']}, {one['state']}" for one in found]
        return Preview(summary=f"would forget {len(ids)} job(s) with their logs", changes=changes)

    @jobs.operation(
        risk=Risk.LOW,
        effect=Effect.CHANGE,
        ephemeral="the new job is judged, recorded and taken back on its own",
        examples=(Example("once more", {"id": "01J…"}),),
    )
    async def retry(ctx: Context, id: Id) -> Again:
        """Run a job of yours that has ended once more, as a new job with the same input, judged as of now."""
        outcome = await jobs_.retry(ctx, id)
        return Again(invocation=outcome.invocation, retry_of=id, status=outcome.status)

    add_to(jobs, schedules)
    return jobs
