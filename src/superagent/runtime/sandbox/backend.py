"""The one interface of all isolation levels: what to start and where, what runs, how it ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from superagent.core.commands import Ended
from superagent.core.containment import Enforcement, Isolation, Profile
from superagent.core.grants import IsolationLevel


@dataclass(frozen=True, slots=True)
class Bind:
    """A further folder of this machine that is seen inside, at an absolute path."""

    host: str
    inside: str
    writable: bool = False


@dataclass(frozen=True, slots=True)
class Start:
    """What to run and where.

    `workspace` is the real folder of this machine that becomes `/workspace`, empty for none; `upper` and `work` make a
    copy-on-write view of it. `user` is the tenant's own user on this machine, None where everything runs as this
    process's. `local_sockets` allows Unix sockets: for a workspace that nothing but the platform's own work lies in.
    The descriptors stay the caller's; `fds` are further ones by the number under which they are seen.
    """

    argv: tuple[str, ...]
    profile: Profile
    tenant: str
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    cwd: str = "/workspace"
    workspace: str = ""
    user: int | None = None
    upper: str = ""
    work: str = ""
    binds: tuple[Bind, ...] = ()
    local_sockets: bool = False
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
