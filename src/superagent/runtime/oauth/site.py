"""The site: under which addresses this installation issues tokens, and which of its doors they are for (RFC 8707)."""

from __future__ import annotations

from urllib.parse import urlsplit

from superagent.core.problems import Unavailable

DOORS = {"http": "", "mcp": "/mcp", "a2a": "/a2a"}
"""What stands behind the address for each channel that takes tokens; each is a resource of its own."""


class Site:
    """The issuer and its protected resources.

    With a public address that is the one issuer. Without, it is served on this very machine only, under each of the
    names that can mean nothing else.
    """

    def __init__(self, public_url: str = "") -> None:
        self._issuers: tuple[str, ...] = (public_url,) if public_url else ()
        self._fixed = bool(public_url)

    def served_at(self, address: str) -> None:
        """Take the address at which the server listens, unless the settings say under which it is reached."""
        if not self._fixed:
            port = urlsplit(address).port
            names = dict.fromkeys((address, *(f"http://{name}:{port}" for name in ("127.0.0.1", "localhost", "[::1]"))))
            self._issuers = tuple(names)

    @property
    def issuers(self) -> tuple[str, ...]:
        """Give every issuer that is us (RFC 8414, 2); empty while nothing is served."""
        return self._issuers

    def issuer(self, origin: str) -> str:
        """Give the issuer for who reached us at an origin. Raises `Unavailable` when there is none."""
        if not self._issuers:
            raise Unavailable(
                "this process serves nothing, so it issues no tokens",
                hint="start the server, or set `server.public_url`",
            )
        return origin if origin in self._issuers else self._issuers[0]

    def resources(self, channel: str) -> tuple[str, ...]:
        """Give what a door is called as a resource; empty for one that takes no tokens."""
        return tuple(one + DOORS[channel] for one in self._issuers) if channel in DOORS else ()

    def named(self, text: str) -> str:
        """Give the resource that a client means, empty for none of ours; scheme and host in any case (RFC 3986)."""
        split = urlsplit(text)
        if split.query or split.fragment or "@" in split.netloc:
            return ""
        plain = f"{split.scheme.lower()}://{split.netloc.lower()}{split.path}".rstrip("/")
        return plain if any(plain in self.resources(channel) for channel in DOORS) else ""
