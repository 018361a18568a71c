"""The operation that runs code: a file of the workspace, or content of any length in a language of the table."""

from __future__ import annotations

import shlex
from typing import Annotated, Any

from pydantic import Field

from superagent.sdk import (
    PROFILES,
    SCRIPT,
    Changes,
    Command,
    Context,
    Effect,
    Example,
    InvalidInput,
    Output,
    Preview,
    ReadPath,
    Resource,
    Risk,
    put_back,
)

from .choosing import Chosen, choose
from .engine.table import table
from .line import (
    INLINE_BYTES,
    RUNS,
    Inline,
    InputEncoding,
    Place,
    Seconds,
    Tool,
    ToolName,
    Wanted,
    code,
    place_of,
    run,
    stdin_of,
)

FOLDER = "/tmp/code"  # noqa: S108 - the sandbox's own, empty at each start

Args = Annotated[list[str], Field(max_length=65_536, description="the program's own arguments")]
Env = Annotated[dict[str, str], Field(max_length=1000, description="further variables; nothing else is inherited")]
Sandbox = Annotated[str, Field(description=f"the profile: {', '.join(PROFILES)}")]
LanguageName = Annotated[str, Field(max_length=40, description=f"one of {', '.join(table().languages)}")]


class CodeRan(Output):
    """How the code ended and what it wrote; the streams are as it wrote them, so look before you print them.

    `exit_code` is as a shell says it (128 + signal) and null when it was ended by a limit or from outside; `limit`
    names the limit that ended it or held it back. A compiler that fails gives its own exit code and messages. `until`
    is when it would have been stopped, in epoch seconds. A longer stream has a handle for `result.read`.
    """

    tool: Tool
    exit_code: int | None
    stdout: str
    stderr: str
    stdout_encoding: InputEncoding
    stderr_encoding: InputEncoding
    stdout_bytes: int
    stderr_bytes: int
    stdout_handle: str | None = None
    stderr_handle: str | None = None
    limit: str | None = None
    lost: str | None = None
    until: float
    cpu_s: float
    memory_bytes: int
    seconds: float
    changes: Changes | None = None


@code.operation(
    name="code.run",
    reaches=RUNS,
    risk=Risk.MEDIUM,
    effect=Effect.CHANGE,
    undo=put_back,
    atomic=True,
    timeout_s=3600.0,
    examples=(Example("a few lines of Python", {"language": "python", "content": "print(sum(range(10)))"}),),
)
async def run_(
    ctx: Context,
    language: LanguageName | None = None,
    path: ReadPath | None = None,
    content: str | None = None,
    args: Args | None = None,
    stdin: str | None = None,
    stdin_encoding: InputEncoding = "utf-8",
    stdin_blob: str | None = None,
    cwd: str = "",
    env: Env | None = None,
    timeout_s: Seconds | None = None,
    sandbox: Sandbox = "workspace-write",
    limits: Wanted | None = None,
    max_output_bytes: Inline = INLINE_BYTES,
    tool: ToolName | None = None,
    content_blob: str | None = None,
) -> CodeRan:
    """Run code, contained, in your workspace: a file of it (`path`), or `content` of any length in a `language`.

    Content that is too long for a request is uploaded and named as `content_blob`. Which interpreter or compiler runs
    it is said, and why; one of the project (`.venv`, `node_modules`) goes first.
    """
    text = (await ctx.blob(content_blob)) if content_blob is not None else (content or "").encode()
    place, chosen = await _chosen(ctx, language, path, content, content_blob, tool)
    file = place.inside if place is not None else f"{FOLDER}/{_name(chosen)}"
    ran = await run(
        ctx,
        Command(
            ["sh", "-c", _script(chosen, file, copied=place is None), "code.run", *(args or [])],
            profile=sandbox,
            cwd=cwd,
            env={**chosen.env, **(env or {})},
            script=text if place is None else b"",
            stdin=stdin_of(stdin, stdin_encoding, stdin_blob),
            stdin_blob=stdin_blob or "",
            timeout_s=timeout_s,
            limits=limits or {},
            inline_bytes=max_output_bytes,
        ),
    )
    return CodeRan(
        tool=chosen.shown,
        exit_code=ran.ended.code,
        stdout=ran.stdout.text,
        stderr=ran.stderr.text,
        stdout_encoding=ran.stdout.encoding,
        stderr_encoding=ran.stderr.encoding,
        stdout_bytes=ran.stdout.bytes,
        stderr_bytes=ran.stderr.bytes,
        stdout_handle=ran.stdout.handle or None,
        stderr_handle=ran.stderr.handle or None,
        limit=ran.ended.limit or None,
        lost=ran.stdout.lost or ran.stderr.lost or None,
        until=ran.until,
        cpu_s=ran.ended.cpu_s,
        memory_bytes=ran.ended.memory_bytes,
        seconds=ran.ended.seconds,
        changes=Changes.of(ran.effects),
    )


@run_.touches
def _(values: dict[str, Any], workspace: str) -> list[Resource]:
    if not workspace:
        return []
    profile = PROFILES.get(str(values["sandbox"]))
    only_reads = profile is not None and profile.workspace == "read"
    return [Resource("path", "local", workspace, Effect.READ if only_reads else Effect.CHANGE)]


@run_.preview
async def _(
    ctx: Context,
    language: LanguageName | None = None,
    path: ReadPath | None = None,
    content: str | None = None,
    tool: ToolName | None = None,
    content_blob: str | None = None,
    **_: Any,
) -> Preview:
    place, chosen = await _chosen(ctx, language, path, content, content_blob, tool)
    text = f"`{content_blob}`, as" if content_blob is not None else f"{len(content or '')} characters of"
    what = f"`{place.relative}`" if place is not None else f"{text} {chosen.language}"
    return Preview(
        summary=f"would run {what} by {chosen.program} ({chosen.why}); what it changes can be taken back",
        changes=[one.path for one in ctx.ticket.resources if one.effect > Effect.READ],
        exact=False,
    )


async def _chosen(
    ctx: Context, language: str | None, path: str | None, content: str | None, blob: str | None, tool: str | None
) -> tuple[Place | None, Chosen]:
    if [path, content, blob].count(None) != 2:
        raise InvalidInput("say what to run: either `path`, `content` or `content_blob`")
    if path is None and language is None and tool is None:
        raise InvalidInput("`content` needs a `language`", hint=f"one of {', '.join(table().languages)}")
    if content is not None and not content.strip():
        raise InvalidInput("`content` must say something")
    place = place_of(ctx, path) if path is not None else None
    chosen = await choose(ctx, "run", place, tool=tool, language=language)
    if place is not None and chosen.is_folder:
        raise InvalidInput(f"`{place.path}` is a folder", hint="name the file to run")
    return place, chosen


def _name(chosen: Chosen) -> str:
    suffix = chosen.row.suffix or table().languages[chosen.language].extensions[0]
    return f"{'Main' if chosen.language == 'java' else 'main'}.{suffix}"


def _script(chosen: Chosen, file: str, *, copied: bool) -> str:
    """Give the few lines of shell that put the content where it is run from, compile it, and become the program."""
    lines = [f"mkdir -p {FOLDER} || exit 126"]
    if copied:
        lines.append(f"cat {SCRIPT} > {shlex.quote(file)} || exit 126; exec 9<&-")
    values = {"file": file, "out": f"{FOLDER}/program"}
    if chosen.row.build:
        lines.append(f"{shlex.join(chosen.words(chosen.row.build, **values))} </dev/null || exit $?")
    lines.append(f'exec {shlex.join(chosen.words(chosen.row.argv, **values))} "$@"')
    return "\n".join(lines)
