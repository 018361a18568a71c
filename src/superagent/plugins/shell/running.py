"""Operations that run commands: a program with its arguments, and a line for a shell."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from superagent.sdk import Context, Effect, Example, Preview, Risk, put_back

from .line import (
    INLINE_BYTES,
    RUNS,
    TIMEOUT_S,
    Apply,
    Connections,
    Cwd,
    Env,
    EnvFrom,
    Finished,
    Inline,
    InputEncoding,
    Rules,
    Sandbox,
    Seconds,
    StdinBlob,
    View,
    Wanted,
    command_of,
    line_of,
    rehearse,
    run,
    shell,
    workspace_of,
)

Words = Annotated[list[str], Field(min_length=1, max_length=65_536, description="the program and its arguments")]
Shell = Literal["sh", "bash"]


@shell.operation(
    name="shell.exec",
    risk=Risk.MEDIUM,
    effect=Effect.CHANGE,
    reaches=RUNS,
    undo=put_back,
    atomic=True,
    timeout_s=TIMEOUT_S,
    examples=(Example("list the workspace", {"argv": ["ls", "-la"]}),),
)
async def exec_(
    ctx: Context,
    argv: Words,
    cwd: Cwd = "",
    env: Env | None = None,
    stdin: str | None = None,
    stdin_encoding: InputEncoding = "utf-8",
    stdin_blob: StdinBlob | None = None,
    timeout_s: Seconds | None = None,
    sandbox: Sandbox = "workspace-write",
    limits: Wanted | None = None,
    max_output_bytes: Inline = INLINE_BYTES,
    apply: Apply = True,
    network: Rules | None = None,
    connections: Connections | None = None,
    env_from: EnvFrom | None = None,
    view: View | None = None,
) -> Finished:
    """Run a program, contained, in your workspace, without a shell; exit code, output, what it changed.

    Inside, the workspace is `/workspace`, `/usr` is there to be read, `/tmp` is empty and its own; nothing of this
    server is there, and no network but what the profile, your grants and `network` allow by name. The command works on
    a view: the workspace stays as it is until it has ended, and what it changed then comes in as one change that can be
    taken back. A dry run rehearses it and shows the diff.
    """
    return await run(ctx, command_of(ctx, argv))


exec_.touches(workspace_of)


@exec_.preview
async def _(ctx: Context, argv: Words, **_: Any) -> Preview:
    return await rehearse(ctx, command_of(ctx, argv), " ".join(argv))


@shell.operation(
    name="shell.run",
    risk=Risk.MEDIUM,
    effect=Effect.CHANGE,
    reaches=RUNS,
    undo=put_back,
    atomic=True,
    timeout_s=TIMEOUT_S,
    examples=(Example("count lines", {"command": "wc -l *.md | sort -n"}),),
)
async def run_(
    ctx: Context,
    command: str,
    cwd: Cwd = "",
    env: Env | None = None,
    stdin: str | None = None,
    stdin_encoding: InputEncoding = "utf-8",
    stdin_blob: StdinBlob | None = None,
    shell: Shell = "sh",
    timeout_s: Seconds | None = None,
    sandbox: Sandbox = "workspace-write",
    limits: Wanted | None = None,
    max_output_bytes: Inline = INLINE_BYTES,
    apply: Apply = True,
    network: Rules | None = None,
    connections: Connections | None = None,
    env_from: EnvFrom | None = None,
    view: View | None = None,
) -> Finished:
    """Run a command line of any length by a shell, contained, in your workspace; otherwise like `shell.exec`.

    The shell reads no start-up files.
    """
    return await run(ctx, line_of(ctx, command, shell))


run_.touches(workspace_of)


@run_.preview
async def _(ctx: Context, command: str, shell: Shell, **_: Any) -> Preview:
    return await rehearse(ctx, line_of(ctx, command, shell), command, command)
