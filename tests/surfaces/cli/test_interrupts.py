"""Ctrl-C that is held back stops what is under way, and is heard when that has ended."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Generator

import pytest

from superagent.surfaces.cli.interrupts import HeldBack


@pytest.fixture(autouse=True)
def _as_before() -> Generator[None]:
    before = signal.getsignal(signal.SIGINT)
    yield
    assert signal.signal(signal.SIGINT, before) in (before, signal.SIG_IGN)


def press() -> None:
    signal.raise_signal(signal.SIGINT)


def held_back(body: Callable[[], None], stop: Callable[[], object] = lambda: None) -> None:
    with HeldBack(stop):
        body()


def test_it_stops_what_is_under_way_and_is_raised_when_that_has_ended() -> None:
    said: list[str] = []

    def body() -> None:
        press()
        said.append("end")

    with pytest.raises(KeyboardInterrupt):
        held_back(body, lambda: said.append("stop"))
    assert said == ["stop", "end"]


def test_it_is_raised_instead_of_what_the_stopped_work_raises() -> None:
    def body() -> None:
        press()
        raise ValueError

    with pytest.raises(KeyboardInterrupt):
        held_back(body)


def test_the_second_one_is_not_held_back() -> None:
    said: list[str] = []

    def body() -> None:
        press()
        press()
        said.append("too far")

    with pytest.raises(KeyboardInterrupt):
        held_back(body, lambda: said.append("stop"))
    assert said == ["stop"]


def test_without_one_nothing_happens() -> None:
    said: list[str] = []
    with HeldBack(lambda: said.append("stop")) as interrupt:
        pass
    assert (said, interrupt.pressed) == ([], False)
    with pytest.raises(ValueError, match="own"), HeldBack(lambda: None):
        raise ValueError("own")


def test_where_it_is_ignored_it_stays_so() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with HeldBack(lambda: None) as interrupt:
        press()
    assert not interrupt.pressed


def test_other_threads_than_the_first_hold_nothing_back() -> None:
    held: list[object] = []

    def work() -> None:
        with HeldBack(lambda: None):
            held.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert held == [signal.default_int_handler]
