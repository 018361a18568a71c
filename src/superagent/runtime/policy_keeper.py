"""The keeper of policy: before a change it notes which version was in force, and undo puts that back."""

from __future__ import annotations

from typing import Any

from superagent.core.context import Context
from superagent.core.policy_text import as_diff, difference
from superagent.core.problems import Denied
from superagent.core.resources import Resource
from superagent.runtime.policy_book import PolicyBook

_ROOM = 256  # what an entry counts against the quota of undo


class PolicyKeeper:
    """Keeps the number of a version; what it held stays in the book."""

    def __init__(self, book: PolicyBook) -> None:
        self._book = book

    async def keep(self, ctx: Context, resource: Resource) -> tuple[dict[str, Any], str, int]:
        """Keep which version is in force: (data, digest, bytes kept)."""
        present = await self._book.present(ctx.tenant)
        return {"version": present.number}, present.digest, _ROOM

    async def digest(self, ctx: Context, resource: Resource) -> str:
        """Name what the grants in force say."""
        return (await self._book.present(ctx.tenant)).digest

    async def settle(
        self, ctx: Context, resource: Resource, data: dict[str, Any], after: str | None
    ) -> tuple[str, dict[str, Any]]:
        """Name the state that was left; all else is known before the change."""
        return after or await self.digest(ctx, resource), data

    async def put_back(self, ctx: Context, resource: Resource, data: dict[str, Any]) -> None:
        """Put the kept version in force again. Raises `Denied` for anybody but people, and for who would gain."""
        if ctx.principal.kind != "human":
            raise Denied("only people change policy", hint="ask one of them to take it back")
        number = data["version"]
        now, then = await self._book.present(ctx.tenant), await self._book.edition(ctx.tenant, number)
        await self._book.require_may_change(ctx.principal, *difference(now.grants, then.grants))
        await self._book.restore(ctx.tenant, number, ctx.principal.id, f"puts back version {number}")

    async def preview(self, ctx: Context, resource: Resource, data: dict[str, Any]) -> str:
        """Show which grants would come and go."""
        now, then = await self._book.present(ctx.tenant), await self._book.edition(ctx.tenant, data["version"])
        added, removed = difference(now.grants, then.grants)
        return as_diff(added, removed, f"version {now.number}", f"version {then.number}")
