"""The instance lock: one process owns a data folder at a time, and says where the others reach it (rules.md 28).

The lock is `flock` on `state/lock`, so it ends with its holder however that ends; what the file says is only read, and
believed only as long as the process that wrote it lives.
"""

from __future__ import annotations

import fcntl
import json
import os
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from superagent.core.problems import Denied, Locked
from superagent.runtime.os_problems import os_errors_about

NAME = "lock"
POLL_S = 0.05
_ROOM = 1024  # what the file says is written whole over what stood there, so that a reader never sees half of it


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds the lock: `address` is where it serves, empty for none; `since` in epoch seconds.

    `started` is when the process began, in the system's own ticks, 0 where that is not known; `workers` is how many
    processes serve, 0 where that is not known.
    """

    pid: int
    address: str
    since: float
    started: int
    workers: int = 0

    @property
    def alive(self) -> bool:
        """Tell whether the very process that wrote this still runs; its number alone may be another's by now."""
        return started(self.pid) == self.started

    def __str__(self) -> str:
        """Name it for people."""
        if not self.alive:
            return f"what process {self.pid} has left behind"
        return f"process {self.pid}" + (f", which serves at {self.address}" if self.address else "")


class InstanceLock:
    """The lock while this process holds it; a child made by fork keeps holding it."""

    def __init__(self, descriptor: int, since: float) -> None:
        self._descriptor = descriptor
        self._since = since
        self.publish("")

    def publish(self, address: str, workers: int = 0) -> None:
        """Say where this process serves, and by how many; call it once it listens there."""
        pid = os.getpid()
        said = {"pid": pid, "address": address, "since": self._since, "started": started(pid), "workers": workers}
        os.pwrite(self._descriptor, json.dumps(said).encode().ljust(_ROOM), 0)

    def release(self) -> None:
        """Let others have the folder."""
        if self._descriptor >= 0:
            os.pwrite(self._descriptor, b" " * _ROOM, 0)
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def take(state: Path, now: float) -> InstanceLock | None:
    """Take the lock, or give None when another process holds it.

    `state` is the folder, `now` epoch seconds. Raises `Denied` when the folder or the lock are not this user's alone.
    """
    with os_errors_about(str(state / NAME)):
        folder = _enter(state)
        try:
            while True:
                descriptor = os.open(NAME, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=folder)
                try:
                    held = _lock(folder, descriptor, state)
                except BaseException:
                    os.close(descriptor)
                    raise
                if held:
                    return InstanceLock(descriptor, now)
                os.close(descriptor)
                if held is None:
                    return None
        finally:
            os.close(folder)


def claim(state: Path, now: float, wait_s: float = 10.0) -> InstanceLock | Holder:
    """Take the lock, or give the holder that serves; one that does not serve is waited for.

    Raises `Locked` that names the holder when it takes too long, `Denied` as `take` does.
    """
    until = time.monotonic() + wait_s
    while True:
        lock = take(state, now)
        if lock is not None:
            return lock
        found = holder(state)
        if found is not None and found.address and found.alive:
            return found
        if time.monotonic() >= until:
            raise held_by(state)
        time.sleep(POLL_S)


def held_by(state: Path) -> Locked:
    """Give the problem that names who holds the folder."""
    found = holder(state)
    who = str(found) if found and found.alive else "another process"
    return Locked(f"the data folder is held by {who}", hint="wait until it has ended, or use another `--data`")


def holder(state: Path) -> Holder | None:
    """Read who holds the lock, without taking it; None when nobody says so.

    Raises `Denied` when folder or file are not this user's alone: what stands in it decides who gets the owner's key.
    """
    with os_errors_about(str(state / NAME)):
        folder = _enter(state)
        try:
            descriptor = os.open(NAME, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=folder)
        except FileNotFoundError:
            return None
        finally:
            os.close(folder)
        try:
            _own(os.fstat(descriptor), stat.S_ISREG, state / NAME)
            return _parse(os.pread(descriptor, _ROOM, 0))
        finally:
            os.close(descriptor)


def started(pid: int) -> int:
    """Give when a process began, in ticks since the system started (proc(5), field 22).

    -1 when it is gone, 0 where the system does not say.
    """
    try:
        line = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return -1 if os.path.exists("/proc/self/stat") else 0
    state, *rest = line.rpartition(b") ")[2].split()
    return -1 if state in (b"Z", b"X") else int(rest[18])


def _enter(state: Path) -> int:
    folder = os.open(state, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        _own(os.fstat(folder), stat.S_ISDIR, state)
    except BaseException:
        os.close(folder)
        raise
    return folder


def _lock(folder: int, descriptor: int, state: Path) -> bool | None:
    """Lock it: True for held, None for another's, False when the file was replaced meanwhile: then open it again."""
    found = os.fstat(descriptor)
    _own(found, stat.S_ISREG, state / NAME)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return None
    try:
        named = os.stat(NAME, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return (named.st_dev, named.st_ino) == (found.st_dev, found.st_ino)


def _own(found: os.stat_result, right_kind: Callable[[int], bool], path: Path) -> None:
    if not right_kind(found.st_mode) or found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o022:
        raise Denied(
            f"`{path}` is not this user's alone: user {found.st_uid} owns it, mode {stat.S_IMODE(found.st_mode):o}",
            hint="run this as the user that owns the data folder, or choose another with `--data`",
        )


def _parse(said: bytes) -> Holder | None:
    try:
        found: Any = json.loads(said)
    except ValueError:  # nobody holds it, or it is being written at this moment
        return None
    match found:
        case {"pid": int(pid), "address": str(address), "since": float(since), "started": int(begun)}:
            workers = found.get("workers")  # an older version does not say it
            return Holder(pid, address, since, begun, workers if isinstance(workers, int) else 0)
        case _:
            return None
