"""What the sandbox operations take and give, and the port behind them."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Annotated, Any, Protocol

from pydantic import Field

from superagent.sdk import Output

Sha256 = Annotated[str, Field(pattern="^[0-9a-fA-F]{64}$")]
Paths = Annotated[list[str], Field(min_length=1, max_length=1000)]
ViewId = Annotated[str, Field(pattern="^[0-9a-f]{32}$", description="the view, as the command's outcome named it")]


class Side(Protocol):
    """What stands at a path, on one side."""

    @property
    def kind(self) -> str:
        """Give `absent`, `file`, `directory`, `link`, `fifo`, `socket` or `device`."""
        ...

    @property
    def mode(self) -> int:
        """Give the permission bits."""
        ...

    @property
    def size(self) -> int:
        """Give the bytes of a file's content or a link's target."""
        ...

    @property
    def digest(self) -> str:
        """Give the SHA-256 of that; another text when the content was not read."""
        ...

    @property
    def target(self) -> str:
        """Give where a link leads."""
        ...

    @property
    def unread(self) -> str:
        """Say why the content was not read; empty when it was."""
        ...


class Difference(Protocol):
    """One path that differs between a view and the real folder."""

    @property
    def path(self) -> str:
        """Give the path, relative to the folder."""
        ...

    @property
    def kind(self) -> str:
        """Say what became of it."""
        ...

    @property
    def before(self) -> Side:
        """Give what stands in the real folder."""
        ...

    @property
    def after(self) -> Side:
        """Give what stands in the view."""
        ...

    @property
    def conflict(self) -> str:
        """Say what speaks against accepting it."""
        ...

    @property
    def refused(self) -> str:
        """Say why it can never be accepted."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """Say what would be left away."""
        ...

    @property
    def steers(self) -> bool:
        """Say whether it is accepted only when it is named."""
        ...


class Look(Protocol):
    """What a view holds."""

    @property
    def folder(self) -> str:
        """Give the real folder."""
        ...

    @property
    def digest(self) -> str:
        """Name the whole diff."""
        ...

    @property
    def differences(self) -> Sequence[Difference]:
        """Give what the caller may see, parents first."""
        ...

    @property
    def hidden(self) -> int:
        """Count the rest."""
        ...

    @property
    def until(self) -> float:
        """Say how long the view is kept, in epoch seconds."""
        ...

    @property
    def in_use(self) -> bool:
        """Say whether its command has not ended."""
        ...


class Taken(Protocol):
    """What accepting did, or would do."""

    @property
    def digest(self) -> str:
        """Name the whole diff that was read."""
        ...

    @property
    def accepted(self) -> Sequence[Difference]:
        """Give what became real."""
        ...

    @property
    def left_out(self) -> Sequence[tuple[Difference, str]]:
        """Give what stayed in the view, and why."""
        ...

    @property
    def left(self) -> int:
        """Count the differences that the view still holds."""
        ...


class Held(Protocol):
    """A view that is there."""

    @property
    def id(self) -> str:
        """Name it."""
        ...

    @property
    def folder(self) -> str:
        """Give the real folder."""
        ...

    @property
    def running(self) -> bool:
        """Say whether its command has not ended."""
        ...

    @property
    def since(self) -> float:
        """Say when it was made, in epoch seconds."""
        ...

    @property
    def until(self) -> float:
        """Say how long it is kept, in epoch seconds."""
        ...

    @property
    def bytes(self) -> int:
        """Give what it held when that was measured last."""
        ...


class Opened(Protocol):
    """A session that is open."""

    @property
    def id(self) -> str:
        """Name it."""
        ...

    @property
    def kind(self) -> str:
        """Say what runs in it."""
        ...

    @property
    def view(self) -> str:
        """Name the view that it works on; empty for none."""
        ...

    @property
    def until(self) -> float:
        """Say when it ends if nobody uses it, in epoch seconds."""
        ...

    @property
    def in_use(self) -> bool:
        """Say whether somebody uses it now."""
        ...


class Inventory(Protocol):
    """What a principal has."""

    @property
    def views(self) -> Sequence[Held]:
        """Give its views, newest first."""
        ...

    @property
    def sessions(self) -> Sequence[Opened]:
        """Give its open sessions, newest first."""
        ...

    @property
    def hidden(self) -> int:
        """Count what it may not see."""
        ...


class Views(Protocol):
    """The capability `views`."""

    def inventory(self) -> Awaitable[Inventory]:
        """Give what the principal has."""
        ...

    def look(self, view: str, folder: str) -> Awaitable[Look]:
        """Read the differences of a view."""
        ...

    def texts(self, view: str, folder: str, differences: Sequence[Any], most_bytes: int) -> Awaitable[list[str]]:
        """Give the text of each difference."""
        ...

    def plan(self, view: str, folder: str, paths: Sequence[str] | None, digest: str) -> Awaitable[Taken]:
        """Say what accepting would do."""
        ...

    def accept(self, view: str, folder: str, paths: Sequence[str] | None, digest: str) -> Awaitable[Taken]:
        """Bring differences into the real folder."""
        ...

    def discard(self, view: str, folder: str) -> Awaitable[None]:
        """Remove a view."""
        ...


class Room(Protocol):
    """The capability `run`, as far as it makes a view for commands to come."""

    def view(self, kept_s: float) -> Awaitable[tuple[str, str, float]]:
        """Make a view of the workspace; gives it, the real folder, and until when it waits."""
        ...


class State(Output):
    """What stands at a path; `mode` in octal, `sha256` of a file's content or a link's target, empty when unread."""

    kind: str
    mode: str = ""
    bytes: int = 0
    sha256: str = ""
    target: str = ""


class Change(Output):
    """One path that a command left otherwise than it stands in the folder.

    `kind` is created, modified, deleted, replaced, mode, symlink or directory. `conflict` says what speaks against
    accepting it, `refused` why it never can be, `notes` what would be left away; `by_name_only` says that it makes
    other programs run what it says, so it is accepted only when its own path is named. `diff` is shown for text.
    """

    path: str
    kind: str
    before: State | None = None
    after: State | None = None
    conflict: str = ""
    refused: str = ""
    notes: list[str] = []
    by_name_only: bool = False
    diff: str = ""


class Diff(Output):
    """What a view holds; `digest` names all of it, `total` counts it, `next` is the path to go on after.

    `in_use` says that its command has not ended, so more may come. `until` in epoch seconds.
    """

    view: str
    folder: str
    digest: str
    changes: list[Change]
    total: int
    hidden: int = 0
    next: str = ""
    in_use: bool = False
    until: float


class Left(Output):
    """One path that stayed in the view, and why."""

    path: str
    why: str


class Accepted(Output):
    """What became real; `left` counts what the view still holds, and at 0 it is gone unless its command goes on."""

    folder: str
    paths: list[str]
    left_out: list[Left]
    left: int
    notes: list[str]


class Created(Output):
    """A view that waits for commands; `until` in epoch seconds."""

    view: str
    folder: str
    until: float


class Discarded(Output):
    """The view that is gone."""

    view: str
