"""Operations that search: find by attributes, glob by name, grep by content."""

from __future__ import annotations

import os
from typing import Annotated, Literal

from pydantic import Field

from superagent.sdk import Context, Output, ReadPath, Risk

from .engine import grep as contents
from .engine import listing, matching, patterns
from .line import Limit, files, reach, timely, told
from .reading import ListedEntry, listed, must_be_folder, noting, relative

Pattern = Annotated[str, Field(min_length=1, max_length=1000)]


class Found(Output):
    """What was found; paths are relative to `root`. `truncated` says that there is more."""

    root: str
    entries: list[ListedEntry]
    truncated: bool
    unreadable: list[str]


@files.operation(risk=Risk.LOW, timeout_s=120.0)
async def find(
    ctx: Context,
    root: ReadPath,
    name: Pattern | None = None,
    type_: Literal["file", "directory", "link", "fifo", "socket", "device"] | None = None,
    size: Pattern | None = None,
    mtime: Pattern | None = None,
    limit: Limit = 1000,
) -> Found:
    """Find entries beneath a folder by name, type, size and time of change.

    `name` is a glob such as `*.py`; `size` like `>10k`, `<1M` or `10k..2M`; `mtime` like `<2d` (changed within two
    days), `>1w` or `>2026-01-31`.
    """

    def work() -> Found:
        with told(ctx, root), reach(ctx).at(root) as at:
            wanted = matching.glob(name) if name is not None else None
            sizes = matching.size_range(size) if size is not None else None
            times = matching.time_range(mtime, ctx.now) if mtime is not None else None
            must_be_folder(at)
            unreadable: list[str] = []
            found: list[ListedEntry] = []
            for entry in timely(ctx, reach(ctx).walk(at, skipped=noting(unreadable))):
                if matching.chosen(entry, name=wanted, type_=type_, size=sizes, mtime=times):
                    found.append(listed(entry, at.real))
                    if len(found) > limit:
                        break
        return Found(
            root=listing.shown(at.real), entries=found[:limit], truncated=len(found) > limit, unreadable=unreadable
        )

    return await ctx.thread(work)


class Matches(Output):
    """Paths that match, relative to `root`."""

    root: str
    paths: list[str]
    truncated: bool
    unreadable: list[str]


@files.operation(risk=Risk.LOW, timeout_s=120.0)
async def glob(ctx: Context, pattern: Pattern, root: ReadPath, limit: Limit = 1000) -> Matches:
    """Find paths beneath a folder by a pattern such as `src/**/*.py`; `*` stays within a name, `**` does not."""

    def work() -> Matches:
        with told(ctx, root), reach(ctx).at(root) as at:
            fits = matching.glob(pattern)
            must_be_folder(at)
            unreadable: list[str] = []
            found: list[str] = []
            entries = reach(ctx).walk(at, max_depth=matching.depth_of(pattern), skipped=noting(unreadable))
            for entry in timely(ctx, entries):
                path = relative(entry, at.real)
                if fits(path):
                    found.append(listing.shown(path))
                    if len(found) > limit:
                        break
        return Matches(
            root=listing.shown(at.real), paths=found[:limit], truncated=len(found) > limit, unreadable=unreadable
        )

    return await ctx.thread(work)


class Line(Output):
    """A line that matches, counted from 1, with the lines around it; long lines are cut."""

    path: str
    line: int
    text: str
    before: list[str]
    after: list[str]


class Lines(Output):
    """What was found in how many files; `skipped` counts files that are binary or too large to search."""

    root: str
    matches: list[Line]
    truncated: bool
    searched: int
    skipped: int
    unreadable: list[str]


@files.operation(risk=Risk.LOW, timeout_s=300.0)
async def grep(
    ctx: Context,
    pattern: Pattern,
    root: ReadPath,
    regex: bool = False,
    context: Annotated[int, Field(ge=0, le=20)] = 0,
    include: Pattern | None = None,
    limit: Limit = 200,
    ignore_case: bool = False,
) -> Lines:
    """Search the content of a file, or of all files beneath a folder, line by line.

    The pattern is plain text, or with `regex` a regular expression of RE2. `include` is a glob: without a slash it is
    compared with names, else with paths relative to `root`. Binary files are skipped and counted.
    """

    def work() -> Lines:
        with told(ctx, root), reach(ctx).at(root) as at:
            wanted = patterns.compile_(pattern, literal=not regex, ignore_case=ignore_case)
            included = matching.glob(include) if include is not None else None
            at.found()
            unreadable: list[str] = []
            found: list[Line] = []
            searched = skipped = 0
            note = noting(unreadable)
            for entry in timely(ctx, reach(ctx).walk(at, itself=True, skipped=note)):
                path = relative(entry, at.real) if entry.depth else entry.name
                if listing.kind(entry.stat) != "file":
                    continue
                if included is not None and not included(path if "/" in (include or "") else entry.name):
                    continue
                try:
                    fd = entry.open()
                except OSError as error:
                    note(entry.path, error)
                    continue
                try:
                    data = contents.searchable(fd)
                finally:
                    os.close(fd)
                if data is None:
                    skipped += 1
                    continue
                searched += 1
                for hit in contents.hits(data, wanted, context):
                    found.append(
                        Line(path=listing.shown(path), line=hit.line, text=hit.text, before=hit.before, after=hit.after)
                    )
                    if len(found) > limit:
                        break
                if len(found) > limit:
                    break
        return Lines(
            root=listing.shown(at.real),
            matches=found[:limit],
            truncated=len(found) > limit,
            searched=searched,
            skipped=skipped,
            unreadable=unreadable,
        )

    return await ctx.thread(work)
