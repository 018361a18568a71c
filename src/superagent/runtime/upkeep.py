"""Upkeep: what a running process does every now and then beside the calls."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from superagent.core.kernel import Kernel
from superagent.runtime import log
from superagent.runtime.sandbox.views import Views
from superagent.runtime.stores import Stores

POLICY_POLL_S = 0.2
LOOK_S = 5.0
COUNT_S = 1.0
SWEEP_S = 60.0


class Sweeps(Protocol):
    """A store that forgets what has expired."""

    async def sweep(self) -> int:
        """Forget what has expired, and say how much."""
        ...


class SweptViews:
    """Views among the stores that forget what has expired."""

    def __init__(self, views: Views) -> None:
        self._views = views

    async def sweep(self) -> int:
        """Remove views that are nobody's any more."""
        return await asyncio.to_thread(self._views.sweep)


async def keep_up(
    kernel: Kernel, stores: Stores, swept: Sequence[Sweeps], follow: Callable[[], Awaitable[None]]
) -> None:
    """Follow policy changes of other workers, take over what dead ones left, and tidy up now and then; never ends.

    `follow` takes up what else other workers changed.
    """
    looked = tidied = counted = kernel.hands.clock.monotonic()
    alive_at, dying = stores.shared.identity.read(), False
    while True:
        await asyncio.sleep(POLICY_POLL_S)
        now = kernel.hands.clock.monotonic()
        try:
            if stores.policies.stale:
                await stores.policies.refresh()
            if (epoch := stores.shared.identity.read()) != alive_at or dying:
                alive_at, dying = epoch, kernel.under_way.end_the_dead()
            await stores.access.end_shown(kernel.pipeline.recorder.event, stores.audit.note)
            if now - counted > COUNT_S:
                counted = now
                await stores.identity.budgets.flush()
            if now - looked > LOOK_S:
                looked = now
                await follow()
                kernel.pipeline.record_floods()
                await stores.work.settle_lost()
                for held in await stores.work.ready(older_s=2 * LOOK_S):
                    kernel.resume(held)
            if now - tidied > SWEEP_S:
                tidied = now
                await stores.identity.note_use()
                for store in swept:
                    await store.sweep()
        except Exception as fault:  # this must go on: without it a revoked right would stay in force here
            log.fault("", fault)
