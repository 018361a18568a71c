"""A process and all that comes of it, kept together and ended together, where there is no namespace to do it.

What a process leaves behind is given to the nearest ancestor that asked for it (PR_SET_CHILD_SUBREAPER): one such
ancestor for each run sees every descendant, also one that made itself a session or lost its parent.
"""

from __future__ import annotations

# the names of `signal` are looked up anew at each call; those beneath it are plain numbers
# pyright: reportMissingImports=false, reportUnknownMemberType=false
import _signal
import contextlib
import ctypes
import os
import signal
import time
from collections.abc import Callable
from typing import NoReturn

_libc = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36

MOST_S = 10.0
"""How long the end of a brood may take, seconds; whoever forks on and on is met again in each round."""

STEP_S = 0.001


class _Asked(Exception):
    """We were told to end it."""


def keep(become: Callable[[], NoReturn], parent: int = 0, forked: Callable[[], None] = lambda: None) -> int:
    """Fork, become something in the child, and come back when it and everything that came of it is gone.

    `parent` is who must still be this process's own, if anybody must; `forked` is called here once there is a child.

    Gives the child's exit code, 128 + n when signal n ended it. `SIGTERM` to this process, which also comes when its
    own parent dies, ends them all. Only for a process that has no other children and no threads; never for one that is
    confined with them, since they could then signal it. Raises `TimeoutError` when something does not end.
    """
    for option, value in ((_PR_SET_CHILD_SUBREAPER, 1), (_PR_SET_PDEATHSIG, signal.SIGTERM)):
        if _libc.prctl(option, value, 0, 0, 0):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), "prctl")
    if parent and os.getppid() != parent:
        os._exit(1)  # it died before the lines above
    ours = os.getpid()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    child = os.fork()
    if child == 0:
        _be(ours, become)
    forked()
    code = 128 + signal.SIGTERM
    with contextlib.suppress(_Asked):
        signal.signal(signal.SIGTERM, _asked)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        code = _wait_for(child)
        _signal.signal(_signal.SIGTERM, _signal.SIG_IGN)  # inside, so that one which comes just now is suppressed too
    _signal.signal(_signal.SIGTERM, _signal.SIG_IGN)
    end_all()
    return code


def _be(parent: int, become: Callable[[], NoReturn]) -> NoReturn:
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() == parent:  # else it died before the line above
            become()
    except BaseException as bad:
        os.write(2, f"{bad}\n".encode("utf-8", "replace"))
    os._exit(127)


def end_all() -> None:
    """End every child of this process and whatever is handed to it meanwhile. Raises `TimeoutError`."""
    until = time.monotonic() + MOST_S
    while True:
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                continue
        except ChildProcessError:
            return  # mostly at once: few commands leave anything
        for pid in children():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)  # our own child, not waited for: the number is still its own
        if time.monotonic() > until:
            raise TimeoutError("processes of a run go on")
        time.sleep(STEP_S)


def children() -> list[int]:
    """List the children of this process: by the kernel's own list, else by asking every process for its parent."""
    ours = os.getpid()
    try:
        with open(f"/proc/{ours}/task/{ours}/children", encoding="utf-8") as file:  # loaded by now: no other can be
            return [int(pid) for pid in file.read().split()]
    except FileNotFoundError:  # a kernel built without it
        return [int(name) for name in os.listdir("/proc") if name.isdigit() and _parent_of(name) == ours]


def _parent_of(name: str) -> int:
    try:
        with open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as file:
            return int(file.read().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def _wait_for(child: int) -> int:
    """Wait for one child, and for the others that are handed to us meanwhile, so that none stays as a zombie."""
    while True:
        pid, status = os.waitpid(-1, 0)
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            return 128 - code if code < 0 else code


def _asked(_number: int, _frame: object) -> NoReturn:
    raise _Asked
