"""What a command is started with to have its network, and what is known of it afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from superagent.core.commands import Traffic
from superagent.runtime.sandbox.backend import Bind, Running


@dataclass(frozen=True, slots=True)
class RunNetwork:
    """What one command is started with to have its network; empty for one without any."""

    prefix: tuple[str, ...] = ()
    fds: Mapping[int, int] = field(default_factory=dict[int, int])
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    binds: tuple[Bind, ...] = ()

    async def attach(self, running: Running) -> None:
        """Wait until the started command listens. Raises `SandboxUnavailable`: then it was ended."""

    async def ended(self) -> Traffic | None:
        """End what connections there still are, and say what went out; None for a command without a network."""
        return None


NO_NETWORK = RunNetwork()
