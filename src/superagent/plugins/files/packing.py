"""Operations on archives: archive and extract."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from superagent.sdk import (
    Conflict,
    Context,
    Effect,
    Input,
    Output,
    Preview,
    ReadPath,
    Resource,
    Risk,
    WritePath,
    put_back,
)

from .bringing import Brought
from .engine import archives, extracting, listing, renames, unpacking
from .engine.reading import sha256_of
from .line import MOST_WALKED, Place, files, reach, ticker, timely, told

Format = Literal["zip", "tar", "tar.gz", "tar.zst"]


class Packed(Output):
    """The archive, and what went in."""

    target: str
    files: int
    bytes: int
    size: int
    sha256: str


@files.operation(risk=Risk.MEDIUM, undo=put_back, timeout_s=600.0, returns_untrusted="never")
async def archive(
    ctx: Context,
    paths: Annotated[list[ReadPath], Field(min_length=1, max_length=1000)],
    target: WritePath,
    format_: Format = "tar.gz",
) -> Packed:
    """Pack files and folders into a new archive; links are packed as links, and the same input gives the same bytes."""
    at = await ctx.thread(lambda: reach(ctx).at(target, effect=Effect.CHANGE, follow=False))
    with at:
        _must_be_free(at)

        def work() -> Packed:
            with told(ctx, target):
                return _pack(ctx, paths, at, format_)

        async with ctx.changing(at.real):
            return await ctx.thread(work)


@archive.preview
async def _(
    ctx: Context,
    paths: Annotated[list[ReadPath], Field(min_length=1, max_length=1000)],
    target: WritePath,
    format_: Format = "tar.gz",
) -> Preview:
    def work() -> Preview:
        with told(ctx, target), reach(ctx).at(target, effect=Effect.CHANGE, follow=False) as at:
            entries = 0
            for path in paths:
                with reach(ctx).at(path) as one:
                    entries += sum(1 for _ in timely(ctx, reach(ctx).walk(one, itself=True, max_entries=MOST_WALKED)))
            real = listing.shown(at.real)
            return Preview(
                summary=f"would pack {entries} entries into `{real}` as {format_}",
                changes=[real],
                conflicts=["it exists already"] if at.exists else [],
            )

    return await ctx.thread(work)


class Limits(Input):
    """How much an archive may hold: bytes in all, entries, and how many times larger than packed."""

    max_bytes: Annotated[int, Field(ge=1, le=1 << 40)] = 1 << 30
    max_entries: Annotated[int, Field(ge=1, le=1_000_000)] = 10_000
    max_ratio: Annotated[int, Field(ge=1, le=100_000)] = 200


class Unpacked(Output):
    """The folder that was made, and what came out."""

    target: str
    files: int
    bytes: int
    entries: int


@files.operation(risk=Risk.MEDIUM, undo=put_back, timeout_s=600.0)
async def extract(ctx: Context, archive: ReadPath, target: WritePath, limits: Limits | None = None) -> Unpacked:
    """Unpack a zip, tar, tar.gz or tar.zst into a new folder, all or nothing.

    Refused are bombs, absolute names, `..`, links that lead out, devices, names that occur twice, and rights to run as
    the owner.
    """
    at = await ctx.thread(lambda: reach(ctx).at(target, effect=Effect.CHANGE, follow=False))
    with at:
        _must_be_free(at)

        def work() -> Unpacked:
            with told(ctx, target):
                done = _unpack(ctx, archive, at, limits or Limits())
            return Unpacked(target=listing.shown(at.real), files=done.files, bytes=done.bytes, entries=done.entries)

        async with ctx.changing(at.real):
            return await ctx.thread(work)


@extract.preview
async def _(ctx: Context, archive: ReadPath, target: WritePath, limits: Limits | None = None) -> Preview:
    def work() -> Preview:
        with (
            told(ctx, archive),
            reach(ctx).at(archive) as one,
            reach(ctx).at(target, effect=Effect.CHANGE, follow=False) as at,
        ):
            fd, brought = one.open(), Brought(ctx, ticker(ctx))
            members: list[tuple[tuple[str, ...], str]] = []
            try:
                for member in _members(ctx, fd, limits or Limits()):
                    members.append((member.path, member.kind))
                    path = "/".join((at.real, *member.path))
                    if member.content is not None and brought.wants(path):
                        brought.add(path, member.content)
                    elif member.target and brought.wants(path):
                        brought.link(path, member.target)
            finally:
                os.close(fd)
            names = ["/".join(path) for path, _ in members]
            real = listing.shown(at.real)
            ctx.require_each(_parts(at, members))
            return Preview(
                summary=f"would unpack {len(names)} entries into the new folder `{real}`",
                changes=[real],
                diff=brought.diff + _first(names),
                conflicts=["it exists already"] if at.exists else [],
            )

    return await ctx.thread(work)


def _first(names: list[str]) -> str:
    more = "… and more\n" if len(names) > 200 else ""
    return "".join(f"+ {listing.shown(name)}\n" for name in names[:200]) + more


def _parts(at: Place, members: list[tuple[tuple[str, ...], str]]) -> Iterator[Resource]:
    """Name what will stand in a new folder, and the folders for it that an archive leaves out."""
    for path, kind in members:
        for length in range(1, len(path) + 1):
            folder = length < len(path) or kind == "directory"
            yield Resource("path", "local", "/".join((at.real, *path[:length])), Effect.CHANGE, folder)


def _must_be_free(at: Place) -> None:
    if at.exists:
        raise Conflict(f"`{listing.shown(at.path)}` exists already", hint="name a place where nothing stands yet")


def _pack(ctx: Context, paths: list[str], at: Place, format_: Format) -> Packed:
    fresh = renames.aside(at.name)
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(fresh, flags, 0o666, dir_fd=at.dir_fd)
    try:
        places = [reach(ctx).at(path) for path in paths]
        try:
            parts = [
                (
                    listing.shown(posixpath.basename(one.real)) or "root",
                    timely(ctx, reach(ctx).walk(one, itself=True, max_entries=MOST_WALKED)),
                )
                for one in places
            ]
            done = archives.pack(parts, fd, format_, ticker(ctx))
        finally:
            for one in places:
                one.__exit__(None, None, None)
        digest = sha256_of(fd)
        renames.take_new(at.dir_fd, fresh, at.dir_fd, at.name)
        renames.sync_directory(at.dir_fd)
        return Packed(
            target=listing.shown(at.real),
            files=done.files,
            bytes=done.bytes,
            size=os.fstat(fd).st_size,
            sha256=digest,
        )
    except BaseException:
        reach(ctx).remove(at.dir_fd, fresh)
        raise
    finally:
        os.close(fd)


def _unpack(ctx: Context, archive: str, at: Place, limits: Limits) -> extracting.Extracted:
    fresh = renames.aside(at.name)
    with told(ctx, archive), reach(ctx).at(archive) as one:
        fd = one.open()
        try:
            made: list[unpacking.Member] = []
            done = extracting.extract(_noted(_members(ctx, fd, limits), made), at.dir_fd, fresh)
            reach(ctx).require_placed(at, at.dir_fd, fresh)
            ctx.require_shown(lambda: _built(ctx, at, fresh, made))
            renames.take_new(at.dir_fd, fresh, at.dir_fd, at.name)
        except BaseException:
            reach(ctx).remove(at.dir_fd, fresh)
            raise
        finally:
            os.close(fd)
    renames.sync_directory(at.dir_fd)
    return done


def _noted(members: Iterator[unpacking.Member], made: list[unpacking.Member]) -> Iterator[unpacking.Member]:
    for one in members:
        made.append(one)
        yield one


def _built(ctx: Context, at: Place, fresh: str, made: list[unpacking.Member]) -> str:
    """Show what was unpacked as the preview shows what an archive holds."""
    brought = Brought(ctx, ticker(ctx))
    for one in made:
        path = "/".join((at.real, *one.path))
        if one.content is not None and brought.wants(path):
            # no part of the way is a link: all of it was made by us, and nobody else reaches it
            fd = os.open("/".join((fresh, *one.path)), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=at.dir_fd)
            with open(fd, "rb") as content:
                brought.add(path, content)
        elif one.target and brought.wants(path):
            brought.link(path, one.target)
    return brought.diff + _first(["/".join(one.path) for one in made])


def _members(ctx: Context, fd: int, limits: Limits) -> Iterator[unpacking.Member]:
    most = unpacking.Limits(limits.max_bytes, limits.max_entries, limits.max_ratio)
    return unpacking.members(fd, most, ticker(ctx))
