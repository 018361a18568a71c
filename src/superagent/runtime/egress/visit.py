"""A visit: one connection from inside, from its first byte to its end."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from typing import Protocol

import anyio
import h11
import httpcore
from anyio.abc import ByteStream
from anyio.streams.tls import TLSStream

from superagent.core.endpoints import Endpoint, Reach
from superagent.core.problems import Deadline, Problem
from superagent.runtime.egress.client import Caps, Client
from superagent.runtime.egress.hello import Hello, NoHello
from superagent.runtime.egress.injection import Injection, Mask
from superagent.runtime.egress.refusal import Refusal, method_not_reached
from superagent.runtime.egress.relay import relay
from superagent.runtime.egress.requests import (
    forward_target,
    outgoing_headers,
    returned_headers,
    tunnel_target,
    tunnelled_target,
)
from superagent.runtime.net.upstream import Upstream
from superagent.runtime.net.wire import Wire

_TLS = 0x16  # the first byte of a TLS handshake record


class Rules(Protocol):
    """What a visit asks the gate of its sandbox."""

    caps: Caps
    trust: ssl.SSLContext

    def judge(self, endpoint: Endpoint, method: str | None, visit: Visit) -> Reach:
        """Give what is allowed at an endpoint. Raises `Refusal`."""
        ...

    async def dial(self, endpoint: Endpoint, opened: bool) -> Wire:
        """Connect to a vetted address. Raises `Refusal`."""
        ...

    def standing_for(self, endpoint: Endpoint) -> ssl.SSLContext | None:
        """Give what it takes to stand for an endpoint whose requests are read; None for all others."""
        ...

    def injection(self, endpoint: Endpoint) -> Injection | None:
        """Give the credential of an endpoint."""
        ...

    def refused(self, refusal: Refusal, place: str) -> None:
        """Record a refusal."""
        ...


class Visit:
    """One connection from inside. `endpoint` is where it leads at the moment, as far as it is known."""

    def __init__(self, rules: Rules, wire: Wire) -> None:
        self._rules = rules
        self._wire = wire
        self._asked = ""
        self._dialled: Wire | None = None
        self._opened = False
        self.endpoint: Endpoint | None = None
        self.passing = self.raw = False  # TLS that nobody reads goes through; anything may

    async def run(self) -> None:
        """Serve it to its end."""
        client = Client(self._wire, self._rules.caps)
        try:
            await self._serve(client)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, TimeoutError, h11.LocalProtocolError):
            pass  # whoever asked is gone, or does not take the answer
        finally:
            if self._dialled is not None:
                self._dialled.end()
            self._wire.end()

    async def _serve(self, client: Client) -> None:
        try:
            request = await client.request()
            if request is None:
                return
            self._asked = request.target.decode("latin-1")
            if request.method == b"CONNECT":
                await self._tunnel(client, request)
            else:
                await self._forward(client, request)
        except Refusal as refusal:
            await self._refuse(client, refusal)

    async def _refuse(self, client: Client, refusal: Refusal) -> None:
        self._rules.refused(refusal, str(self.endpoint or self._asked))
        await client.refuse(refusal)

    # ---- plain HTTP

    async def _forward(self, client: Client, request: h11.Request) -> None:
        """Pass on requests in absolute form, each to where it leads, each judged by itself."""
        while True:
            self._asked, self.endpoint = request.target.decode("latin-1"), None
            self.endpoint, target = forward_target(request)
            upstream = self._upstream()
            try:
                await self._exchange(client, request, upstream, self.endpoint, target, tls=False)
            finally:
                await upstream.aclose()
            if not client.next_cycle() or (following := await client.request(first=False)) is None:
                return
            request = following

    async def _inner_requests(self, client: Client, endpoint: Endpoint, tls: bool) -> None:
        """Pass on the requests inside a tunnel, all of which lead to its one end."""
        upstream, first = self._upstream(), True
        try:
            while (request := await client.request(first)) is not None:
                first = False
                target = tunnelled_target(request, endpoint, tls)
                await self._exchange(client, request, upstream, endpoint, target, tls)
                if not client.next_cycle():
                    return
        except Refusal as refusal:
            await self._refuse(client, refusal)
        finally:
            await upstream.aclose()

    def _upstream(self) -> Upstream:
        caps = self._rules.caps
        return Upstream(self._dial, self._rules.trust, connect_s=caps.connect_s, idle_s=caps.idle_s)

    async def _dial(self, endpoint: Endpoint, timeout_s: float) -> Wire:
        wire, self._dialled = self._dialled, None  # the tunnel's own connection serves its first request
        return wire or await self._rules.dial(endpoint, self._opened)

    async def _exchange(
        self, client: Client, request: h11.Request, upstream: Upstream, endpoint: Endpoint, target: bytes, tls: bool
    ) -> None:
        """Pass one request on and its answer back."""
        method = request.method.decode("ascii")
        if not self._rules.judge(endpoint, method, self).takes(method):
            raise method_not_reached(method, str(endpoint))
        headers, has_body = outgoing_headers(request, endpoint, 443 if tls else 80)
        injection = self._rules.injection(endpoint) if self._opened else None
        mask = Mask(injection.values() if injection else frozenset())
        if injection is not None:
            without = {injection.header.lower().encode(), b"accept-encoding"}
            headers = [(key, value) for key, value in headers if key.lower() not in without]
            # compressed, an answer could not be looked through
            headers += [
                (b"Accept-Encoding", b"identity"),
                (injection.header.encode(), injection.value.reveal().encode()),
            ]
        body = client.body() if has_body else None
        try:
            async with upstream.exchange(endpoint, tls, request.method, target, headers, body) as response:
                if not has_body:
                    async for _ in client.body():  # the end of the message is an event as well
                        pass
                await self._answer(client, response, mask, masked=injection is not None)
        except Problem as problem:
            status = 504 if isinstance(problem, Deadline) else 502
            detail = mask.whole(problem.detail.encode()).decode()  # it may quote what the server sent
            raise Refusal(status, "it does not answer", detail, problem.hint or "") from None
        finally:
            if body is not None:
                await body.aclose()

    async def _answer(self, client: Client, response: httpcore.Response, mask: Mask, *, masked: bool) -> None:
        headers = returned_headers(response.headers)
        if masked:
            coded = next((value for key, value in headers if key.lower() == b"content-encoding"), b"identity")
            if coded.strip().lower() not in (b"identity", b""):
                raise Refusal(502, "a compressed answer", "the answer is compressed although it must not be")
            headers = [(mask.whole(key), mask.whole(value)) for key, value in headers]
        await client.send(h11.Response(status_code=response.status, headers=headers, reason=b""))
        pieces: AsyncIterator[bytes] = response.aiter_stream()
        async for piece in pieces:
            passed = mask.feed(piece)
            if passed:
                await client.send(h11.Data(data=passed))
        held = mask.rest()
        if held:
            await client.send(h11.Data(data=held))
        await client.send(h11.EndOfMessage())

    # ---- tunnels

    async def _tunnel(self, client: Client, request: h11.Request) -> None:
        endpoint = self.endpoint = tunnel_target(request)
        reach = self._rules.judge(endpoint, None, self)
        standing = self._rules.standing_for(endpoint)
        self._dialled = await self._rules.dial(endpoint, standing is not None)
        early = await client.accept_tunnel()
        if early:
            self._wire.put_back(early)
        if reach.raw and standing is None:
            self.raw = True
            await self._pass_through(self._dialled)
            return
        first = await self._first_bytes()
        if not first:
            return
        self._wire.put_back(first)
        if first[0] != _TLS:
            await self._inner_requests(Client(self._wire, self._rules.caps), endpoint, tls=False)
        elif standing is not None:
            await self._open(endpoint, standing)
        elif reach.methods is not None:
            raise Refusal(
                403,
                "methods inside TLS",
                f"at `{endpoint}` only some methods are allowed, and TLS hides which one is used",
            )
        else:
            await self._check_name(endpoint)
            self.passing = True
            await self._pass_through(self._dialled)

    async def _first_bytes(self) -> bytes:
        with contextlib.suppress(anyio.EndOfStream):
            try:
                async with asyncio.timeout(self._rules.caps.idle_s):
                    return await self._wire.receive()
            except TimeoutError:
                raise Refusal(408, "nothing came through the tunnel", "nothing came through the tunnel") from None
        return b""

    async def _check_name(self, endpoint: Endpoint) -> None:
        """Go on only if the TLS in a tunnel is for the very name that the tunnel was asked for."""
        hello, seen = Hello(), b""
        try:
            async with asyncio.timeout(self._rules.caps.head_s):
                whole = False
                while not whole:
                    data = await self._wire.receive()
                    seen += data
                    whole = hello.feed(data)
        except (NoHello, anyio.EndOfStream, TimeoutError):
            raise Refusal(
                403, "neither TLS nor HTTP in a tunnel", f"a tunnel to `{endpoint}` carries TLS or HTTP"
            ) from None
        if (hello.name or "").lower().removesuffix(".") != endpoint.host:
            raise Refusal(403, "TLS for another name", f"the tunnel to `{endpoint}` is used for another name")
        self._wire.put_back(seen)

    async def _pass_through(self, outside: Wire) -> None:
        await relay(self._wire, outside, self._rules.caps.idle_s)

    async def _open(self, endpoint: Endpoint, standing: ssl.SSLContext) -> None:
        """End the client's TLS here and read its requests; the way out has TLS of its own, verified."""
        try:
            async with asyncio.timeout(self._rules.caps.head_s):
                stream: ByteStream = await TLSStream.wrap(
                    self._wire, server_side=True, ssl_context=standing, standard_compatible=False
                )
        except (ssl.SSLError, anyio.EndOfStream, anyio.BrokenResourceError, TimeoutError) as fault:
            why = "TLS that did not come about"
            raise Refusal(403, why, f"TLS to `{endpoint}` failed: {type(fault).__name__}") from None
        self._opened = True
        await self._inner_requests(Client(stream, self._rules.caps), endpoint, tls=True)
