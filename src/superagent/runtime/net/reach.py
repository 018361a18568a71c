"""The capability `net`: connections by name for one call, judged, vetted, pinned and recorded."""

from __future__ import annotations

import ssl
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

from superagent.core.context import Context
from superagent.core.endpoints import Endpoint, NotPublic
from superagent.core.problems import Problem
from superagent.core.resources import Effect
from superagent.runtime.net.dialer import Dialer, problem_of
from superagent.runtime.net.guard import permitting
from superagent.runtime.net.http import Http
from superagent.runtime.net.journal import By, Crossed, Journal, Whose
from superagent.runtime.net.wire import Wire

_READS = {"GET", "HEAD", "OPTIONS"}


class CallNet:
    """The network of one call: `http` asks over HTTP, `dial` gives a bare connection."""

    __slots__ = ("_ca_file", "_ctx", "_dialer", "_journal", "_whose", "http")

    def __init__(
        self, ctx: Context, dialer: Dialer, trust: Callable[[], ssl.SSLContext], journal: Journal, ca_file: str = ""
    ) -> None:
        self._ctx = ctx
        self._ca_file = ca_file
        self._dialer = dialer
        self._journal = journal
        self._whose = Whose.of(ctx.invocation)
        self.http = Http(self._judge, self._dial_http, trust, lambda: ctx.remaining_s)

    @asynccontextmanager
    async def dial(self, host: str, port: int, *, timeout_s: float = 15.0) -> AsyncGenerator[Wire]:
        """Connect to a host by name and give the wire; its end is the end of the block.

        Raises `Denied` or `NotFound` when it is not granted or not public, `Unavailable`, `Deadline`.
        """
        endpoint = Endpoint.of_authority(f"{host}:{port}")
        self._judge(endpoint, "CONNECT", "dial")
        wire = await self._dial(endpoint, timeout_s, "dial")
        try:
            yield wire
        finally:
            wire.end()

    @asynccontextmanager
    async def vetted(self, host: str, port: int) -> AsyncGenerator[tuple[str, str]]:
        """Give the address that a driver may connect to within the block, and the file of CAs that it is to trust.

        The use is recorded at its end; what crosses a driver's own socket is not seen, so its bytes count as 0.
        """
        endpoint = Endpoint.of_authority(f"{host}:{port}")
        self._judge(endpoint, "CONNECT", "dial")
        try:
            address = str((await self._dialer.addresses(endpoint))[0])
        except NotPublic as fault:
            self._journal.refused(self._whose, str(endpoint), f"its address is {fault.why}", "dial", fault.address)
            raise problem_of(endpoint, fault) from None
        began = time.monotonic()
        try:
            with permitting((address, port)):
                yield address, self._ca_file
        finally:
            used = Crossed(endpoint, address, "dial", 0, 0, time.monotonic() - began)
            self._journal.crossed(self._whose, used)

    def _judge(self, endpoint: Endpoint, method: str, by: By = "http") -> None:
        here = endpoint.resource(Effect.READ).id
        named = [touch.effect for touch in self._ctx.operation.touched if touch.kind == "host"]
        named += [one.effect for one in self._ctx.ticket.resources if one.kind == "host" and one.id == here]
        # as the operation declared it; where it declared no host, what the method does
        effect = max(named, default=Effect.READ if method in _READS else Effect.CHANGE)
        try:
            self._ctx.require(endpoint.resource(effect))
        except Problem as problem:
            self._journal.refused(self._whose, str(endpoint), f"not granted ({problem.slug})", by)
            raise

    async def _dial_http(self, endpoint: Endpoint, timeout_s: float) -> Wire:
        return await self._dial(endpoint, timeout_s, "http")

    async def _dial(self, endpoint: Endpoint, timeout_s: float, by: By) -> Wire:
        remaining = self._ctx.remaining_s
        address = ""

        def closed(wire: Wire) -> None:
            ended = Crossed(endpoint, address, by, wire.sent, wire.received, wire.seconds)
            self._journal.crossed(self._whose, ended)

        try:
            patience = timeout_s if remaining is None else min(timeout_s, remaining)
            wire, vetted = await self._dialer.dial(endpoint, patience, closed)
        except NotPublic as fault:
            self._journal.refused(self._whose, str(endpoint), f"its address is {fault.why}", by, fault.address)
            raise problem_of(endpoint, fault) from None
        address = str(vetted)
        return wire
