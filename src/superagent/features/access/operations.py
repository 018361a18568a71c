"""Access: who you are, and keys for agents."""

from __future__ import annotations

from collections.abc import Awaitable
from functools import lru_cache
from typing import Any, Protocol

from superagent.sdk import (
    Context,
    Effect,
    Grant,
    InvalidInput,
    Kept,
    Nothing,
    Output,
    Plugin,
    Preview,
    Principal,
    Resource,
    Risk,
)


class Keys(Protocol):
    """Where keys are kept; only public halves of them."""

    def create(
        self,
        ctx: Context,
        name: str,
        role: str | None,
        grants: list[Grant],
        expires_s: int | None,
        workspace: str | None,
    ) -> Awaitable[dict[str, Any]]:
        """Make a key for a new agent: id, key (shown once), agent, workspace, expires_at."""
        ...

    def revoke(self, tenant: str, id: str) -> Awaitable[None]:
        """End a key now. Raises `NotFound`."""
        ...

    def listed(self, tenant: str) -> Awaitable[list[dict[str, Any]]]:
        """Give the keys of a tenant, without anything secret."""
        ...


class Who(Output):
    """The acting principal and the chain it acts for."""

    id: str
    kind: str
    tenant: str
    roles: list[str]
    on_behalf_of: list[str]
    workspace: str
    key: str


class Made(Output):
    """A new key; `key` is shown this once."""

    id: str
    key: str
    agent: str
    workspace: str
    expires_at: float | None


class Key(Output):
    """One key, without its secret."""

    id: str
    name: str
    kind: str
    role: str | None
    created_by: str
    created_at: float
    expires_at: float | None
    revoked_at: float | None
    last_used_at: float | None
    hint: str


class Listed(Output):
    """The keys of the tenant."""

    keys: list[Key]


def plugin(keys: Keys) -> Plugin:
    """Make the plugin over the store of keys."""
    access = Plugin("access")
    known = lru_cache(1024)(_who)  # a principal never changes, so neither does the answer

    @access.operation(risk=Risk.LOW, effect=Effect.READ, inline=True)
    async def whoami(ctx: Context) -> Who:
        """Say who acts, in which tenant, with which roles, and on whose behalf."""
        return known(ctx.principal)

    async def end(ctx: Context, kept: Kept) -> None:
        await keys.revoke(ctx.tenant, kept.data["id"])

    @access.operation(name="access.keys.create", risk=Risk.HIGH, effect=Effect.CHANGE, undo=end, compensate=True)
    async def create(
        ctx: Context,
        name: str,
        role: str | None = None,
        grants: list[Grant] | None = None,
        expires_s: int | None = None,
        workspace: str | None = None,
    ) -> Made:
        """Make a key for an agent; without role and grants it is a fresh `agent`. It never can do more than you can."""
        _check(grants or [], expires_s)
        made = await keys.create(ctx, name, role, grants or [], expires_s, workspace)
        await ctx.keep(Resource("key", "-", made["id"], Effect.CHANGE), {"id": made["id"]})
        return Made(**made)

    @create.preview
    async def _(
        ctx: Context,
        name: str,
        role: str | None = None,
        grants: list[Grant] | None = None,
        expires_s: int | None = None,
        workspace: str | None = None,
    ) -> Preview:
        _check(grants or [], expires_s)
        return Preview(
            summary=f"would make a key for `{name}` with {role or ('its own grants' if grants else 'the role agent')}"
        )

    @access.operation(
        name="access.keys.revoke",
        risk=Risk.HIGH,
        effect=Effect.DESTROY,
        irreversible="a revoked key stays revoked; make a new one",
    )
    async def revoke(ctx: Context, id: str) -> Nothing:
        """End a key now; every worker refuses it within a second."""
        await keys.revoke(ctx.tenant, id)
        return Nothing()

    @revoke.preview
    async def _(ctx: Context, id: str) -> Preview:
        return Preview(summary=f"would end the key `{id}` for good")

    @access.operation(name="access.keys.list", risk=Risk.LOW, effect=Effect.READ)
    async def list_(ctx: Context) -> Listed:
        """List the keys of the tenant with who made them and when they were last used."""
        return Listed(keys=[Key(**one) for one in await keys.listed(ctx.tenant)])

    return access


def _who(principal: Principal) -> Who:
    return Who(
        id=principal.id,
        kind=principal.kind,
        tenant=principal.tenant,
        roles=list(principal.roles),
        on_behalf_of=list(principal.ids[1:]),
        workspace=principal.workspace,
        key=principal.key,
    )


def _check(grants: list[Grant], expires_s: int | None) -> None:
    if any(one.subject or one.id for one in grants):
        raise InvalidInput("the grants of a key have no `subject` and no `id`: they are the key's own")
    if expires_s is not None and not 0 < expires_s <= 10 * 365 * 86_400:
        raise InvalidInput("`expires_s` must be above 0 and up to ten years")
