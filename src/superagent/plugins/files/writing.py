"""Operations that change single files and folders: write, edit, mkdir, delete, restore."""

from __future__ import annotations

import base64
import binascii
import os
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from superagent.sdk import (
    Conflict,
    Context,
    DestroyPath,
    Effect,
    FolderPath,
    InvalidInput,
    NotFound,
    Output,
    Preview,
    ReadWritePath,
    Resource,
    Risk,
    WritePath,
    put_back,
)

from .engine import differences, edits, listing, renames, texts, writing
from .engine import reading as content_of
from .line import Mode, Place, Sha256, files, reach, require_readable, ticker, told
from .reading import file_bytes

MOST_EDITED = 32 * 1024 * 1024
_SHORT = 16 * 1024  # characters that are encoded faster than a thread is woken


class Written(Output):
    """What stands there now; `diff` shows what changed, where both are text."""

    path: str
    sha256: str
    bytes: int
    created: bool
    diff: str


@files.operation(risk=Risk.MEDIUM, undo=put_back)
async def write(
    ctx: Context,
    path: WritePath,
    content: str | None = None,
    encoding: str = "utf-8",
    mode: Mode | None = None,
    create_only: bool = False,
    expected_hash: Sha256 | None = None,
    blob: str | None = None,
) -> Written:
    """Write a whole file in one step; what stood there before is kept for undo.

    `content` is text to be written in `encoding`, or base64 with the encoding `bytes`; `blob` names an upload instead.
    With `expected_hash`, the file is replaced only if its content still has that SHA-256.
    """
    data = await _data(ctx, content, encoding, blob)
    at = await ctx.thread(lambda: reach(ctx).at(path, effect=Effect.CHANGE))
    with at:

        def work() -> Written:
            with told(ctx, path):
                shown = _diff_to(at, data) if ctx.may_path(at.real) else ""  # who may only write learns nothing
                done = writing.write(
                    at.dir_fd,
                    at.name,
                    data,
                    mode=int(mode, 8) if mode is not None else None,
                    create_only=create_only,
                    expected_hash=expected_hash,
                )
            return Written(
                path=listing.shown(at.real), sha256=done.sha256, bytes=done.bytes, created=done.created, diff=shown
            )

        async with ctx.changing(at.real):
            return await ctx.thread(work)


@write.preview
async def _(
    ctx: Context,
    path: WritePath,
    content: str | None = None,
    encoding: str = "utf-8",
    mode: Mode | None = None,
    create_only: bool = False,
    expected_hash: Sha256 | None = None,
    blob: str | None = None,
) -> Preview:
    data = await _data(ctx, content, encoding, blob)

    def work() -> Preview:
        with told(ctx, path), reach(ctx).at(path, effect=Effect.CHANGE) as at:
            conflicts: list[str] = []
            if at.exists and create_only:
                conflicts.append("it exists already")
            if expected_hash is not None and (not at.exists or _sum_of(ctx, at) != expected_hash.lower()):
                conflicts.append("its content has another SHA-256")
            what = "replace" if at.exists else "create"
            return Preview(
                summary=f"would {what} `{listing.shown(at.real)}` with {len(data)} bytes",
                changes=[listing.shown(at.real)],
                diff=_diff_to(at, data) if ctx.may_path(at.real) else "",
                conflicts=conflicts,
            )

    return await ctx.thread(work)


class Edited(Output):
    """What stands there now, and what changed."""

    path: str
    sha256: str
    replaced: int
    diff: str


@dataclass(frozen=True, slots=True)
class _Edit:
    before: str  # SHA-256
    data: bytes
    diff: str


@files.operation(risk=Risk.MEDIUM, undo=put_back)
async def edit(
    ctx: Context,
    path: ReadWritePath,
    old: str,
    new: str,
    count: Annotated[int, Field(ge=1, le=1_000_000)] = 1,
    expected_hash: Sha256 | None = None,
) -> Edited:
    """Replace an exact piece of text in a file; it must occur exactly `count` times. Encoding and newlines are kept."""
    at = await ctx.thread(lambda: reach(ctx).at(path, effect=Effect.CHANGE))
    with at:

        def work() -> Edited:
            with told(ctx, path):
                edit = _edited(ctx, at, old, new, count, expected_hash)
                done = writing.write(at.dir_fd, at.name, edit.data, expected_hash=edit.before)
            return Edited(path=listing.shown(at.real), sha256=done.sha256, replaced=count, diff=edit.diff)

        async with ctx.changing(at.real):
            return await ctx.thread(work)


@edit.preview
async def _(
    ctx: Context,
    path: ReadWritePath,
    old: str,
    new: str,
    count: Annotated[int, Field(ge=1, le=1_000_000)] = 1,
    expected_hash: Sha256 | None = None,
) -> Preview:
    def work() -> Preview:
        with told(ctx, path), reach(ctx).at(path, effect=Effect.CHANGE) as at:
            edit = _edited(ctx, at, old, new, count, expected_hash)
            real = listing.shown(at.real)
            return Preview(summary=f"would replace {count} place(s) in `{real}`", changes=[real], diff=edit.diff)

    return await ctx.thread(work)


class Made(Output):
    """The folder, and whether it was made now."""

    path: str
    created: bool


@files.operation(risk=Risk.MEDIUM, undo=put_back, returns_untrusted="never")
async def mkdir(ctx: Context, path: FolderPath, parents: bool = False, mode: Mode | None = None) -> Made:
    """Make a folder; with `parents`, also the folders above it, and one that exists is fine."""
    first = await ctx.thread(topmost_missing, ctx, path) if parents else path
    if first is None:
        return Made(path=path, created=False)
    at = await ctx.thread(lambda: reach(ctx).at(first, effect=Effect.CHANGE, follow=False, folder=True))
    with at:
        if at.exists:
            raise Conflict(f"`{path}` exists already", hint="with `parents`, a folder that exists is fine")

        def work() -> Made:
            with told(ctx, path):
                make_folders(ctx, at, path.removeprefix(first).strip("/"), int(mode, 8) if mode is not None else None)
            return Made(path=path, created=True)

        async with ctx.changing(Resource("path", "local", at.real, Effect.CHANGE, folder=True)):
            return await ctx.thread(work)


@mkdir.preview
async def _(ctx: Context, path: FolderPath, parents: bool = False, mode: Mode | None = None) -> Preview:
    def work() -> Preview:
        first = topmost_missing(ctx, path)
        if first is None:
            return Preview(summary=f"`{path}` exists already", conflicts=[] if parents else ["it exists already"])
        return Preview(summary=f"would make the folder `{path}`", changes=[first])

    return await ctx.thread(work)


class Deleted(Output):
    """What was removed, and how many entries with it; it can be brought back by undo."""

    path: str
    type: str
    entries: int


@files.operation(risk=Risk.HIGH, undo=put_back, timeout_s=600.0, returns_untrusted="never")
async def delete(ctx: Context, path: DestroyPath, recursive: bool = False) -> Deleted:
    """Delete a file, a link itself, or with `recursive` a folder; it is kept for undo first."""
    at = await ctx.thread(lambda: reach(ctx).at(path, effect=Effect.DESTROY, follow=False))
    with at:
        found, entries = await ctx.thread(_deletable, ctx, at, recursive)

        def work() -> Deleted:
            gone = renames.aside(at.name)
            with told(ctx, path):
                os.rename(at.name, gone, src_dir_fd=at.dir_fd, dst_dir_fd=at.dir_fd)  # gone in one step
                reach(ctx).remove(at.dir_fd, gone)
                renames.sync_directory(at.dir_fd)
            return Deleted(path=listing.shown(at.real), type=listing.kind(found), entries=entries)

        async with ctx.changing(at.real, Effect.DESTROY):
            return await ctx.thread(work)


@delete.preview
async def _(ctx: Context, path: DestroyPath, recursive: bool = False) -> Preview:
    def work() -> Preview:
        with told(ctx, path), reach(ctx).at(path, effect=Effect.DESTROY, follow=False) as at:
            found, entries = _deletable(ctx, at, recursive)
            real = listing.shown(at.real)
            more = f" with the {entries} entries in it" if entries else ""
            return Preview(summary=f"would delete the {listing.kind(found)} `{real}`{more}", changes=[real])

    return await ctx.thread(work)


def _deletable(ctx: Context, at: Place, recursive: bool) -> tuple[os.stat_result, int]:
    """Give what would go and how much lies in it; refuse what may not go as a whole."""
    with told(ctx, at.path):
        found = at.found()
        entries = 0
        if at.is_dir:
            reach(ctx).require_whole(at, Effect.DESTROY)
            entries = sum(1 for _ in reach(ctx).walk(at, effect=Effect.DESTROY))
            if entries and not recursive:
                raise Conflict(f"the folder `{listing.shown(at.path)}` is not empty", hint="delete it with `recursive`")
    return found, entries


def topmost_missing(ctx: Context, path: str) -> str | None:
    """Give the highest folder on the way to a path that does not exist; None when the path itself does."""
    missing: str | None = None
    why: NotFound | None = None
    while True:
        try:
            with reach(ctx).at(path, effect=Effect.CHANGE, folder=True) as at:
                if not at.exists:
                    return path
                if missing is None and not at.is_dir:
                    raise Conflict(f"`{path}` exists and is not a folder")
            break
        except NotFound as problem:
            missing, why = path, problem
            path = path.rpartition("/")[0] or "/"
    if missing is not None and why is not None:
        with reach(ctx).at(missing, effect=Effect.CHANGE, follow=False, folder=True) as at:
            if at.exists:  # it is a link that leads nowhere, or where this caller may not go
                raise why
    return missing


def make_folders(ctx: Context, at: Place, rest: str, mode: int | None) -> None:
    """Make the folder of a place, and the folders in it that `rest` names, in one step; the last gets the mode."""
    made = renames.aside(at.name)
    os.mkdir(made, dir_fd=at.dir_fd)
    try:
        fd = os.open(made, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=at.dir_fd)
        cursor = reach(ctx).cursor(fd)
        try:
            for part in rest.split("/") if rest else ():
                os.mkdir(part, dir_fd=cursor.fd)
                cursor.down(part)
            if mode is not None:
                os.fchmod(cursor.fd, mode)
        finally:
            cursor.close()
        renames.take_new(at.dir_fd, made, at.dir_fd, at.name)
    except BaseException:
        reach(ctx).remove(at.dir_fd, made)
        raise
    renames.sync_directory(at.dir_fd)


async def _data(ctx: Context, content: str | None, encoding: str, blob: str | None) -> bytes:
    """Give the bytes that are to be written."""
    if (content is None) == (blob is None):
        raise InvalidInput("give exactly one of `content` and `blob`")
    if blob is not None:
        return await ctx.blob(blob)
    assert content is not None
    if encoding == "bytes":
        try:
            return base64.b64decode(content, validate=True)
        except binascii.Error as error:
            raise InvalidInput("`content` is not base64", hint="leave out `encoding` to write text") from error

    def encoded(text: str) -> bytes:
        with told(ctx, "content"):
            return texts.named(encoding).encode(text)

    return encoded(content) if len(content) <= _SHORT else await ctx.thread(encoded, content)


def _edited(ctx: Context, at: Place, old: str, new: str, count: int, expected_hash: str | None) -> _Edit:
    require_readable(ctx, at)
    data = file_bytes(at, MOST_EDITED)
    if data is None:
        raise InvalidInput(f"`{listing.shown(at.path)}` is larger than {MOST_EDITED} bytes", hint="use `files.patch`")
    found = texts.decode(data)
    if found is None:
        raise InvalidInput(f"`{listing.shown(at.path)}` is not text", hint="write it with the encoding `bytes`")
    fd = at.open()
    try:
        digest = content_of.sha256_of(fd)
    finally:
        os.close(fd)
    if expected_hash is not None and digest != expected_hash.lower():
        raise Conflict(f"`{listing.shown(at.path)}` changed: its SHA-256 is now {digest}", hint="read it again")
    text, encoding = found
    after = edits.replace(text, old, new, count, MOST_EDITED)
    shown = differences.of_texts(text, after, listing.shown(at.real), listing.shown(at.real))
    return _Edit(digest, encoding.encode(after), shown)


def _sum_of(ctx: Context, at: Place) -> str:
    fd = at.open()
    try:
        return content_of.sha256_of(fd, ticker(ctx))
    finally:
        os.close(fd)


def _diff_to(at: Place, data: bytes) -> str:
    """Show what replacing a file's content would change, as far as it is text."""
    before = file_bytes(at) if at.exists else b""
    if before is None or len(data) > differences.MOST_BYTES:
        return "too large to show\n"
    old, new = texts.decode(before), texts.decode(data)
    if old is None or new is None:
        return "binary content\n"
    return differences.of_texts(old[0], new[0], listing.shown(at.real), listing.shown(at.real))
