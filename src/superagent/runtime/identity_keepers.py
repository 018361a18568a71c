"""The keepers of people, agents, groups, roles, tenants and stops: what each was, so that a change can be undone."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import msgspec

from superagent.core.context import Context
from superagent.core.resources import Resource

_ROOM = 512  # what an entry counts against the quota of undo


class Restores(Protocol):
    """A store whose things can be made what they were."""

    def find(self, tenant: str, id: str) -> Awaitable[dict[str, Any] | None]:
        """Give what a change could alter; None for nothing."""
        ...

    def restore(self, ctx: Context, id: str, to: dict[str, Any] | None) -> Awaitable[None]:
        """Make it so again, by the rights of whoever asks."""
        ...


class IdentityKeeper:
    """Keep what a named thing was. `beside` gives what ends with it, and is no part of what it is."""

    def __init__(self, store: Restores, beside: Callable[[str, str], Awaitable[dict[str, Any]]] | None = None) -> None:
        self._store = store
        self._beside = beside

    async def keep(self, ctx: Context, resource: Resource) -> tuple[dict[str, Any], str, int]:
        """Keep it as it is: (data, digest, bytes kept)."""
        found = await self._store.find(ctx.tenant, resource.path)
        beside = await self._beside(ctx.tenant, resource.path) if self._beside is not None else {}
        return {"was": found} | ({"beside": beside} if beside else {}), _digest(found), _ROOM

    async def digest(self, ctx: Context, resource: Resource) -> str:
        """Name the present state."""
        return _digest(await self._store.find(ctx.tenant, resource.path))

    async def settle(
        self, ctx: Context, resource: Resource, data: dict[str, Any], after: str | None
    ) -> tuple[str, dict[str, Any]]:
        """Name the state that was left; all else is known before the change."""
        return after or await self.digest(ctx, resource), data

    async def put_back(self, ctx: Context, resource: Resource, data: dict[str, Any]) -> None:
        """Make it what it was. Raises what the change itself would, for who may not give such rights."""
        was = data["was"]
        await self._store.restore(ctx, resource.path, was if was is None else was | data.get("beside", {}))

    async def preview(self, ctx: Context, resource: Resource, data: dict[str, Any]) -> str:
        """Show what it is and what it would be."""
        now = await self._store.find(ctx.tenant, resource.path)
        lines = ["nothing" if one is None else msgspec.json.encode(one).decode() for one in (now, data["was"])]
        return f"--- {resource.path}\n+++ {resource.path}\n-{lines[0]}\n+{lines[1]}\n"


def _digest(found: dict[str, Any] | None) -> str:
    return hashlib.sha256(msgspec.json.encode(found, order="deterministic")).hexdigest()
