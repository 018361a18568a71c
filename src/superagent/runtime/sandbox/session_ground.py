"""What a session stands on for as long as it lives: its sandbox, the view that it works on, and its network."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from superagent.core.commands import Traffic
from superagent.core.containment import Profile
from superagent.core.problems import Problem
from superagent.runtime.sandbox.backend import Running
from superagent.runtime.sandbox.command_network import NO_NETWORK, RunNetwork
from superagent.runtime.sandbox.view_size import Growth, held_on_disk
from superagent.runtime.sandbox.views import Use, Views


class HeldView:
    """The view of a session: held while it lives, then it waits like that of a command; without any change it goes."""

    def __init__(self, views: Views, use: Use, growing: Callable[[Callable[[int], None]], Growth]) -> None:
        self._views = views
        self._use = use
        self._growth = growing(lambda held: self._use.hold(held))
        self._turn = asyncio.Lock()
        self._looks = 0
        self._over = False
        self.id = use.record.id
        self.view = use.view

    @property
    def waits(self) -> bool:
        """Tell whether the session is over and something waits in it."""
        return self._over and bool(self.id)

    async def limit(self) -> str:
        """Give the limit that it has met (`disk`), `lost` when somebody took it away, empty for none."""
        if not self.id:
            return "lost"
        if self._turn.locked():  # somebody accepts parts of it just now
            return ""
        self._looks += 1
        async with self._turn:
            return "disk" if not self._over and await self._growth.over(self._looks) else ""

    @asynccontextmanager
    async def apart(self) -> AsyncGenerator[None]:
        """Leave the view to whoever accepts parts of it, for the length of a block; what runs on it goes on."""
        async with self._turn:
            if self._over or not self.id:
                yield
                return
            await asyncio.to_thread(self._use.pause)
            try:
                yield
            finally:
                await asyncio.to_thread(self._take_again)

    async def rest(self) -> None:
        """Let it wait, now that nothing runs on it any more; a second time does nothing."""
        async with self._turn:
            if not self._over:
                self._over = True
                await asyncio.to_thread(self._leave)

    async def drop(self) -> None:
        """Remove it with all it holds, once it rests."""
        await self.rest()
        if self.id:
            await asyncio.to_thread(self._discard)

    # ---- inside, blocking

    def _take_again(self) -> None:
        try:
            self._use = self._views.use(self.id)
            self._use.go_on()
        except Problem:  # somebody in another process discarded it meanwhile
            self.id = ""

    def _leave(self) -> None:
        if not self.id:
            return
        held = held_on_disk(self.view)
        self._use.rest(held=held)
        self._use.close()
        if not held and not self.view.copied:
            self._discard()

    def _discard(self) -> None:
        with contextlib.suppress(Problem, OSError), self._views.alone(self.id) as own:
            self._views.discard(own)
        self.id = ""


@dataclass(slots=True)
class Ground:
    """One session's: `held` is None where it can change nothing, `stack` closes what its network needs."""

    running: Running
    profile: Profile
    held: HeldView | None = None
    network: RunNetwork = NO_NETWORK
    stack: AsyncExitStack = field(default_factory=AsyncExitStack)
    traffic: Traffic | None = None
    _leaving: asyncio.Lock = field(default_factory=asyncio.Lock)
    _left: bool = False

    async def leave(self) -> None:
        """End its network and let its view wait, now that the sandbox has ended; a second time does nothing."""
        async with self._leaving:
            if self._left:
                return
            self._left = True
            try:
                self.traffic = await self.network.ended()
                await self.stack.aclose()
            finally:
                if self.held is not None:
                    await self.held.rest()

    async def drop(self) -> None:
        """End the sandbox, and keep nothing of it."""
        with contextlib.suppress(Problem):  # the launcher is gone, and every sandbox with it
            await self.running.kill()
        await self.leave()
        if self.held is not None:
            await self.held.drop()
