"""Grants: the sentences of policy in force, and writing new ones."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Annotated, Any, Protocol

from pydantic import Field, ValidationError

from superagent.sdk import (
    Context,
    Effect,
    Grant,
    InvalidInput,
    Keep,
    Kept,
    Output,
    Plugin,
    Preview,
    Principal,
    Risk,
    StepUpRequired,
    When,
    Where,
    faults_of,
    unkept,
)


class Store(Protocol):
    """Where grants are kept."""

    def listed(self, tenant: str) -> list[Grant]:
        """Give the grants in force, built-in roles included."""
        ...

    def require_may_change(
        self, giver: Principal, added: Sequence[Grant], removed: Sequence[Grant] = ()
    ) -> Awaitable[None]:
        """Go on only if the giver gains nothing by a change. Raises `Denied`."""
        ...

    def create(self, tenant: str, grant: Grant, by: str, keep: Keep) -> Awaitable[Grant]:
        """Keep a grant under a fresh id; in force everywhere within a second."""
        ...

    def revoke(self, tenant: str, id: str, by: str, keep: Keep) -> Awaitable[Grant]:
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


Minutes = Annotated[int, Field(ge=1, le=24 * 60)]
Operations = Annotated[list[str], Field(min_length=1, max_length=50)]
Resources = Annotated[
    list[str],
    Field(max_length=50, description="paths (`/srv/**`), hosts (`example.org:443`) or names of connections; none: all"),
]


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

    def in_force(ctx: Context, id: str) -> Grant | None:
        return next((one for one in store.listed(ctx.tenant) if one.id == id), None)

    async def end(ctx: Context, id: str, keep: Keep) -> Grant:
        """End a grant; what ends a `deny` widens rights, whichever way it comes."""
        found = in_force(ctx, id)
        if found is not None and found.effect == "deny":
            _require_fresh(ctx, "ending a grant that forbids something")
            await store.require_may_change(ctx.principal, (), [found])
        return await store.revoke(ctx.tenant, id, ctx.principal.id, keep)

    async def unmake(ctx: Context, kept: Kept) -> None:
        await end(ctx, kept.data["id"], unkept)

    @grants.operation(risk=Risk.HIGH, effect=Effect.CHANGE, undo=unmake, compensate=True)
    async def create(ctx: Context, grant: Grant) -> Granted:
        """Add a grant; it needs a subject such as `agent:…`, `user:…` or `role:…`, and is in force within a second.

        Only people may; what allows something needs a fresh second factor, a `deny` does not.
        """
        _check(grant)
        async with ctx.keeping("grant") as keep:
            made = await store.create(ctx.tenant, grant, ctx.principal.id, keep)
        return shown(made)

    @create.refuses
    async def _(who: Principal, values: dict[str, Any]) -> None:
        await store.require_may_change(who, [values["grant"]])

    @create.assess
    def _(values: dict[str, Any]) -> Risk:
        # what widens rights, as `policy.apply` does: a stolen key alone must not free anybody of a demand
        grant = values["grant"]
        return Risk.HIGH if grant.effect == "deny" and not grant.frees_people else Risk.CRITICAL

    @create.preview
    async def _(ctx: Context, grant: Grant) -> Preview:
        _check(grant)
        return Preview(summary=f"would {grant.effect} {', '.join(grant.operations)} for {grant.subject}")

    @grants.operation(risk=Risk.HIGH, effect=Effect.CHANGE, undo=unmake, compensate=True)
    async def request(
        ctx: Context, operations: Operations, minutes: Minutes, reason: str, resources: Resources | None = None
    ) -> Granted:
        """Ask a person for rights that end by themselves; the minutes begin with the approval."""
        asked = _asked(ctx, operations, minutes, resources)
        if not ctx.invocation.approvals:  # whoever may grant need not ask, and gives nothing to themselves
            await store.require_may_change(ctx.principal, [asked])
        async with ctx.keeping("grant") as keep:
            made = await store.create(ctx.tenant, asked, ctx.principal.id, keep)
        return shown(made)

    @request.preview
    async def _(
        ctx: Context, operations: Operations, minutes: Minutes, reason: str, resources: Resources | None = None
    ) -> Preview:
        asked = _asked(ctx, operations, minutes, resources)
        on = f" on {', '.join(resources)}" if resources else ""
        return Preview(
            summary=f"would allow {', '.join(operations)}{on} to {asked.subject} for {minutes} minutes after approval",
            exact=False,
        )

    async def remake(ctx: Context, kept: Kept) -> None:
        grant = Grant(**kept.data["grant"])
        if grant.effect != "deny":
            _require_fresh(ctx, "putting back a grant that permits something")
        await store.require_may_change(ctx.principal, [grant])
        await store.restore(ctx.tenant, grant, ctx.principal.id)

    @grants.operation(risk=Risk.HIGH, effect=Effect.DESTROY, undo=remake, compensate=True)
    async def revoke(ctx: Context, id: str) -> Granted:
        """End a grant now; the built-in ones of the roles stay.

        To end a `deny` widens rights, so that needs a fresh second factor.
        """
        async with ctx.keeping("grant", Effect.DESTROY) as keep:
            gone = await end(ctx, id, keep)
        return shown(gone)

    @revoke.preview
    async def _(ctx: Context, id: str) -> Preview:
        return Preview(summary=f"would end `{id}`" if in_force(ctx, id) else f"there is no grant `{id}`")

    return grants


def _asked(ctx: Context, operations: list[str], minutes: int, resources: list[str] | None) -> Grant:
    """Make the grant that is asked for: to whoever asks, and to nobody on whose behalf that is."""
    acting = ctx.principal
    kind = {"human": "user"}.get(acting.kind, acting.kind)
    paths = [one for one in resources or [] if one.startswith(("/", "{"))]
    hosts = [one for one in resources or [] if ":" in one and one not in paths and not one.startswith("secret:")]
    names = [one for one in resources or [] if one not in paths and one not in hosts]
    try:
        return Grant(
            effect="allow",
            subject=f"{kind}:{acting.id}",
            operations=operations,
            where=Where(paths=paths, hosts=hosts, connections=names),
            max_risk="HIGH",
            when=When(until=int(ctx.now) + 60 * minutes),
        )
    except ValidationError as bad:
        raise InvalidInput("this is no grant that could be made", errors=faults_of(bad)) from None


def _require_fresh(ctx: Context, what: str) -> None:
    """Go on only for a person with a fresh second factor. Raises `StepUpRequired`."""
    if not ctx.principal.fresh(ctx.now):
        raise StepUpRequired(f"{what} needs a fresh second factor")


def _check(grant: Grant) -> None:
    if not grant.subject or grant.id:
        raise InvalidInput("a grant needs a `subject` and no `id`", hint='for example "subject": "agent:builder"')
