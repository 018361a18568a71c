"""The capability `net`: connections by name for one call, judged, vetted, pinned and recorded."""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

from superagent.core.context import Context
from superagent.core.endpoints import Endpoint, NotPublic
from superagent.core.problems import Problem
from superagent.core.resources import Effect, Resource
from superagent.runtime.net.dialer import Dialer, problem_of
from superagent.runtime.net.http import Http
from superagent.runtime.net.journal import By, Crossed, Journal, Whose
from superagent.runtime.net.way import Way
from superagent.runtime.net.wire import Wire

_READS = {"GET", "HEAD", "OPTIONS"}


class CallNet:
    """The network of one call: `http` asks over HTTP, `dial` gives a bare connection, `way` lets a driver connect."""

    __slots__ = ("_ca_file", "_ctx", "_dialer", "_http", "_journal", "_trust", "_whose")

    def __init__(
        self, ctx: Context, dialer: Dialer, trust: Callable[[], ssl.SSLContext], journal: Journal, ca_file: str = ""
    ) -> None:
        self._ctx = ctx
        self._ca_file = ca_file
        self._dialer = dialer
        self._journal = journal
        self._whose = Whose.of(ctx.invocation)
        self._trust = trust
        self._http: Http | None = None

    @property
    def http(self) -> Http:
        """Give the HTTP client."""
        if self._http is None:
            self._http = Http(self._judge, self._dial_http, self._trust, lambda: self._ctx.remaining_s)
        return self._http

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
    async def way(self, host: str, port: int) -> AsyncGenerator[Way]:
        """Judge the way to a host, and give it to a driver that connects by itself within the block.

        The record of the call names the host; each connection has its own. Raises `Denied`, `NotFound`.
        """
        endpoint = Endpoint.of_authority(f"{host}:{port}")
        self._ctx.reached.append(self._judge(endpoint, "CONNECT", "dial"))
        way = Way(endpoint, self._dialer, self._whose, self._journal, self._ca_file)
        try:
            yield way
        finally:
            way.end()

    def _judge(self, endpoint: Endpoint, method: str, by: By = "http") -> Resource:
        here = endpoint.resource(Effect.READ).id
        named = [touch.effect for touch in self._ctx.operation.touched if touch.kind == "host"]
        named += [one.effect for one in self._ctx.ticket.resources if one.kind == "host" and one.id == here]
        # as the operation declared it; where it declared no host, what the method does
        effect = max(named, default=Effect.READ if method in _READS else Effect.CHANGE)
        resource = endpoint.resource(effect)
        try:
            self._ctx.require(resource)
        except Problem as problem:
            self._journal.refused(self._whose, str(endpoint), f"not granted ({problem.slug})", by)
            raise
        return resource

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
