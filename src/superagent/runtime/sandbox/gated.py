"""A command behind a gate: what its back end is given, and what came of its connections."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from superagent.core.commands import Traffic
from superagent.runtime.egress.egress import Way
from superagent.runtime.egress.hookup import INSIDE
from superagent.runtime.sandbox.backend import Bind, Running
from superagent.runtime.sandbox.command_network import RunNetwork

MOST_DENIALS = 20


@dataclass(frozen=True, slots=True)
class Gated(RunNetwork):
    """The network of a command that has one."""

    way: Way | None = None

    @classmethod
    def of(cls, way: Way, number: int) -> Self:
        """Say how a back end leads a sandbox to a gate, by the descriptor of this number."""
        hookup = way.hookup
        binds = (Bind(str(hookup.folder), INSIDE),)
        return cls(hookup.prefix(number), {number: hookup.socket}, dict(hookup.env), binds, way)

    @property
    def heard(self) -> tuple[str, ...]:
        """Give the hosts that it has reached by now."""
        return () if self.way is None else tuple(sorted(self.way.gate.traffic.hosts))

    async def attach(self, running: Running) -> None:
        """Wait until the started command listens."""
        assert self.way is not None
        try:
            await self.way.attach()
        except BaseException:
            await running.kill()
            raise

    async def ended(self) -> Traffic:
        """End what connections there still are, and say what went out."""
        assert self.way is not None
        gate = self.way.gate
        await gate.close()
        seen, denials = gate.traffic, gate.denials()[-MOST_DENIALS:]
        return Traffic(
            seen.connections,
            seen.sent,
            seen.received,
            seen.refused,
            tuple(sorted(seen.hosts)),
            tuple(sorted(seen.opened)),
            tuple((one.place, one.why) for one in denials),
        )
