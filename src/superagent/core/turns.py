"""Turns: how many jobs run at a time; whoever comes later waits in line, and no caller can fill the line for others."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque


class Turns:
    """Give turns to holders: `per_holder` each and `in_all` together, one after the other around the holders."""

    def __init__(self, per_holder: int, in_all: int) -> None:
        self._per_holder = per_holder
        self._in_all = in_all
        self._taken: dict[str, int] = {}
        self._sum = 0
        self._waiting: OrderedDict[str, deque[asyncio.Future[bool]]] = OrderedDict()
        self._closed = False

    async def take(self, holder: str, *, first: bool = False) -> bool:
        """Wait for a turn and take it; False when there will be none any more, because this closes.

        `first` is for who had one already and goes before the others of its holder.
        """
        if self._closed:
            return False
        if holder not in self._waiting and self._free(holder):
            self._enter(holder)
            return True
        mine: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        line = self._waiting.setdefault(holder, deque())
        if first:
            line.appendleft(mine)
        else:
            line.append(mine)
        try:
            return await mine
        except asyncio.CancelledError:
            if mine.done() and not mine.cancelled() and mine.result():
                self.give(holder)  # it came and nobody will use it
            raise

    def give(self, holder: str) -> None:
        """Give a turn back; the next in line gets it."""
        mine = self._taken[holder] - 1
        self._sum -= 1
        if mine:
            self._taken[holder] = mine
        else:
            del self._taken[holder]
        self._next()

    def open(self) -> None:
        """Give turns from now on, as at the beginning."""
        self._closed = False

    def close(self) -> None:
        """Send everybody in line away."""
        self._closed = True
        for line in self._waiting.values():
            for one in line:
                if not one.done():
                    one.set_result(False)
        self._waiting.clear()

    def _next(self) -> None:
        for holder in list(self._waiting):
            line = self._waiting[holder]
            while line and line[0].done():  # it stopped waiting
                line.popleft()
            if line and self._free(holder):
                self._enter(holder)
                line.popleft().set_result(True)
                self._waiting.move_to_end(holder)
            if not line:
                del self._waiting[holder]

    def _free(self, holder: str) -> bool:
        return self._sum < self._in_all and self._taken.get(holder, 0) < self._per_holder

    def _enter(self, holder: str) -> None:
        self._taken[holder] = self._taken.get(holder, 0) + 1
        self._sum += 1
