"""The clock: real time, and ULIDs that grow with it."""

from __future__ import annotations

import itertools
import os
import threading
import time
import weakref
from collections.abc import Iterator

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's base 32: no I, L, O, U
_PAIRS = tuple(first + second for first in _ALPHABET for second in _ALPHABET)
_TEN = 1023  # ten bits, two letters
_COUNTS = 1 << 20
_DRAWN = 64


class SystemClock:
    """Give the time of this machine, and identifiers that nobody else gives (https://github.com/ulid/spec).

    Within one millisecond identifiers count up, also when the system's clock steps back. May be used by several
    threads, and on both sides of a fork.
    """

    now = staticmethod(time.time)
    """Give epoch seconds (UTC)."""

    monotonic = staticmethod(time.monotonic)
    """Give seconds that never run backwards: the clock of the event loop."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._forget()
        _all.add(self)

    def new_id(self) -> str:
        """Give a fresh ULID: 48 bits of milliseconds, 60 random bits, and 20 that count on from a random number."""
        at = time.time_ns() // 1_000_000
        began, front, count = self._now_on  # taken at once, and counting is one step: no lock is needed for that
        number = next(count)
        while at > began or number >= _COUNTS:
            with self._lock:
                if self._now_on[0] == began:
                    self._start(max(at, began + 1))
                began, front, count = self._now_on
            number, at = next(count), began
        return front + _PAIRS[number >> 10] + _PAIRS[number & _TEN]

    def _start(self, at: int) -> None:
        if not self._random:  # many at a time: a system call for each millisecond costs more than the call it names
            drawn = os.urandom(10 * _DRAWN)
            self._random = [drawn[place : place + 10] for place in range(0, len(drawn), 10)]
        r = int.from_bytes(self._random.pop(), "big")
        front = (
            f"{_PAIRS[at >> 40 & _TEN]}{_PAIRS[at >> 30 & _TEN]}{_PAIRS[at >> 20 & _TEN]}{_PAIRS[at >> 10 & _TEN]}"
            f"{_PAIRS[at & _TEN]}{_PAIRS[r >> 70]}{_PAIRS[r >> 60 & _TEN]}{_PAIRS[r >> 50 & _TEN]}"
            f"{_PAIRS[r >> 40 & _TEN]}{_PAIRS[r >> 30 & _TEN]}{_PAIRS[r >> 20 & _TEN]}"
        )
        self._now_on = at, front, itertools.count(r & (_COUNTS // 2 - 1))  # half of the numbers are left to count

    def _forget(self) -> None:
        self._random: list[bytes] = []
        # since which millisecond, what names begin with, what they count on from
        self._now_on: tuple[int, str, Iterator[int]] = -1, "", itertools.count()


_all: weakref.WeakSet[SystemClock] = weakref.WeakSet()


def _in_child() -> None:
    # a child that counted on from its parent's numbers would give the same ones
    for clock in _all:
        clock._lock = threading.Lock()  # pyright: ignore[reportPrivateUsage]
        clock._forget()  # pyright: ignore[reportPrivateUsage]


os.register_at_fork(after_in_child=_in_child)
