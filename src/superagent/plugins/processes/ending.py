"""Operations that act on exactly one process: end it, or change how it is served."""

from __future__ import annotations

import signal as signals
from typing import Annotated, Literal

import psutil
from pydantic import Field

from superagent.sdk import Conflict, Context, Denied, Effect, Kept, NotFound, Output, Preview, Risk

from .engine.exact import Exact, Gone, held
from .engine.serving import CLASSES, IoClass, serve, served
from .engine.table import Row
from .line import Pid, Signal, Start, processes, require, resource_of
from .looking import find

Nice = Annotated[int, Field(ge=-20, le=19)]
WantedClass = Literal["realtime", "best-effort", "idle"]
ENDS = frozenset({"TERM", "KILL", "HUP", "INT", "QUIT"})


class Sent(Output):
    """The signal was sent to that very process; `ended` says whether it was gone when the wait was over."""

    pid: int
    start_time: int
    signal: Signal
    ended: bool


class Priority(Output):
    """How the process is served now, and how it was before."""

    pid: int
    start_time: int
    nice: int
    nice_before: int
    io_class: IoClass
    io_class_before: IoClass


@processes.operation(
    risk=Risk.HIGH,
    effect=Effect.DESTROY,
    irreversible="a process that has ended is not there any more",
    timeout_s=120.0,
    returns_untrusted="never",
)
async def kill(
    ctx: Context,
    pid: Pid,
    expected_start_time: Start,
    signal: Signal = "TERM",
    wait_s: Annotated[float, Field(ge=0, le=60)] = 2.0,
) -> Sent:
    """Send a signal to exactly one process: the one with this number that began at `expected_start_time`.

    Take both from `processes.list`. A process that got the number since is never hit: then this is a conflict. The
    first process of the machine, the kernel's own and those of the platform itself are refused.
    """
    row = await _chosen(ctx, pid, expected_start_time, Effect.DESTROY)
    number = signals.Signals[f"SIG{signal}"].value
    with _exactly(row, expected_start_time) as exact:
        try:
            exact.send(number)
        except PermissionError:
            raise _not_ours(row) from None
        ended = await exact.wait(wait_s) if wait_s and signal in ENDS else exact.ended
    return Sent(pid=pid, start_time=row.start, signal=signal, ended=ended)


@kill.preview
async def _(
    ctx: Context,
    pid: Pid,
    expected_start_time: Start,
    signal: Signal = "TERM",
    wait_s: Annotated[float, Field(ge=0, le=60)] = 2.0,
) -> Preview:
    row = await _chosen(ctx, pid, expected_start_time, Effect.DESTROY)
    resource = resource_of(row.user, pid, Effect.DESTROY)
    return Preview(summary=f"would send SIG{signal} to {pid}: {row.command[:500]}", changes=[resource.id])


@processes.operation(risk=Risk.MEDIUM, effect=Effect.CHANGE, returns_untrusted="never")
async def priority(
    ctx: Context,
    pid: Pid,
    expected_start_time: Start,
    nice: Nice | None = None,
    io_class: WantedClass | None = None,
) -> Priority:
    """Change how one process is served: `nice` from -20 (first) to 19 (last), and its class at the disk.

    To be served sooner than before needs a platform that runs as root.
    """
    row = await _chosen(ctx, pid, expected_start_time, Effect.CHANGE)
    with _exactly(row, expected_start_time) as exact:
        before = served(pid)
        data = {"pid": pid, "start": row.start, "nice": before.nice, "io": [before.io_class, before.io_level]}
        await ctx.keep(resource_of(row.user, pid, Effect.CHANGE), data)
        _serve(exact, row, nice, None if io_class is None else (CLASSES.index(io_class), 0))
        after = served(pid)
    return Priority(
        pid=pid,
        start_time=row.start,
        nice=after.nice,
        nice_before=before.nice,
        io_class=after.io_name,
        io_class_before=before.io_name,
    )


@priority.preview
async def _(
    ctx: Context,
    pid: Pid,
    expected_start_time: Start,
    nice: Nice | None = None,
    io_class: WantedClass | None = None,
) -> Preview:
    row = await _chosen(ctx, pid, expected_start_time, Effect.CHANGE)
    resource = resource_of(row.user, pid, Effect.CHANGE)
    return Preview(summary=f"would serve {pid} ({row.command[:500]}) otherwise", changes=[resource.id])


@priority.undo
async def _(ctx: Context, kept: Kept) -> None:
    pid, start = int(kept.data["pid"]), int(kept.data["start"])
    row = await _chosen(ctx, pid, start, Effect.CHANGE)
    with _exactly(row, start) as exact:
        _serve(exact, row, int(kept.data["nice"]), (int(kept.data["io"][0]), int(kept.data["io"][1])))


async def _chosen(ctx: Context, pid: int, start: int, effect: Effect) -> Row:
    """Give the one process that is meant, if the caller may do this to it. Raises `NotFound`, `Denied`, `Conflict`."""
    row = await find(ctx, pid, effect)
    if row.start != start:
        raise Conflict(
            f"{pid} is another process now: it began at {row.start}", hint="look at `processes.list` again, then decide"
        )
    require(ctx, row, effect)
    return row


class _exactly:  # noqa: N801 - a context manager, used like a function
    """Hold the process of a row. Raises `Conflict` when it is gone."""

    def __init__(self, row: Row, start: int) -> None:
        self._row = row
        self._held = held(row.pid, start)

    def __enter__(self) -> Exact:
        try:
            return self._held.__enter__()
        except Gone:
            raise _gone(self._row) from None

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, trace: object) -> None:
        if isinstance(fault, Gone | psutil.NoSuchProcess | ProcessLookupError):
            self._held.__exit__(None, None, None)
            raise _gone(self._row) from None
        self._held.__exit__(None, None, None)


def _serve(exact: Exact, row: Row, nice: int | None, io: tuple[int, int] | None) -> None:
    """Change how a process is served. There is no call that takes a descriptor, so it is looked at before and after.

    While a process has not ended, nobody else can have its number.
    """
    if exact.ended:
        raise Gone
    try:
        serve(exact.pid, nice, io)
    except (psutil.AccessDenied, PermissionError):
        raise _not_ours(row) from None
    if exact.ended:
        raise Gone


def _gone(row: Row) -> NotFound:
    return NotFound(f"{row.pid} has ended meanwhile", hint="nobody else was hit")


def _not_ours(row: Row) -> Denied:
    return Denied(
        f"the system does not let the platform do this to a process of `{row.user}`",
        hint="the platform runs as an ordinary user, or asked to be served sooner than before",
    )
