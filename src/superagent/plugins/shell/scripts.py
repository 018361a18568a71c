"""The operation that runs a script of any length by the interpreter of its language."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

from superagent.sdk import SCRIPT, Command, Context, Effect, Example, InvalidInput, Preview, Risk, Unavailable, put_back

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
    rehearse,
    run,
    shell,
    workspace_of,
)

PLACES = "/usr/local/bin:/usr/bin:/bin"
MOST_BYTES = 64 * 1024 * 1024

Language = Literal["sh", "bash", "python", "javascript", "perl", "ruby", "lua", "tcl", "r", "php"]


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A program that runs a language, the options before the script, and what installs it."""

    program: str
    options: tuple[str, ...]
    package: str


# Node resolves the name of a script first, and what lies in memory has none
_NODE = (
    "process.argv.splice(1,0,'script');const m=new (require('module'))('/workspace/script.js',null);"
    "m.filename='/workspace/script.js';m.paths=require('module')._nodeModulePaths('/workspace');"
    f"m._compile(require('fs').readFileSync('{SCRIPT}','utf8'),m.filename)"
)
INTERPRETERS: dict[str, Interpreter] = {
    "sh": Interpreter("sh", (SCRIPT,), "dash"),
    "bash": Interpreter("bash", (SCRIPT,), "bash"),
    "python": Interpreter("python3", (SCRIPT,), "python3"),
    "javascript": Interpreter("node", ("-e", _NODE, "--"), "nodejs"),
    "perl": Interpreter("perl", (SCRIPT,), "perl"),
    "ruby": Interpreter("ruby", (SCRIPT,), "ruby"),
    "lua": Interpreter("lua", (SCRIPT,), "lua5.4"),
    "tcl": Interpreter("tclsh", (SCRIPT,), "tcl"),
    "r": Interpreter("Rscript", (SCRIPT,), "r-base-core"),
    "php": Interpreter("php", (SCRIPT,), "php-cli"),
}


@shell.operation(
    risk=Risk.MEDIUM,
    effect=Effect.CHANGE,
    reaches=RUNS,
    undo=put_back,
    atomic=True,
    timeout_s=TIMEOUT_S,
    examples=(Example("a few lines of Python", {"language": "python", "content": "print(6 * 7)"}),),
)
async def script(
    ctx: Context,
    language: Language,
    content: str = "",
    content_blob: str | None = None,
    args: Annotated[list[str], Field(max_length=10_000)] | None = None,
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
    """Run a script of any length by the interpreter of its language, contained, in your workspace, like `shell.exec`.

    The script is `content`, or an upload named by `content_blob`; its input stays free.
    """
    return await run(ctx, await _script_of(ctx, language, content, content_blob, args))


script.touches(workspace_of)


@script.preview
async def _(ctx: Context, language: str, content: str, content_blob: str | None, args: Any, **_: Any) -> Preview:
    command = await _script_of(ctx, language, content, content_blob, args)
    return await rehearse(ctx, command, f"a script in {language} of {len(command.script)} bytes")


async def _script_of(
    ctx: Context, language: str, content: str, content_blob: str | None, args: list[str] | None
) -> Command:
    if bool(content) == (content_blob is not None):
        raise InvalidInput("a script comes as `content` or by `content_blob`", hint="give one of the two")
    found = INTERPRETERS[language]
    if shutil.which(found.program, path=PLACES) is None:
        raise Unavailable(
            f"scripts in {language} need `{found.program}`, which is not installed here",
            hint=f"install it: `apt install {found.package}` (or your system's package)",
        )
    data = content.encode() if content_blob is None else await ctx.blob(content_blob, MOST_BYTES)
    return command_of(ctx, [found.program, *found.options, *(args or ())], data)
