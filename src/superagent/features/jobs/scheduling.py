"""The operations on schedules: calls that are made later, or again and again, with the rights their owner has then."""

from __future__ import annotations

from collections.abc import Awaitable
from contextlib import AbstractAsyncContextManager
from typing import Annotated, Any, Literal, Protocol

from pydantic import Field

from superagent.sdk import (
    Context,
    Effect,
    Example,
    Keeper,
    Nothing,
    Output,
    Plugin,
    Preview,
    Resource,
    Risk,
    put_back,
)

Missed = Literal["once", "skip"]
Overlap = Literal["skip", "allow"]
Name = Annotated[str, Field(max_length=100)]
Cron = Annotated[str, Field(max_length=200, description="minute, hour, day of month, month, day of week")]
At = Annotated[str, Field(max_length=60, description="ISO 8601, such as `2026-12-24T18:00`")]
Zone = Annotated[str, Field(max_length=60, description="of the IANA data base, such as `Europe/Berlin`")]


class Schedules(Keeper, Protocol):
    """The schedules of the installation, and how the state of one is kept and put back."""

    def lifespan(self) -> AbstractAsyncContextManager[None]:
        """Make the calls that are due, while the body runs."""
        ...

    def check_times(self, cron: str, at: str, timezone: str) -> None:
        """Go on only if these say when. Raises `InvalidInput`."""
        ...

    def spec(
        self,
        ctx: Context,
        call: tuple[str, dict[str, Any]],
        when: tuple[str, str, str],
        rules: tuple[Missed, Overlap],
        name: str,
    ) -> Any:
        """Give a schedule of (operation, input) at (cron, at, time zone). Raises `InvalidInput`."""
        ...

    def check(self, ctx: Context, spec: Any) -> Awaitable[None]:
        """Go on only if its call would be allowed now. Raises what the line raises."""
        ...

    def add(self, ctx: Context, id: str, spec: Any) -> Awaitable[None]:
        """Store a schedule. Raises `TooLarge`."""
        ...

    def remove(self, ctx: Context, id: str) -> Awaitable[None]:
        """Remove one."""
        ...

    def page(self, ctx: Context, cursor: str, limit: int) -> Awaitable[tuple[list[dict[str, Any]], str | None]]:
        """Give (those that the caller may see, cursor of the next page)."""
        ...

    def own(self, ctx: Context, id: str) -> Awaitable[Any]:
        """Give one that is the caller's. Raises `NotFound`, `Denied`."""
        ...

    def described(self, ctx: Context, id: str) -> Awaitable[dict[str, Any]]:
        """Give what is shown of one."""
        ...


class Schedule(Output):
    """A schedule: `due` are its next times in epoch seconds, `last` the newest job that it made.

    `state` is `active`, `ended` when it has no times any more, or `paused` when its owner may act no more.
    """

    id: str
    operation: str
    name: str | None = None
    owner: str
    state: Literal["active", "ended", "paused"]
    cron: str | None = None
    at: float | None = None
    timezone: str
    missed: Missed
    overlap: Overlap
    due: list[float]
    runs: int
    skipped: int
    last: str | None = None


class Scheduled(Output):
    """Schedules, oldest first; `cursor` asks for the next page, None on the last."""

    schedules: list[Schedule]
    cursor: str | None = None


def add_to(jobs: Plugin, schedules_: Schedules) -> None:
    """Add the operations on schedules to the plugin `jobs`."""
    jobs.lifespans.append(schedules_.lifespan)
    jobs.resource("schedule", schedules_)

    @jobs.operation(
        risk=Risk.MEDIUM,
        effect=Effect.CHANGE,
        undo=put_back,
        examples=(
            Example(
                "every working day at half past two in the night",
                {
                    "operation": "files.hash",
                    "input": {"path": "report.txt"},
                    "cron": "30 2 * * mon-fri",
                    "timezone": "Europe/Berlin",
                },
            ),
        ),
    )
    async def schedule(
        ctx: Context,
        operation: str,
        input: dict[str, Any],
        cron: Cron = "",
        at: At = "",
        timezone: Zone = "UTC",
        name: Name = "",
        missed: Missed = "once",
        overlap: Overlap = "skip",
    ) -> Schedule:
        """Run a call later (`at`) or again and again (`cron`), on the clock of a time zone, as a job each time.

        Each run is judged by the rights that you have then; it proves no second factor, and one that would need a
        person's approval fails. What was missed while the platform stood still runs `once` or is skipped (`skip`),
        however often it was missed. While the last run goes on, the next is left out (`skip`) or runs beside it
        (`allow`). Where the clock is set forward, what falls into the gap runs after it; where it is set back, what
        comes twice runs the first time.
        """
        spec = schedules_.spec(ctx, (operation, input), (cron, at, timezone), (missed, overlap), name)
        await schedules_.check(ctx, spec)
        id = ctx.invocation.id  # one id: whoever knows the call knows the schedule
        async with ctx.changing(_resource(id)):
            await schedules_.add(ctx, id, spec)
        return Schedule(**await schedules_.described(ctx, id))

    @schedule.touches
    def _(values: dict[str, Any], workspace: str) -> list[Resource]:
        """Name nothing more; what says no time is refused before a person is asked about it."""
        schedules_.check_times(values["cron"], values["at"], values["timezone"])
        return []

    @schedule.preview
    async def _(
        ctx: Context,
        operation: str,
        input: dict[str, Any],
        cron: Cron = "",
        at: At = "",
        timezone: Zone = "UTC",
        name: Name = "",
        missed: Missed = "once",
        overlap: Overlap = "skip",
    ) -> Preview:
        spec = schedules_.spec(ctx, (operation, input), (cron, at, timezone), (missed, overlap), name)
        await schedules_.check(ctx, spec)
        when = f"at `{at}`" if at else f"by `{cron}`"
        return Preview(summary=f"would run `{operation}` {when} in the time zone {timezone}")

    @jobs.operation(risk=Risk.LOW, effect=Effect.CHANGE, undo=put_back)
    async def unschedule(ctx: Context, id: Annotated[str, Field(min_length=1, max_length=100)]) -> Nothing:
        """Remove a schedule of yours or of one of your agents; what it has begun goes on."""
        await schedules_.own(ctx, id)
        async with ctx.changing(_resource(id)):
            await schedules_.remove(ctx, id)
        return Nothing()

    @unschedule.preview
    async def _(ctx: Context, id: Annotated[str, Field(min_length=1, max_length=100)]) -> Preview:
        spec = await schedules_.own(ctx, id)
        return Preview(summary=f"would remove the schedule of `{spec.operation}`", changes=[id])

    @jobs.operation(risk=Risk.LOW, effect=Effect.READ)
    async def schedules(ctx: Context, cursor: str = "", limit: Annotated[int, Field(ge=1, le=500)] = 50) -> Scheduled:
        """List schedules with their next times: yours, those of your agents, all if you may read the audit."""
        found, next = await schedules_.page(ctx, cursor, limit)
        return Scheduled(schedules=[Schedule(**one) for one in found], cursor=next)


def _resource(id: str) -> Resource:
    return Resource("schedule", "local", id, Effect.CHANGE)
