"""Files rewritten by a tool: found, given to it inside the sandbox as text, and written by `files.write` outside of it.

The tool itself can change nothing: what it gives back becomes a change like any other, judged, kept for undo, and only
where the file is still the one that it was shown.
"""

from __future__ import annotations

import base64
import shlex
from dataclasses import dataclass
from typing import Any

from superagent.sdk import Command, Context, Effect, InvalidInput, NotFound, Output, Preview, Resource, TooLarge

from .choosing import Chosen, choose
from .engine.clean import plain
from .engine.findings import Unreadable
from .engine.rewrites import Rewrite, read, script
from .engine.table import Purpose, table
from .line import INSIDE, Place, Tool, place_of, run, said, whole
from .lint import SKIPPED, failure

MOST_FILES = 1000
ASKS = "a person must approve a change of it: name this very file"


class Rewritten(Output):
    """One file that is, or would be, rewritten; the diff is there where it was written."""

    file: str
    sha256: str | None = None
    diff: str = ""


class NotRewritten(Output):
    """One file that the tool could not work on, and what it said."""

    file: str
    why: str


class Rewrites(Output):
    """What a tool made of the files: those that changed, how many are as they should be, those it failed on."""

    tool: Tool
    changed: list[Rewritten]
    unchanged: int
    failed: list[NotRewritten]
    written: bool


@dataclass(frozen=True, slots=True)
class Made:
    """What a tool would make of the files of a path."""

    chosen: Chosen
    files: list[str]
    changed: list[tuple[str, Rewrite]]
    failed: list[NotRewritten]


async def make(
    ctx: Context, purpose: Purpose, path: str, tool: str | None, language: str | None, rules: list[str] | None = None
) -> Made:
    """Let a tool work on a file, or on all files of its language beneath a folder."""
    place = place_of(ctx, path)
    chosen = await choose(ctx, purpose, place, tool=tool, language=language)
    files = await _files(ctx, chosen, place)
    row = chosen.row
    if rules and not row.select:
        raise InvalidInput(f"`{row.name}` cannot choose rules", hint="leave `rules` out; its configuration says them")
    words = row.argv[:-1] + row.select + row.argv[-1:] if rules else row.argv
    argv = chosen.words(tuple(words), selector=",".join(rules or []))
    ran = await run(
        ctx,
        Command(
            ["sh", "-c", script(argv, row.fine), "code"],
            profile="read-only",
            cwd=chosen.cwd,
            env={**chosen.env, "NO_COLOR": "1"},
            stdin="".join(f"{INSIDE}/{one}\n" for one in files).encode(),
            inline_bytes=1024 * 1024,
        ),
    )
    data = await whole(ctx, ran.stdout, f"what `{row.name}` wrote")
    shown = said(ran, ran.stderr).output
    try:
        if ran.ended.limit:
            raise Unreadable("it was ended")
        found = await ctx.thread(read, data, len(files), row.fine, row.reads)
    except Unreadable as bad:
        raise failure(chosen, ran.ended.limit, str(bad), shown) from None
    changed = [(files[one.number - 1], one) for one in found if one.data is not None]
    failed = [NotRewritten(file=files[one.number - 1], why=plain(one.failed, 2000)) for one in found if one.failed]
    if chosen.is_folder:  # nobody named these: the rest of a project does not wait for them
        asks = [file for file, _ in changed if _needs_a_person(ctx, file)]
        changed = [one for one in changed if one[0] not in asks]
        failed += [NotRewritten(file=file, why=ASKS) for file in asks]
    return Made(chosen, files, changed, failed)


def _needs_a_person(ctx: Context, file: str) -> bool:
    there = Resource("path", "local", f"{ctx.principal.workspace}/{file}", Effect.CHANGE)
    return not ctx.may(there) and ctx.may_ask(there)


async def apply(ctx: Context, made: Made, *, write: bool) -> Rewrites:
    """Write what a tool made, file by file, each kept for undo; or, without `write`, only say what it would be."""
    changed: list[Rewritten] = []
    for file, rewrite in made.changed:
        if not write:
            changed.append(Rewritten(file=file))
            continue
        done = await ctx.call("files.write", _input(ctx, file, rewrite))
        changed.append(Rewritten(file=file, sha256=done["sha256"], diff=done["diff"]))
    return Rewrites(
        tool=made.chosen.shown,
        changed=changed,
        unchanged=len(made.files) - len(made.changed) - len(made.failed),
        failed=made.failed,
        written=write and bool(changed),
    )


async def preview(ctx: Context, made: Made) -> Preview:
    """Show what would be written, file by file, as the writing itself previews it."""
    changes: list[str] = []
    conflicts = [f"{one.file}: {one.why}" for one in made.failed]
    diff = ""
    for file, rewrite in made.changed:
        shown = await ctx.call("files.write", _input(ctx, file, rewrite))
        changes += shown["changes"]
        conflicts += shown["conflicts"]
        diff += shown["diff"]
    return Preview(
        summary=f"would rewrite {len(made.changed)} of {len(made.files)} file(s) by {made.chosen.row.name} "
        f"({made.chosen.why})",
        changes=changes,
        diff=diff,
        conflicts=conflicts,
    )


def _input(ctx: Context, file: str, rewrite: Rewrite) -> dict[str, Any]:
    assert rewrite.data is not None
    return {
        "path": f"{ctx.principal.workspace}/{file}",
        "content": base64.b64encode(rewrite.data).decode(),
        "encoding": "bytes",
        "expected_hash": rewrite.sha256,
    }


async def _files(ctx: Context, chosen: Chosen, place: Place) -> list[str]:
    """Give the files to work on, relative to the workspace; of a folder, those of the language."""
    if not chosen.is_folder:
        return [place.relative]
    endings = table().languages[chosen.language].extensions
    names = " -o ".join(f"-name {shlex.quote(f'*.{one}')}" for one in endings)
    pruned = " -o ".join(f"-name {shlex.quote(one)}" for one in SKIPPED)
    find = f"find {shlex.quote(place.inside)} -type d \\( {pruned} \\) -prune -o -type f \\( {names} \\) -print0"
    ran = await run(ctx, Command(["sh", "-c", find], profile="read-only", inline_bytes=1024 * 1024))
    if ran.stdout.handle:
        raise TooLarge(f"`{place.path}` holds more files than can be named", hint="name a smaller part of the project")
    prefix = INSIDE + "/"
    paths = (base64.b64decode(ran.stdout.text) if ran.stdout.encoding == "base64" else ran.stdout.text.encode()).split(
        b"\0"
    )
    found: list[str] = []
    for one in paths:
        try:
            path = one.decode()
        except UnicodeDecodeError:
            continue  # a name that no caller can say
        if path.startswith(prefix) and path.isprintable():
            found.append(path.removeprefix(prefix))
    if not found:
        raise NotFound(f"no file of {chosen.language} lies in `{place.path}`")
    if len(found) > MOST_FILES:
        raise TooLarge(
            f"`{place.path}` holds {len(found)} files of {chosen.language}, more than the {MOST_FILES} of one call",
            hint="name a smaller part of the project",
        )
    return sorted(found)
