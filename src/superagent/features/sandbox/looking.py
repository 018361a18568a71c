"""Looking at the sandbox itself: what of it the caller has, and whether it holds on this machine."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Annotated, Any, Literal, Protocol

from pydantic import Field

from superagent.sdk import Context, Effect, Example, IsolationLevel, Output, Plugin, Resource, Risk

from .operations import shown, views

TEST_S = 180.0
Level = Literal["landlock", "native", "container", "vm"]
Cursor = Annotated[str, Field(pattern=r"^([0-9]{1,12}(\.[0-9]{1,12})?-[0-9a-f]{32})?$", max_length=60)]
Limit = Annotated[int, Field(ge=1, le=500)]


class Part(Protocol):
    """One thing that was tried."""

    @property
    def name(self) -> str:
        """Name it."""
        ...

    @property
    def holds(self) -> bool:
        """Say whether it held."""
        ...

    @property
    def seen(self) -> str:
        """Say what was seen."""
        ...

    @property
    def cure(self) -> str:
        """Say what to do when it did not hold."""
        ...


class Probe(Protocol):
    """What trying one back end has shown."""

    @property
    def level(self) -> IsolationLevel:
        """Give its level."""
        ...

    @property
    def backend(self) -> str:
        """Name it."""
        ...

    @property
    def works(self) -> bool:
        """Say whether every part held."""
        ...

    @property
    def parts(self) -> Sequence[Part]:
        """Give what was tried."""
        ...

    @property
    def limits(self) -> Mapping[str, Literal["enforced", "partial", "none"]]:
        """Say of each limit whether it holds."""
        ...


class HeldView(Output):
    """A view of a folder; `since` and `until` in epoch seconds, `bytes` as they were measured last.

    `state` is `running` while its command or session goes on, else `waiting`: to be accepted or discarded.
    """

    id: str
    folder: str
    state: Literal["running", "waiting"]
    since: float
    until: float
    bytes: int


class OpenSession(Output):
    """A session; it ends at `until` (epoch seconds) if nobody uses it. `view` is empty where it can change nothing."""

    id: str
    kind: str
    view: str
    until: float
    in_use: bool


class Had(Output):
    """What the caller has, newest first; `next` is what to go on `after`, empty on the last page of views.

    `hidden` counts what is of a folder that the caller may not read now.
    """

    views: list[HeldView]
    sessions: list[OpenSession]
    hidden: int
    next: str = ""


class Tried(Output):
    """One thing that was tried: whether the sandbox held, what was seen, and what to do when it did not."""

    name: str
    held: bool
    seen: str
    cure: str = ""


class Tested(Output):
    """What trying one back end has shown; `limits` says of each limit whether it is enforced, in part, or not."""

    level: str
    backend: str
    works: bool
    tried: list[Tried]
    limits: dict[str, Literal["enforced", "partial", "none"]]


class SelfTest(Output):
    """Each back end as it stands, the one that commands get first; nothing runs below the level `minimum`."""

    minimum: str
    tests: list[Tested]


def plugin(test: Callable[[IsolationLevel], Awaitable[Sequence[Probe]]], minimum: IsolationLevel) -> Plugin:
    """Make the plugin over what tries the back ends of at least a level, and the level below which nothing runs."""
    looks = Plugin("sandbox", reaches=("views",))

    @looks.operation(
        name="sandbox.list",
        risk=Risk.LOW,
        effect=Effect.READ,
        examples=(Example("What of mine is still there", {}),),
    )
    async def list_(ctx: Context, limit: Limit = 100, after: Cursor = "") -> Had:
        """List your views and your open sessions, newest first, so that you find an id again that you have lost.

        Views are yours and those of whoever acted for you; sessions are yours alone, and on every page. Sessions of
        another worker process are not known here, but the views that they work on are.
        """
        found = await views(ctx).inventory()
        at, _, id = after.partition("-")
        rest = [one for one in found.views if not after or (one.since, one.id) < (float(at), id)]
        page = rest[:limit]
        return Had(
            views=[
                HeldView(
                    id=one.id,
                    folder=shown(one.folder),
                    state="running" if one.running else "waiting",
                    since=one.since,
                    until=one.until,
                    bytes=one.bytes,
                )
                for one in page
            ],
            sessions=[
                OpenSession(id=one.id, kind=one.kind, view=one.view, until=one.until, in_use=one.in_use)
                for one in found.sessions
            ],
            hidden=found.hidden,
            next=f"{page[-1].since!r}-{page[-1].id}" if len(page) < len(rest) else "",
        )

    @list_.touches
    def _(values: dict[str, Any], workspace: str) -> list[Resource]:
        """Name what is looked at first: the caller's own folder; each other one is judged when it is found."""
        del values
        return [Resource("path", "local", workspace, Effect.READ)] if workspace else []

    @looks.operation(
        risk=Risk.LOW,
        effect=Effect.READ,
        timeout_s=TEST_S,
        reaches=(),
        examples=(Example("Does what contains commands hold here", {"level": "native"}),),
    )
    async def self_test(ctx: Context, level: Level | None = None) -> SelfTest:
        """Try here and now whether the sandbox holds: run its real profile on canaries, in each back end there is.

        Tried are: namespaces, privileges and system calls as the kernel tells them; reading a file and writing to
        folders of the machine; writing to the workspace; reaching a port of the machine; and using more memory than
        allowed. Not tried is `disk`, what a command may add to a workspace: its outcome says that. This is not the
        attack suite, which needs the source (`make attack`). With `level`, back ends of that level and above. What was
        seen in the last 5 seconds serves everybody who asks.
        """
        return SelfTest(
            minimum=minimum,
            tests=[
                Tested(
                    level=one.level,
                    backend=one.backend,
                    works=one.works,
                    tried=[
                        Tried(name=part.name, held=part.holds, seen=part.seen, cure=part.cure) for part in one.parts
                    ],
                    limits=dict(one.limits),
                )
                for one in await test(level or "none")
            ],
        )

    return looks
