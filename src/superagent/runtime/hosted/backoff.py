"""Back-off: how long a plugin that keeps ending is left alone before it is started again."""

from __future__ import annotations

FIRST_S, LONGEST_S = 0.5, 60.0


class Backoff:
    """The failures of one plugin for one caller; times on a clock that never runs backwards."""

    __slots__ = ("_failures", "_until")

    def __init__(self) -> None:
        self._failures = 0
        self._until = 0.0

    def wait_s(self, now: float) -> float:
        """Give the seconds until it may be started again; 0.0 for at once."""
        return max(0.0, self._until - now)

    def failed(self, now: float) -> None:
        """Note that it ended by itself or was ended for what it did: each time in a row doubles the wait."""
        self._failures += 1
        # the first may be an accident: the next call starts it at once
        wait = 0.0 if self._failures == 1 else min(LONGEST_S, FIRST_S * 2 ** min(self._failures - 2, 20))
        self._until = now + wait

    def worked(self) -> None:
        """Note that it did a call to its end."""
        self._failures, self._until = 0, 0.0
