"""The plugin's own end of the line: its `Plugin`, what it reaches, and how the engine's answers become problems."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Hashable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import TracebackType
from typing import Annotated, Literal, Protocol

from pydantic import Field

from superagent.sdk import Conflict, Context, Deadline, Effect, InvalidInput, NeedsApproval, Plugin, Resource, TooLarge

from .engine.places import Cursor, Differs, Entry, Tick, TooMuch, Unfit

files = Plugin("files", reaches=("files",))

Limit = Annotated[int, Field(ge=1, le=100_000)]
Sha256 = Annotated[str, Field(pattern="^[0-9a-fA-F]{64}$")]
Mode = Annotated[str, Field(pattern="^0?[0-7]{3}$", description="permission bits in octal, such as 0644")]

MOST_WALKED = 1_000_000


class Place(Protocol):
    """A place below a granted root, as the runtime gives it: an open directory and a name in it."""

    dir_fd: int
    name: str
    path: str
    real: str

    @property
    def exists(self) -> bool:
        """Say whether something stood there."""
        ...

    @property
    def is_dir(self) -> bool:
        """Say whether it was a directory."""
        ...

    def found(self) -> os.stat_result:
        """Give what stood there; `NotFound` for nothing."""
        ...

    def open(self) -> int:
        """Open the file."""
        ...

    def open_directory(self) -> int:
        """Open the directory."""
        ...

    def __enter__(self) -> Place:
        """Use it in a block."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go of it."""
        ...


class Reach(Protocol):
    """The capability `files`, as far as this plugin uses it."""

    def at(self, path: str, *, effect: Effect = Effect.READ, follow: bool = True, folder: bool = False) -> Place:
        """Open the place of a canonical path; `folder` says that it is to become one."""
        ...

    def walk(
        self,
        at: Place,
        *,
        effect: Effect = Effect.READ,
        max_depth: int | None = None,
        max_entries: int | None = None,
        leaving: bool = False,
        itself: bool = False,
        hidden: bool = True,
        skipped: Callable[[str, OSError], None] | None = None,
    ) -> Iterator[Entry]:
        """Give what lies beneath a place and may be used."""
        ...

    def require_whole(self, at: Place, effect: Effect) -> None:
        """Go on only if all beneath a place may be used so."""
        ...

    def require_placed(self, at: Place, dir_fd: int, name: str) -> None:
        """Go on only if all that stands at a name beneath an open folder may come to stand at a place."""
        ...

    def built(self, at: Place, dir_fd: int, name: str) -> Place:
        """Give what was built of a place, as that place."""
        ...

    def settled(self, at: Place, fd: int) -> Hashable | None:
        """Give the state of an open file, to keep its answer by."""
        ...

    def moment(self, path: str) -> Hashable | None:
        """Give the same of what stands at a path now."""
        ...

    def cursor(self, fd: int) -> Cursor:
        """Begin to move through a tree."""
        ...

    def remove(self, dir_fd: int, name: str) -> None:
        """Remove what stands at a name."""
        ...

    def errors_about(
        self, path: str, changed: Literal["nothing", "partly", "unknown"] = "nothing"
    ) -> AbstractContextManager[None]:
        """Turn errors of the operating system into problems."""
        ...


def reach(ctx: Context) -> Reach:
    """Give the files that this call may reach."""
    return ctx.reach("files")


def require_readable(ctx: Context, at: Place) -> None:
    """Go on only if all that stands at a place may be read too: what this call does with it brings it to light."""
    ctx.require(Resource("path", "local", at.real, Effect.READ))
    if at.is_dir:
        reach(ctx).require_whole(at, Effect.READ)


def all_of(*checks: Callable[[], None]) -> None:
    """Make every check, so that a person is asked for all that they come upon at once. Raises what they raise."""
    asked: NeedsApproval | None = None
    for check in checks:
        try:
            check()
        except NeedsApproval as problem:
            asked = problem
    if asked is not None:
        raise asked


@contextmanager
def told(ctx: Context, path: str) -> Generator[None]:
    """Let a block's errors be told to the caller as problems about a path."""
    try:
        with reach(ctx).errors_about(path):
            yield
    except Differs as error:
        raise Conflict(f"`{path}`: {error.message}", hint=error.hint) from error
    except TooMuch as error:
        raise TooLarge(f"`{path}`: {error.message}", hint=error.hint) from error
    except Unfit as error:
        raise InvalidInput(f"`{path}`: {error.message}", hint=error.hint) from error


def timely(ctx: Context, entries: Iterable[Entry]) -> Iterator[Entry]:
    """Give entries until the call's deadline: a thread cannot be stopped from outside."""
    tick = ticker(ctx)
    for entry in entries:
        tick()
        yield entry


def ticker(ctx: Context) -> Tick:
    """Give what raises `Deadline` once the call's time is up."""
    end = time.monotonic() + ctx.operation.timeout_s
    if ctx.invocation.deadline is not None:  # on the same clock, and readable from a thread
        end = min(end, ctx.invocation.deadline)

    def tick() -> None:
        if time.monotonic() > end:
            raise Deadline("this did not end in time", hint="begin further down, or give it more time")

    return tick
