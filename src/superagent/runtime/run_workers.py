"""Worker processes: several servers on one inherited socket, started anew when one dies, stopped together."""

from __future__ import annotations

import logging
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterable

from superagent.core.problems import Unavailable

LOOK_S = 0.25
MOST_FAILED_STARTS = 3
_log = logging.getLogger("superagent")


class Workers:
    """The processes of one supervisor.

    They hold the reading end of a pipe whose other end only this process has: when it dies, however that happens, they
    read its end and stop. Through a second pipe each says its number once it serves.
    """

    def __init__(self, count: int, command: Callable[[int, int, int], list[str]], inherited: int) -> None:
        self._count = count
        self._command = command
        self._inherited = inherited
        self._running: dict[int, subprocess.Popen[bytes]] = {}
        self._serving: set[int] = set()
        self._failed_starts = 0
        self._life, self._life_end = os.pipe()
        self._said, self._say = os.pipe()
        os.set_blocking(self._said, False)

    def look(self) -> bool:
        """Start what is missing, then wait a little; tell whether one serves. Raises `Unavailable` when none can."""
        for number in range(self._count):
            process = self._running.get(number)
            if process is not None and process.poll() is None:
                continue
            if process is not None:
                self._ended(number, process.returncode)
            self._start(number)
        if select.select([self._said], [], [], LOOK_S)[0]:
            self._serving |= {int(line) for line in os.read(self._said, 4096).split()}
            self._failed_starts = 0
        return bool(self._serving)

    def _start(self, number: int) -> None:
        passed = [self._inherited, self._life, self._say]
        self._running[number] = subprocess.Popen(self._command(number, self._life, self._say), pass_fds=passed)

    def _ended(self, number: int, code: int) -> None:
        _log.error("worker %d ended with %d; it is started anew", number, code)
        if number not in self._serving:
            self._failed_starts += 1
        self._serving.discard(number)
        if self._failed_starts >= MOST_FAILED_STARTS:
            raise Unavailable("the worker processes do not start", hint="what they said stands above")

    def stop(self, grace_s: float) -> None:
        """Stop every process: first by asking, after so many seconds by force."""
        os.close(self._life_end)
        for process in self._running.values():
            process.terminate()
        until = time.monotonic() + grace_s
        for process in self._running.values():
            try:
                process.wait(max(0.1, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for descriptor in (self._life, self._said, self._say):
            os.close(descriptor)


def supervise(
    count: int, command: Callable[[int, int, int], list[str]], inherited: int, ready: Callable[[], None], grace_s: float
) -> None:
    """Keep `count` processes running until SIGINT or SIGTERM, each with the descriptor `inherited`.

    `command` makes a command line of a worker's number and the two descriptors that it is given: one to read whose end
    means that it has to stop, one on which to write its number and a line feed once it serves. `ready` is called when
    the first does. Told to stop, they have `grace_s` seconds. Raises `Unavailable` when they do not start.
    """
    stopping: list[int] = []
    with _signals((signal.SIGINT, signal.SIGTERM), stopping):
        workers = Workers(count, command, inherited)
        try:
            while not stopping and not workers.look():
                pass
            if not stopping:
                ready()
            while not stopping:
                workers.look()
        finally:
            workers.stop(grace_s)


class _signals:  # noqa: N801 - a context manager, used like a function
    """Note signals in a list while the block runs."""

    def __init__(self, which: Iterable[signal.Signals], noted: list[int]) -> None:
        self._which = tuple(which)
        self._noted = noted

    def __enter__(self) -> None:
        self._before = [signal.signal(one, lambda number, _: self._noted.append(number)) for one in self._which]

    def __exit__(self, *_: object) -> None:
        for one, before in zip(self._which, self._before, strict=True):
            signal.signal(one, before)
