"""Events: what happened, told to whoever listens in this process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

Observer = Callable[[object], None]


class Bus(Protocol):
    """Tell observers what happened; never waits for them and never fails the teller."""

    def publish(self, event: object) -> None:
        """Tell every observer."""
        ...

    def subscribe(self, observer: Observer) -> Callable[[], None]:
        """Add an observer; the returned function takes it off again."""
        ...


class LocalBus:
    """A bus within one process."""

    def __init__(self, on_fault: Callable[[BaseException], None]) -> None:
        self._observers: tuple[Observer, ...] = ()
        self._on_fault = on_fault

    def publish(self, event: object) -> None:
        """Tell every observer; one that raises is reported and does not stop the others."""
        for observer in self._observers:
            try:
                observer(event)
            except Exception as fault:  # an observer is off the line: its fault must not become the call's fault
                self._on_fault(fault)

    def subscribe(self, observer: Observer) -> Callable[[], None]:
        """Add an observer; the returned function takes it off again."""
        self._observers = (*self._observers, observer)

        def stop() -> None:
            self._observers = tuple(one for one in self._observers if one is not observer)

        return stop
