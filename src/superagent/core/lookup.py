"""Lookup: what a caller may find out about operations and invocations; thin views for the operations that show them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from superagent.core.context import Context
from superagent.core.held import no_invocation
from superagent.core.kernel import Kernel
from superagent.core.operation import Operation
from superagent.core.principal import Principal
from superagent.core.problems import NotFound
from superagent.core.ways_out import no_operation

Found = Callable[[str, str], Awaitable[list[dict[str, Any]]]]


def may_hear(kernel: Kernel, principal: Principal, ids: tuple[str, ...], tenant: str) -> bool:
    """Tell whether a principal may see what the record says, which names people and no bounds, and holds no outputs."""
    return principal.tenant == tenant and (principal.id in ids or kernel.may_audit(principal))


class Shelf:
    """The registry as each caller may see it."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    def visible(self, ctx: Context) -> list[Operation]:
        """Give the operations the caller could be allowed or asked for, by name."""
        return self._kernel.registry.visible_to(ctx.principal, self._kernel.policy_of(ctx.principal))

    def search(self, words: str, among: list[Operation], limit: int) -> list[Operation]:
        """Give those that fit the words best."""
        return self._kernel.registry.search(words, among, limit)

    def missing(self, ctx: Context, name: str) -> NotFound:
        """Give the problem of a name that means nothing to the caller."""
        kernel, principal = self._kernel, ctx.principal
        return no_operation(kernel.registry, kernel.policy_of(principal), principal, name)


class Invocations:
    """What is known of invocations: first the store of those that outlive their request, then the audit index."""

    def __init__(self, kernel: Kernel, records: Found) -> None:
        self._kernel = kernel
        self._records = records

    async def status(self, ctx: Context, id: str) -> dict[str, Any]:
        """Give what the caller may see of one. Raises `NotFound`."""
        held = await self._kernel.hands.work.get(ctx.tenant, id)
        if held is None or not self._kernel.may_look(ctx.principal, held.invocation.principal.marks, held.tenant):
            # also of what is there and is not the caller's the record is searched: else the time would tell
            return await self._recorded(ctx, id, stored=held is not None)
        outcome = await self._kernel.hands.work.outcome(ctx.tenant, id)
        ctx.source = outcome.source if outcome else ""
        return {
            "invocation": id,
            "operation": held.invocation.call.operation,
            "status": (outcome.status if outcome else held.state).value,
            "at": held.at,
            "outcome": outcome.plain() if outcome else None,
        }

    async def _recorded(self, ctx: Context, id: str, *, stored: bool) -> dict[str, Any]:
        records = await self._records(ctx.tenant, id)
        mine = [one for one in records if self._hears(ctx, one)]
        if stored or not mine:
            raise no_invocation(id)
        ended = next((one for one in mine if one["kind"] == "outcome"), None)
        refused = any(one["kind"] == "refused" for one in mine)
        status = ended.get("status", "unknown") if ended else "failed" if refused else "running"
        outcome = None  # the record holds no outputs; what was called with a key is remembered for who may repeat it
        if ended and (digest := ended.get("input_digest")):
            outcome = await self._kernel.hands.idempotency.told(ctx.principal, id, digest)
        ctx.source = outcome.source if outcome else ""
        return {
            "invocation": id,
            "operation": mine[0].get("operation", ""),
            "status": status,
            "at": mine[-1]["at"],
            "owner": mine[0].get("who"),
            "ended": ended["at"] if ended else None,
            "outcome": outcome.plain() if outcome else None,
        }

    def _hears(self, ctx: Context, record: dict[str, Any]) -> bool:
        ids = (record.get("who", ""), *record.get("chain_of", ()))
        return may_hear(self._kernel, ctx.principal, ids, ctx.tenant)

    async def cancel(self, ctx: Context, id: str) -> str:
        """Stop one and give its state. Raises `NotFound`, `Conflict` when it has ended."""
        return (await self._kernel.cancel(ctx.principal, id)).value
