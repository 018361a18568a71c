"""The operation that looks for faults: a linter's findings as data."""

from __future__ import annotations

import shlex
from typing import Annotated, Literal

from pydantic import Field

from superagent.sdk import Command, Context, Example, InvalidInput, Output, ReadPath, Risk, Unavailable

from .choosing import Chosen, choose
from .engine.clean import plain
from .engine.findings import Finding, Unreadable, read
from .engine.table import table
from .line import (
    INSIDE,
    RUNS,
    Limit,
    Place,
    Said,
    Seconds,
    Tool,
    ToolName,
    code,
    place_of,
    reads_workspace,
    run,
    said,
    whole,
)

MOST_FILES = 2000
MOST_HEARD = 1600
SKIPPED = (".git", ".venv", "venv", "node_modules", "target", "__pycache__", ".tox", "dist", "build")

LanguageName = Annotated[str, Field(max_length=40, description=f"one of {', '.join(table().languages)}")]


class Diagnostic(Output):
    """One finding; `file` is relative to the workspace, lines and columns count from 1.

    `fixable` says that the tool knows a fix that is safe (`code.fix`).
    """

    file: str
    line: int | None
    column: int | None
    end_line: int | None
    rule: str
    severity: Literal["error", "warning", "note"]
    message: str
    fixable: bool
    url: str | None


class Linted(Output):
    """What a linter found; `total` counts all, of which the first are shown.

    `outside` counts findings that the tool placed outside of the workspace; they are not shown.
    """

    tool: Tool
    diagnostics: list[Diagnostic]
    total: int
    errors: int
    fixable: int
    truncated: bool
    outside: int
    said: Said


@code.operation(
    reaches=RUNS,
    risk=Risk.LOW,
    timeout_s=600.0,
    examples=(Example("the faults of a project", {"path": "."}),),
)
async def lint(
    ctx: Context,
    path: ReadPath,
    tool: ToolName | None = None,
    language: LanguageName | None = None,
    timeout_s: Seconds | None = None,
    limit: Limit = 500,
) -> Linted:
    """Look for faults in a file or a project by its own linter; findings as data, nothing is changed.

    The tool runs contained and without the right to write, for it reads configuration and plugins of the project.
    """
    place = place_of(ctx, path)
    chosen = await choose(ctx, "lint", place, tool=tool, language=language)
    row = chosen.row
    ran = await run(
        ctx,
        Command(
            _words(chosen, place),
            profile="read-only",
            cwd=chosen.cwd,
            env={**chosen.env, "NO_COLOR": "1"},
            timeout_s=timeout_s,
            inline_bytes=1024 * 1024,
        ),
    )
    stream = ran.stderr if row.stream == "errors" else ran.stdout
    report = (await whole(ctx, stream, f"what `{row.name}` found")).decode("utf-8", "replace")
    shown = said(ran, ran.stderr)
    try:
        if ran.ended.limit or ran.ended.code not in row.fine:
            raise Unreadable("it was ended" if ran.ended.limit else f"it ended with {ran.ended.code}")
        found, outside = await ctx.thread(read, row.reads, report, chosen.cwd, INSIDE)
    except Unreadable as bad:
        raise failure(chosen, ran.ended.limit, str(bad), shown.output or plain(report, 2000)) from None
    found.sort(key=lambda one: (one.file, one.line or 0, one.column or 0, one.rule))
    return Linted(
        tool=chosen.shown,
        diagnostics=[_shown(one) for one in found[:limit]],
        total=len(found),
        errors=sum(one.kind == "error" for one in found),
        fixable=sum(one.fixable for one in found),
        truncated=len(found) > limit,
        outside=outside,
        said=shown,
    )


lint.touches(reads_workspace)


def heard_of(output: str) -> str:
    """Give what a tool said, to be put behind a sentence; of a long text the beginning and, above all, the end."""
    words = " ".join(output.split())
    if len(words) > MOST_HEARD:
        words = f"{words[: MOST_HEARD // 4]} … {words[-MOST_HEARD * 3 // 4 :]}"
    return f": {words}" if words else ""


def failure(chosen: Chosen, limit: str, why: str, output: str) -> Unavailable | InvalidInput:
    """Give the problem of a tool that did not do its work, with what it said."""
    heard = heard_of(output)
    if limit:
        return InvalidInput(
            f"`{chosen.row.name}` met the limit `{limit}` of its sandbox{heard}",
            hint="name a smaller part of the project",
        )
    return Unavailable(
        f"`{chosen.row.name}` ({chosen.program}) does not work here, {why}{heard}",
        hint=f"try it with `shell.run`, or name another `tool`; it comes from: {chosen.row.install}",
    )


def _words(chosen: Chosen, place: Place) -> list[str]:
    words = chosen.words(chosen.row.argv, path=place.inside)
    if not (chosen.row.files_only and chosen.is_folder):
        return words
    endings = table().languages[chosen.language].extensions
    names = " -o ".join(f"-name {shlex.quote(f'*.{one}')}" for one in endings)
    pruned = " -o ".join(f"-name {shlex.quote(one)}" for one in SKIPPED)
    folder = shlex.quote(place.inside)
    before = [word for word in words if word != place.inside]
    if chosen.row.reads not in ("node", "bash", "perl"):  # those take one file at a time
        each = shlex.join(before)
    else:
        one = shlex.join(before) + ' "$0" || exit 1'
        each = f"-n 1 sh -c {shlex.quote(one)}"
    find = f"find {folder} -type d \\( {pruned} \\) -prune -o -type f \\( {names} \\) -print0 | head -z -n {MOST_FILES}"
    return ["sh", "-c", f"{find} | xargs -0 -r {each}; c=$?; [ $c -eq 123 ] && c=1; exit $c"]


def _shown(one: Finding) -> Diagnostic:
    kind: Literal["error", "warning", "note"] = (
        "error" if one.kind == "error" else "warning" if one.kind == "warning" else "note"
    )
    return Diagnostic(
        file=one.file,
        line=one.line,
        column=one.column,
        end_line=one.end_line,
        rule=one.rule,
        severity=kind,
        message=one.message,
        fixable=one.fixable,
        url=one.url or None,
    )
