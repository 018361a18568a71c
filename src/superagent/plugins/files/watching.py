"""The operation that tells of changes as they happen."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import AsyncIterator
from typing import Annotated, Literal

from pydantic import Field

from superagent.sdk import Context, Output, Overloaded, Problem, ReadPath, Risk, TooLarge

from .engine import listing
from .engine.watching import Heard, Queue, Watch
from .line import files, reach, told
from .reading import must_be_folder

MOST_FOLDERS = 5000
A_DAY_S = 86_400.0

Event = Literal["create", "change", "delete", "move"]
EVENTS: list[Event] = ["create", "change", "delete", "move"]


class FileEvent(Output):
    """One change. `to` is where a move went; `overflow` says that some changes were lost: look again."""

    event: Literal["create", "change", "delete", "move", "overflow"]
    path: str | None = None
    to: str | None = None
    is_folder: bool = False


@files.operation(risk=Risk.LOW, timeout_s=A_DAY_S)
async def watch(
    ctx: Context,
    path: ReadPath,
    events: list[Event] = EVENTS,
    debounce_s: Annotated[float, Field(ge=0.0, le=60.0)] = 0.1,
) -> AsyncIterator[FileEvent]:
    """Tell of changes in a folder and all folders in it as they happen, until the call is cancelled or its time is up.

    Several changes of one path within `debounce_s` seconds are told as one.
    """
    watch_ = _hear()
    try:
        queue = Queue(lambda changed, is_dir: ctx.may_path(changed))
        await ctx.thread(_begin, ctx, path, watch_)
        while True:
            await _readable(watch_.fd)
            if debounce_s:
                await asyncio.sleep(debounce_s)
            heard = watch_.read()
            for one in heard:
                queue.put(one)
            await ctx.thread(_follow, ctx, watch_, heard)
            for one in queue.take():
                if one.kind == "overflow" or one.kind in events:
                    yield _told(one)
    finally:
        watch_.close()


def _hear() -> Watch:
    try:
        return Watch()
    except OSError as error:
        if error.errno not in (errno.EMFILE, errno.ENFILE):
            raise
        raise Overloaded(
            "as many watches as the system allows run already",
            hint="cancel one, or have `fs.inotify.max_user_instances` raised",
        ) from error


async def _readable(fd: int) -> None:
    """Wait until there is something to read."""
    ready = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(fd, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(fd)


def _begin(ctx: Context, path: str, watch_: Watch) -> None:
    """Watch a folder and all visible folders in it."""
    with told(ctx, path), reach(ctx).at(path) as at:
        must_be_folder(at)
        for entry in reach(ctx).walk(at, itself=True, skipped=lambda refused, error: None):
            if not entry.is_dir:
                continue
            if len(watch_.paths) >= MOST_FOLDERS:
                raise TooLarge(f"more than {MOST_FOLDERS} folders lie under this one", hint="watch further down")
            fd = os.open(entry.name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=entry.dir_fd)
            try:
                watch_.add(fd, entry.path)
            finally:
                os.close(fd)


def _follow(ctx: Context, watch_: Watch, heard: list[Heard]) -> None:
    """Watch folders that came in too, if the caller may see them."""
    for one in heard:
        came = one.to or one.path
        if one.is_dir and one.kind in ("create", "move") and came not in watch_.paths.values():
            try:
                _begin(ctx, came, watch_)
            except Problem:
                continue  # it is gone again, hidden from this caller, or one too many


def _told(one: Heard) -> FileEvent:
    return FileEvent(
        event=one.kind,
        path=listing.shown(one.path) if one.path else None,
        to=listing.shown(one.to) if one.to else None,
        is_folder=one.is_dir,
    )
