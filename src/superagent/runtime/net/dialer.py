"""The dialer: a name is looked up once, every address behind it is vetted, and the connection goes to a vetted one."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

from superagent.core.endpoints import Address, Endpoint, NotPublic, Public, is_public, vet
from superagent.core.problems import Deadline, Denied, Problem, Unavailable
from superagent.runtime.net.guard import permitting
from superagent.runtime.net.resolver import Resolve
from superagent.runtime.net.wire import Wire

MOST_ADDRESSES = 16
PER_ADDRESS_S = 4.0
LOOK_UP_S = 10.0


class Dialer:
    """Connect by name to vetted addresses. `public` tells which addresses may be connected to."""

    def __init__(self, resolve: Resolve, public: Public = is_public) -> None:
        self._resolve = resolve
        self._public = public

    async def addresses(self, endpoint: Endpoint) -> tuple[Address, ...]:
        """Look an endpoint up and vet what comes. Raises `NotPublic`, or `Unavailable` when there is nothing."""
        literal = endpoint.literal
        if literal is not None:
            return vet([str(literal)], self._public)
        try:
            with permitting((endpoint.host, endpoint.port)):
                async with asyncio.timeout(LOOK_UP_S):
                    found = await self._resolve(endpoint.host, endpoint.port)
        except TimeoutError:
            raise Unavailable(f"`{endpoint.host}` could not be looked up in time", hint="try again later") from None
        except (OSError, UnicodeError):
            found = ()
        # a flood of answers is cut before it is vetted: what is cut off is never connected to either
        vetted = vet(found[:MOST_ADDRESSES], self._public)
        if not vetted:
            raise Unavailable(f"`{endpoint.host}` has no address", hint="is the name right, and does DNS work here?")
        return vetted

    async def dial(
        self, endpoint: Endpoint, timeout_s: float, closed: Callable[[Wire], None] | None = None
    ) -> tuple[Wire, Address]:
        """Connect, and give the wire and the address it leads to.

        Raises `NotPublic`, `Unavailable` when nobody answers there, or `Deadline`.
        """
        try:
            async with asyncio.timeout(timeout_s):
                addresses = await self.addresses(endpoint)
                for address in addresses:
                    try:
                        async with asyncio.timeout(PER_ADDRESS_S):
                            return await self._connect(address, endpoint.port, closed), address
                    except OSError:  # a time-out is one as well
                        continue
        except TimeoutError:
            raise Deadline(f"`{endpoint}` did not answer in time") from None
        raise Unavailable(f"nobody answers at `{endpoint}`", hint="does the service run, and is the port right?")

    async def _connect(self, address: Address, port: int, closed: Callable[[Wire], None] | None) -> Wire:
        family = socket.AF_INET if address.version == 4 else socket.AF_INET6
        sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            sock.setblocking(False)
            with permitting((str(address), port)):
                await asyncio.get_running_loop().sock_connect(sock, (str(address), port))
            return await Wire.over(sock, closed)
        except BaseException:
            sock.close()
            raise


def problem_of(endpoint: Endpoint, fault: NotPublic) -> Problem:
    """Give the problem of an address that is not public; which one it is stays in the audit."""
    return Denied(
        f"`{endpoint}` leads to an address that is not public",
        hint="whoever runs the installation can allow a network by `net.allow_private` in the settings file",
    )
