"""Operations on agents and services, and the switch that stops them."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Annotated, Any, Literal, Protocol

from pydantic import Field

from superagent.features.access.shapes import (
    NAME,
    Agent,
    AgentGone,
    AgentId,
    AgentMade,
    AgentName,
    Agents,
    AgentShown,
    Budget,
    Id,
    Limit,
    Stop,
    Stops,
    StopScope,
)
from superagent.sdk import Context, Effect, Plugin, Preview, Principal, Resource, Risk, Touches, put_back

NewAgent = Annotated[NAME, Touches("agent", Effect.CHANGE)]
Reason = Annotated[str, Field(max_length=500)]


class Store(Protocol):
    """Where agents are kept (`runtime.agents.SqlAgents`)."""

    def create(
        self, ctx: Context, id: str, kind: str, role: str | None, workspace: str | None, budget: dict[str, Any] | None
    ) -> Awaitable[str]:
        """Make an agent or service that the caller answers for; gives its workspace."""
        ...

    def require_may_make(self, who: Principal, id: str, kind: str, role: str | None) -> Awaitable[None]:
        """Go on only if somebody may make such an agent. Raises `Denied`."""
        ...

    def listed(self, tenant: str, after: str, limit: int) -> Awaitable[list[dict[str, Any]]]:
        """Give agents in order of their names."""
        ...

    def show(self, tenant: str, id: str) -> Awaitable[dict[str, Any]]:
        """Give an agent with its keys. Raises `NotFound`."""
        ...

    def set_state(self, ctx: Context, id: str, state: str) -> Awaitable[None]:
        """Pause, resume or remove an agent."""
        ...

    def set_budget(self, ctx: Context, id: str, budget: dict[str, Any] | None) -> Awaitable[None]:
        """Give an agent another budget, or none."""
        ...


class Switch(Protocol):
    """What is stopped (`runtime.agents.SqlStops`)."""

    def stop(self, ctx: Context, scope: str, reason: str) -> Awaitable[None]:
        """Stop a scope."""
        ...

    def release(self, ctx: Context, scope: str) -> Awaitable[None]:
        """Let a scope go on. Raises `NotFound`."""
        ...

    def listed(self, tenant: str) -> Awaitable[list[dict[str, Any]]]:
        """Give what is stopped."""
        ...


def add_to(access: Plugin, agents: Store, switch: Switch) -> None:
    """Add the operations on agents, and the switch."""
    _add_agents(access, agents)
    _add_switch(access, switch)


def _add_agents(access: Plugin, agents: Store) -> None:
    @access.operation(name="access.agents.create", risk=Risk.HIGH, undo=put_back)
    async def create(
        ctx: Context,
        id: NewAgent,
        kind: Literal["agent", "service"] = "agent",
        role: NAME | None = "agent",
        workspace: str | None = None,
        budget: Budget | None = None,
    ) -> AgentMade:
        """Make an agent that acts for you, or a service that acts for nobody and that you answer for.

        It acts once it has a key (`access.keys.create` with `agent`); it can have several.
        """
        async with ctx.changing(Resource("agent", "-", id, Effect.CHANGE)):
            plain = budget and budget.model_dump(exclude_none=True)
            return AgentMade(id=id, kind=kind, workspace=await agents.create(ctx, id, kind, role, workspace, plain))

    @create.refuses
    async def _(who: Principal, values: dict[str, Any]) -> None:
        await agents.require_may_make(who, values["id"], values["kind"], values["role"])

    @create.preview
    async def _(
        ctx: Context,
        id: NewAgent,
        kind: Literal["agent", "service"] = "agent",
        role: NAME | None = "agent",
        workspace: str | None = None,
        budget: Budget | None = None,
    ) -> Preview:
        return Preview(summary=f"would make the {kind} `{id}` with {role or 'no role'}")

    @access.operation(name="access.agents.list", risk=Risk.LOW, effect=Effect.READ)
    async def list_(ctx: Context, limit: Limit = 100, cursor: str = "") -> Agents:
        """List the agents and services of the tenant."""
        found = [Agent(**one) for one in await agents.listed(ctx.tenant, cursor, limit + 1)]
        return Agents(agents=found[:limit], cursor=found[limit - 1].id if len(found) > limit else None)

    @access.operation(name="access.agents.show", risk=Risk.LOW, effect=Effect.READ)
    async def show(ctx: Context, id: AgentId) -> AgentShown:
        """Show an agent with its keys, and those it lent its rights to."""
        return AgentShown(**await agents.show(ctx.tenant, id))

    @access.operation(name="access.agents.pause", risk=Risk.MEDIUM, undo=put_back)
    async def pause(ctx: Context, id: AgentName, reason: Reason = "") -> Id:
        """Pause an agent with all it lent its rights to: its keys are dead within a second, and what runs is ended."""
        return await _set(ctx, id, "paused", Effect.CHANGE)

    @access.operation(name="access.agents.resume", risk=Risk.HIGH, undo=put_back)
    async def resume(ctx: Context, id: AgentName) -> Id:
        """Let a paused agent act again."""
        return await _set(ctx, id, "active", Effect.CHANGE)

    @access.operation(name="access.agents.remove", risk=Risk.HIGH, undo=put_back)
    async def remove(ctx: Context, id: AgentGone) -> Id:
        """Remove an agent; its folder and records stay, its name is never used again."""
        return await _set(ctx, id, "removed", Effect.DESTROY)

    @access.operation(name="access.agents.set_budget", risk=Risk.HIGH, undo=put_back)
    async def set_budget(ctx: Context, id: AgentName, budget: Budget | None = None) -> Id:
        """Give an agent another budget, or none; what it has used in this window stays used."""
        async with ctx.changing(Resource("agent", "-", id, Effect.CHANGE)):
            await agents.set_budget(ctx, id, budget and budget.model_dump(exclude_none=True))
            return Id(id=id)

    async def _set(ctx: Context, id: str, state: str, effect: Effect) -> Id:
        async with ctx.changing(Resource("agent", "-", id, effect), effect):
            await agents.set_state(ctx, id, state)
            return Id(id=id)

    async def told(ctx: Context, id: str, what: str) -> Preview:
        found = await agents.show(ctx.tenant, id)
        return Preview(
            summary=f"would {what} `{id}`, which is {found['state']}, acts for `{found['owner']}` and has"
            f" {len(found['keys'])} key(s)",
            changes=[Resource("agent", "-", id).id],
        )

    @pause.preview
    async def _(ctx: Context, id: AgentName, reason: Reason = "") -> Preview:
        return await told(ctx, id, "pause")

    @resume.preview
    async def _(ctx: Context, id: AgentName) -> Preview:
        return await told(ctx, id, "resume")

    @remove.preview
    async def _(ctx: Context, id: AgentGone) -> Preview:
        return await told(ctx, id, "remove")

    @set_budget.preview
    async def _(ctx: Context, id: AgentName, budget: Budget | None = None) -> Preview:
        plain = budget and budget.model_dump(exclude_none=True)
        return await told(ctx, id, f"give the budget {plain or 'none'} to")


def _add_switch(access: Plugin, switch: Switch) -> None:
    @access.operation(name="access.stop_all", risk=Risk.HIGH, undo=put_back)
    async def stop_all(ctx: Context, scope: StopScope = "everything", reason: Reason = "") -> Id:
        """Stop all that acts without a person: of the tenant, of one person (`user:…`), or one agent (`agent:…`).

        Within a second no worker takes a call of theirs any more, and what runs is ended. `access.release` ends it.
        """
        async with ctx.changing(Resource("stop", "-", scope, Effect.CHANGE)):
            await switch.stop(ctx, scope, reason)
            return Id(id=scope)

    @stop_all.preview
    async def _(ctx: Context, scope: StopScope = "everything", reason: Reason = "") -> Preview:
        return Preview(summary=f"would stop {scope} until somebody lets it go on", changes=[f"stop://-/{scope}"])

    @access.operation(name="access.release", risk=Risk.HIGH, undo=put_back)
    async def release(ctx: Context, scope: StopScope = "everything") -> Id:
        """Let go on what `access.stop_all` stopped; calls that it ended stay ended."""
        async with ctx.changing(Resource("stop", "-", scope, Effect.CHANGE)):
            await switch.release(ctx, scope)
            return Id(id=scope)

    @release.preview
    async def _(ctx: Context, scope: StopScope = "everything") -> Preview:
        return Preview(summary=f"would let {scope} go on", changes=[f"stop://-/{scope}"])

    @access.operation(name="access.stops.list", risk=Risk.LOW, effect=Effect.READ)
    async def stops(ctx: Context) -> Stops:
        """List what is stopped now, by whom and why."""
        return Stops(stops=[Stop(**one) for one in await switch.listed(ctx.tenant)])
