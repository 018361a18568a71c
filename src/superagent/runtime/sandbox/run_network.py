"""One command's network: a gate that settings, policy and the call narrow together, credentials added outside of it.

The libraries behind it are loaded with the first command that has a network.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol

from superagent.core.commands import Command
from superagent.core.connections import Shown
from superagent.core.containment import Profile
from superagent.core.context import Context
from superagent.core.endpoints import Endpoint, HostRule, HostRules, Reach
from superagent.core.limits import LocalBuckets, Rate
from superagent.core.principal import Principal
from superagent.core.problems import InvalidInput
from superagent.core.resources import Effect
from superagent.runtime.instance_lock import started
from superagent.runtime.net.journal import Whose
from superagent.runtime.net.network import Network
from superagent.runtime.sandbox.command_network import NO_NETWORK, RunNetwork

INSIDE = "/run/egress"
"""Where a sandbox finds what leads it to its gate; `hookup.INSIDE`, known here without loading it."""

CONNECTIONS = Rate(per_s=50.0, burst=500)
"""Of one caller, with all it lent its rights to; more of them wait. Each leaves a record, as a call does."""

LOOK_S = 1.0
"""How often connections that are open are judged again."""

_NUMBER = 8
_OWN = re.compile(r"egress-(\d+)-(\d+)")


_CURES = (
    (
        "`sandbox.hosts` does not reach it",
        "whoever runs the installation can add it to `sandbox.hosts` in the settings",
    ),
    ("`network` of the call does not name it", "name it there, or leave `network` out"),
)
_NO_GRANT = ("no grant reaches it", "ask the owner of the tenant for a grant whose `where.hosts` covers it")


class JudgedRules(HostRules):
    """Rules that also ask policy, as it stands at each connection: the caller's grants are a layer of their own.

    The layers are the settings' and, if it names hosts, the call's.
    """

    __slots__ = ("_ctx",)

    def __init__(self, ctx: Context, *layers: Sequence[HostRule]) -> None:
        super().__init__(*layers)
        self._ctx = ctx

    def reach(self, endpoint: Endpoint) -> Reach | None:
        """Give what is allowed at an endpoint, None when it is not reached at all."""
        found = super().reach(endpoint)
        return found if found is not None and self._ctx.may_now(endpoint.resource(Effect.CHANGE)) else None

    def why_not(self, endpoint: Endpoint) -> tuple[str, str]:
        """Say which of settings, call and grants leaves an endpoint out, and what would cure it."""
        layers = zip(self.layers, _CURES, strict=False)  # without `network` the call is none of them
        return next((cure for layer, cure in layers if HostRules(layer).reach(endpoint) is None), _NO_GRANT)


class RunNetworks:
    """Make the networks of commands. `hosts` are the rules of the settings, `folder` is for what they are shown."""

    def __init__(self, network: Network, hosts: Sequence[str], folder: Path, now: Callable[[], float]) -> None:
        self._network = network
        self._server = tuple(HostRule.read(host) for host in hosts)
        self._now = now
        self._buckets = LocalBuckets()
        self._folder = folder / f"egress-{os.getpid()}-{started(os.getpid())}"
        _sweep(folder)

    @asynccontextmanager
    async def of(
        self, ctx: Context, profile: Profile, command: Command, number: int = _NUMBER
    ) -> AsyncGenerator[RunNetwork]:
        """Hold the gate of one command open; inside, what leads to it has this number.

        Raises `InvalidInput`, `SandboxUnavailable`, what secrets raise.
        """
        if profile.network != "listed":
            yield NO_NETWORK
            return
        from superagent.runtime.egress.egress import Egress
        from superagent.runtime.egress.injection import Injection
        from superagent.runtime.sandbox.gated import Gated

        self._folder.mkdir(mode=0o711, parents=True, exist_ok=True)
        shown = [await _shown(ctx, name) for name in dict.fromkeys(command.connections)]
        injections = [Injection.of(one.host, one.header, one.value) for one in shown]
        layers = [self._server]
        if command.network is not None:  # whoever names a connection means its host
            asked = [HostRule.read(rule) for rule in command.network]
            layers.append((*asked, *(HostRule.of(str(one.endpoint)) for one in injections)))
        egress = Egress(self._network, self._folder, self._now)
        opens = [rule.pattern.name.pieces[0] for layer in layers for rule in layer if _readable(rule)]
        rules = JudgedRules(ctx, *layers)
        gate = egress.gate(
            rules, Whose.of(ctx.invocation), injections=injections, opens=opens, pace=self._pace(ctx.principal)
        )  # fmt: skip
        async with gate as way:
            watching = asyncio.create_task(_watch(way.gate, rules))
            try:
                yield Gated.of(way, number)
            finally:
                watching.cancel()
                await asyncio.gather(watching, return_exceptions=True)

    def _pace(self, principal: Principal) -> Callable[[], float]:
        payer = f"{principal.tenant}/{principal.account}"
        return lambda: self._buckets.take(payer, CONNECTIONS, time.monotonic()) if principal.shares else 0.0

    def close(self) -> None:
        """Remove what commands were shown."""
        shutil.rmtree(self._folder, ignore_errors=True)


class _Gate(Protocol):
    def change(self, rules: HostRules) -> None: ...


async def _watch(gate: _Gate, rules: HostRules) -> None:
    """End connections that grants do not allow any more."""
    while True:
        await asyncio.sleep(LOOK_S)
        gate.change(rules)


def check_network(profile: Profile, command: Command) -> None:
    """Refuse a network that the profile has not. Raises `InvalidInput`."""
    if profile.network != "listed" and (command.network or command.connections):
        raise InvalidInput(
            f"the profile `{profile.name}` has no network to narrow",
            hint="choose `net-allowlist` or `build` as `sandbox`, or leave `network` and `connections` out",
        )


async def _shown(ctx: Context, name: str) -> Shown:
    """Give the header of a connection. Raises `InvalidInput` where it would never be added, what secrets raise."""
    if (await ctx.secret.connection(name)).endpoint.startswith("http:"):
        raise InvalidInput(
            f"the connection `{name}` is plain HTTP, and what a command sends gets credentials over TLS only",
            hint="give it an endpoint with `https`, or leave it out of `connections`",
        )
    return await ctx.secret.header(name)


def _readable(rule: HostRule) -> bool:
    """Tell whether requests to a host must be read to hold a rule: it names methods, and the host by its whole name."""
    return rule.methods is not None and rule.pattern.name.literal


def _sweep(folder: Path) -> None:
    """Remove what processes left that were killed."""
    for place in folder.glob("egress-*"):
        found = _OWN.fullmatch(place.name)
        with contextlib.suppress(OSError):
            if found and started(int(found[1])) != int(found[2]):
                shutil.rmtree(place)
