"""The plugin's own end of the line: its `Plugin`, where a path lies inside, and how commands run for it."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Protocol

from pydantic import Field

from superagent.sdk import (
    Captured,
    Command,
    Context,
    Effect,
    InvalidInput,
    Output,
    Plugin,
    Problem,
    Ran,
    Resource,
    TooLarge,
)

from .engine.clean import plain

RUNS = ("run", "files")
"""What operations reach that run a tool to its end; interpreters that stay are reached by `code.repl` alone."""

code = Plugin("code", reaches=(*RUNS, "interpreters"))

INSIDE = "/workspace"
INLINE_BYTES = 64 * 1024
MOST_REPORTED = 32 * 1024 * 1024
"""Bytes of a tool's report that are read; a longer one is refused and stays behind its handle."""

Seconds = Annotated[float, Field(gt=0, le=86_400, description="the profile's time is the most")]
Wanted = Annotated[dict[str, Annotated[float, Field(gt=0)]], Field(description="smaller limits than the profile's")]
Inline = Annotated[int, Field(ge=0, le=1024 * 1024, description="of each stream; all of a longer one gets a handle")]
InputEncoding = Literal["utf-8", "base64"]
ToolName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.+-]{0,40}$", description="a tool of the table, by name")]
Limit = Annotated[int, Field(ge=1, le=100_000)]


class Reach(Protocol):
    """The capability `run`, as far as this plugin uses it."""

    async def run(self, command: Command) -> Ran:
        """Run a command to its end."""
        ...


class Tool(Output):
    """Which tool did the work, where it was found (as seen inside: `/workspace` is yours), and why it was chosen."""

    name: str
    path: str
    why: str


class Said(Output):
    """What a tool wrote besides its report, and how it ended; `limit` names the limit that ended it or held it back.

    Terminal escapes are taken out. `output_handle` has all of it, as it was written, where `output` is the beginning.
    """

    exit_code: int | None
    limit: str | None
    output: str
    output_handle: str | None
    seconds: float


@dataclass(frozen=True, slots=True)
class Place:
    """Where something of the workspace lies: its path here, inside the sandbox, and relative to the workspace."""

    path: str
    inside: str
    relative: str


async def run(ctx: Context, command: Command) -> Ran:
    """Run a command contained."""
    reach: Reach = ctx.reach("run")
    return await reach.run(command)


def place_of(ctx: Context, path: str) -> Place:
    """Say where a canonical path lies inside. Raises `InvalidInput` for one outside of the caller's workspace."""
    own = ctx.principal.workspace
    if not own:
        raise InvalidInput("this key has no workspace to run tools in", hint="make a key that has one")
    if path != own and not path.startswith(own + "/"):
        raise InvalidInput("code is run in your own workspace", hint="name a path in it")
    rest = path[len(own) :]
    if any(ord(char) < 32 for char in rest):
        raise InvalidInput("a path with control characters cannot be given to tools", hint="rename it")
    return Place(path, INSIDE + rest, rest.lstrip("/"))


async def whole(ctx: Context, captured: Captured, what: str) -> bytes:
    """Give all of a stream. Raises `TooLarge` when it is too long to be read, naming the handle that has it."""
    if captured.lost:
        raise TooLarge(f"{what} is too long to be kept: {captured.lost}", hint="name a smaller part of the project")
    if captured.handle:
        if captured.bytes > MOST_REPORTED:
            raise TooLarge(
                f"{what} has {captured.bytes} bytes, more than the {MOST_REPORTED} that are read",
                hint=f"name a smaller part of the project, or read `{captured.handle}` with `result.read`",
            )
        data = await ctx.blob(captured.handle, MOST_REPORTED)
        try:
            await ctx.call("result.delete", {"handle": captured.handle})
        except Problem:  # it goes by itself a day later
            return data
        return data
    return base64.b64decode(captured.text) if captured.encoding == "base64" else captured.text.encode()


def said(ran: Ran, stream: Captured) -> Said:
    """Show what a tool wrote for people."""
    text = stream.text
    if stream.encoding == "base64":
        text = base64.b64decode(text).decode("utf-8", "replace")
    return Said(
        exit_code=ran.ended.code,
        limit=ran.ended.limit or None,
        output=plain(text),
        output_handle=stream.handle or None,
        seconds=ran.ended.seconds,
    )


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


def reads_workspace(values: dict[str, Any], workspace: str) -> list[Resource]:
    """Name what a tool sees: all of the caller's workspace, whatever path it is asked about."""
    return [Resource("path", "local", workspace, Effect.READ)] if workspace else []


def changes_workspace(values: dict[str, Any], workspace: str) -> list[Resource]:
    """Name what code that is run may change: all of the caller's workspace."""
    return [Resource("path", "local", workspace, Effect.CHANGE)] if workspace else []
