"""Following: a task that was handed to another agent, until it is over or asks, also over a restart of ours."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import msgspec

from superagent.core.execution import STOPS
from superagent.features.agents.model import ASKS, OVER
from superagent.sdk import Context, Deadline, Problem, Unavailable

ENDING_S = 10.0
KIND = "delegation"
"""The kind of the events by which a delegation notes for itself how far it is."""
_LOOKS_S = (0.2, 0.5, 1.0, 2.0, 5.0)
_MOST_FAILED = 5

Told = Callable[[str, str, int], Awaitable[list[tuple[int, bytes]]]]
"""Give the events of a tenant's invocation after a number."""


class Handed(msgspec.Struct, frozen=True):
    """How far a delegation is: whether it may have been `sent`, and the agent's own names for it once it answered.

    `lent` is a key's id, `until` in epoch seconds when the task is told to stop.
    """

    agent: str
    until: float
    sent: bool = False
    task: str = ""
    context: str = ""
    lent: str = ""


async def noted(ctx: Context, told: Told) -> Handed | None:
    """Give how far this very call was when a crash or a stop cut it off; None when it begins."""
    found: Handed | None = None
    for _, body in await told(ctx.tenant, ctx.invocation.id, 0):
        event: dict[str, Any] = msgspec.json.decode(body)
        if event.get("kind") == KIND:
            found = msgspec.convert(event, Handed)
    return found


async def note(ctx: Context, handed: Handed) -> None:
    """Note how far it is, durable on return."""
    await ctx.emit({"kind": KIND, **msgspec.to_builtins(handed)})


async def followed(ctx: Context, talk: Any, seen: Any, patience: float) -> Any:
    """Look at a task until it is over or asks; whoever ends this call, or its time, cancels the task.

    A stop of the platform does not: at its next start the call goes on, and finds the task again.
    """
    at, failed, told = 0, 0, ""
    try:
        async with asyncio.timeout(patience):
            while seen.state not in OVER and seen.state not in ASKS:
                if (now := _far(seen)) != told:  # our own words only: what an agent says is no progress of ours
                    told = now
                    await ctx.progress(told)
                await asyncio.sleep(_LOOKS_S[min(at, len(_LOOKS_S) - 1)])
                at += 1
                try:
                    seen, failed = await talk.look(seen.task), 0
                except Unavailable as problem:
                    failed += 1
                    if failed >= _MOST_FAILED:
                        problem.changed = "unknown"
                        raise
    except TimeoutError:
        await _cancel(ctx, talk, seen.task)
        raise Deadline(
            f"the agent did not end within {patience:g} s, and was told to stop", changed="unknown"
        ) from None
    except asyncio.CancelledError as cut:
        if cut.args != (STOPS,):
            await _cancel(ctx, talk, seen.task)
        raise
    except BaseException:
        await _cancel(ctx, talk, seen.task)
        raise
    return seen


def _far(seen: Any) -> str:
    made = f", and has made {len(seen.artifacts)} artifacts" if seen.artifacts else ""
    return f"the agent's task is {seen.state}{made}"


async def _cancel(ctx: Context, talk: Any, task: str) -> None:
    """Tell an agent to stop, whether it listens or not."""
    with suppress(Problem, TimeoutError):
        async with asyncio.timeout(ENDING_S):
            seen = await talk.cancel(task)
            await ctx.progress(f"the agent was told to stop: its task is {seen.state}")
