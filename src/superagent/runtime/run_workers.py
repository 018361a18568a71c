"""Worker processes: several servers on one inherited socket, started anew when one dies, reloaded together."""

from __future__ import annotations

import logging
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterable

from superagent.core.problems import Problem, Unavailable

LOOK_S = 0.25
RELOAD = signal.SIGUSR1
"""Not SIGHUP, by which a terminal says that it is gone: a server in its foreground ends with it."""
MOST_FAILED_STARTS = 3
PATIENCE_S = 60.0
"""How long new worker processes may take until they serve, in a reload."""
_CLOSING_S = 5.0
Process = subprocess.Popen[bytes]
_log = logging.getLogger("superagent")


class Workers:
    """The processes of one supervisor.

    They hold the reading end of a pipe whose other end only this process has: when it dies, however that happens, they
    read its end and stop. Through a second pipe each says its process number once it serves.
    """

    def __init__(self, count: int, command: Callable[[int, int, int], list[str]], inherited: int) -> None:
        self._command = command
        self._inherited = inherited
        self._running: list[Process | None] = [None] * count
        self._coming: list[Process] = []  # they take the place of those that run once all of them serve
        self._patience = 0.0  # until when they have to serve, on the monotonic clock
        self._leaving: dict[Process, float] = {}  # and until when, on the monotonic clock
        self._serving: set[int] = set()
        self._failed_starts = 0
        self._life, self._life_end = os.pipe()
        self._said, self._say = os.pipe()
        os.set_blocking(self._said, False)

    def look(self) -> bool:
        """Start what is missing, then wait a little; tell whether one serves. Raises `Unavailable` when none can."""
        for number, process in enumerate(self._running):
            if process is not None and process.poll() is None:
                continue
            if process is not None:
                self._ended(number, process)
            self._running[number] = self._start(number)
        for process, until in list(self._leaving.items()):
            if process.poll() is not None:
                del self._leaving[process]
            elif time.monotonic() > until:
                process.kill()
        if select.select([self._said], [], [], LOOK_S)[0]:
            self._serving |= {int(line) for line in os.read(self._said, 4096).split()}
            self._failed_starts = 0
        return any(process.pid in self._serving for process in self._running if process is not None)

    @property
    def reloading(self) -> bool:
        """Tell whether new ones are on their way."""
        return bool(self._coming)

    def begin_reload(self) -> None:
        """Start as many new ones beside those that run."""
        self._patience = time.monotonic() + PATIENCE_S
        self._coming = [self._start(number) for number in range(len(self._running))]

    def go_on_reloading(self, grace_s: float) -> None:
        """Let the old ones leave once every new one serves, within so many seconds; without one, nothing changes."""
        if any(process.poll() is not None for process in self._coming) or time.monotonic() > self._patience:
            _log.error("a new worker process does not start: nothing was reloaded, the old ones go on")
            self._end(self._coming, _CLOSING_S)
            self._coming = []
        elif all(process.pid in self._serving for process in self._coming):
            until = time.monotonic() + grace_s
            for process in self._running:
                if process is not None and process.poll() is None:
                    process.send_signal(RELOAD)
                    self._leaving[process] = until
            self._running = [*self._coming]
            self._coming = []
            _log.warning("reloaded: %d new worker processes serve", len(self._running))

    def _start(self, number: int) -> Process:
        passed = [self._inherited, self._life, self._say]
        return subprocess.Popen(self._command(number, self._life, self._say), pass_fds=passed)

    def _ended(self, number: int, process: Process) -> None:
        _log.error("worker %d ended with %d; it is started anew", number, process.returncode)
        if process.pid not in self._serving:
            self._failed_starts += 1
        self._serving.discard(process.pid)
        if self._failed_starts >= MOST_FAILED_STARTS:
            raise Unavailable("the worker processes do not start", hint="what they said stands above")

    def stop(self, grace_s: float) -> None:
        """Stop every process: first by asking, after so many seconds by force."""
        os.close(self._life_end)
        self._end([one for one in (*self._running, *self._coming, *self._leaving) if one is not None], grace_s)
        for descriptor in (self._life, self._said, self._say):
            os.close(descriptor)

    def _end(self, processes: list[Process], grace_s: float) -> None:
        for process in processes:
            process.terminate()
        until = time.monotonic() + grace_s
        for process in processes:
            try:
                process.wait(max(0.1, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def supervise(
    count: int,
    command: Callable[[int, int, int], list[str]],
    inherited: int,
    ready: Callable[[], None],
    grace_s: float,
    anew: Callable[[], None],
    leave_s: float,
) -> None:
    """Keep `count` processes running until SIGINT or SIGTERM, each with the descriptor `inherited`.

    `command` makes a command line of a worker's number and the two descriptors that it is given: one to read whose end
    means that it has to stop, one on which to write its process number and a line feed once it serves. `ready` is
    called when the first does. Told to stop, they have `grace_s` seconds. Raises `Unavailable` when they do not start.

    At the signal `RELOAD` new ones are started, and once they serve the old ones are sent it: they have `leave_s`
    seconds to end what is under way, and then `grace_s` as above. `anew` is called before; where it raises a `Problem`
    nothing is reloaded.
    """
    stopping: list[int] = []
    asked: list[int] = []
    with _signals((signal.SIGINT, signal.SIGTERM), stopping), _signals((RELOAD,), asked):
        workers = Workers(count, command, inherited)
        try:
            while not stopping and not workers.look():
                pass
            if not stopping:
                ready()
            while not stopping:
                workers.look()
                if workers.reloading:
                    workers.go_on_reloading(leave_s + grace_s)
                elif asked:
                    asked.clear()
                    _reload(workers, anew)
        finally:
            workers.stop(grace_s)


def _reload(workers: Workers, anew: Callable[[], None]) -> None:
    try:
        anew()
    except (Problem, OSError) as fault:  # whatever is wrong with the new, the old go on
        _log.error("nothing was reloaded: %s", fault)
    else:
        workers.begin_reload()


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
