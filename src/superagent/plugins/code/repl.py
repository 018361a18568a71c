"""Interpreters that stay: Python and Node, which keep what earlier snippets have made."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Protocol

from pydantic import Field

from superagent.sdk import PROFILES, Context, Effect, Evaluated, Example, Output, Resource, Risk, Snippet

from .line import code

ON_A_VIEW = "the code works on a view: the workspace stays as it is until that is accepted"

Code = Annotated[str, Field(min_length=1, max_length=262_144)]
Kernel = Annotated[
    Literal["python", "node"], Field(description="of a new session, python by itself; one keeps its own")
]
Session = Annotated[str, Field(min_length=1, max_length=200, description="as an earlier answer gave it")]
Seconds = Annotated[float, Field(gt=0, le=3500)]
Idle = Annotated[float, Field(ge=5, le=7200, description="seconds without use after which it is ended")]
Sandbox = Annotated[str, Field(description=f"the profile of a new session: {', '.join(PROFILES)}")]
Wanted = Annotated[dict[str, Annotated[float, Field(gt=0)]], Field(description="smaller limits than the profile's")]
Rules = Annotated[
    list[Annotated[str, Field(max_length=500)]],
    Field(max_length=200, description="hosts that a new session may reach, such as `example.org:443`"),
]
Most = Annotated[int, Field(ge=0, le=1024 * 1024, description="of each output stream")]


class Reach(Protocol):
    """The capability `interpreters`."""

    async def evaluate(self, snippet: Snippet) -> Evaluated:
        """Run a snippet."""
        ...


class Frame(Output):
    """One line of a traceback."""

    file: str
    line: int
    name: str
    text: str


class Error(Output):
    """What ended a snippet: an exception with its traceback, the innermost frame last, or `Timeout`."""

    type: str
    message: str
    traceback: list[Frame]
    text: str


class Value(Output):
    """What the last expression was: as the interpreter writes it, as JSON where it is plain data, and by MIME type.

    `mime` holds texts (HTML, Markdown, SVG: made by the code, so never to be trusted), `blobs` the handles of images.
    """

    repr: str
    type: str
    json_: Any = Field(default=None, alias="json")
    mime: dict[str, str] = {}
    blobs: dict[str, str] = {}


class Result(Output):
    """What came of a snippet.

    `lost` counts bytes of output that are not shown. `ended` is why the session is over, null while it is not: exited,
    timeout, idle, revoked, output, stopped, discarded, lost, or the limit that it met. `until` is when it is ended if
    nobody uses it (epoch seconds). `view` holds what it changed, null where nothing can be or waits there.
    """

    session: str
    stdout: str
    stderr: str
    lost: int
    value: Value | None
    error: Error | None
    ended: str | None
    until: float
    seconds: float
    view: str | None = None


@code.operation(
    risk=Risk.MEDIUM,
    effect=Effect.CHANGE,
    ephemeral=ON_A_VIEW,
    timeout_s=3600.0,
    examples=(
        Example("a new Python session", {"code": "import statistics\nstatistics.mean([1, 2, 6])"}),
        Example("go on in it", {"session": "ses_…", "code": "_ + 1"}),
    ),
)
async def repl(
    ctx: Context,
    code: Code,
    kernel: Kernel | None = None,
    session: Session | None = None,
    timeout_s: Seconds = 60.0,
    sandbox: Sandbox = "workspace-write",
    limits: Wanted | None = None,
    idle_s: Idle = 900.0,
    max_bytes: Most = 65_536,
    network: Rules | None = None,
) -> Result:
    """Run a snippet in an interpreter that stays, on a view of your workspace; gives output, value and exception.

    Without `session` a new one is opened; `kernel`, `sandbox`, `limits`, `idle_s` and `network` are for that. What the
    last expression gives is the value, and `_` afterwards. A snippet whose time is up is interrupted; its session only
    ends if that does not help. `shell.session_close` ends a session and brings in what it changed; until then that
    lies in `view`, and after `exit()` it waits there a day.
    """
    reach: Reach = ctx.reach("interpreters")
    done = await reach.evaluate(
        Snippet(kernel or "", code, session or "", timeout_s, sandbox, limits or {}, idle_s, max_bytes, network)
    )
    return Result(
        session=done.session,
        stdout=done.stdout.decode("utf-8", "replace"),
        stderr=done.stderr.decode("utf-8", "replace"),
        lost=done.lost,
        value=Value(**done.value) if done.value is not None else None,
        error=Error(**done.error) if done.error is not None else None,
        ended=done.ended or None,
        until=done.until,
        seconds=round(done.seconds, 6),
        view=done.view or None,
    )


@repl.touches
def _(values: dict[str, object], workspace: str) -> list[Resource]:
    """Name what code touches: all of the caller's workspace, read or changed as its profile says."""
    if not workspace:
        return []
    profile = PROFILES.get(str(values["sandbox"]))
    only_reads = values["session"] is None and profile is not None and profile.workspace == "read"
    return [Resource("path", "local", workspace, Effect.READ if only_reads else Effect.CHANGE)]
