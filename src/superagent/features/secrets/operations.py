"""Secrets: put values away, rotate and delete them, see their names; no operation gives a value back."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Sequence
from typing import Annotated, Any, Protocol

from pydantic import Field

from superagent.sdk import (
    Context,
    Effect,
    Example,
    Host,
    Input,
    InvalidInput,
    Nothing,
    Output,
    Plugin,
    Preview,
    Resource,
    Risk,
    Secret,
    SecretText,
    SecretUse,
    Touches,
    put_back,
)

PutName = Annotated[str, Touches("secret", Effect.CHANGE)]
DropName = Annotated[str, Touches("secret", Effect.DESTROY)]
Overlap = Annotated[int, Field(ge=0, le=30 * 86_400)]
PAGE = 200
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,127}")


class Store(Protocol):
    """Where values lie, sealed (`runtime.secrets.SqlSecrets`)."""

    def put(
        self, tenant: str, name: str, value: Secret, use: SecretUse | None, by: str, *, overlap_s: float = 0.0
    ) -> Awaitable[int]:
        """Put a new version in force and give its number."""
        ...

    def entry(self, tenant: str, name: str) -> Awaitable[str]:
        """Name the secret that bears a name. Raises `NotFound`."""
        ...

    def pointer(self, tenant: str, name: str) -> Awaitable[Any]:
        """Give which version is in force, None for none."""
        ...

    def point(self, tenant: str, name: str, to: Any) -> Awaitable[None]:
        """Put another version in force, or none."""
        ...

    def listed(self, tenant: str, prefix: str = "", after: str = "", limit: int = 100) -> Awaitable[Sequence[Any]]:
        """Give names in order."""
        ...


class Policy(Input):
    """What a secret is for: `hosts` are patterns of `host:port`, none for any; `runs` lets commands have it.

    One that is for certain hosts is never given to a command.
    """

    hosts: list[Host] = []
    runs: bool = True


class Put(Output):
    name: str
    version: int


class Name(Output):
    """A secret without its value; until `overlap_until` (epoch seconds) the version before is good as well."""

    name: str
    version: int
    changed_at: float
    changed_by: str
    overlap_until: float | None


class Names(Output):
    """The secrets that you may use or change; `cursor` asks for the next page, None on the last."""

    secrets: list[Name]
    cursor: str | None


def plugin(store: Store) -> Plugin:
    """Make the plugin over the store of secrets."""
    secrets = Plugin("secrets")

    @secrets.operation(
        risk=Risk.MEDIUM,
        undo=put_back,
        examples=(Example("Put a token away", {"name": "github-token", "value": "…"}),),
        returns_untrusted="never",
    )
    async def put(ctx: Context, name: PutName, value: SecretText, policy: Policy | None = None) -> Put:
        """Put a secret away under a name, or give it a new value; what it was before can be put back for a week.

        Without a `policy` that of the value before holds on. Nothing ever gives the value back.
        """
        _check(name)
        async with ctx.changing(Resource("secret", "-", name, Effect.CHANGE)):
            return Put(name=name, version=await store.put(ctx.tenant, name, value, _use(policy), ctx.principal.id))

    @put.preview
    async def _(ctx: Context, name: PutName, value: SecretText, policy: Policy | None = None) -> Preview:
        _check(name)
        there = await store.pointer(ctx.tenant, name)
        what = f"would give the secret `{name}` a new value" if there else f"would put a secret away as `{name}`"
        return Preview(summary=what, changes=[Resource("secret", "-", name).id])

    @secrets.operation(risk=Risk.MEDIUM, undo=put_back, returns_untrusted="never")
    async def rotate(ctx: Context, name: PutName, value: SecretText, overlap_s: Overlap = 3600) -> Put:
        """Give a secret a new value, while the one before stays good for some time for what still holds it."""
        async with ctx.changing(Resource("secret", "-", name, Effect.CHANGE)):
            await store.entry(ctx.tenant, name)
            version = await store.put(ctx.tenant, name, value, None, ctx.principal.id, overlap_s=overlap_s)
            return Put(name=name, version=version)

    @rotate.preview
    async def _(ctx: Context, name: PutName, value: SecretText, overlap_s: Overlap = 3600) -> Preview:
        await store.entry(ctx.tenant, name)
        return Preview(
            summary=f"would give the secret `{name}` a new value; the one before stays good for {overlap_s} s",
            changes=[Resource("secret", "-", name).id],
        )

    @secrets.operation(risk=Risk.HIGH, undo=put_back, returns_untrusted="never")
    async def delete(ctx: Context, name: DropName) -> Nothing:
        """Delete a secret; it can be put back for a week. A new one of that name is another secret to connections."""
        async with ctx.changing(Resource("secret", "-", name, Effect.DESTROY), Effect.DESTROY):
            await store.entry(ctx.tenant, name)
            await store.point(ctx.tenant, name, None)
            return Nothing()

    @delete.preview
    async def _(ctx: Context, name: DropName) -> Preview:
        await store.entry(ctx.tenant, name)
        return Preview(summary=f"would delete the secret `{name}`", changes=[Resource("secret", "-", name).id])

    @secrets.operation(name="secrets.list", risk=Risk.LOW, effect=Effect.READ)
    async def list_(
        ctx: Context, prefix: str = "", limit: Annotated[int, Field(ge=1, le=200)] = 100, cursor: str | None = None
    ) -> Names:
        """List the names of the secrets that you may use or change, and nothing of their values."""
        mine: list[Any] = []
        after, more = cursor or "", True
        while more and len(mine) <= limit:
            found = await store.listed(ctx.tenant, prefix, after, PAGE)
            mine += [one for one in found if ctx.sees(Resource("secret", "-", one.name))]
            more = len(found) == PAGE
            after = found[-1].name if more else ""
        # the cursor is one of the caller's own: other names are not told by it either
        following = mine[limit - 1].name if len(mine) > limit else None
        return Names(secrets=[_name(one, ctx.now) for one in mine[:limit]], cursor=following)

    return secrets


def _check(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise InvalidInput(
            "a secret's name has up to 128 letters, digits and `. _ / -`, and begins with a letter or digit",
            hint="for example `github-token` or `prod/db`",
        )


def _use(policy: Policy | None) -> SecretUse | None:
    return policy and SecretUse(tuple(policy.hosts), policy.runs)


def _name(one: Any, now: float) -> Name:
    return Name(
        name=one.name,
        version=one.version,
        changed_at=one.at,
        changed_by=one.by,
        overlap_until=one.overlap_until if one.overlap_until > now else None,
    )
