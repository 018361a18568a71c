"""The upstream: HTTP/1.1 by httpcore over wires of our own, so that no library ever looks a name up or connects.

httpcore asks its network backend for every connection it makes, addresses in the place of names included; there is no
other way out of it, and it reads no environment.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import h11
import httpcore
from anyio.abc import ByteStream
from anyio.streams.tls import TLSStream

from superagent.core.endpoints import Endpoint
from superagent.core.problems import Deadline, InvalidInput, Unavailable
from superagent.runtime.net.wire import Wire

Dial = Callable[[Endpoint, float], Awaitable[Wire]]
Headers = list[tuple[bytes, bytes]]
IDLE_S = 30.0


class Upstream:
    """A few connections to the endpoints that `dial` leads to; TLS is verified by `trust`. Close it with `aclose`."""

    def __init__(self, dial: Dial, trust: ssl.SSLContext, *, connect_s: float = 15.0, idle_s: float = IDLE_S) -> None:
        self._timeouts = {"connect": connect_s, "read": idle_s, "write": idle_s, "pool": connect_s}
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=trust,
            max_connections=4,
            keepalive_expiry=idle_s,
            http1=True,
            http2=False,
            retries=0,
            network_backend=_Backend(dial),
        )

    @asynccontextmanager
    async def exchange(
        self,
        endpoint: Endpoint,
        tls: bool,
        method: bytes,
        target: bytes,
        headers: Headers,
        body: bytes | AsyncIterator[bytes] | None,
    ) -> AsyncGenerator[httpcore.Response]:
        """Send a request and give the response, whose body is still to be read.

        Raises `Unavailable` for what goes wrong on the way, `Deadline`, or whatever `dial` raises.
        """
        url = httpcore.URL(
            scheme=b"https" if tls else b"http",
            host=endpoint.host.strip("[]").encode(),
            port=endpoint.port,
            target=target,
        )
        timeouts = {"timeout": self._timeouts}
        with problems_of(endpoint):
            async with self._pool.stream(method, url, headers=headers, content=body, extensions=timeouts) as response:
                yield response

    async def aclose(self) -> None:
        """End the connections."""
        await self._pool.aclose()


class problems_of:  # noqa: N801 - a context manager, used like a function
    """Turn what the library raises about an endpoint into the problem that says the same."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, fault: BaseException | None, trace: Any) -> None:
        if isinstance(fault, httpcore.TimeoutException):
            raise Deadline(f"`{self._endpoint}` did not answer in time") from None
        if isinstance(fault, httpcore.LocalProtocolError | h11.LocalProtocolError):
            raise InvalidInput(f"this makes no HTTP request: {fault}") from None
        if isinstance(fault, httpcore.NetworkError | httpcore.ProtocolError):
            why = f": {fault}" if str(fault) else ""
            raise Unavailable(f"the connection to `{self._endpoint}` failed{why}") from None


class _Backend(httpcore.AsyncNetworkBackend):
    def __init__(self, dial: Dial) -> None:
        self._dial = dial

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        name = f"[{host}]" if ":" in host else host
        wire = await self._dial(Endpoint(name, port), timeout or 15.0)
        return _Stream(wire, wire)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class _Stream(httpcore.AsyncNetworkStream):
    def __init__(self, wire: Wire, stream: ByteStream) -> None:
        self._wire = wire
        self._stream = stream

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        try:
            async with asyncio.timeout(timeout):
                return await self._stream.receive(max_bytes)
        except anyio.EndOfStream:
            return b""
        except TimeoutError:
            raise httpcore.ReadTimeout from None
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, ssl.SSLError):
            raise httpcore.ReadError("it broke off") from None

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        try:
            async with asyncio.timeout(timeout):
                await self._stream.send(buffer)
        except TimeoutError:
            raise httpcore.WriteTimeout from None
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, ssl.SSLError):
            raise httpcore.WriteError("it broke off") from None

    async def aclose(self) -> None:
        self._wire.end()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        try:
            async with asyncio.timeout(timeout):
                stream = await TLSStream.wrap(
                    self._stream, ssl_context=ssl_context, hostname=server_hostname, standard_compatible=False
                )
        except BaseException as fault:
            self._wire.end()
            if isinstance(fault, TimeoutError):
                raise httpcore.ConnectTimeout from None
            if isinstance(fault, ssl.SSLCertVerificationError):
                raise httpcore.ConnectError(f"its certificate is not trusted ({fault.verify_message})") from None
            if isinstance(fault, ssl.SSLError | anyio.EndOfStream | anyio.BrokenResourceError):
                raise httpcore.ConnectError("it does not speak TLS as we do") from None
            raise
        return _Stream(self._wire, stream)

    def get_extra_info(self, info: str) -> Any:
        # asked for `ssl_object` as well, to find out about HTTP/2, which is not offered
        return self._wire.readable if info == "is_readable" else None
