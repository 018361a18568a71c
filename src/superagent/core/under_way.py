"""Calls under way in this process: who they are for, and how they are stopped."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from superagent.core.execution import DEAD, STOPS
from superagent.core.principal import Principal

ENDING_S = 10.0


@dataclass(slots=True)
class Running:
    """A call under way for the time of a block; a stop waits for one that `finishes`.

    `dead` was its caller at the last look.
    """

    task: asyncio.Task[Any]
    principal: Principal
    finishes: bool
    id: str
    among: dict[str, Running]
    dead: bool = False

    def __enter__(self) -> None:
        self.among[self.id] = self

    def __exit__(self, *_: object) -> None:
        del self.among[self.id]


class UnderWay:
    """The calls that run here, by their ids."""

    def __init__(self, alive: Callable[[Principal], bool]) -> None:
        self._alive = alive
        self._running: dict[str, Running] = {}

    def __contains__(self, id: str) -> bool:
        """Tell whether a call runs here."""
        return id in self._running

    def __len__(self) -> int:
        """Give how many run."""
        return len(self._running)

    @property
    def ids(self) -> frozenset[str]:
        """Give the calls that run here."""
        return frozenset(self._running)

    def holding(self, id: str, principal: Principal, finishes: bool) -> Running:
        """Count the task that comes here as a call for the time of the block."""
        task = asyncio.current_task()
        assert task is not None
        return Running(task, principal, finishes, id, self._running)

    def caller(self, id: str) -> Principal | None:
        """Give for whom a call runs here; None when it does not."""
        running = self._running.get(id)
        return running and running.principal

    def stop(self, id: str) -> bool:
        """Cancel a call, whoever wants it; False when it does not run here."""
        running = self._running.get(id)
        if running is not None:
            running.task.cancel()
        return running is not None

    def end_the_dead(self) -> bool:
        """End what runs for those who could not act at the last look either; tells whether to look again.

        A call that ends its own caller's right, as that of a person does who adds a factor, has answered by then.
        """
        dead = [one for one in self._running.values() if not self._alive(one.principal)]
        for one in dead:
            if one.dead:
                one.task.cancel(DEAD)
            one.dead = True
        return bool(dead)

    async def end(self) -> None:
        """Cancel what does not finish by itself, and wait until it has recorded what became of it: 10 s at most."""
        running = [one.task for one in self._running.values() if not one.finishes]
        for task in running:
            task.cancel(STOPS)
        if running:
            await asyncio.wait(running, timeout=ENDING_S)
