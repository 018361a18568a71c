"""The way out that a command is given: which names it may reach, and how a real gate is opened for it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from superagent.core.endpoints import HostRules
from superagent.runtime.sandbox.command_network import NO_NETWORK, RunNetwork
from superagent.runtime.sandbox.gated import Gated
from tests.runtime.egress.inside import WHOSE, outlook
from tests.runtime.net.outside import LOOPBACK, Names

_NUMBER = 8


@dataclass(frozen=True, slots=True)
class WayOut:
    """The hosts that may be reached, what names lead to, and what from their second answer on.

    `private` are the addresses of the installation's own networks that may be reached all the same.
    """

    hosts: tuple[str, ...]
    names: Mapping[str, Sequence[str]]
    then: Mapping[str, Sequence[str]] = field(default_factory=dict[str, Sequence[str]])
    private: tuple[str, ...] = LOOPBACK


@asynccontextmanager
async def opened(way: WayOut | None) -> AsyncGenerator[RunNetwork]:
    """Open the server's own gate for one command."""
    if way is None:
        yield NO_NETWORK
        return
    async with (
        outlook(Names(way.names, way.then), allow=way.private) as view,
        view.egress.gate(HostRules.of(*way.hosts), WHOSE) as to,
    ):
        yield Gated.of(to, _NUMBER)
