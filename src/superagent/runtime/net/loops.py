"""The server's event loop: uvloop connects in C, where no audit hook looks, so its doors ask the guard themselves."""

from __future__ import annotations

import socket
from typing import Any

import uvloop

from superagent.runtime.net.guard import check, check_name


class GuardedLoop(uvloop.Loop):
    """uvloop's loop; connections, datagrams and look-ups are permitted as those of Python's own sockets are."""

    async def create_connection(self, protocol_factory: Any, host: Any = None, port: Any = None, **more: Any) -> Any:
        """Connect, if the guard permits it here. Raises `Denied`."""
        if more.get("sock") is None:
            check(host, port)
        return await super().create_connection(protocol_factory, host, port, **more)

    async def create_datagram_endpoint(
        self, protocol_factory: Any, local_addr: Any = None, remote_addr: Any = None, **more: Any
    ) -> Any:
        """Open a datagram socket with a given peer only: an open one could send anywhere. Raises `Denied`."""
        if more.get("sock") is None and more.get("family") != socket.AF_UNIX:
            check(*(remote_addr or ("*", 0))[:2], what="send datagrams to")
        return await super().create_datagram_endpoint(protocol_factory, local_addr, remote_addr, **more)

    async def getaddrinfo(self, host: Any, port: Any, **more: Any) -> Any:
        """Look a name up, if the guard permits it here. Raises `Denied`."""
        check_name(host, port)
        return await super().getaddrinfo(host, port, **more)


def new_event_loop() -> GuardedLoop:
    """Give a fresh loop."""
    return GuardedLoop()
