"""Interrupts: ctrl-C while something is under way that must come to its end in order."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Self


class HeldBack:
    """Let ctrl-C stop what the body does, and raise `KeyboardInterrupt` only once the body has ended.

    `stop` runs where the signal arrives, so it may only do what a signal handler may. A second ctrl-C is raised at
    once: nobody who insists is kept. Outside of the main thread, and where ctrl-C is ignored, nothing changes.
    """

    def __init__(self, stop: Callable[[], object]) -> None:
        self._stop = stop
        self._here = False
        self.pressed = False

    def __enter__(self) -> Self:
        # an exception out of nowhere could hit between two steps that belong together, such as taking a lock of a
        # future and letting go of it: then both threads would wait for ever
        main = threading.current_thread() is threading.main_thread()
        if main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            self._here = True
            signal.signal(signal.SIGINT, self._note)
        return self

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.pressed:
            signal.default_int_handler(number, frame)
        self.pressed = True
        self._stop()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._here:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        if self.pressed:
            raise KeyboardInterrupt from None
