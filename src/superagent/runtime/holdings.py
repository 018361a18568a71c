"""Holdings: what a principal leaves on the disk for later, added up, and refused before it is too much.

That is views that wait, the stored work of its jobs (inputs, outcomes, logs, events) and what is kept for undo. Each
has bounds of its own; together they must not fill the disk, for then nothing could be recorded and so nothing done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from sqlalchemy import func, select

from superagent.core.problems import TooLarge
from superagent.data.database import Database
from superagent.data.transaction import Transaction
from superagent.runtime.reserve import Reserve
from superagent.runtime.sandbox.views import Views
from superagent.runtime.undo_store import IN_ALL, SHARES
from superagent.runtime.work_tables import HOLDERS, INVOCATIONS, LOGS, STREAMS

LEAST = 1024 * 1024
"""With less room than that (bytes) nothing is begun that may leave something."""

KNOWN_S = 1.0
"""How long sums over the database are believed: what a job adds meanwhile is bounded by its log."""

MOST_KNOWN = 4096
_CURE = (
    "drop views with `sandbox.discard` and jobs that have ended with `jobs.forget`, or wait: views are kept for a day, "
    "jobs and what is kept for undo for a week; the owner can raise `limits.held_quota_bytes`"
)


class Holdings:
    """What principals hold. A tenant may hold `quota_bytes`, whoever acts for somebody else `share` of them."""

    def __init__(
        self,
        database: Database,
        views: Views,
        reserve: Reserve,
        monotonic: Callable[[], float],
        quota_bytes: int,
        share: float,
    ) -> None:
        self._database = database
        self._views = views
        self.reserve = reserve
        self._monotonic = monotonic
        self._quota = quota_bytes
        self._share = int(quota_bytes * share)
        self._known: dict[tuple[str, str], tuple[float, int, int]] = {}
        self._taking = asyncio.Lock()

    async def left(self, tenant: str, chain: Sequence[str]) -> int:
        """Give the bytes that who acts with this chain may still leave behind; 0 for none."""
        return max(0, min(await self._lefts(tenant, chain)))

    async def require(self, tenant: str, chain: Sequence[str]) -> int:
        """Go on only with room; gives how much there is. Raises `TooLarge`, `Unavailable` when the disk is nearly full.

        Ask before the effect: what has been begun is not ended for it.
        """
        free = self.reserve.require(LEAST)
        in_all, mine = await self._lefts(tenant, chain)
        if mine < LEAST <= in_all:
            raise TooLarge(
                f"what `{chain[0]}` leaves waiting (views, job logs, undo) fills its share of {self._share} bytes",
                hint=_CURE,
            )
        if in_all < LEAST:
            raise TooLarge(
                f"what waits in this tenant (views, job logs, undo) fills its {self._quota} bytes", hint=_CURE
            )
        return min(in_all, mine, free)

    async def take(self, tenant: str, chain: Sequence[str], size: int, note: Callable[[], None]) -> None:
        """Let `note` write down that so many bytes are held, if there is room. Raises as `require` does.

        One after the other, so that several that end at once find out what the others have taken: of several worker
        processes each for itself, so that these can together take a little more.
        """
        async with self._taking:
            left = await self.require(tenant, chain)
            if size > left:
                raise TooLarge(f"it holds {size} bytes, and there is room for {left}", hint=_CURE)
            await asyncio.to_thread(note)

    async def outgrown(self, tenant: str, chain: Sequence[str], note: Callable[[], None]) -> bool:
        """Let `note` write down what a view on the disk holds by now, and tell whether that is too much in the sum."""
        await asyncio.to_thread(note)
        return min(await self._lefts(tenant, chain)) < 0

    async def _lefts(self, tenant: str, chain: Sequence[str]) -> tuple[int, int]:
        acting = chain[0] if len(chain) > 1 else ""
        in_all, mine = await self._stored(tenant, acting)
        held = self._views.held_now(tenant, acting)
        all_views, my_views = held or await asyncio.to_thread(self._views.held, tenant, acting)
        left = self._quota - in_all - all_views
        return left, (self._share - mine - my_views if acting else left)

    async def _stored(self, tenant: str, acting: str) -> tuple[int, int]:
        """Give what the database holds: (of the tenant, of who acts)."""
        now = self._monotonic()
        found = self._known.get((tenant, acting))
        if found is None or now - found[0] >= KNOWN_S:
            sums = await self._database.read(tenant, lambda tx: (_sums(tx, ""), _sums(tx, acting) if acting else 0))
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            found = self._known[tenant, acting] = (now, *sums)
        return found[1:]


def _sums(tx: Transaction, acting: str) -> int:
    theirs = select(HOLDERS.c.invocation).where(HOLDERS.c.tenant == tx.tenant, HOLDERS.c.person == acting)
    calls = [INVOCATIONS.c.id.in_(theirs)] if acting else []
    logs = [LOGS.c.invocation.in_(theirs)] if acting else []
    streams = [STREAMS.c.invocation.in_(theirs)] if acting else []
    stored = func.length(INVOCATIONS.c.body) + func.coalesce(func.length(INVOCATIONS.c.outcome), 0)
    return (
        tx.sum(INVOCATIONS, stored, *calls)
        + tx.sum(LOGS, LOGS.c.end - LOGS.c.first, *logs)
        + tx.sum(STREAMS, STREAMS.c.bytes, *streams)
        + tx.sum(SHARES, SHARES.c.bytes, SHARES.c.principal == (acting or IN_ALL))
    )
