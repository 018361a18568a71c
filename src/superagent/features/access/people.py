"""Operations on people: who belongs to the tenant, with which roles, and whether they may act."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Annotated, Any, Protocol

from pydantic import Field

from superagent.features.access.shapes import (
    NAME,
    Id,
    Limit,
    People,
    Person,
    PersonMade,
    PersonShown,
    Roles,
    UserGone,
    UserName,
    risk_of,
)
from superagent.sdk import Context, Effect, Keep, Kept, Plugin, Preview, Principal, Resource, Risk, put_back

Reason = Annotated[str, Field(max_length=500)]


class Store(Protocol):
    """Where people are kept (`runtime.people.SqlPeople`)."""

    def create(self, ctx: Context, id: str, roles: list[str], name: str, *, key: bool) -> Awaitable[str | None]:
        """Add a person; with `key`, give a first key."""
        ...

    def listed(self, tenant: str, after: str, limit: int) -> Awaitable[list[dict[str, Any]]]:
        """Give people in order of their names."""
        ...

    def show(self, tenant: str, id: str) -> Awaitable[dict[str, Any]]:
        """Give one person. Raises `NotFound`."""
        ...

    def set_state(self, ctx: Context, id: str, state: str) -> Awaitable[None]:
        """Suspend, resume or remove a person."""
        ...

    def confirm(self, ctx: Context, id: str, keep: Keep) -> Awaitable[None]:
        """Say that a person of their own is behind an account, and keep whose hands were on it."""
        ...

    def unconfirm(self, tenant: str, id: str, hands: list[dict[str, Any]]) -> Awaitable[None]:
        """Take that back."""
        ...

    def require_may_set(self, who: Principal, id: str, roles: list[str]) -> Awaitable[None]:
        """Go on only if somebody may give a person these roles. Raises `Denied`, `NotFound`."""
        ...

    def require_may_change(self, who: Principal, id: str) -> Awaitable[None]:
        """Go on only if somebody may suspend, resume or remove a person. Raises `Denied`, `NotFound`."""
        ...

    def require_may_confirm(self, who: Principal, id: str) -> Awaitable[None]:
        """Go on only if somebody may say that a person is one of their own. Raises `Denied`, `NotFound`."""
        ...

    def require_may_create(self, who: Principal, id: str, roles: list[str], key: bool) -> Awaitable[None]:
        """Go on only if somebody may add a person, and be shown their first `key`. Raises `Denied`."""
        ...

    def set_roles(self, ctx: Context, id: str, roles: list[str]) -> Awaitable[None]:
        """Give a person these roles and no others."""
        ...


def add_to(access: Plugin, people: Store) -> None:
    """Add the operations on people."""

    @access.operation(name="access.users.create", risk=Risk.HIGH, undo=put_back, shows_keys=True)
    async def create(
        ctx: Context, id: UserName, roles: Roles | None = None, name: str = "", key: bool = False
    ) -> PersonMade:
        """Add a person to the tenant; with `key`, a first key of theirs is made and shown once, to you.

        A name is never used again, also after its person was removed.
        """
        async with ctx.changing(Resource("user", "-", id, Effect.CHANGE)):
            token = await people.create(ctx, id, roles or [], name, key=key)
            return PersonMade(id=id, roles=roles or [], key=token)

    @create.refuses
    async def _(who: Principal, values: dict[str, Any]) -> None:
        await people.require_may_create(who, values["id"], values["roles"] or [], values["key"])

    @create.assess
    def _(values: dict[str, Any]) -> Risk:
        return risk_of(values["roles"])

    @create.preview
    async def _(ctx: Context, id: UserName, roles: Roles | None = None, name: str = "", key: bool = False) -> Preview:
        told = ", ".join(roles or []) or "no roles"
        return Preview(summary=f"would add the user `{id}` with {told}" + (" and show a first key" if key else ""))

    @access.operation(name="access.users.list", risk=Risk.LOW, effect=Effect.READ)
    async def list_(ctx: Context, limit: Limit = 100, cursor: str = "") -> People:
        """List the people of the tenant."""
        found = [Person(**one) for one in await people.listed(ctx.tenant, cursor, limit + 1)]
        return People(users=found[:limit], cursor=found[limit - 1].id if len(found) > limit else None)

    @access.operation(name="access.users.show", risk=Risk.LOW, effect=Effect.READ)
    async def show(ctx: Context, id: NAME) -> PersonShown:
        """Show a person with their roles, groups and agents."""
        return PersonShown(**await people.show(ctx.tenant, id))

    @access.operation(name="access.users.suspend", risk=Risk.HIGH, undo=put_back)
    async def suspend(ctx: Context, id: UserName, reason: Reason = "") -> Id:
        """Suspend a person: sessions, tokens, keys and agents are dead within a second, and what runs is ended."""
        return await _set(ctx, id, "suspended", Effect.CHANGE)

    @access.operation(name="access.users.resume", risk=Risk.HIGH, undo=put_back)
    async def resume(ctx: Context, id: UserName) -> Id:
        """Let a suspended person act again."""
        return await _set(ctx, id, "active", Effect.CHANGE)

    @access.operation(name="access.users.remove", risk=Risk.HIGH, undo=put_back)
    async def remove(ctx: Context, id: UserGone) -> Id:
        """Remove a person; files and records stay, and for a week the removal can be undone."""
        return await _set(ctx, id, "removed", Effect.DESTROY)

    @access.operation(name="access.users.set_roles", risk=Risk.HIGH, undo=put_back)
    async def set_roles(ctx: Context, id: UserName, roles: Roles) -> Id:
        """Give a person these roles and no others; `owner` and `instance-owner` only by who has them."""
        async with ctx.changing(Resource("user", "-", id, Effect.CHANGE)):
            await people.set_roles(ctx, id, roles)
            return Id(id=id)

    @set_roles.refuses
    async def _(who: Principal, values: dict[str, Any]) -> None:
        await people.require_may_set(who, values["id"], values["roles"])

    @set_roles.assess
    def _(values: dict[str, Any]) -> Risk:
        return risk_of(values["roles"])

    async def unconfirm(ctx: Context, kept: Kept) -> None:
        await people.unconfirm(ctx.tenant, kept.data["id"], kept.data["hands"])

    @access.operation(
        name="access.users.confirm", risk=Risk.CRITICAL, effect=Effect.CHANGE, undo=unconfirm, compensate=True
    )
    async def confirm(ctx: Context, id: UserName) -> Id:
        """Say, as an owner, that a person of their own is behind an account, and not whoever made it or let them in.

        Until then the two approve nothing for each other, and count as one where two people must approve.
        """
        async with ctx.keeping("user") as keep:
            await people.confirm(ctx, id, keep)
        return Id(id=id)

    @confirm.refuses
    async def _(who: Principal, values: dict[str, Any]) -> None:
        await people.require_may_confirm(who, values["id"])

    @confirm.preview
    async def _(ctx: Context, id: UserName) -> Preview:
        found = await people.show(ctx.tenant, id)
        by = ", ".join(sorted({f"`{one['by']}`" for one in found["hands"]})) or "nobody"
        return Preview(summary=f"would say that `{id}` is a person of their own; its account went through {by}'s hands")

    async def _set(ctx: Context, id: str, state: str, effect: Effect) -> Id:
        async with ctx.changing(Resource("user", "-", id, effect), effect):
            await people.set_state(ctx, id, state)
            return Id(id=id)

    async def told(ctx: Context, id: str, what: str) -> Preview:
        found = await people.show(ctx.tenant, id)
        return Preview(
            summary=f"would {what} `{id}`, who is {found['state']} with {', '.join(found['roles']) or 'no roles'}"
            f" and has {len(found['agents'])} agent(s)",
            changes=[Resource("user", "-", id).id],
        )

    async def refused(who: Principal, values: dict[str, Any]) -> None:
        await people.require_may_change(who, values["id"])

    for one in (suspend, resume, remove):
        one.refuses(refused)

    @suspend.preview
    async def _(ctx: Context, id: UserName, reason: Reason = "") -> Preview:
        return await told(ctx, id, "suspend")

    @resume.preview
    async def _(ctx: Context, id: UserName) -> Preview:
        return await told(ctx, id, "resume")

    @remove.preview
    async def _(ctx: Context, id: UserGone) -> Preview:
        return await told(ctx, id, "remove")

    @set_roles.preview
    async def _(ctx: Context, id: UserName, roles: Roles) -> Preview:
        return await told(ctx, id, f"give the roles {', '.join(roles) or 'none'} to")
