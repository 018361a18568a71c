"""Operations that look at processes and wait for one."""

from __future__ import annotations

from typing import Annotated

import psutil
from pydantic import Field

from superagent.sdk import Context, Effect, Example, InvalidInput, Output, Risk

from .engine import table
from .engine.detail import Detail, detail_of
from .engine.exact import Gone, held
from .engine.table import Row, Sort
from .line import Limit, Pid, Process, Start, clean, no_process, processes, seeing, shown

MOST_WAIT_S = 3600.0

Filter = Annotated[str, Field(max_length=200, description="text in the name, the command or the user")]


class Listed(Output):
    """One page of processes; `cursor` asks for the next, None on the last. `total` counts all that fit."""

    processes: list[Process]
    total: int
    cursor: str | None = None


class Branch(Process):
    """A process in a tree: `depth` is how many of its forebears stand above it there."""

    depth: int


class Tree(Output):
    """Processes from the top down, children under their parents; `more` says how many were left out."""

    processes: list[Branch]
    more: int


class Socket(Output):
    """A socket; addresses are `host:port`, or a path."""

    family: str
    type: str
    local: str
    remote: str
    state: str


class Detailed(Output):
    """One process in full. Of its variables only the names are told, never a value.

    `limits` are (soft, hard), -1 for none. `hidden` counts paths that the grants do not let the caller know of;
    `unseen` names what the system did not show to the user that the platform runs as.
    """

    process: Process
    folder: str | None
    program: str | None
    files: list[str]
    hidden: int
    sockets: list[Socket]
    variables: list[str]
    limits: dict[str, list[int]]
    groups: list[str]
    nice: int | None
    io_class: str | None
    descriptors: int | None
    unseen: list[str]


class Waited(Output):
    """Whether the process has ended; False when the wait was over first."""

    pid: int
    start_time: int
    ended: bool


async def find(ctx: Context, pid: int, effect: Effect = Effect.READ) -> Row:
    """Give a process that the caller may know of. Raises `NotFound`, for all others in the same words."""
    found = await ctx.thread(table.rows, seeing(ctx, effect), clean, (pid,))
    if not found:
        raise no_process(pid)
    return found[0]


@processes.operation(
    name="processes.list",
    risk=Risk.LOW,
    effect=Effect.READ,
    examples=(Example("what uses most memory", {"sort": "memory", "limit": 10}),),
)
async def list_(
    ctx: Context, filter: Filter = "", sort: Sort = "pid", user: str = "", limit: Limit = 100, cursor: str = ""
) -> Listed:
    """List processes of this machine: number, user, processor time, memory, command, parent."""
    everything = await ctx.thread(table.rows, seeing(ctx), clean)
    words = filter.lower()
    fitting = [
        row
        for row in everything
        if (not user or row.user == user) and words in f"{row.name} {row.command} {row.user}".lower()
    ]
    ordered = table.sorted_by(fitting, sort)
    start = _offset(cursor)
    page = ordered[start : start + limit]
    more = start + limit < len(ordered)
    return Listed(
        processes=[shown(row) for row in page], total=len(ordered), cursor=str(start + limit) if more else None
    )


@processes.operation(risk=Risk.LOW, effect=Effect.READ)
async def tree(ctx: Context, pid: Pid | None = None, limit: Limit = 500) -> Tree:
    """Show processes under their parents: all of them, or one and all beneath it."""
    found = table.beneath(await ctx.thread(table.rows, seeing(ctx), clean), pid)
    if pid is not None and not found:
        raise no_process(pid)
    branches = [Branch(**shown(row).model_dump(), depth=depth) for depth, row in found[:limit]]
    return Tree(processes=branches, more=max(0, len(found) - limit))


@processes.operation(risk=Risk.LOW, effect=Effect.READ)
async def info(ctx: Context, pid: Pid) -> Detailed:
    """Show one process in full: open files, sockets, names of its variables, limits, control groups, priority."""
    row = await find(ctx, pid)
    try:
        found = await ctx.thread(_detail, ctx, row)
    except (Gone, psutil.NoSuchProcess):
        raise no_process(pid) from None
    return Detailed(
        process=shown(row),
        folder=found.folder,
        program=found.program,
        files=found.files,
        hidden=found.hidden,
        sockets=[Socket(**one) for one in found.sockets],
        variables=found.variables,
        limits=found.limits,
        groups=found.groups,
        nice=found.nice,
        io_class=found.io_class,
        descriptors=found.descriptors,
        unseen=found.unseen,
    )


@processes.operation(risk=Risk.LOW, effect=Effect.READ, timeout_s=MOST_WAIT_S + 10)
async def wait(
    ctx: Context,
    pid: Pid,
    expected_start_time: Start | None = None,
    timeout_s: Annotated[float, Field(ge=0, le=MOST_WAIT_S)] = 30.0,
) -> Waited:
    """Wait until a process has ended, or the time is up."""
    row = await find(ctx, pid)
    left = ctx.remaining_s
    most = timeout_s if left is None else max(0.0, min(timeout_s, left - 0.5))
    try:
        with held(pid, row.start if expected_start_time is None else expected_start_time) as exact:
            return Waited(pid=pid, start_time=exact.start, ended=await exact.wait(most))
    except Gone:
        raise no_process(pid) from None


def _detail(ctx: Context, row: Row) -> Detail:
    with held(row.pid, row.start) as exact:
        found = detail_of(row.pid, ctx.may_path)
        if exact.ended:  # what was read may be another one's by now
            raise Gone
        return found


def _offset(cursor: str) -> int:
    if not cursor:
        return 0
    if not cursor.isascii() or not cursor.isdigit() or len(cursor) > 9:
        raise InvalidInput("`cursor` is what the page before gave")
    return int(cursor)
