"""The plugin's own end of the line: its `Plugin`, what it reaches, and how a command's end is shown."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Literal, Protocol

from pydantic import Field

from superagent.sdk import PROFILES, Command, Context, Effect, InvalidInput, Output, Plugin, Ran, Resource

shell = Plugin("shell", reaches=("run",))

KEPT_NOT = "the command works in the workspace itself, and what it changes there is not kept"
INLINE_BYTES = 64 * 1024

Env = Annotated[dict[str, str], Field(max_length=1000, description="further variables; nothing else is inherited")]
Sandbox = Annotated[str, Field(description=f"the profile: {', '.join(PROFILES)}")]
Seconds = Annotated[float, Field(gt=0, le=86_400, description="the profile's time is the most")]
Wanted = Annotated[dict[str, Annotated[float, Field(gt=0)]], Field(description="smaller limits than the profile's")]
Inline = Annotated[int, Field(ge=0, le=1024 * 1024, description="of each stream; all of a longer one gets a handle")]
InputEncoding = Literal["utf-8", "base64"]


class Reach(Protocol):
    """The capability `run`, as far as this plugin uses it."""

    async def run(self, command: Command) -> Ran:
        """Run a command to its end."""
        ...


class Finished(Output):
    """How a command ended and what it wrote.

    `exit_code` is as a shell says it (128 + signal) and null when it was ended by a limit or from outside; `limit`
    names the limit that ended it or held it back (wall, cpu, memory, processes, output, file). `until` is when it would
    have been stopped, in epoch seconds. A stream longer than what is shown has a handle for `result.read`.
    """

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


async def run(ctx: Context, command: Command) -> Finished:
    """Run a command and show how it ended."""
    reach: Reach = ctx.reach("run")
    ran = await reach.run(command)
    return Finished(
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


def workspace_of(values: dict[str, object], workspace: str) -> list[Resource]:
    """Name what a command touches: all of the caller's workspace, read or changed as its profile says."""
    if not workspace:
        return []
    profile = PROFILES.get(str(values["sandbox"]))
    only_reads = profile is not None and profile.workspace == "read"
    return [Resource("path", "local", workspace, Effect.READ if only_reads else Effect.CHANGE)]
