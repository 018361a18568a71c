"""Sessions: a shell that stays, at a terminal of its own, for as long as somebody uses it."""

from __future__ import annotations

from typing import Annotated, Literal, Protocol

from pydantic import Field

from superagent.sdk import (
    Changes,
    Context,
    Effect,
    Example,
    Input,
    InvalidInput,
    Opening,
    Output,
    Over,
    Preview,
    Resource,
    Risk,
    Screen,
    SecretText,
    Typing,
    put_back,
)

from .line import Apply, Connections, Cwd, Env, Rules, Sandbox, Wanted, shell, workspace_of
from .model import Network, network_of
from .screen import Key, Shown, pressed, shown, typed

SHORT_S = 30.0
LONG_S = 3600.0

SessionId = Annotated[str, Field(min_length=1, max_length=200, description="as `shell.session_open` gave it")]
Rows = Annotated[int, Field(ge=2, le=500)]
Columns = Annotated[int, Field(ge=10, le=1000)]
Idle = Annotated[float, Field(ge=5, le=7200, description="seconds without use after which it is ended")]
Wait = Annotated[float, Field(ge=0, le=3500)]
Most = Annotated[int, Field(ge=1, le=1024 * 1024)]
Keys = Annotated[list[Key], Field(max_length=100, description="pressed after `input`")]
Text = Annotated[
    str, Field(max_length=1000, description="a text in the output; `*` is anything within a line; empty: do not wait")
]


class Reach(Protocol):
    """The capability `terminals`."""

    async def open(self, wanted: Opening) -> Screen:
        """Open a session."""
        ...

    async def send(self, typing: Typing) -> Screen:
        """Type into one."""
        ...

    async def read(self, id: str, since: int, max_bytes: int) -> Screen:
        """Give what one said."""
        ...

    async def resize(self, id: str, rows: int, columns: int) -> Screen:
        """Change the size of its terminal."""
        ...

    async def close(self, id: str, *, apply: bool) -> Over:
        """End one, and bring in what it changed, or let that wait."""
        ...


class Size(Input):
    """How large a terminal is, in characters."""

    rows: Rows = 24
    cols: Columns = 80


class Closed(Output):
    """A session that is over, and why: `closed`, or what had ended it before.

    `changes` is null for one that could change nothing, `network` for one that had none. `outside` says that it may
    have changed something elsewhere, which no undo takes back.
    """

    session: str
    ended: str
    changes: Changes | None = None
    network: Network | None = None
    outside: Literal["none", "possible"] = "none"


def reach_of(ctx: Context) -> Reach:
    """Give the sessions that this call may reach."""
    return ctx.reach("terminals")


def _changed(values: dict[str, object], workspace: str) -> list[Resource]:
    """Name what typing into a session touches: all of its owner's workspace, of which it works on a view."""
    del values
    return [Resource("path", "local", workspace, Effect.CHANGE)] if workspace else []


def _closed(values: dict[str, object], workspace: str) -> list[Resource]:
    return _changed(values, workspace) if values["apply"] else _seen(values, workspace)


def _seen(values: dict[str, object], workspace: str) -> list[Resource]:
    """Name what looking at a session touches: what it says may come from anywhere in the workspace."""
    del values
    return [Resource("path", "local", workspace, Effect.READ)] if workspace else []


@shell.operation(
    risk=Risk.MEDIUM,
    effect=Effect.CHANGE,
    ephemeral="the session is a process that ends with it, and works on a view that is dropped or accepted",
    timeout_s=SHORT_S,
    reaches=("run", "terminals", "files", "secret"),
    examples=(Example("a bash session", {}),),
)
async def session_open(
    ctx: Context,
    shell: Literal["bash", "sh"] = "bash",
    cwd: Cwd = "",
    env: Env | None = None,
    pty: Size | None = None,
    sandbox: Sandbox = "workspace-write",
    limits: Wanted | None = None,
    idle_s: Idle = 900.0,
    network: Rules | None = None,
    connections: Connections | None = None,
) -> Shown:
    """Open a shell that stays, contained, on a view of your workspace, at a terminal of its own.

    Gives its first prompt. Only you can use it. What it changes lies in `view`, for `sandbox.diff|accept|discard`, and
    comes into the workspace when it is closed; if it ends by itself, that waits a day. Its network is that of
    `shell.exec`. The profile's limits of processor time and output count for all of it. It ends when it was not used
    for `idle_s`, when your key is revoked or may not run it any more, and with the server.
    """
    size = pty or Size()
    wanted = Opening(
        shell, sandbox, cwd, env or {}, limits or {}, size.rows, size.cols, idle_s, network, connections or ()
    )  # fmt: skip
    return shown(await reach_of(ctx).open(wanted), raw=False)


session_open.touches(workspace_of)


@shell.operation(
    risk=Risk.MEDIUM,
    effect=Effect.CHANGE,
    ephemeral="a session works on a view: the workspace stays as it is until that is accepted",
    timeout_s=LONG_S,
    reaches=("run", "terminals"),
    examples=(
        Example("a command, until the next prompt", {"session": "ses_…", "input": "make test\n", "timeout_s": 600}),
        Example("stop what runs", {"session": "ses_…", "keys": ["ctrl-c"]}),
    ),
)
async def session_send(
    ctx: Context,
    session: SessionId,
    input: Annotated[str, Field(max_length=131_072)] | None = None,
    encoding: Literal["utf-8", "base64"] = "utf-8",
    secret: SecretText | None = None,
    keys: Keys | None = None,
    wait_for: Text | None = None,
    timeout_s: Wait = 10.0,
    max_bytes: Most = 65_536,
    raw: bool = False,
) -> Shown:
    """Type into a session and give what it says until its next prompt, a text, its end, or until time is up.

    A line is entered with its line feed. `secret` is typed after `input`, with a line feed, and stands in no record; in
    all that the session says from then on its value is not shown. Time that is up is no error: what runs goes on, and
    `at` says `timeout`.
    """
    data = typed(input, encoding)
    if secret is not None:
        data += secret.reveal().encode() + b"\n"
    data += pressed(keys or [])
    if not data and wait_for is not None and not wait_for:
        raise InvalidInput("there is nothing to type and nothing to wait for", hint="`shell.session_read` only reads")
    return shown(await reach_of(ctx).send(Typing(session, data, wait_for, timeout_s, max_bytes, secret)), raw=raw)


session_send.touches(_changed)


@shell.operation(risk=Risk.LOW, effect=Effect.READ, timeout_s=SHORT_S, reaches=("run", "terminals"))
async def session_read(
    ctx: Context,
    session: SessionId,
    since: Annotated[int, Field(ge=0)] = 0,
    max_bytes: Most = 65_536,
    raw: bool = False,
) -> Shown:
    """Give what a session has said from an offset on (`next` of an earlier answer); its last MiB is kept."""
    return shown(await reach_of(ctx).read(session, since, max_bytes), raw=raw)


session_read.touches(_seen)


@shell.operation(
    risk=Risk.LOW,
    effect=Effect.CHANGE,
    ephemeral="it changes nothing but the size of a terminal",
    timeout_s=SHORT_S,
    reaches=("run", "terminals"),
)
async def session_resize(ctx: Context, session: SessionId, rows: Rows, cols: Columns) -> Shown:
    """Change the size of a session's terminal; what runs in it hears of it."""
    return shown(await reach_of(ctx).resize(session, rows, cols), raw=False)


session_resize.touches(_seen)


@shell.operation(
    risk=Risk.MEDIUM,
    effect=Effect.CHANGE,
    undo=put_back,
    atomic=True,
    timeout_s=LONG_S,
    reaches=("run", "terminals", "files"),
)
async def session_close(ctx: Context, session: SessionId, apply: Apply = True) -> Closed:
    """End a session with all that runs in it, and bring what it changed into the workspace as one undoable change.

    Without `apply` that waits in its view for a day; what speaks against it waits there as well.
    """
    over = await reach_of(ctx).close(session, apply=apply)
    went = over.traffic is not None and over.traffic.connections > 0
    return Closed(
        session=session,
        ended=over.ended,
        changes=Changes.of(over.effects),
        network=over.traffic and network_of(over.traffic),
        outside="possible" if went else "none",
    )


session_close.touches(_closed)


@session_close.preview
async def _(ctx: Context, session: SessionId, apply: Apply) -> Preview:
    del ctx
    then = "bring in what it changed" if apply else "leave what it changed in its view"
    return Preview(summary=f"would end `{session}` and {then}; `sandbox.diff` shows it", exact=False)
