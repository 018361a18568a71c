"""The operation that runs a project's tests by its own runner, and gives the result of each as data."""

from __future__ import annotations

import base64
import shlex
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from superagent.sdk import (
    SCRIPT,
    Changes,
    Command,
    Context,
    Effect,
    Example,
    InvalidInput,
    Output,
    Preview,
    Ran,
    ReadPath,
    Risk,
    put_back,
)

from .choosing import Chosen, choose
from .engine import cases, coverage
from .engine.cases import Case
from .engine.findings import Unreadable
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
    Wanted,
    changes_workspace,
    code,
    place_of,
    run,
    said,
    whole,
)
from .lint import failure, heard_of

REPORT, COVERAGE = "/tmp/report/report", "/tmp/report/coverage"  # noqa: S108 - the sandbox's own

LanguageName = Annotated[str, Field(max_length=40, description=f"one of {', '.join(table().languages)}")]
Selector = Annotated[
    str,
    Field(min_length=1, max_length=2000, pattern=r"^[^-\x00]", description="which tests, in the runner's own words"),
]
Status = Literal["passed", "failed", "error", "skipped"]


class TestResult(Output):
    """One test; `file` is relative to the workspace, `seconds` what it took, `message` what it said when it failed."""

    name: str
    status: Status
    file: str | None
    line: int | None
    seconds: float | None
    message: str


class CoveredFile(Output):
    """How many percent of a file's lines ran."""

    file: str
    percent: float


class Coverage(Output):
    """How many percent of the lines ran, of all and of each file where the tool says so."""

    percent: float
    files: list[CoveredFile]


class Tested(Output):
    """What came of the tests: totals, and each test, those that did not pass first.

    `complete` is False when the runner was ended before it was through; then the rest is missing. The tests run as the
    project's own code, so what they report is what they say of themselves.
    """

    tool: Tool
    total: int
    passed: int
    failed: int
    errors: int
    skipped: int
    seconds: float
    complete: bool
    tests: list[TestResult]
    truncated: bool
    coverage: Coverage | None
    said: Said
    changes: Changes | None = None


@code.operation(
    name="code.test",
    reaches=RUNS,
    risk=Risk.MEDIUM,
    effect=Effect.CHANGE,
    undo=put_back,
    atomic=True,
    timeout_s=3600.0,
    examples=(Example("the tests of a project", {"path": "."}),),
)
async def test_(
    ctx: Context,
    path: ReadPath,
    tool: ToolName | None = None,
    language: LanguageName | None = None,
    selector: Selector | None = None,
    with_coverage: bool = False,
    timeout_s: Seconds | None = None,
    limits: Wanted | None = None,
    limit: Limit = 1000,
) -> Tested:
    """Run the tests of a project, a folder or a file by the project's own runner, contained; each result as data.

    `selector` chooses tests in the runner's own words. `with_coverage` asks for the coverage of lines.
    """
    place = place_of(ctx, path)
    chosen = await choose(ctx, "test", place, tool=tool, language=language)
    ran = await run(ctx, _command(chosen, place, selector, with_coverage, timeout_s, limits or {}))
    report, covered = await _report(ctx, chosen, ran, with_coverage)
    shown = said(ran, ran.stderr)
    strange = not ran.ended.limit and ran.ended.code not in chosen.row.fine
    if strange and not report.strip():
        raise _no_tests(chosen, ran, shown)
    try:
        found = await ctx.thread(cases.read, chosen.row.reads, report, chosen.cwd, INSIDE)
        measured = None
        if with_coverage:
            measured = await ctx.thread(coverage.read, chosen.row.reads, covered, chosen.cwd, INSIDE)
    except Unreadable as bad:
        if not ran.ended.limit:
            raise failure(chosen, "", str(bad), shown.output) from None
        found, measured = [], None  # the report was cut off with the runner
    if strange and not found:
        raise _no_tests(chosen, ran, shown)
    return _tested(chosen, ran, found, measured, shown, limit)


test_.touches(changes_workspace)


@test_.preview
async def _(
    ctx: Context,
    path: ReadPath,
    tool: ToolName | None = None,
    language: LanguageName | None = None,
    selector: Selector | None = None,
    with_coverage: bool = False,
    timeout_s: Seconds | None = None,
    limits: Wanted | None = None,
    limit: Limit = 1000,
) -> Preview:
    place = place_of(ctx, path)
    chosen = await choose(ctx, "test", place, tool=tool, language=language)
    words = shlex.join(one for one in _words(chosen, place, selector, with_coverage) if "data:" not in one)
    return Preview(
        summary=f"would run `{words}` in `{chosen.cwd}` ({chosen.why}); what tests change is not known before",
        changes=[one.path for one in ctx.ticket.resources if one.effect > Effect.READ],
        exact=False,
    )


def _no_tests(chosen: Chosen, ran: Ran, shown: Said) -> InvalidInput:
    """Give the problem of a runner that came to no test: most often the project cannot be built."""
    heard = heard_of(shown.output)
    return InvalidInput(
        f"`{chosen.row.name}` ran no test, it ended with {ran.ended.code}{heard}",
        hint="put right what it says; `code.lint` may show more",
    )


def _words(chosen: Chosen, place: Place, selector: str | None, with_coverage: bool) -> list[str]:
    row = chosen.row
    if selector is not None and not row.select:
        raise InvalidInput(f"`{row.name}` cannot choose tests by words", hint="name a file or a folder instead")
    if with_coverage and not row.coverage:
        raise InvalidInput(f"`{row.name}` measures no coverage", hint="leave `with_coverage` out")
    where = row.here if place.inside == chosen.cwd else row.folder if chosen.is_folder else row.file
    folder = place.inside if chosen.is_folder else place.inside.rpartition("/")[0]
    words = [*row.argv, *(row.coverage if with_coverage else ())]
    # runners with commands of their own (discover) take what chooses tests after them
    words += [*where, *row.select] if row.here and selector else [*(row.select if selector else ()), *where]
    return chosen.words(
        tuple(words),
        path=place.inside,
        folder=folder,
        report=REPORT,
        coverage=COVERAGE,
        script=SCRIPT,
        module=_address(row.script),
        selector=selector or "",
    )


def _command(
    chosen: Chosen,
    place: Place,
    selector: str | None,
    with_coverage: bool,
    timeout_s: float | None,
    limits: dict[str, float],
) -> Command:
    argv = _words(chosen, place, selector, with_coverage)
    if chosen.row.report:
        argv = ["sh", "-c", _framed(), "code.test", *argv]
    return Command(
        argv,
        cwd=chosen.cwd,
        env={**chosen.env, "NO_COLOR": "1", "CI": "1"},
        script=_own(chosen.row.script) if chosen.row.script.endswith(".py") else b"",
        timeout_s=timeout_s,
        limits=limits,
        inline_bytes=1024 * 1024,
    )


def _framed() -> str:
    """Give the shell that runs a tool and then prints its files of reports, each after a line with its length."""
    one = 'if [ -f "$f" ]; then wc -c < "$f"; cat "$f"; else echo 0; fi'
    return (
        f'mkdir -p {REPORT.rpartition("/")[0]}; "$@" >&2; c=$?; for f in {REPORT} {COVERAGE}; do {one}; done; exit $c'
    )


async def _report(ctx: Context, chosen: Chosen, ran: Ran, with_coverage: bool) -> tuple[str, str]:
    """Give the report of the tests, and that of coverage."""
    data = await whole(ctx, ran.stdout, f"the report of `{chosen.row.name}`")
    if not chosen.row.report:
        text = data.decode("utf-8", "replace")
        return text, text if with_coverage else ""
    parts: list[str] = []
    for _ in (REPORT, COVERAGE):
        head, _, data = data.partition(b"\n")
        size = int(head) if head.strip().isdigit() and len(head) < 12 else 0
        parts.append(data[:size].decode("utf-8", "replace"))
        data = data[size:]
    return parts[0], parts[1]


@cache
def _address(name: str) -> str:
    """Give a module of ours as an address, for what takes no descriptor."""
    return f"data:text/javascript;base64,{base64.b64encode(_own(name)).decode()}" if name.endswith(".mjs") else ""


@cache
def _own(name: str) -> bytes:
    return (Path(__file__).parent / "inside" / name).read_bytes()


def _tested(
    chosen: Chosen, ran: Ran, found: list[Case], measured: coverage.Covered | None, shown: Said, limit: int
) -> Tested:
    order: list[Status] = ["error", "failed", "skipped", "passed"]
    count = {status: sum(one.status == status for one in found) for status in order}
    first = sorted(found, key=lambda one: order.index(one.status))[:limit]
    return Tested(
        tool=chosen.shown,
        changes=Changes.of(ran.effects),
        total=len(found),
        passed=count["passed"],
        failed=count["failed"],
        errors=count["error"],
        skipped=count["skipped"],
        seconds=ran.ended.seconds,
        complete=not ran.ended.limit and ran.ended.code in chosen.row.fine,
        tests=[
            TestResult(
                name=one.name,
                status=one.status,
                file=one.file,
                line=one.line,
                seconds=one.seconds,
                message=one.message,
            )
            for one in first
        ],
        truncated=len(found) > limit,
        coverage=None
        if measured is None
        else Coverage(
            percent=measured.percent, files=[CoveredFile(file=name, percent=each) for name, each in measured.files]
        ),
        said=shown,
    )
