"""Egress: a gate for each sandbox that may use the network, with the installation's resolver, trust and journal."""

from __future__ import annotations

import datetime
import socket
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from superagent.core.endpoints import HostRules
from superagent.core.problems import InvalidInput
from superagent.runtime.egress.authority import Authority
from superagent.runtime.egress.client import Caps
from superagent.runtime.egress.gate import Denial, Gate
from superagent.runtime.egress.hookup import PYTHON, Hookup, prepared, removed
from superagent.runtime.egress.injection import Injection
from superagent.runtime.net.dialer import Dialer
from superagent.runtime.net.journal import Whose
from superagent.runtime.net.network import Network
from superagent.runtime.net.trust import system_bundle


@dataclass(frozen=True, slots=True)
class Way:
    """A gate that is ready, and what the back end needs to lead a sandbox to it."""

    gate: Gate
    hookup: Hookup
    _control: socket.socket
    _theirs: socket.socket

    async def attach(self, timeout_s: float = 10.0) -> None:
        """Wait until the started sandbox listens. Raises `SandboxUnavailable`."""
        await self.gate.attach(self._control, self._theirs, timeout_s)


class Egress:
    """Open gates. `places` is a folder for what sandboxes are shown; `now` gives epoch seconds."""

    def __init__(self, network: Network, places: Path, now: Callable[[], float], python: str = PYTHON) -> None:
        self._network = network
        self._places = places
        self._now = now
        self._python = python

    @asynccontextmanager
    async def gate(
        self,
        rules: HostRules,
        whose: Whose,
        *,
        injections: Sequence[Injection] = (),
        opens: Sequence[str] = (),
        caps: Caps | None = None,
        tell: Callable[[Denial], None] = lambda _: None,
        pace: Callable[[], float] = lambda: 0.0,
    ) -> AsyncGenerator[Way]:
        """Open the gate of one sandbox for a block; `tell` hears each refusal.

        `pace` takes the turn of one more connection, or says how many seconds it waits for one; 0.0 when it was taken.
        Requests are read (TLS ends here) at the endpoints of `injections`, and where a rule allows only some methods of
        hosts that `opens` names. Raises `SandboxUnavailable`, or `InvalidInput` for two credentials for one endpoint.
        """
        if len({one.endpoint for one in injections}) < len(injections):
            raise InvalidInput("an endpoint takes one credential", hint="name one connection for each host")
        hosts = {one.endpoint.host for one in injections} | {host.lower() for host in opens}
        now = datetime.datetime.fromtimestamp(self._now(), datetime.UTC)
        authority = Authority(hosts, now) if hosts else None
        control, theirs = socket.socketpair()
        network = self._network
        parts = Dialer(network.resolve, network.public), network.trust, network.journal
        gate = Gate(
            rules, whose, parts, caps=caps or Caps(), authority=authority, injections=injections, tell=tell, pace=pace
        )  # fmt: skip
        try:
            pem = authority.pem if authority else b""
            hookup = prepared(self._places, theirs.fileno(), pem, system_bundle(), self._python)
            try:
                yield Way(gate, hookup, control, theirs)
            finally:
                await gate.close()
                removed(hookup)
        finally:
            control.close()
            theirs.close()
