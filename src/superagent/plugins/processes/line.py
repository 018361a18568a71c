"""The plugin's own end of the line: its `Plugin`, what it reaches, and how processes are shown."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal, Protocol

from pydantic import Field

from superagent.sdk import Context, Denied, Effect, NotFound, Output, Plugin, Resource, redact

from .engine.table import Row

processes = Plugin("processes", reaches=("processes",))

Pid = Annotated[int, Field(ge=1, le=4_194_304)]
Start = Annotated[int, Field(ge=0, description="`start_time` as `processes.list` shows it")]
Limit = Annotated[int, Field(ge=1, le=1000)]
Signal = Literal["TERM", "KILL", "HUP", "INT", "QUIT", "USR1", "USR2", "STOP", "CONT"]


class Reach(Protocol):
    """The capability `processes`: whose processes a caller may know of, and which are the platform's own."""

    def belongs(self, uid: int) -> bool:
        """Tell whether processes of a user of this machine are the caller's to see, as far as grants allow."""
        ...

    def own(self, pid: int) -> str:
        """Say what a process is to the platform itself, such as its launcher; empty for nothing."""
        ...


class Process(Output):
    """One process. `start_time` (ticks since boot) tells it from every other that ever has its number.

    `started` is in epoch seconds, `cpu_s` what it has used of the processor. In `command` what looks like a secret is
    taken out.
    """

    pid: int
    parent: int
    name: str
    user: str
    state: str
    start_time: int
    started: float
    cpu_s: float
    memory_bytes: int
    threads: int
    command: str


def reach_of(ctx: Context) -> Reach:
    """Give the capability."""
    return ctx.reach("processes")


def resource_of(user: str, pid: int, effect: Effect = Effect.READ) -> Resource:
    """Name a process for policy."""
    return Resource("process", "local", f"{user}/{pid}", effect)


def seeing(ctx: Context, effect: Effect = Effect.READ) -> Callable[[int, int, str], bool]:
    """Give what tells by (pid, uid, user) whether the caller may read a process, or do this to it."""
    reach = reach_of(ctx)
    belongs: dict[int, bool] = {}

    def sees(pid: int, uid: int, user: str) -> bool:
        if uid not in belongs:
            belongs[uid] = reach.belongs(uid)
        return belongs[uid] and (ctx.may(resource_of(user, pid)) or ctx.may(resource_of(user, pid, effect)))

    return sees


def require(ctx: Context, row: Row, effect: Effect) -> None:
    """Go on only if the caller may do this to a process that it sees. Raises `Denied`."""
    what = reach_of(ctx).own(row.pid)
    if what:
        raise Denied(f"{row.pid} is {what}, and is not ended from within", hint="stop the platform from outside")
    ctx.require(resource_of(row.user, row.pid, effect))


def no_process(pid: int) -> NotFound:
    """Give the problem of a process that is not there, or not for this caller."""
    return NotFound(f"there is no process {pid}", hint="`processes.list` shows those that you may see")


def shown(row: Row) -> Process:
    """Show a process."""
    return Process(
        pid=row.pid,
        parent=row.parent,
        name=row.name,
        user=row.user,
        state=row.state,
        start_time=row.start,
        started=row.started,
        cpu_s=row.cpu_s,
        memory_bytes=row.memory_bytes,
        threads=row.threads,
        command=row.command,
    )


def clean(text: str) -> str:
    """Take what looks like a secret out of a text."""
    cleaned: str = redact(text)
    return cleaned
