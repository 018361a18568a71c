"""Operations on whole trees: copy and move."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable

from superagent.sdk import (
    Conflict,
    Context,
    Effect,
    InvalidInput,
    Output,
    Preview,
    ReadPath,
    ReadWritePath,
    Resource,
    Risk,
    WritePath,
    put_back,
)

from .bringing import Brought
from .engine import copies, listing, renames
from .line import MOST_WALKED, Place, all_of, files, reach, require_readable, ticker, timely, told


class Copied(Output):
    """What was copied; every file was read back and compared."""

    source: str
    target: str
    files: int
    bytes: int


@files.operation(risk=Risk.MEDIUM, undo=put_back, atomic=True, timeout_s=600.0, returns_untrusted="never")
async def copy(ctx: Context, source: ReadPath, target: WritePath, overwrite: bool = False) -> Copied:
    """Copy a file or a folder, verified by checksum; links in a folder stay links, modes and times are kept.

    `target` is the new name itself. With `overwrite`, whatever stands there is replaced as a whole.
    """
    one = await ctx.thread(lambda: reach(ctx).at(source))
    with one:
        other = await ctx.thread(lambda: reach(ctx).at(target, effect=Effect.CHANGE, follow=False))
        with other:
            await ctx.thread(_copyable, ctx, one, other, overwrite)

            def work() -> Copied:
                with told(ctx, target):
                    done = _copy(ctx, one, other, overwrite)
                return Copied(
                    source=listing.shown(one.real),
                    target=listing.shown(other.real),
                    files=done.files,
                    bytes=done.bytes,
                )

            async with ctx.changing(other.real):
                return await ctx.thread(work)


@copy.preview
async def _(ctx: Context, source: ReadPath, target: WritePath, overwrite: bool = False) -> Preview:
    def work() -> Preview:
        with reach(ctx).at(source) as one, reach(ctx).at(target, effect=Effect.CHANGE, follow=False) as other:
            conflicts = _conflicts(lambda: _copyable(ctx, one, other, overwrite))
            entries = sum(1 for _ in timely(ctx, reach(ctx).walk(one, itself=True, max_entries=MOST_WALKED)))
            return _previewed(ctx, "copy", one, other, conflicts, entries)

    return await ctx.thread(work)


class Moved(Output):
    """Where it was and where it is; `copied` says that it had to be copied to another filesystem."""

    source: str
    target: str
    copied: bool


@files.operation(risk=Risk.MEDIUM, undo=put_back, atomic=True, timeout_s=600.0, returns_untrusted="never")
async def move(ctx: Context, source: ReadWritePath, target: WritePath, overwrite: bool = False) -> Moved:
    """Move or rename a file, a link itself or a folder; to another filesystem it is copied, verified, then deleted.

    `target` is the new name itself. With `overwrite`, whatever stands there is replaced as a whole. The source must be
    readable too: at its new place it may be for others to read.
    """
    one = await ctx.thread(lambda: reach(ctx).at(source, effect=Effect.CHANGE, follow=False))
    with one:
        other = await ctx.thread(lambda: reach(ctx).at(target, effect=Effect.CHANGE, follow=False))
        with other:
            await ctx.thread(_movable, ctx, one, other, overwrite)

            def work() -> Moved:
                _movable(ctx, one, other, overwrite)  # what came to lie in it while it was kept
                with told(ctx, target):
                    copied = _move(ctx, one, other, overwrite)
                    # where nobody changes it unasked any more; if it is something else, it is put back
                    ctx.require_shown(lambda: _brought(ctx, reach(ctx).built(one, other.dir_fd, other.name), other))
                return Moved(source=listing.shown(one.real), target=listing.shown(other.real), copied=copied)

            async with ctx.changing(one.real), ctx.changing(other.real):
                return await ctx.thread(work)


@move.preview
async def _(ctx: Context, source: ReadWritePath, target: WritePath, overwrite: bool = False) -> Preview:
    def work() -> Preview:
        with (
            reach(ctx).at(source, effect=Effect.CHANGE, follow=False) as one,
            reach(ctx).at(target, effect=Effect.CHANGE, follow=False) as other,
        ):
            conflicts = _conflicts(lambda: _movable(ctx, one, other, overwrite))
            shown = _previewed(ctx, "move", one, other, conflicts, 0)
            return shown.model_copy(update={"changes": [listing.shown(one.real), *shown.changes]})

    return await ctx.thread(work)


def _there(one: Place, other: Place, path: str) -> str:
    """Give where a part of what is copied will stand."""
    return other.real + path[len(one.real.rstrip("/")) :]


def _movable(ctx: Context, one: Place, other: Place, overwrite: bool) -> None:
    """Refuse what may not be taken away, come to light elsewhere, or stand there, as a whole."""
    require_readable(ctx, one)
    all_of(
        lambda: reach(ctx).require_whole(one, Effect.CHANGE),
        lambda: reach(ctx).require_placed(other, one.dir_fd, one.name),
        lambda: _fit(ctx, one, other, overwrite),
    )


def _copyable(ctx: Context, one: Place, other: Place, overwrite: bool) -> None:
    """Refuse what may not stand there, before it is built; what was built is looked at once more."""

    def parts() -> None:
        copied = timely(ctx, reach(ctx).walk(one, max_entries=MOST_WALKED))
        ctx.require_each(
            Resource("path", "local", _there(one, other, it.path), Effect.CHANGE, it.is_dir) for it in copied
        )

    all_of(lambda: _fit(ctx, one, other, overwrite), parts)


def _fit(ctx: Context, one: Place, other: Place, overwrite: bool) -> None:
    """Refuse what makes no sense, before anything is kept."""
    one.found()
    if other.real == one.real or other.real.startswith(one.real.rstrip("/") + "/"):
        raise InvalidInput(f"`{listing.shown(other.real)}` is, or lies in, what would be copied or moved")
    if one.real.startswith(other.real.rstrip("/") + "/"):
        raise InvalidInput(
            f"`{listing.shown(other.real)}` holds what would be copied or moved, so it cannot be replaced"
        )
    if other.exists:
        if not overwrite:
            raise Conflict(f"`{listing.shown(other.path)}` exists already", hint="set `overwrite` to replace it")
        reach(ctx).require_whole(other, Effect.CHANGE)


def _conflicts(check: Callable[[], None]) -> list[str]:
    try:
        check()
    except (Conflict, InvalidInput) as problem:
        return [problem.detail]
    return []


def _previewed(ctx: Context, what: str, one: Place, other: Place, conflicts: list[str], entries: int) -> Preview:
    instead = ", replacing what stands there" if other.exists else ""
    how_much = f" ({entries} entries)" if entries > 1 else ""
    return Preview(
        summary=f"would {what} `{listing.shown(one.real)}`{how_much} to `{listing.shown(other.real)}`{instead}",
        changes=[listing.shown(other.real)],
        diff=_brought(ctx, one, other),
        conflicts=conflicts,
    )


def _brought(ctx: Context, one: Place, other: Place) -> str:
    """Show what a person must look at before it stands elsewhere."""
    brought = Brought(ctx, ticker(ctx))
    for it in timely(ctx, reach(ctx).walk(one, itself=True, max_entries=MOST_WALKED)):
        path = _there(one, other, it.path)
        if it.is_dir or not (brought.wants(path) or brought.wants(it.path)):
            continue
        with told(ctx, one.path):
            if stat.S_ISLNK(it.stat.st_mode):
                brought.link(path, os.readlink(it.name, dir_fd=it.dir_fd))
            elif stat.S_ISREG(it.stat.st_mode):
                with open(it.open(), "rb") as content:
                    brought.add(path, content)
    return brought.diff


def _copy(ctx: Context, one: Place, other: Place, overwrite: bool) -> copies.Copied:
    """Build the copy under a hidden name beside its place, then put it there in one step."""
    fresh = renames.aside(other.name)
    try:
        entries = reach(ctx).walk(one, itself=True, leaving=True, max_entries=MOST_WALKED)
        done = copies.copy_tree(timely(ctx, entries), other.dir_fd, fresh, reach(ctx).cursor, ticker(ctx))
        # what was built, whatever became of the source meanwhile
        reach(ctx).require_placed(other, other.dir_fd, fresh)
        ctx.require_shown(lambda: _brought(ctx, reach(ctx).built(one, other.dir_fd, fresh), other))
        if overwrite:
            renames.take_over(other.dir_fd, fresh, other.dir_fd, other.name)
        else:
            renames.take_new(other.dir_fd, fresh, other.dir_fd, other.name)
    finally:
        reach(ctx).remove(other.dir_fd, fresh)  # what was replaced, or what was not finished
    renames.sync_directory(other.dir_fd)
    return done


def _move(ctx: Context, one: Place, other: Place, overwrite: bool) -> bool:
    """Rename, or copy and delete across filesystems; True when it was copied."""
    copied = False
    try:
        if not overwrite:
            renames.take_new(one.dir_fd, one.name, other.dir_fd, other.name)
        elif renames.take_over(one.dir_fd, one.name, other.dir_fd, other.name):
            reach(ctx).remove(one.dir_fd, one.name)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        _copy(ctx, one, other, overwrite)
        gone = renames.aside(one.name)
        os.rename(one.name, gone, src_dir_fd=one.dir_fd, dst_dir_fd=one.dir_fd)
        reach(ctx).remove(one.dir_fd, gone)
        copied = True
    for place in (one, other):
        renames.sync_directory(place.dir_fd)
    return copied
