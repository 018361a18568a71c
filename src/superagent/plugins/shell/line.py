"""The plugin's own end of the line: its `Plugin`, what all its commands have in common, and their rehearsal.

The parameters that all commands have in common are read by name from the parsed input, so that an operation and its
rehearsal cannot differ.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Protocol, cast

from pydantic import Field

from superagent.sdk import (
    PROFILES,
    SCRIPT,
    Command,
    Connection,
    Context,
    Effect,
    HostRule,
    InvalidInput,
    Plugin,
    Preview,
    Ran,
    Resource,
    TooLarge,
    canonical_host,
)

from .engine.found import Found, unread
from .model import Encoding, Finished, finished_of, rehearsed_of

MOST_EXPLAINED = 100_000
RUNS = ("run", "files", "secret", "apart")
"""What operations reach that run a command to its end; sessions have a terminal of their own instead."""

shell = Plugin("shell", reaches=(*RUNS, "terminals"))

INLINE_BYTES = 64 * 1024
LONGEST_ARGUMENT = 131_071  # bytes: what Linux takes as one argument
TIMEOUT_S = 3600.0

Cwd = Annotated[str, Field(description="where it begins: a folder of your workspace")]
StdinBlob = Annotated[str, Field(description="an upload (`PUT /v1/blobs`) that it reads in place of `stdin`")]
Env = Annotated[dict[str, str], Field(max_length=1000, description="further variables; nothing else is inherited")]
EnvFrom = Annotated[
    dict[str, Annotated[str, Field(min_length=1, max_length=200)]],
    Field(max_length=50, description="variables that hold secrets, by the names of these; outputs are cleaned of them"),
]
Sandbox = Annotated[str, Field(description=f"the profile: {', '.join(PROFILES)}")]
Seconds = Annotated[float, Field(gt=0, le=86_400, description="the profile's time is the most")]
Wanted = Annotated[dict[str, Annotated[float, Field(gt=0)]], Field(description="smaller limits than the profile's")]
Inline = Annotated[int, Field(ge=0, le=1024 * 1024, description="of each stream; all of a longer one gets a handle")]
Rules = Annotated[
    list[Annotated[str, Field(max_length=500)]],
    Field(max_length=200, description="hosts that it may reach, such as `example.org:443` or `GET *.example.org:80`"),
]
Connections = Annotated[
    list[Connection], Field(max_length=20, description="whose credentials are added on the way out, by name")
]
Apply = Annotated[
    bool, Field(description="bring what it changed into the workspace when it ends; otherwise that waits in a view")
]
View = Annotated[
    str,
    Field(
        pattern="^[0-9a-f]{32}$",
        description="go on in a view that waits (`sandbox.create`, an earlier command's); what it changes stays there",
    ),
]
InputEncoding = Encoding


class Reach(Protocol):
    """The capability `run`, as far as this plugin uses it."""

    async def run(self, command: Command) -> Ran:
        """Run a command to its end."""
        ...

    async def rehearse(self, command: Command) -> Ran:
        """Run it without any network, and leave what it changed in a view."""
        ...


class ApartReach(Protocol):
    """The capability `apart`, as far as this plugin uses it."""

    async def run(self, function: str, /, *args: Any) -> Any:
        """Run a function of a module in a process of its own. Raises `TooLarge`."""
        ...


def command_of(ctx: Context, argv: Sequence[str], script: bytes = b"") -> Command:
    """Give the command of a call: these words, and of its parsed input what all commands have in common."""
    values: Mapping[str, Any] = ctx.ticket.values
    return Command(
        argv,
        profile=values["sandbox"],
        cwd=values["cwd"],
        env=values["env"] or {},
        script=script,
        stdin=stdin_of(values["stdin"], values["stdin_encoding"], values["stdin_blob"]),
        stdin_blob=values["stdin_blob"] or "",
        timeout_s=values["timeout_s"],
        limits=values["limits"] or {},
        inline_bytes=values["max_output_bytes"],
        apply=values["apply"],
        view=values.get("view") or "",
        network=values["network"],
        connections=values["connections"] or (),
        env_from=values["env_from"] or {},
    )


def line_of(ctx: Context, command: str, shell: str) -> Command:
    """Give the command of a call whose words are a line for a shell, of any length. Raises `InvalidInput`."""
    data = command.encode()
    if not command.strip() or b"\0" in data:
        raise InvalidInput("`command` must say something, without NUL characters")
    if len(data) <= LONGEST_ARGUMENT:
        return command_of(ctx, [shell, "-c", command])
    return command_of(ctx, [shell, SCRIPT], data)


async def run(ctx: Context, command: Command) -> Finished:
    """Run a command and show how it ended."""
    reach: Reach = ctx.reach("run")
    return finished_of(await reach.run(command))


async def rehearse(ctx: Context, command: Command, shown: str, line: str = "") -> Preview:
    """Rehearse a command: run it without any network on a view, and show what it would change.

    For an approver nothing is run, for what runs does not give the same twice, and an approval is of the very same: in
    its place the text of a command `line` is explained.
    """
    said = shown if len(shown) <= 500 else f"{shown[:500]} …"
    if command.view and not ctx.invocation.approvals:
        return Preview(
            summary=f"would run `{said}` in the view {command.view}; your workspace waits for `sandbox.accept`",
            exact=False,
        )
    if ctx.invocation.approvals:
        explained = _said_of(await explained_of(ctx, line)) if line else ""
        stays = f"stays in the view {command.view}" if command.view else "is known afterwards"
        return Preview(
            summary=f"would run `{said}` under the profile `{command.profile}`; what it changes {stays}{explained}",
            changes=[one.path for one in ctx.ticket.resources if one.effect > Effect.READ and not command.view],
            exact=False,
        )
    reach: Reach = ctx.reach("run")
    return rehearsed_of(await reach.rehearse(command), said)


async def explained_of(ctx: Context, line: str) -> Found:
    """Read a command line apart from everything else; what takes too much to be read is not harmless."""
    apart: ApartReach = ctx.reach("apart")
    try:
        return Found(**await apart.run("superagent.plugins.shell.engine.explain:explained", line[:MOST_EXPLAINED]))
    except TooLarge:
        return unread()


def _said_of(found: Found) -> str:
    named = [
        (what, getattr(found, name))
        for what, name in (("runs", "programs"), ("writes", "writes"), ("removes", "removes"), ("reaches", "hosts"))
    ]
    texts = [f"{what} {', '.join(one[:100] for one in names[:20])}" for what, names in named if names]
    return f". By its text it {'; '.join(texts) or 'names nothing'}; risk {found.risk}"


def stdin_of(text: str | None, encoding: InputEncoding, blob: str | None) -> bytes:
    """Give the bytes of an input. Raises `InvalidInput` for text that is no base64, or for two inputs."""
    if text is not None and blob is not None:
        raise InvalidInput("there are two inputs", hint="give either `stdin` or `stdin_blob`")
    if encoding == "utf-8":
        return (text or "").encode()
    try:
        return base64.b64decode(text or "", validate=True)
    except (binascii.Error, ValueError):
        raise InvalidInput("`stdin` is no base64", hint="leave `stdin_encoding` out for plain text") from None


def workspace_of(values: dict[str, object], workspace: str) -> list[Resource]:
    """Name what a command touches: all of the caller's workspace, read or changed as its profile says, secrets, hosts.

    Hosts that are named whole are judged before it runs, so that they can be asked for; others when it reaches them.
    """
    found: list[Resource] = []
    profile = PROFILES.get(str(values["sandbox"]))
    if profile is not None:  # told now, not to whoever reads a job
        profile.limits.asked(cast("dict[str, float] | None", values.get("limits")) or {})
    if workspace:
        only_reads = profile is not None and profile.workspace == "read"
        found.append(Resource("path", "local", workspace, Effect.READ if only_reads else Effect.CHANGE))
    names = cast("dict[str, str] | None", values.get("env_from")) or {}
    found += [Resource("secret", "-", name, Effect.READ) for name in names.values()]
    for rule in cast("list[str] | None", values.get("network")) or ():
        pattern = HostRule.read(rule).pattern
        if pattern.name.literal and pattern.port is not None:
            found.append(Resource("host", "-", canonical_host(pattern.source), Effect.CHANGE))
    return found
