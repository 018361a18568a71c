"""Ending: a process that was told to stop is gone in time, whatever a thread of it still does.

A thread cannot be stopped from outside. What it works on is an intent without an outcome in the record, which the
next start shows as `unknown`.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from types import TracebackType

CLOSING_S = 5.0
"""How long the record may take to be closed after the grace is over."""
_log = logging.getLogger("superagent")


class Ending:
    """A context around all that a process does; from `begin` on it has `grace_s` seconds for an end in order.

    After that `close` is called, with how many seconds it may take, and the process exits with 1. Only for entries of
    processes: it takes the whole process down.
    """

    def __init__(self, grace_s: float) -> None:
        self.grace_s = grace_s
        self.close: Callable[[float], object] = lambda seconds: None
        self._over = threading.Event()
        self._until = 0.0
        self._before = frozenset[threading.Thread]()

    def begin(self) -> None:
        """Let the time run, once."""
        if not self._until:
            self._until = time.monotonic() + self.grace_s
            threading.Thread(target=self._watch, name="ending", daemon=True).start()

    def __enter__(self) -> Ending:
        self._before = frozenset(threading.enumerate())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # the interpreter waits for these, so their end belongs to ours; an idle pool lets its threads go at once
        for one in threading.enumerate():
            if self._until and not one.daemon and one not in self._before:
                one.join(max(0.0, self._until + 2 * CLOSING_S - time.monotonic()))
        self._over.set()

    def _watch(self) -> None:
        if self._over.wait(self.grace_s):
            return
        at_work = [one.name for one in threading.enumerate() if not one.daemon and one not in self._before]
        _log.error("not stopped within %g s; cut off, with threads at work: %s", self.grace_s, ", ".join(at_work))
        closing = threading.Thread(target=self.close, args=(CLOSING_S,), name="closing", daemon=True)
        closing.start()
        closing.join(CLOSING_S)
        os._exit(1)
