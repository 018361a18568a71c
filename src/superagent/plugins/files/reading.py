"""Operations that look: read, list, stat, exists, hash, diff."""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable
from typing import Annotated, Any, Literal

from pydantic import Field

from superagent.sdk import Context, InvalidInput, NotFound, Output, ReadPath, Risk

from .engine import differences, hashes, listing, texts
from .engine import reading as content
from .engine.places import Entry
from .line import MOST_WALKED, Limit, Place, files, reach, ticker, timely, told


class FileContent(Output):
    """What was read; `encoding` is `base64` for bytes; lines count from 1; `sha256` is of the whole file."""

    path: str
    content: str
    encoding: str
    newline: str | None
    size: int
    truncated: bool
    first_line: int | None
    last_line: int | None
    sha256: str | None


@files.operation(risk=Risk.LOW)
async def read(
    ctx: Context,
    path: ReadPath,
    encoding: str = "auto",
    lines: str | None = None,
    range_: str | None = None,
    max_bytes: Annotated[int, Field(ge=1, le=16 * 1024 * 1024)] = 262_144,
) -> FileContent:
    """Read a file: as text in its own encoding, or as base64 when it is not text.

    `encoding` is `auto`, `bytes` for base64, or a name such as latin-1. `lines` like `10-20` or `100-`, counted from 1;
    `range` the same in bytes, counted from 0. `truncated` says that there is more than `max_bytes`.
    """

    def work() -> FileContent:
        with told(ctx, path), reach(ctx).at(path) as at:
            fd = at.open()
            try:
                state = reach(ctx).settled(at, fd)
                found = content.read(fd, encoding=encoding, lines=lines, bytes_=range_, max_bytes=max_bytes)
                ctx.state = state if state == reach(ctx).settled(at, fd) else None
            finally:
                os.close(fd)
        return FileContent(
            path=listing.shown(at.real),
            content=found.content,
            encoding=found.encoding,
            newline=found.newline,
            size=found.size,
            truncated=found.truncated,
            first_line=found.first_line,
            last_line=found.last_line,
            sha256=found.sha256,
        )

    return await ctx.thread(work)


@read.validator
def _(ctx: Context, path: str, **_: Any) -> Hashable | None:
    return reach(ctx).moment(path)


class ListedEntry(Output):
    """One entry; `path` is relative to the folder, `target` where a link leads."""

    path: str
    type: str
    size: int
    mode: str
    mtime: str
    target: str | None = None


class Listed(Output):
    """What lies in a folder; `unreadable` names what the operating system would not show."""

    path: str
    entries: list[ListedEntry]
    truncated: bool
    unreadable: list[str]


@files.operation(name="files.list", risk=Risk.LOW)
async def list_(
    ctx: Context,
    path: ReadPath,
    depth: Annotated[int, Field(ge=1, le=100)] = 1,
    hidden: bool = True,
    sort: Literal["name", "size", "mtime"] = "name",
    limit: Limit = 1000,
) -> Listed:
    """List what lies in a folder, with type, size, mode and time; `depth` more than 1 goes into the folders in it.

    `size` and `mtime` sort the largest and newest first. Without `hidden`, names that begin with a dot are left out.
    """

    def work() -> Listed:
        unreadable: list[str] = []
        found: list[ListedEntry] = []
        with told(ctx, path), reach(ctx).at(path) as at:
            must_be_folder(at)
            entries = reach(ctx).walk(at, max_depth=depth, hidden=hidden, skipped=noting(unreadable))
            keys: list[float] = []
            for entry in timely(ctx, entries):
                found.append(listed(entry, at.real))
                keys.append(entry.stat.st_size if sort == "size" else entry.stat.st_mtime)
                if sort == "name" and len(found) > limit:
                    break
            if sort != "name":
                order = sorted(range(len(found)), key=lambda number: -keys[number])
                found = [found[number] for number in order]
        return Listed(
            path=listing.shown(at.real), entries=found[:limit], truncated=len(found) > limit, unreadable=unreadable
        )

    return await ctx.thread(work)


class Stat(Output):
    """What there is to know of a thing; times are RFC 3339 in UTC, `attributes` the extended ones."""

    path: str
    type: str
    size: int
    mode: str
    owner: str
    group: str
    uid: int
    gid: int
    mtime: str
    atime: str
    ctime: str
    links: int
    target: str | None
    attributes: dict[str, str]


@files.operation(risk=Risk.LOW)
async def stat(ctx: Context, path: ReadPath) -> Stat:
    """Give metadata: type, size, mode, owner, times, extended attributes; of a link itself, with its target."""

    def work() -> Stat:
        with told(ctx, path), reach(ctx).at(path, follow=False) as at:
            info = at.found()
            more = listing.about(at.dir_fd, at.name, info)
        return Stat(
            path=listing.shown(at.real),
            type=listing.kind(info),
            size=info.st_size,
            mode=listing.mode(info),
            owner=more.owner,
            group=more.group,
            uid=info.st_uid,
            gid=info.st_gid,
            mtime=listing.moment(info.st_mtime_ns),
            atime=listing.moment(info.st_atime_ns),
            ctime=listing.moment(info.st_ctime_ns),
            links=info.st_nlink,
            target=more.link,
            attributes=more.attributes,
        )

    return await ctx.thread(work)


class Exists(Output):
    """Whether something is there, and its type; what the caller may not see does not exist."""

    exists: bool
    type: str | None


@files.operation(risk=Risk.LOW)
async def exists(ctx: Context, path: ReadPath) -> Exists:
    """Tell whether something exists and its type; a link counts as what it leads to."""

    def work() -> Exists:
        try:
            with told(ctx, path), reach(ctx).at(path) as at:
                return Exists(exists=at.exists, type=listing.kind(at.found()) if at.exists else None)
        except NotFound:
            return Exists(exists=False, type=None)

    return await ctx.thread(work)


class Hashed(Output):
    """A checksum in hex, over how many bytes of how many files."""

    path: str
    algorithm: str
    digest: str
    bytes: int
    files: int


@files.operation(name="files.hash", risk=Risk.LOW, timeout_s=600.0)
async def hash_(
    ctx: Context, path: ReadPath, algorithm: Literal["sha256", "blake2b", "sha1", "md5"] = "sha256"
) -> Hashed:
    """Give the checksum of a file's content, or of a whole folder: kinds, names, contents and link targets in it."""

    def work() -> Hashed:
        with told(ctx, path), reach(ctx).at(path) as at:
            entries = timely(ctx, reach(ctx).walk(at, itself=True, max_entries=MOST_WALKED))
            found = hashes.of_tree(entries, algorithm, ticker(ctx))
        return Hashed(
            path=listing.shown(at.real),
            algorithm=algorithm,
            digest=found.digest,
            bytes=found.bytes,
            files=found.files,
        )

    return await ctx.thread(work)


class Diff(Output):
    """What differs; of two folders, the paths relative to them and the diffs of their text files."""

    equal: bool
    diff: str
    removed: list[str]
    added: list[str]
    changed: list[str]
    truncated: bool


@files.operation(risk=Risk.LOW, timeout_s=300.0)
async def diff(ctx: Context, a: ReadPath, b: ReadPath, context: Annotated[int, Field(ge=0, le=100)] = 3) -> Diff:
    """Show what differs between two files or two folders as a unified diff, `context` lines around each place."""

    def work() -> Diff:
        with told(ctx, a), reach(ctx).at(a) as one, told(ctx, b), reach(ctx).at(b) as other:
            one.found()
            other.found()
            if one.is_dir != other.is_dir:
                raise InvalidInput(f"`{a}` and `{b}` are not both files or both folders")
            if not one.is_dir:
                shown = _diff_of(one, other, context)
                return Diff(equal=not shown, diff=shown, removed=[], added=[], changed=[], truncated=False)
            return _diff_of_folders(ctx, one, other, context)

    return await ctx.thread(work)


def _diff_of_folders(ctx: Context, one: Place, other: Place, context: int) -> Diff:
    before, after = (
        differences.things(timely(ctx, reach(ctx).walk(at, itself=True, max_entries=MOST_WALKED)), ticker(ctx))
        for at in (one, other)
    )
    found = differences.of_trees(before, after)
    pieces: list[str] = []
    room = differences.MOST_BYTES
    for path in found.changed:
        if before[path].kind == after[path].kind == "file" and before[path].content != after[path].content:
            with reach(ctx).at(f"{one.real}/{path}") as old, reach(ctx).at(f"{other.real}/{path}") as new:
                piece = _diff_of(old, new, context)
            if len(piece) > room:
                break
            pieces.append(piece)
            room -= len(piece)
    else:
        room = -1  # all of them are shown
    return Diff(
        equal=not (found.removed or found.added or found.changed),
        diff="".join(pieces),
        removed=[listing.shown(path) for path in found.removed],
        added=[listing.shown(path) for path in found.added],
        changed=[listing.shown(path) or "." for path in found.changed],
        truncated=room >= 0,
    )


def _diff_of(one: Place, other: Place, context: int) -> str:
    old, new = file_bytes(one), file_bytes(other)
    names = listing.shown(one.real), listing.shown(other.real)
    if old == new:
        same = old is not None or _sum_of(one) == _sum_of(other)
        return "" if same else f"the files {names[0]} and {names[1]} differ and are too large to show\n"
    if old is None or new is None:
        return f"the files {names[0]} and {names[1]} differ and are too large to show\n"
    before, after = texts.decode(old), texts.decode(new)
    if before is None or after is None:
        return f"the binary files {names[0]} and {names[1]} differ\n"
    return differences.of_texts(before[0], after[0], *names, context) or "only the encoding differs\n"


def _sum_of(at: Place) -> str:
    fd = at.open()
    try:
        return content.sha256_of(fd)
    finally:
        os.close(fd)


def file_bytes(at: Place, most: int = differences.MOST_BYTES) -> bytes | None:
    """Give a file's content; None when it is longer than `most` bytes."""
    with open(at.open(), "rb") as file:
        data = file.read(most + 1)
    return data if len(data) <= most else None


def must_be_folder(at: Place) -> None:
    """Go on only at a folder."""
    at.found()
    if not at.is_dir:
        raise InvalidInput(f"`{listing.shown(at.path)}` is not a folder", hint="name the folder it lies in")


def listed(entry: Entry, top: str) -> ListedEntry:
    """Describe an entry, its path relative to the folder in which the walk began."""
    return ListedEntry(
        path=listing.shown(relative(entry, top)),
        type=listing.kind(entry.stat),
        size=entry.stat.st_size,
        mode=listing.mode(entry.stat),
        mtime=listing.moment(entry.stat.st_mtime_ns),
        target=listing.link_target(entry.dir_fd, entry.name, entry.stat),
    )


def relative(entry: Entry, top: str) -> str:
    """Give an entry's path relative to a folder above it."""
    return entry.path[len(top.rstrip("/")) + 1 :]


def noting(refused: list[str]) -> Callable[[str, OSError], None]:
    """Give what notes the paths that the operating system refuses on a walk, instead of ending it."""
    return lambda path, error: refused.append(listing.shown(path))
