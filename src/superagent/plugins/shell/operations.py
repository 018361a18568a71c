"""Operations that run commands: a program with its arguments, and a line for a shell."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from superagent.sdk import SCRIPT, Command, Context, Effect, Example, InvalidInput, Preview, Risk

from .line import (
    INLINE_BYTES,
    KEPT_NOT,
    Env,
    Finished,
    Inline,
    InputEncoding,
    Sandbox,
    Seconds,
    Wanted,
    run,
    shell,
    stdin_of,
    workspace_of,
)

LONGEST_ARGUMENT = 131_071
TIMEOUT_S = 3600.0

Words = Annotated[list[str], Field(min_length=1, max_length=65_536, description="the program and its arguments")]
Shell = Literal["sh", "bash"]


@shell.operation(
    name="shell.exec",
    risk=Risk.MEDIUM,
    effect=Effect.CHANGE,
    irreversible=KEPT_NOT,
    timeout_s=TIMEOUT_S,
    examples=(Example("list the workspace", {"argv": ["ls", "-la"]}),),
)
async def exec_(
    ctx: Context,
    argv: Words,
    cwd: str = "",
    env: Env | None = None,
    stdin: str | None = None,
    stdin_encoding: InputEncoding = "utf-8",
    stdin_blob: str | None = None,
    timeout_s: Seconds | None = None,
    sandbox: Sandbox = "workspace-write",
    limits: Wanted | None = None,
    max_output_bytes: Inline = INLINE_BYTES,
) -> Finished:
    """Run a program, contained, in your workspace, without a shell; exit code, output and what limited it.

    Inside, the workspace is `/workspace`, `/usr` is there to be read, `/tmp` is empty and its own; there is no network
    and nothing of this server. The command works in the workspace itself: what it changes there stays.
    """
    return await run(
        ctx,
        Command(
            argv,
            profile=sandbox,
            cwd=cwd,
            env=env or {},
            stdin=stdin_of(stdin, stdin_encoding, stdin_blob),
            stdin_blob=stdin_blob or "",
            timeout_s=timeout_s,
            limits=limits or {},
            inline_bytes=max_output_bytes,
        ),
    )


exec_.touches(workspace_of)


@exec_.preview
async def _(
    ctx: Context,
    argv: Words,
    cwd: str = "",
    env: Env | None = None,
    stdin: str | None = None,
    stdin_encoding: InputEncoding = "utf-8",
    stdin_blob: str | None = None,
    timeout_s: Seconds | None = None,
    sandbox: Sandbox = "workspace-write",
    limits: Wanted | None = None,
    max_output_bytes: Inline = INLINE_BYTES,
) -> Preview:
    return _preview(ctx, " ".join(argv), sandbox)


@shell.operation(
    name="shell.run",
    risk=Risk.MEDIUM,
    effect=Effect.CHANGE,
    irreversible=KEPT_NOT,
    timeout_s=TIMEOUT_S,
    examples=(Example("count lines", {"command": "wc -l *.md | sort -n"}),),
)
async def run_(
    ctx: Context,
    command: str,
    cwd: str = "",
    env: Env | None = None,
    stdin: str | None = None,
    stdin_encoding: InputEncoding = "utf-8",
    stdin_blob: str | None = None,
    shell: Shell = "sh",
    timeout_s: Seconds | None = None,
    sandbox: Sandbox = "workspace-write",
    limits: Wanted | None = None,
    max_output_bytes: Inline = INLINE_BYTES,
) -> Finished:
    """Run a command line of any length by a shell, contained, in your workspace; otherwise like `shell.exec`.

    The shell reads no start-up files. The command works in the workspace itself: what it changes there stays.
    """
    data = command.encode()
    if not command.strip() or b"\0" in data:
        raise InvalidInput("`command` must say something, without NUL characters")
    fits = len(data) <= LONGEST_ARGUMENT
    return await run(
        ctx,
        Command(
            [shell, "-c", command] if fits else [shell, SCRIPT],
            profile=sandbox,
            cwd=cwd,
            env=env or {},
            script=b"" if fits else data,
            stdin=stdin_of(stdin, stdin_encoding, stdin_blob),
            stdin_blob=stdin_blob or "",
            timeout_s=timeout_s,
            limits=limits or {},
            inline_bytes=max_output_bytes,
        ),
    )


run_.touches(workspace_of)


@run_.preview
async def _(
    ctx: Context,
    command: str,
    cwd: str = "",
    env: Env | None = None,
    stdin: str | None = None,
    stdin_encoding: InputEncoding = "utf-8",
    stdin_blob: str | None = None,
    shell: Shell = "sh",
    timeout_s: Seconds | None = None,
    sandbox: Sandbox = "workspace-write",
    limits: Wanted | None = None,
    max_output_bytes: Inline = INLINE_BYTES,
) -> Preview:
    return _preview(ctx, command, sandbox)


def _preview(ctx: Context, command: str, sandbox: str) -> Preview:
    shown = command if len(command) <= 500 else command[:500] + " …"
    return Preview(
        summary=f"would run `{shown}` under the profile `{sandbox}`; what it would change is not known before",
        changes=[one.path for one in ctx.ticket.resources if one.effect > Effect.READ],
        exact=False,
    )
