"""What a command is started with to have its network, and what is known of it afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from superagent.core.commands import Traffic
from superagent.core.context import Context
from superagent.runtime.sandbox.backend import Bind, Running


@dataclass(frozen=True, slots=True)
class RunNetwork:
    """What one command is started with to have its network; empty for one without any."""

    prefix: tuple[str, ...] = ()
    fds: Mapping[int, int] = field(default_factory=dict[int, int])
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    binds: tuple[Bind, ...] = ()

    @property
    def heard(self) -> tuple[str, ...]:
        """Give the hosts that it has reached by now."""
        return ()

    async def attach(self, running: Running) -> None:
        """Wait until the started command listens. Raises `SandboxUnavailable`: then it was ended."""

    async def ended(self) -> Traffic | None:
        """End what connections there still are, and say what went out; None for a command without a network."""
        return None


NO_NETWORK = RunNetwork()


def hear(ctx: Context, network: RunNetwork) -> None:
    """Note in a call what other machines could have told it: whoever reads its result has read that."""
    if network.heard:
        ctx.source = ctx.source or f"host://-/{network.heard[0]}"
