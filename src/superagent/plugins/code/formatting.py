"""Operations that rewrite files by the project's own tools: format, and automatic fixes."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from superagent.sdk import Context, Effect, Example, Preview, ReadWritePath, Risk, put_back

from .engine.table import table
from .line import RUNS, ToolName, code, reads_workspace
from .rewriting import Rewrites, apply, make, preview

LanguageName = Annotated[str, Field(max_length=40, description=f"one of {', '.join(table().languages)}")]
Rule = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.@/-]{0,100}$")]
Rules = Annotated[list[Rule], Field(min_length=1, max_length=200, description="only these rules, by the tool's names")]


@code.operation(
    name="code.format",
    reaches=RUNS,
    risk=Risk.MEDIUM,
    effect=Effect.CHANGE,
    undo=put_back,
    atomic=True,
    timeout_s=600.0,
    examples=(Example("bring a project into its own form", {"path": "."}),),
)
async def format_(
    ctx: Context,
    path: ReadWritePath,
    tool: ToolName | None = None,
    language: LanguageName | None = None,
    check: bool = False,
) -> Rewrites:
    """Format a file, or all files of a project, by its own formatter; a diff for each, all of it undone at once.

    With `check`, it only says which files would change; a dry run shows their diffs.
    """
    return await apply(ctx, await make(ctx, "format", path, tool, language), write=not check)


format_.touches(reads_workspace)


@format_.preview
async def _(
    ctx: Context,
    path: ReadWritePath,
    tool: ToolName | None = None,
    language: LanguageName | None = None,
    check: bool = False,
) -> Preview:
    return await preview(ctx, await make(ctx, "format", path, tool, language))


@code.operation(
    reaches=RUNS,
    risk=Risk.MEDIUM,
    effect=Effect.CHANGE,
    undo=put_back,
    atomic=True,
    timeout_s=600.0,
    examples=(Example("remove unused imports", {"path": ".", "rules": ["F401"]}),),
)
async def fix(
    ctx: Context,
    path: ReadWritePath,
    tool: ToolName | None = None,
    language: LanguageName | None = None,
    rules: Rules | None = None,
) -> Rewrites:
    """Let a linter fix what it can in a file or a project, by `rules` if given; a diff for each, undone at once."""
    return await apply(ctx, await make(ctx, "fix", path, tool, language, rules), write=True)


fix.touches(reads_workspace)


@fix.preview
async def _(
    ctx: Context,
    path: ReadWritePath,
    tool: ToolName | None = None,
    language: LanguageName | None = None,
    rules: Rules | None = None,
) -> Preview:
    return await preview(ctx, await make(ctx, "fix", path, tool, language, rules))
