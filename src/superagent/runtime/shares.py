"""Shares: how many commands one caller runs at a time.

Whoever acts for somebody else is held to them, not the owner: the owner clears up.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from superagent.core.context import Context
from superagent.core.problems import Overloaded
from superagent.core.turns import Turns

COMMANDS = 32
CALLERS = 4
"""How many callers may have all their commands running at a time; with more of them, they take turns."""


class Shares:
    """What callers may have of this machine; `commands` is for each of them."""

    def __init__(self, commands: int = COMMANDS) -> None:
        self._turns = Turns(commands, commands * CALLERS)

    @asynccontextmanager
    async def turn(self, ctx: Context) -> AsyncGenerator[None]:
        """Wait until another command of this caller may run. Raises `Overloaded` when this platform is stopping."""
        if not ctx.principal.shares:
            yield
            return
        holder = f"{ctx.tenant}/{ctx.principal.account}"
        if not await self._turns.take(holder):
            raise Overloaded("the platform is stopping")
        try:
            yield
        finally:
            self._turns.give(holder)

    def close(self) -> None:
        """Send those away who wait."""
        self._turns.close()
