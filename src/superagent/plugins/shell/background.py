"""The operation that starts a command and does not wait for it: each call is a job."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from superagent.sdk import Command, Context, Effect, Example, InvalidInput, Preview, Resource, Risk, put_back

from .line import (
    INLINE_BYTES,
    RUNS,
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
    Wanted,
    command_of,
    line_of,
    run,
    shell,
    workspace_of,
)

A_DAY_S = 86_400.0

Name = Annotated[str, Field(max_length=100, description="what lists of jobs show")]
Words = Annotated[list[str], Field(max_length=65_536, description="the program and its arguments")]


@shell.operation(
    name="shell.start",
    risk=Risk.MEDIUM,
    effect=Effect.CHANGE,
    reaches=RUNS,
    undo=put_back,
    atomic=True,
    timeout_s=A_DAY_S + 60,
    background=True,
    examples=(Example("a web server", {"argv": ["python3", "-m", "http.server"], "name": "preview"}),),
)
async def start(
    ctx: Context,
    command: str | None = None,
    argv: Words | None = None,
    name: Name = "",
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
) -> Finished:
    """Start a program (`argv`) or a command line (`command`, by `sh`) in the background; answered at once with its job.

    `jobs.logs` shows what it writes as it does, `jobs.wait` waits for it, `jobs.signal` and `jobs.cancel` reach it. It
    may run for a day; its processor time, memory and all else are limited as the profile says. It ends when the
    platform stops, and when its key or the grant that allowed it does. It works on a view, like `shell.exec`: what it
    changed comes into the workspace when it has ended.
    """
    return await run(ctx, _started(ctx, command, argv))


@start.touches
def _(values: dict[str, Any], workspace: str) -> list[Resource]:
    _check(values["command"], values["argv"])  # what says nothing to start is told now, not to whoever reads the job
    return workspace_of(values, workspace)


@start.preview
async def _(ctx: Context, command: str | None, argv: Words | None, **_: Any) -> Preview:
    wanted = _started(ctx, command, argv)
    shown = command if command is not None else " ".join(wanted.argv)
    return Preview(
        summary=f"would start `{shown[:500]}` as `{wanted.profile}`; what it changes is known afterwards",
        changes=[one.path for one in ctx.ticket.resources if one.effect > Effect.READ],
        exact=False,
    )


def _check(command: str | None, argv: list[str] | None) -> None:
    if (command is None) == (argv is None):
        raise InvalidInput("say what to start", hint="give either `command` or `argv`")
    if argv is not None and not argv:
        raise InvalidInput("`argv` must name a program", hint='such as `["ls", "-l"]`')
    if command is not None and (not command.strip() or "\0" in command):
        raise InvalidInput("`command` must say something, without NUL characters")


def _started(ctx: Context, command: str | None, argv: list[str] | None) -> Command:
    _check(command, argv)
    return line_of(ctx, command, "sh") if command is not None else command_of(ctx, argv or [])
