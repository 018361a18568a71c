"""Operations on tenants: they concern the whole installation."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, Protocol

from superagent.features.access.shapes import NAME, Id, Tenant, TenantGone, TenantMade, TenantName, Tenants
from superagent.sdk import Context, Effect, Plugin, Preview, Principal, Resource, Risk, put_back


class Store(Protocol):
    """Where tenants are kept (`runtime.tenants.SqlTenants`)."""

    def create(self, id: str, owner: str) -> Awaitable[str]:
        """Make a tenant with its first owner, and give that person's key."""
        ...

    def listed(self) -> Awaitable[list[dict[str, Any]]]:
        """Give every tenant."""
        ...

    def set_state(self, ctx: Context, id: str, state: str) -> Awaitable[None]:
        """Suspend, resume or remove a tenant."""
        ...

    def require_may_change(self, who: Principal, id: str) -> Awaitable[None]:
        """Go on only for a tenant that is not one's own, nor the system's. Raises `Denied`."""
        ...


def add_to(access: Plugin, tenants: Store) -> None:
    """Add the operations on tenants."""

    @access.operation(name="access.tenants.create", risk=Risk.HIGH, scope="instance", undo=put_back, shows_keys=True)
    async def create(ctx: Context, id: TenantName, owner: NAME = "owner") -> TenantMade:
        """Make a tenant with its first owner, whose key is shown once, to you; a name is never used again."""
        async with ctx.changing(Resource("tenant", "-", id, Effect.CHANGE)):
            return TenantMade(id=id, owner=owner, key=await tenants.create(id, owner))

    @create.preview
    async def _(ctx: Context, id: TenantName, owner: NAME = "owner") -> Preview:
        return Preview(summary=f"would make the tenant `{id}` with the owner `{owner}`")

    @access.operation(name="access.tenants.list", risk=Risk.LOW, scope="instance", effect=Effect.READ)
    async def list_(ctx: Context) -> Tenants:
        """List the tenants of the installation."""
        return Tenants(tenants=[Tenant(**one) for one in await tenants.listed()])

    @access.operation(name="access.tenants.suspend", risk=Risk.HIGH, scope="instance", undo=put_back)
    async def suspend(ctx: Context, id: TenantName) -> Id:
        """Suspend a tenant: nobody in it can act within a second, and what runs is ended."""
        return await _set(ctx, id, "suspended", Effect.CHANGE)

    @access.operation(name="access.tenants.resume", risk=Risk.HIGH, scope="instance", undo=put_back)
    async def resume(ctx: Context, id: TenantName) -> Id:
        """Let a suspended tenant act again."""
        return await _set(ctx, id, "active", Effect.CHANGE)

    @access.operation(name="access.tenants.remove", risk=Risk.CRITICAL, scope="instance", undo=put_back)
    async def remove(ctx: Context, id: TenantGone) -> Id:
        """Remove a tenant; its files and records stay, and for a week the removal can be undone."""
        return await _set(ctx, id, "removed", Effect.DESTROY)

    async def _set(ctx: Context, id: str, state: str, effect: Effect) -> Id:
        async with ctx.changing(Resource("tenant", "-", id, effect), effect):
            await tenants.set_state(ctx, id, state)
            return Id(id=id)

    async def told(id: str, what: str) -> Preview:
        state = next((one["state"] for one in await tenants.listed() if one["id"] == id), "not there")
        return Preview(summary=f"would {what} the tenant `{id}`, which is {state}", changes=[f"tenant://-/{id}"])

    async def refused(who: Principal, values: dict[str, Any]) -> None:
        await tenants.require_may_change(who, values["id"])

    for one in (suspend, resume, remove):
        one.refuses(refused)

    @suspend.preview
    async def _(ctx: Context, id: TenantName) -> Preview:
        return await told(id, "suspend")

    @resume.preview
    async def _(ctx: Context, id: TenantName) -> Preview:
        return await told(id, "resume")

    @remove.preview
    async def _(ctx: Context, id: TenantGone) -> Preview:
        return await told(id, "remove")
