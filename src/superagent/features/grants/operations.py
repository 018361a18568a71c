"""Grants: the sentences of policy in force, and writing new ones."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, Protocol

from superagent.sdk import Context, Effect, Grant, InvalidInput, Kept, Output, Plugin, Preview, Resource, Risk


class Store(Protocol):
    """Where grants are kept."""

    def listed(self, tenant: str) -> list[Grant]:
        """Give the grants in force, built-in roles included."""
        ...

    def create(self, tenant: str, grant: Grant, by: str) -> Awaitable[Grant]:
        """Keep a grant under a fresh id; in force everywhere within a second."""
        ...

    def revoke(self, tenant: str, id: str) -> Awaitable[Grant]:
        """End a grant now. Raises `NotFound`."""
        ...

    def restore(self, tenant: str, grant: Grant, by: str) -> Awaitable[None]:
        """Put a revoked grant back under its old id."""
        ...


class Granted(Output):
    """One grant with its id."""

    id: str
    grant: dict[str, Any]


class Grants(Output):
    """The grants you are under; all of the tenant's for those who may create grants."""

    grants: list[Granted]


def plugin(store: Store) -> Plugin:
    """Make the plugin over the store of grants."""
    grants = Plugin("grants")

    def shown(grant: Grant) -> Granted:
        return Granted(id=grant.id, grant=grant.model_dump(exclude_defaults=True, exclude={"id", "instance"}))

    @grants.operation(name="grants.list", risk=Risk.LOW, effect=Effect.READ)
    async def list_(ctx: Context) -> Grants:
        """List the grants in force for you, or for the whole tenant if you may change them."""
        every = ctx.principal.kind == "human" and ctx.could("grants.create")
        mine = {subject for hop in ctx.principal.chain() for subject in hop.subjects}
        return Grants(grants=[shown(one) for one in store.listed(ctx.tenant) if every or one.subject in mine])

    async def unmake(ctx: Context, kept: Kept) -> None:
        await store.revoke(ctx.tenant, kept.data["id"])

    @grants.operation(risk=Risk.HIGH, effect=Effect.CHANGE, undo=unmake, compensate=True)
    async def create(ctx: Context, grant: Grant) -> Granted:
        """Add a grant; it needs a subject such as `agent:…`, `user:…` or `role:…`, and is in force within a second."""
        _check(grant)
        made = await store.create(ctx.tenant, grant, ctx.principal.id)
        await ctx.keep(Resource("grant", "-", made.id, Effect.CHANGE), {"id": made.id})
        return shown(made)

    @create.preview
    async def _(ctx: Context, grant: Grant) -> Preview:
        _check(grant)
        return Preview(summary=f"would {grant.effect} {', '.join(grant.operations)} for {grant.subject}")

    async def remake(ctx: Context, kept: Kept) -> None:
        await store.restore(ctx.tenant, Grant(**kept.data["grant"]), ctx.principal.id)

    @grants.operation(risk=Risk.HIGH, effect=Effect.DESTROY, undo=remake, compensate=True)
    async def revoke(ctx: Context, id: str) -> Granted:
        """End a grant now; the built-in ones of the roles stay."""
        gone = await store.revoke(ctx.tenant, id)
        await ctx.keep(Resource("grant", "-", id, Effect.DESTROY), {"grant": gone.model_dump(exclude_defaults=True)})
        return shown(gone)

    @revoke.preview
    async def _(ctx: Context, id: str) -> Preview:
        found = next((one for one in store.listed(ctx.tenant) if one.id == id), None)
        return Preview(summary=f"would end `{id}`" if found else f"there is no grant `{id}`")

    return grants


def _check(grant: Grant) -> None:
    if not grant.subject or grant.id:
        raise InvalidInput("a grant needs a `subject` and no `id`", hint='for example "subject": "agent:builder"')
