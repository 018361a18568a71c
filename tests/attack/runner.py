"""What an attack is run by: one interface for every level of the sandbox, so that the same cases judge them all."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from tests.attack.way_out import WayOut

Held = Literal["enforced", "partial", "none"]
"""How far a level holds one limit, as it must be reported in every result."""

User = Literal["root", "ordinary"]
"""Whether the level is set up by root, who steps down before it runs anything, or by an ordinary user."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a command may use up; small, so that an attack shows quickly."""

    memory_bytes: int = 240 << 20
    processes: int = 64
    cpu_s: int = 2
    cpus: float = 1.0
    file_bytes: int = 32 << 20
    disk_bytes: int = 64 << 20
    inodes: int = 2000
    open_files: int = 256
    locked_bytes: int = 0
    output_bytes: int = 1 << 20
    wall_s: float = 20.0


@dataclass(frozen=True, slots=True)
class Ask:
    """One command to be run contained.

    `terminal` is a descriptor that becomes the standard input instead of `stdin`. `cwd` is a path as the command sees
    it; empty is the workspace. `env` is all of the environment that the caller asked for. `way_out` is its network.
    """

    argv: tuple[str, ...]
    workspace: Path
    stdin: bytes = b""
    terminal: int | None = None
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    cwd: str = ""
    limits: Limits = Limits()
    way_out: WayOut | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """What came of it. `code` is 128 + n when signal n ended the command; the outputs are cut at the output limit."""

    code: int
    stdout: bytes
    stderr: bytes
    seconds: float
    limits: Mapping[str, Held]


class Refused(Exception):
    """The level would not even start this."""


class Runner(Protocol):
    """One level of the sandbox, set up by one kind of user."""

    @property
    def setting(self) -> str:
        """Name level and user, such as `native-root`."""
        ...

    @property
    def uid(self) -> int:
        """Give the user, as the host sees it, as whom commands run."""
        ...

    def workspace(self) -> AbstractContextManager[Path]:
        """Give an empty folder that can be a workspace, with the default disk limits where the level has them."""
        ...

    def inside(self, workspace: Path) -> str:
        """Say by which path the command sees the workspace."""
        ...

    async def contained(self, ask: Ask) -> Ended:
        """Run a command to its end; raises `Refused` when it is not started."""
        ...
