"""The one interface of all isolation levels: what to start and where, what runs, how it ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from superagent.core.commands import Ended
from superagent.core.containment import Enforcement, Isolation, Profile
from superagent.core.grants import IsolationLevel
from superagent.runtime.sandbox.view import INSIDE, View


@dataclass(frozen=True, slots=True)
class Bind:
    """A further folder of this machine that is seen inside, at an absolute path."""

    host: str
    inside: str
    writable: bool = False


class Ahead(Protocol):
    """A view that was made before it is needed."""

    @property
    def view(self) -> View:
        """Give the view."""
        ...

    def drop(self) -> None:
        """Remove it, when nobody needs it; blocks."""
        ...


@dataclass(frozen=True, slots=True)
class Start:
    """What to run and where.

    `workspace` is the real folder of this machine that becomes `/workspace`, empty for none; with `view`, that view of
    it does, and with `view_bytes` and `view_files` what is written to it stays in memory, at most so much. `user` is
    the tenant's own user on this machine, None where everything runs as this process's. `local_sockets` allows Unix
    sockets: for a workspace that nothing but the platform's own work lies in. `first` makes the program process 1 of
    its sandbox, which has to end what others leave: only for the platform's own.
    `another` makes one more view like it for a command that comes later; it blocks.
    The descriptors stay the caller's; `fds` are further ones by the number under which they are seen.
    """

    argv: tuple[str, ...]
    profile: Profile
    tenant: str
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    cwd: str = INSIDE
    workspace: str = ""
    user: int | None = None
    view: View | None = None
    view_bytes: int = 0
    view_files: int = 0
    another: Callable[[], Ahead] | None = None
    binds: tuple[Bind, ...] = ()
    local_sockets: bool = False
    first: bool = False
    stdin: int = -1
    stdout: int = -1
    stderr: int = -1
    fds: Mapping[int, int] = field(default_factory=dict[int, int])


@dataclass(frozen=True, slots=True)
class Part:
    """One thing that a probe looked at: whether it holds, what was seen, and the cure."""

    name: str
    holds: bool
    seen: str
    cure: str = ""


@dataclass(frozen=True, slots=True)
class Probe:
    """What running the real profile on a canary has shown; `limits` says what of each limit holds here."""

    level: IsolationLevel
    backend: str
    parts: tuple[Part, ...]
    limits: Mapping[str, Enforcement] = field(default_factory=dict[str, Enforcement])

    @property
    def works(self) -> bool:
        """Tell whether every part holds."""
        return all(part.holds for part in self.parts)

    @property
    def failed(self) -> Part | None:
        """Give the first part that does not hold."""
        return next((part for part in self.parts if not part.holds), None)


class Running(Protocol):
    """A sandbox that runs."""

    @property
    def isolation(self) -> Isolation:
        """Say how it is contained."""
        ...

    @property
    def ended(self) -> bool:
        """Tell whether nothing of it is left."""
        ...

    def memory(self) -> int:
        """Give a descriptor of the memory that holds what it wrote to its view, the caller's to close; -1 for none."""
        ...

    async def wait(self) -> Ended:
        """Wait until nothing of it is left."""
        ...

    async def signal(self, number: int) -> None:
        """Send a signal to the command. Raises `Conflict` when it does not run."""
        ...

    async def kill(self, why: str = "") -> None:
        """End the whole tree of processes, and return when it is gone; `why` is the limit it met, if it was one."""
        ...


class Backend(Protocol):
    """One way of containing commands."""

    @property
    def level(self) -> IsolationLevel:
        """Give its isolation level."""
        ...

    @property
    def name(self) -> str:
        """Give its name, as results show it."""
        ...

    async def probe(self) -> Probe:
        """Run the real profile on a canary."""
        ...

    async def start(self, start: Start) -> Running:
        """Start a command. Raises `SandboxUnavailable` when it cannot be contained."""
        ...
