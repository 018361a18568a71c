"""Listening: the one socket on which requests come in, and under which address."""

from __future__ import annotations

import ipaddress
import socket
import ssl

from superagent.core.problems import Unavailable


def local(host: str) -> bool:
    """Tell whether a host's name or address is this machine's own."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def by_name(listening: socket.socket) -> str:
    """Give the address of a socket by this machine's name: passkeys belong to names, not to numbers."""
    return f"http://localhost:{listening.getsockname()[1]}"


def listen(host: str, port: int, public_url: str = "") -> socket.socket:
    """Open the one listening socket; never with SO_REUSEPORT, which would let a stranger of this user share it.

    Raises `Unavailable` for an address that is taken, and for one that is not loopback unless people come in by TLS.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (socket.gaierror, UnicodeError):
        raise Unavailable(f"`{host}` is no address of this machine", hint="use 127.0.0.1") from None
    if not ipaddress.ip_address(found[4][0]).is_loopback and not public_url.startswith("https://"):
        raise Unavailable(
            f"serving on `{host}` needs TLS, and an address by which people come in",
            hint="set `server.public_url` to that `https://` address, with `server.tls_cert` and `server.tls_key` or"
            " a proxy in front; or serve on 127.0.0.1 and use an SSH tunnel",
        )
    # with the protocol: asyncio sends at once (TCP_NODELAY) only on sockets that say they are TCP
    listening = socket.socket(*found[:3])
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(found[4])
    except OSError as bad:
        listening.close()
        raise Unavailable(
            f"cannot listen on {host}:{port}: {bad.strerror}", hint="choose another port with `--port`"
        ) from None
    listening.listen(2048)
    listening.setblocking(False)
    return listening


def address_of(listening: socket.socket, tls: ssl.SSLContext | None = None) -> str:
    """Give the address under which clients reach a socket."""
    host, port = listening.getsockname()[:2]
    return f"http{'s' if tls is not None else ''}://{f'[{host}]' if ':' in host else host}:{port}"
