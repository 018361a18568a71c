"""Browsers: the session cookie, our own address as they see it, and what shows that no other site's page asks."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from functools import lru_cache
from http.cookies import CookieError, SimpleCookie

from superagent.core.mounts import cookie_name
from superagent.surfaces.http.request import Headers, Scope, remote_of

Networks = tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]

# names that can only mean this machine: no other page's name resolves to them, so no DNS answer can pose as one
_LOOPBACK = re.compile(r"(?:localhost|127\.0\.0\.1|\[::1\])(?::[0-9]{1,5})?")

_TOKEN = b"sas_"
TOKEN_LENGTH = 47


class Browser:
    """What is expected of browsers. `public_url` is the address they use; empty: only names of this machine are taken.

    The cookie is `__Host-superagent` over TLS, bound to this very host (RFC 6265bis, 4.1.3.2), else `superagent`.
    """

    def __init__(self, public_url: str = "", trusted: Networks = ()) -> None:
        self._origin = public_url
        self._trusted = trusted
        self.secure = public_url.startswith("https://")
        self.cookie = cookie_name(self.secure)
        self._wanted = self.cookie.encode() + b"=" + _TOKEN
        self._start = len(self.cookie) + 1
        self._whole = self._start + TOKEN_LENGTH
        self._homely = lru_cache(1024)(self._is_homely)
        self.remote = remote_of if not trusted else self._forwarded

    def session(self, headers: Headers) -> bytes:
        """Give the session's token, empty for none; a name that came twice is nobody's."""
        value = headers.get(b"cookie", b"")
        if len(value) == self._whole and value.startswith(self._wanted):  # the one cookie that there is
            return value[self._start :]
        # several headers are one list here, and a browser sends one: whatever stands behind a comma is nobody's
        found = [part for part in value.split(b"; ") if part.startswith(self._wanted[: self._start])]
        # nothing else is looked up by a cookie: a key in one is no key
        return found[0][self._start :] if len(found) == 1 and found[0].startswith(self._wanted) else b""

    def _forwarded(self, scope: Scope, headers: Headers) -> str:
        return forwarded(scope, headers, self._trusted)

    def origin(self, headers: Headers) -> str:
        """Give our own address as this visitor used it; empty when it is none of ours."""
        host = headers.get(b"host", b"").decode("latin-1").lower()
        if self._origin:
            return self._origin if host == self._origin.partition("://")[2] else ""
        return f"http://{host}" if _LOOPBACK.fullmatch(host) else ""

    def same_origin(self, headers: Headers) -> bool:
        """Tell whether what a browser says of a request (Fetch Metadata, `Origin`) fits a page of ours, or no page."""
        return self._homely(headers.get(b"host", b""), headers.get(b"origin"), headers.get(b"sec-fetch-site", b"none"))

    def _is_homely(self, host: bytes, origin: bytes | None, site: bytes) -> bool:
        own = self.origin({b"host": host})
        if not own or (origin is not None and origin != own.encode()):
            return False
        return site in (b"same-origin", b"none")


def networks(texts: Sequence[str]) -> Networks:
    """Give networks to look addresses up in."""
    return tuple(ipaddress.ip_network(text) for text in texts)


def forwarded(scope: Scope, headers: Headers, trusted: Networks) -> str:
    """Give whom the trusted proxies saw: the last in `X-Forwarded-For` that is none of them; never loopback.

    What a caller wrote there itself stands further to the left, so it is never believed.
    """
    client = scope.get("client")
    hop = client[0] if client else ""
    said = headers.get(b"x-forwarded-for")
    if said is None or not _within(hop, trusted):
        return remote_of(scope, headers)
    for text in reversed(said.decode("latin-1").split(",")):
        hop = text.strip()
        if not _within(hop, trusted):
            break
    try:
        address = ipaddress.ip_address(hop)
    except ValueError:
        return remote_of(scope, headers)
    return f"forwarded:{hop}" if address.is_loopback else str(address)


def _within(text: str, trusted: Networks) -> bool:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    return any(address in network for network in trusted)


def cookies_of(headers: Headers) -> dict[str, str]:
    """Give all cookies by name; none when they cannot be read."""
    try:
        return {name: one.value for name, one in SimpleCookie(headers.get(b"cookie", b"").decode("latin-1")).items()}
    except CookieError:
        return {}
