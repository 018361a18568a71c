"""Operations on groups and roles: names under which members and grants stand together."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Annotated, Any, Protocol

from pydantic import Field

from superagent.features.access.shapes import (
    NAME,
    Group,
    GroupGone,
    GroupName,
    Groups,
    Id,
    Role,
    RoleGone,
    RoleList,
    RoleName,
    Roles,
    RoleShown,
    risk_of,
)
from superagent.sdk import Context, Effect, Grant, Plugin, Preview, Principal, Resource, Risk, put_back

Member = Annotated[str, Field(max_length=255, description="`user:…` or `agent:…`")]
Grants = Annotated[list[Grant], Field(max_length=200)]


class GroupStore(Protocol):
    """Where groups are kept (`runtime.groups.SqlGroups`)."""

    def create(self, ctx: Context, id: str, roles: list[str]) -> Awaitable[None]:
        """Make a group."""
        ...

    def listed(self, tenant: str) -> Awaitable[list[dict[str, Any]]]:
        """Give groups with their members."""
        ...

    def require_may_join(self, who: Principal, member: str) -> Awaitable[None]:
        """Go on only if somebody may put a member into a group. Raises `Denied`."""
        ...

    def require_may_make(self, who: Principal, id: str, roles: list[str]) -> Awaitable[None]:
        """Go on only if somebody may make a group with these roles. Raises `Denied`."""
        ...

    def require_may_change(self, who: Principal, id: str) -> Awaitable[None]:
        """Go on only if somebody may change or delete a group. Raises `Denied`."""
        ...

    def add(self, ctx: Context, id: str, member: str) -> Awaitable[None]:
        """Add a member."""
        ...

    def remove_member(self, ctx: Context, id: str, member: str) -> Awaitable[None]:
        """Take a member out."""
        ...

    def delete(self, ctx: Context, id: str) -> Awaitable[None]:
        """Delete a group."""
        ...


class RoleStore(Protocol):
    """Where custom roles are kept (`runtime.groups.SqlRoles`)."""

    def listed(self, tenant: str) -> Awaitable[list[dict[str, Any]]]:
        """Give all roles."""
        ...

    def show(self, tenant: str, id: str) -> Awaitable[dict[str, Any]]:
        """Give a role with its grants."""
        ...

    def put(self, ctx: Context, id: str, summary: str, grants: list[Grant], *, new: bool) -> Awaitable[None]:
        """Make a role, or let it permit something else."""
        ...

    def require_may_put(self, who: Principal, id: str, grants: list[Grant]) -> Awaitable[None]:
        """Go on only if somebody may let a role consist of these grants. Raises `Denied`."""
        ...

    def delete(self, ctx: Context, id: str) -> Awaitable[None]:
        """Delete a role that nobody has."""
        ...


def add_to(access: Plugin, groups: GroupStore, roles: RoleStore) -> None:
    """Add the operations on groups and on roles."""
    _add_groups(access, groups)
    _add_roles(access, roles)


def _add_groups(access: Plugin, groups: GroupStore) -> None:
    @access.operation(name="access.groups.create", risk=Risk.HIGH, undo=put_back)
    async def create(ctx: Context, id: GroupName, roles: Roles | None = None) -> Id:
        """Make a group; its members have its roles, and grants name it as `group:…`."""
        async with ctx.changing(Resource("group", "-", id, Effect.CHANGE)):
            await groups.create(ctx, id, roles or [])
            return Id(id=id)

    @create.refuses
    async def _(who: Principal, values: dict[str, Any]) -> None:
        await groups.require_may_make(who, values["id"], values["roles"] or [])

    @create.assess
    def _(values: dict[str, Any]) -> Risk:
        return risk_of(values["roles"])

    @create.preview
    async def _(ctx: Context, id: GroupName, roles: Roles | None = None) -> Preview:
        return Preview(summary=f"would make the group `{id}` with {', '.join(roles or []) or 'no roles'}")

    @access.operation(name="access.groups.list", risk=Risk.LOW, effect=Effect.READ)
    async def list_(ctx: Context) -> Groups:
        """List the groups of the tenant with their roles and members."""
        return Groups(groups=[Group(**one) for one in await groups.listed(ctx.tenant)])

    @access.operation(name="access.groups.add_member", risk=Risk.HIGH, undo=put_back)
    async def add_member(ctx: Context, id: GroupName, member: Member) -> Id:
        """Put a person (`user:…`) or an agent (`agent:…`) into a group; nobody puts themselves in."""
        async with ctx.changing(Resource("group", "-", id, Effect.CHANGE)):
            await groups.add(ctx, id, member)
            return Id(id=id)

    @add_member.refuses
    async def _(who: Principal, values: dict[str, Any]) -> None:
        await groups.require_may_change(who, values["id"])
        await groups.require_may_join(who, values["member"])

    @add_member.preview
    async def _(ctx: Context, id: GroupName, member: Member) -> Preview:
        return Preview(summary=f"would put `{member}` into `{id}`", changes=[f"group://-/{id}"])

    @access.operation(name="access.groups.remove_member", risk=Risk.HIGH, undo=put_back)
    async def remove_member(ctx: Context, id: GroupName, member: Member) -> Id:
        """Take a person or an agent out of a group; what they had by it alone is gone within a second."""
        async with ctx.changing(Resource("group", "-", id, Effect.CHANGE)):
            await groups.remove_member(ctx, id, member)
            return Id(id=id)

    async def refused(who: Principal, values: dict[str, Any]) -> None:
        await groups.require_may_change(who, values["id"])

    remove_member.refuses(refused)

    @remove_member.preview
    async def _(ctx: Context, id: GroupName, member: Member) -> Preview:
        return Preview(summary=f"would take `{member}` out of `{id}`", changes=[f"group://-/{id}"])

    @access.operation(name="access.groups.delete", risk=Risk.HIGH, undo=put_back)
    async def delete(ctx: Context, id: GroupGone) -> Id:
        """Delete a group with the grants that name it; what its members had by it alone is gone within a second."""
        async with ctx.changing(Resource("group", "-", id, Effect.DESTROY), Effect.DESTROY):
            await groups.delete(ctx, id)
            return Id(id=id)

    delete.refuses(refused)

    @delete.preview
    async def _(ctx: Context, id: GroupGone) -> Preview:
        found = next((one for one in await groups.listed(ctx.tenant) if one["id"] == id), None)
        told = "there is no such group" if found is None else f"with {len(found['members'])} member(s)"
        return Preview(summary=f"would delete the group `{id}`: {told}", changes=[f"group://-/{id}"])


def _add_roles(access: Plugin, roles: RoleStore) -> None:
    @access.operation(name="access.roles.list", risk=Risk.LOW, effect=Effect.READ)
    async def list_(ctx: Context) -> RoleList:
        """List the roles that can be given, built in and the tenant's own."""
        return RoleList(roles=[Role(**one) for one in await roles.listed(ctx.tenant)])

    @access.operation(name="access.roles.show", risk=Risk.LOW, effect=Effect.READ)
    async def show(ctx: Context, id: NAME) -> RoleShown:
        """Show a role with the grants it consists of."""
        return RoleShown(**await roles.show(ctx.tenant, id))

    @access.operation(name="access.roles.create", risk=Risk.HIGH, undo=put_back)
    async def create(ctx: Context, id: RoleName, grants: Grants, summary: str = "") -> Id:
        """Make a role of the tenant's own: a name for some grants."""
        async with ctx.changing(Resource("role", "-", id, Effect.CHANGE)):
            await roles.put(ctx, id, summary, grants, new=True)
            return Id(id=id)

    @access.operation(name="access.roles.update", risk=Risk.HIGH, undo=put_back)
    async def update(ctx: Context, id: RoleName, grants: Grants, summary: str = "") -> Id:
        """Let a role of the tenant's own consist of these grants; whoever has it has them within a second."""
        async with ctx.changing(Resource("role", "-", id, Effect.CHANGE)):
            await roles.put(ctx, id, summary, grants, new=False)
            return Id(id=id)

    def freeing(values: dict[str, Any]) -> Risk:
        return Risk.CRITICAL if any(one.frees_people for one in values["grants"]) else Risk.HIGH

    async def refused(who: Principal, values: dict[str, Any]) -> None:
        await roles.require_may_put(who, values["id"], values["grants"])

    create.refuses(refused)
    update.refuses(refused)
    create.assess(freeing)

    @create.preview
    async def _(ctx: Context, id: RoleName, grants: Grants, summary: str = "") -> Preview:
        return Preview(summary=f"would make the role `{id}` of {len(grants)} grant(s)")

    update.assess(freeing)

    @update.preview
    async def _(ctx: Context, id: RoleName, grants: Grants, summary: str = "") -> Preview:
        before = await roles.show(ctx.tenant, id)
        return Preview(
            summary=f"would let `{id}` consist of {len(grants)} grant(s) instead of {len(before['grants'])}",
            changes=[f"role://-/{id}"],
        )

    @access.operation(name="access.roles.delete", risk=Risk.HIGH, undo=put_back)
    async def delete(ctx: Context, id: RoleGone) -> Id:
        """Delete a role of the tenant's own that nobody has."""
        async with ctx.changing(Resource("role", "-", id, Effect.DESTROY), Effect.DESTROY):
            await roles.delete(ctx, id)
            return Id(id=id)

    @delete.preview
    async def _(ctx: Context, id: RoleGone) -> Preview:
        return Preview(summary=f"would delete the role `{id}`", changes=[f"role://-/{id}"])
