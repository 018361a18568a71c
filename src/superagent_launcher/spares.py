"""Spares: children that wait for a job, made when there is nothing else to do, some of them readied for the likely one.

Forking costs a command more than all the rest of its start, and so does what a confinement needs that is the same for
every command of one user: that is done while nobody waits for it.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any

from superagent_launcher.asked import Refused
from superagent_launcher.child import Spare
from superagent_launcher.runs import not_started

KEPT = 2
READY = 2
"""How many grounds a child is kept ready for: those of the last commands."""

AGE_S = 5.0
"""How long a child stays ready: what it opened by its path may be another file by then."""

SOON_S = 0.005
QUIET_S = 0.03
"""None is made when something was started so shortly ago: what runs now comes first."""

Ground = dict[str, Any]


class Spares:
    """All children without a job. `make` makes one, `end` ends one that is not needed any more."""

    def __init__(self, make: Callable[[], Spare], end: Callable[[Spare], None]) -> None:
        self._make = make
        self._end = end
        self._plain: list[Spare] = []
        self._ready: list[tuple[Ground, Spare, float]] = []
        self._wanted: list[Ground] = []
        self._last = 0.0

    def pids(self) -> list[int]:
        """Give the processes that wait."""
        return [one.pid for one in self._plain] + [one.pid for _, one, _ in self._ready]

    def take(self, ground: Ground | None) -> Spare:
        """Give a child, ready for a ground where one is named; it may have ended meanwhile. Raises `Refused`."""
        self._last = time.monotonic()
        if ground is None:
            return self._plain.pop(0) if self._plain else self._make()
        self.tidy(self._last)
        if ground["filter"]:  # what nothing is to hold is never made ahead
            self._wanted = [*(one for one in self._wanted if one != ground), ground][-READY:]
        for at, (one, spare, _) in enumerate(self._ready):
            if one == ground:
                del self._ready[at]
                return spare
        return self._readied(ground)

    def patience(self, now: float) -> float | None:
        """Give how long nothing has to be done here, in seconds; None for ever."""
        if not self._done():
            return max(SOON_S, self._last + QUIET_S - now)
        return max(SOON_S, min(until for _, _, until in self._ready) - now) if self._ready else None

    def idle(self, now: float) -> Spare | None:
        """Do one thing ahead; gives a child that waits when this was the last."""
        if now - self._last < QUIET_S or self._done():
            return None
        missing = self._missing()
        with contextlib.suppress(Refused):  # whoever comes next hears why not
            if missing is not None:
                self._ready.append((missing, self._readied(missing), now + AGE_S))
            else:
                self._plain.append(_looked_at(self._make()))
        return self._plain[-1] if self._done() else None

    def tidy(self, now: float) -> None:
        """End those that were ready for too long, or for what nobody wants any more; they are not made anew."""
        for one in [one for one in self._ready if one[2] <= now or one[0] not in self._wanted]:
            self._ready.remove(one)
            self._forget(one[0])
            self._end(one[1])

    def died(self, pid: int) -> None:
        """Forget a child that has ended by itself, and do not make the like of it again."""
        for one in [one for one in self._plain if one.pid == pid]:
            self._plain.remove(one)
            self._end(one)
        for ground, one, until in [held for held in self._ready if held[1].pid == pid]:
            self._ready.remove((ground, one, until))
            self._forget(ground)
            self._end(one)

    def close(self) -> None:
        """End all."""
        self._wanted.clear()
        self.tidy(time.monotonic())
        while self._plain:
            self._end(self._plain.pop())

    def _done(self) -> bool:
        return len(self._plain) >= KEPT and self._missing() is None

    def _missing(self) -> Ground | None:
        held = [ground for ground, _, _ in self._ready]
        return next((one for one in reversed(self._wanted) if one not in held), None)

    def _forget(self, ground: Ground) -> None:
        self._wanted = [one for one in self._wanted if one != ground]

    def _readied(self, ground: Ground) -> Spare:
        spare = self._plain.pop(0) if self._plain else self._make()
        try:
            if spare.group is not None:
                spare.group.limit(ground["limits"])
            spare.give({"ground": ground}, ())
        except OSError as bad:
            self._end(spare)
            raise not_started(bad) from None
        return spare


def _looked_at(spare: Spare) -> Spare:
    """Ask its group once for what is asked at the end of a run: what is read then is open from now on."""
    if spare.group is not None:
        spare.group.cpu_s()
        spare.group.usage(now=False)
    return spare
