"""Operations on keys: made, given a successor, ended, and lent on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Annotated, Any, Protocol

from pydantic import Field

from superagent.features.access.shapes import YEARS_S, Budget, Key, KeyLimits, Listed, Made, Rotated
from superagent.sdk import (
    Context,
    Effect,
    Grant,
    InvalidInput,
    Keep,
    Kept,
    NotFound,
    Nothing,
    Plugin,
    Preview,
    Principal,
    Problem,
    Risk,
    TooLarge,
)

Only = Annotated[list[Grant], Field(max_length=20)]
LENT_S = 3600
LONGEST_BOUNDS = 32 * 1024
"""Characters of grants in a key: every call by it is held against all of them."""


class Keys(Protocol):
    """Where keys are kept; only public halves of them (`runtime.key_store.SqlKeys`)."""

    def asked(self, name: str, **what: Any) -> Any:
        """Put together what a key is to be: role, grants, expires_s, workspace, only, limits."""
        ...

    def create(self, ctx: Context, asked: Any, keep: Keep) -> Awaitable[dict[str, Any]]:
        """Make a key for a new agent: id, key (shown once), agent, workspace, expires_at."""
        ...

    def create_more(self, ctx: Context, agent: str, asked: Any, keep: Keep) -> Awaitable[dict[str, Any]]:
        """Make one more key for an agent or a service of the caller's."""
        ...

    def require_may_make(self, who: Principal, agent: str | None, grants: list[Grant]) -> Awaitable[None]:
        """Go on only if somebody may make a key for an agent that is there. Raises `Denied`, `NotFound`."""
        ...

    def require_may_revoke(self, who: Principal, id: str) -> Awaitable[None]:
        """Go on only if somebody may end a key that is there. Raises `Denied`."""
        ...

    def require_may_rotate(self, who: Principal, id: str) -> Awaitable[None]:
        """Go on only if somebody may be given a key's successor. Raises `Denied`, `NotFound`."""
        ...

    def delegate(self, ctx: Context, asked: Any, keep: Keep) -> Awaitable[dict[str, Any]]:
        """Make a sub-agent of the caller, with a key."""
        ...

    def rotate(self, ctx: Context, id: str, overlap_s: float, keep: Keep) -> Awaitable[dict[str, Any]]:
        """Give a key a successor; the old one is good for a while yet."""
        ...

    def reprieve(self, who: Principal, id: str, expires_at: float | None, new: str) -> Awaitable[None]:
        """Take a rotation back."""
        ...

    def revoke(self, tenant: str, id: str, why: str = "", by: Principal | None = None) -> Awaitable[None]:
        """End a key now. Raises `NotFound`."""
        ...

    def find(self, tenant: str, id: str) -> Awaitable[dict[str, Any]]:
        """Give one key. Raises `NotFound`."""
        ...

    def listed(self, tenant: str) -> Awaitable[list[dict[str, Any]]]:
        """Give the keys of a tenant, without anything secret."""
        ...


def add_to(access: Plugin, keys: Keys) -> None:
    """Add the operations on keys."""
    _add_making(access, keys)
    _add_rotating(access, keys)
    _add_lending(access, keys)

    @access.operation(name="access.keys.list", risk=Risk.LOW, effect=Effect.READ)
    async def list_(ctx: Context) -> Listed:
        """List the keys of the tenant with who made them and when they were last used."""
        return Listed(keys=[Key(**one) for one in await keys.listed(ctx.tenant)])

    @access.operation(name="access.keys.show", risk=Risk.LOW, effect=Effect.READ)
    async def show(ctx: Context, id: str) -> Key:
        """Show one key with its bounds and limits, and never its secret."""
        return Key(**await keys.find(ctx.tenant, id))

    @access.operation(
        name="access.keys.revoke",
        risk=Risk.HIGH,
        effect=Effect.DESTROY,
        irreversible="a revoked key stays revoked; make a new one",
    )
    async def revoke(ctx: Context, id: str) -> Nothing:
        """End a key now, with all that was made of it; every worker refuses it within a second.

        `id` may be that of an attenuated key, as `access.whoami` shows it to who has it. The owner's key of the first
        start gets a successor in its file.
        """
        try:
            await keys.revoke(ctx.tenant, id, by=ctx.principal)
        except NotFound as missing:
            raise await _of_that_name(ctx, id, missing) from None
        return Nothing()

    @revoke.refuses
    async def _(who: Principal, values: dict[str, Any]) -> None:
        await keys.require_may_revoke(who, values["id"])

    @revoke.preview
    async def _(ctx: Context, id: str) -> Preview:
        if "." not in id:  # attenuated keys are known by nobody here before they are ended
            try:
                await keys.find(ctx.tenant, id)
            except NotFound as missing:
                raise await _of_that_name(ctx, id, missing) from None
        return Preview(summary=f"would end the key `{id}` for good")


async def _of_that_name(ctx: Context, name: str, missing: NotFound) -> NotFound:
    """Give the problem of an id that no key has; where it is a name, it says the ids that the caller may list."""
    try:
        listed = (await ctx.call("access.keys.list", {}))["keys"]
    except Problem:
        return missing
    ids = [one["id"] for one in listed if name in (one["name"], one["label"]) and one["revoked_at"] is None]
    return (
        NotFound(missing.detail, hint=f"give a key's id; of that name there is {', '.join(ids[:10])}")
        if ids
        else missing
    )


def ended(keys: Keys) -> Callable[[Context, Kept], Awaitable[None]]:
    """Give the undo of a key that was made: it ends; one that has ended already is as it shall be."""

    async def undo(ctx: Context, kept: Kept) -> None:
        with suppress(NotFound):
            await keys.revoke(ctx.tenant, kept.data["id"])

    return undo


def _add_making(access: Plugin, keys: Keys) -> None:
    @access.operation(
        name="access.keys.create",
        risk=Risk.HIGH,
        effect=Effect.CHANGE,
        undo=ended(keys),
        compensate=True,
        shows_keys=True,
    )
    async def create(
        ctx: Context,
        name: str,
        role: str | None = None,
        grants: list[Grant] | None = None,
        expires_s: int | None = None,
        workspace: str | None = None,
        agent: str | None = None,
        only: Only | None = None,
        limits: KeyLimits | None = None,
    ) -> Made:
        """Make a key for an agent; without role and grants it is a fresh `agent`. It never can do more than you can.

        `only` are bounds: whatever the agent may, this key does nothing else. With `agent`, it is one more key for an
        agent or service of yours, and `name` is its label.
        """
        _check([*(grants or []), *(only or [])], expires_s)
        if agent is not None and (role is not None or workspace is not None):
            raise InvalidInput("role and workspace are the agent's own", hint="leave them out, or make another agent")
        asked = keys.asked(
            name, role=role, grants=grants or [], expires_s=expires_s, workspace=workspace, only=only or [],
            limits=limits.model_dump(mode="json", exclude_defaults=True) if limits else {},
        )  # fmt: skip
        async with ctx.keeping("key") as keep:
            made = await (keys.create(ctx, asked, keep) if agent is None else keys.create_more(ctx, agent, asked, keep))
        return Made(**made)

    @create.refuses
    async def _(who: Principal, values: dict[str, Any]) -> None:
        await keys.require_may_make(who, values["agent"], values["grants"] or [])

    @create.preview
    async def _(
        ctx: Context,
        name: str,
        role: str | None = None,
        grants: list[Grant] | None = None,
        expires_s: int | None = None,
        workspace: str | None = None,
        agent: str | None = None,
        only: Only | None = None,
        limits: KeyLimits | None = None,
    ) -> Preview:
        _check([*(grants or []), *(only or [])], expires_s)
        if agent is not None:
            return Preview(summary=f"would make one more key for `{agent}`")
        return Preview(
            summary=f"would make a key for `{name}` with {role or ('its own grants' if grants else 'the role agent')}"
        )


def _add_rotating(access: Plugin, keys: Keys) -> None:
    async def back(ctx: Context, kept: Kept) -> None:
        await keys.reprieve(ctx.principal, kept.data["id"], kept.data["expires_at"], kept.data["new"])

    @access.operation(
        name="access.keys.rotate", risk=Risk.HIGH, effect=Effect.CHANGE, undo=back, compensate=True, shows_keys=True
    )
    async def rotate(ctx: Context, id: str, overlap_s: Annotated[int, Field(ge=0, le=30 * 86_400)] = 3600) -> Rotated:
        """Give a key of yours a successor with the same rights and limits; the old one is good for `overlap_s` yet."""
        async with ctx.keeping("key") as keep:
            made = await keys.rotate(ctx, id, overlap_s, keep)
        return Rotated(**made)

    @rotate.refuses
    async def _(who: Principal, values: dict[str, Any]) -> None:
        await keys.require_may_rotate(who, values["id"])

    @rotate.preview
    async def _(ctx: Context, id: str, overlap_s: Annotated[int, Field(ge=0, le=30 * 86_400)] = 3600) -> Preview:
        found = await keys.find(ctx.tenant, id)
        return Preview(
            summary=f"would give `{id}` of `{found['name']}` a successor, and end it in {overlap_s} s",
            changes=[f"key://-/{id}"],
        )


def _add_lending(access: Plugin, keys: Keys) -> None:
    @access.operation(
        name="access.delegate",
        risk=Risk.MEDIUM,
        effect=Effect.CHANGE,
        undo=ended(keys),
        compensate=True,
        shows_keys=True,
    )
    async def delegate(
        ctx: Context,
        name: str,
        only: Only | None = None,
        expires_s: Annotated[int, Field(ge=1, le=7 * 86_400)] = LENT_S,
        budget: Budget | None = None,
    ) -> Made:
        """Lend your rights, or with `only` a part of them, to a sub-agent of your own: it gets a key that ends soon.

        What it may is decided at each call along the whole chain, and it dies with your own key.
        """
        _check(only or [], expires_s)
        limits = {"budget": budget.model_dump(exclude_none=True)} if budget else {}
        async with ctx.keeping("key") as keep:
            made = await keys.delegate(ctx, keys.asked(name, only=only or [], expires_s=expires_s, limits=limits), keep)
        return Made(**made)

    @delegate.preview
    async def _(
        ctx: Context,
        name: str,
        only: Only | None = None,
        expires_s: Annotated[int, Field(ge=1, le=7 * 86_400)] = LENT_S,
        budget: Budget | None = None,
    ) -> Preview:
        _check(only or [], expires_s)
        return Preview(summary=f"would lend {'a part of ' if only else ''}your rights to `{name}` for {expires_s} s")


def _check(grants: list[Grant], expires_s: int | None) -> None:
    if any(one.subject or one.id for one in grants):
        raise InvalidInput("the grants of a key have no `subject` and no `id`: they are the key's own")
    size = sum(len(one.model_dump_json(exclude_defaults=True)) for one in grants)
    if size > LONGEST_BOUNDS:
        raise TooLarge(f"the grants of this key have {size} characters, more than {LONGEST_BOUNDS}")
    if expires_s is not None and not 0 < expires_s <= YEARS_S:
        raise InvalidInput("`expires_s` must be above 0 and up to ten years")
