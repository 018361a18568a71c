"""Limits: how fast and how much, as arithmetic on a given time."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from superagent.core.problems import Overloaded


@dataclass(frozen=True, slots=True)
class Rate:
    """A token bucket: `per_s` tokens a second, at most `burst` at once."""

    per_s: float
    burst: int


def take(tat: float, rate: Rate, now: float, cost: int = 1) -> tuple[float, float]:
    """Take tokens by the generic cell rate algorithm (ITU-T I.371).

    `tat` is the theoretical arrival time kept per key (0.0 for a new key), in the same seconds as `now`.
    Returns (new tat, seconds to wait): when the wait is above 0 nothing was taken and the tat is unchanged.
    """
    interval = cost / rate.per_s
    start = max(tat, now)
    wait = start + interval - now - rate.burst / rate.per_s
    if wait > 1e-9:
        return tat, wait
    return start + interval, 0.0


class LocalBuckets:
    """Keep the buckets of one process, at most `capacity` keys, the longest unused forgotten first."""

    def __init__(self, capacity: int = 65_536) -> None:
        self._tats: OrderedDict[str, float] = OrderedDict()
        self._capacity = capacity

    def take(self, key: str, rate: Rate, now: float, cost: int = 1) -> float:
        """Take tokens, or say how many seconds to wait; 0.0 when they were taken."""
        tat, wait = take(self._tats.pop(key, 0.0), rate, now, cost)
        self._tats[key] = tat
        if len(self._tats) > self._capacity:
            self._tats.popitem(last=False)
        return wait


class Slots:
    """Count what a principal has under way, so that one cannot take all of the platform.

    `what` and `hint` are for whoever is refused: what is counted, and how to have less of it.
    """

    def __init__(self, per_key: int, in_all: int, *, what: str = "calls", hint: str = "wait for some to end") -> None:
        self._per_key = per_key
        self._in_all = in_all
        self._what = what
        self._hint = hint
        self._taken: dict[str, int] = {}
        self._sum = 0

    def require_free(self, key: str) -> None:
        """Go on only if a slot is free. Raises `Overloaded` when the caller or the platform has none left."""
        mine = self._taken.get(key, 0)
        if mine >= self._per_key or self._sum >= self._in_all:
            whose = "you have" if mine >= self._per_key else "the platform has"
            raise Overloaded(f"{whose} too many {self._what} under way", hint=self._hint, retry_after_s=1.0)

    def enter(self, key: str) -> None:
        """Take a slot. Raises as `require_free` does."""
        self.require_free(key)
        self._taken[key] = self._taken.get(key, 0) + 1
        self._sum += 1

    def leave(self, key: str) -> None:
        """Give a slot back."""
        mine = self._taken[key] - 1
        self._sum -= 1
        if mine:
            self._taken[key] = mine
        else:
            del self._taken[key]
