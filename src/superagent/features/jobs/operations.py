"""Jobs: an invocation whose outcome is not there yet, or was; look at it, stop it."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, Protocol

from superagent.sdk import Context, Effect, Output, Plugin, Risk


class Invocations(Protocol):
    """What is known of invocations."""

    def status(self, ctx: Context, id: str) -> Awaitable[dict[str, Any]]:
        """Give what the caller may see of one. Raises `NotFound`."""
        ...

    def cancel(self, ctx: Context, id: str) -> Awaitable[str]:
        """Stop one and give its state. Raises `NotFound`, `Conflict` when it has ended."""
        ...


class State(Output):
    """An invocation: its state, and its outcome once there is one and it was stored."""

    invocation: str
    operation: str
    status: str
    at: float
    outcome: dict[str, Any] | None = None


class Stopped(Output):
    """The state after the request to stop."""

    invocation: str
    status: str


def plugin(invocations: Invocations) -> Plugin:
    """Make the plugin over the invocations of this installation."""
    jobs = Plugin("jobs")

    @jobs.operation(risk=Risk.LOW, effect=Effect.READ)
    async def status(ctx: Context, id: str) -> State:
        """Give the state of an invocation: waiting, queued, running, done, failed, cancelled, expired, unknown."""
        return State(**await invocations.status(ctx, id))

    @jobs.operation(
        risk=Risk.LOW, effect=Effect.CHANGE, ephemeral="it only ends what is under way; what was changed can be undone"
    )
    async def cancel(ctx: Context, id: str) -> Stopped:
        """Stop an invocation that waits, is queued or runs; what it has changed by then stays undoable."""
        return Stopped(invocation=id, status=await invocations.cancel(ctx, id))

    return jobs
