"""Exactly this process: held by a descriptor, so that another one that gets its number later is never meant.

A number is reused as soon as its process was reaped. A pidfd (Linux 5.3, pidfd_open(2)) stays with the process that had
the number when it was opened, and start times (ticks since boot, field 22 of proc(5) `stat`) tell two holders of one
number apart.
"""

from __future__ import annotations

import asyncio
import os
import select
import signal
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass


class Gone(Exception):
    """There is no such process any more, or another one has its number."""


@dataclass(frozen=True, slots=True)
class Exact:
    """One process; `fd` becomes readable when it has ended."""

    pid: int
    start: int
    fd: int

    @property
    def ended(self) -> bool:
        """Tell whether it has ended."""
        poll = select.poll()
        poll.register(self.fd, select.POLLIN)
        return bool(poll.poll(0))

    def send(self, number: int) -> None:
        """Send it a signal. Raises `Gone`, `PermissionError`."""
        try:
            signal.pidfd_send_signal(self.fd, number)
        except ProcessLookupError:
            raise Gone from None

    async def wait(self, timeout_s: float) -> bool:
        """Wait for its end; False when it has not come by then."""
        loop = asyncio.get_running_loop()
        over = loop.create_future()
        loop.add_reader(self.fd, lambda: over.done() or over.set_result(None))
        try:
            async with asyncio.timeout(timeout_s):
                await over
            return True
        except TimeoutError:
            return False
        finally:
            loop.remove_reader(self.fd)


@contextmanager
def held(pid: int, start: int | None = None) -> Generator[Exact]:
    """Hold the process that has a number now; with `start`, only if it began then. Raises `Gone`."""
    try:
        fd = os.pidfd_open(pid)
    except OSError:  # no such process, or the number of a thread
        raise Gone from None
    try:
        # read after it is held: if the number went to another process before, this is that one's, and it differs;
        # if it goes to another one from now on, the descriptor still means the one that was there
        found = start_of(pid)
        exact = Exact(pid, found, fd)
        if (start is not None and found != start) or exact.ended:
            raise Gone
        yield exact
    finally:
        os.close(fd)


def start_of(pid: int) -> int:
    """Give when a process began, in ticks since boot. Raises `Gone`."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            text = file.read()
    except OSError:
        raise Gone from None
    return int(text[text.rindex(b")") + 2 :].split()[19])  # the name may hold spaces and brackets
