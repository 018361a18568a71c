"""Redirect addresses: which may be registered, and which of a request is one of them (RFC 9700, 2.1; RFC 8252)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import SplitResult, urlsplit

LOOPBACK = ("127.0.0.1", "[::1]", "localhost")
MOST, LONGEST = 20, 2000
_SCHEME = re.compile(r"[a-z][a-z0-9+-]*\.[a-z0-9+.-]+")  # of an application: reverse domain (RFC 8252, 7.1)
_PLAIN = re.compile(r"[!-~]+")


def fault_of(address: str) -> str:
    """Say why an address cannot be registered; empty when it can."""
    if not _PLAIN.fullmatch(address) or len(address) > LONGEST or "\\" in address or "*" in address:
        return "has characters that an address has not, or a `*`, or is too long"
    try:
        split = urlsplit(address)
        host = _host(split)
    except ValueError:
        return "cannot be read"
    if split.fragment or "#" in address:
        return "has a fragment"
    if split.username is not None or split.password is not None:
        return "has a user name"
    if split.scheme == "https" and host:
        return ""
    if split.scheme == "http" and host in LOOPBACK:
        return ""
    if _SCHEME.fullmatch(split.scheme) and not split.netloc:
        return ""
    return (
        "is neither `https://…` nor on this machine (`http://127.0.0.1/…`) nor of an application (`org.example.app:/…`)"
    )


def matches(asked: str, registered: Iterable[str]) -> bool:
    """Tell whether an address is registered: letter by letter, and on this machine with any port (RFC 8252, 7.3)."""
    if fault_of(asked):
        return False
    return any(asked == one or _same_but_port(asked, one) for one in registered)


def shown(address: str) -> str:
    """Give the part of an address that a person should look at before agreeing."""
    split = urlsplit(address)
    return split.netloc or split.scheme


def target(address: str) -> str:
    """Give where a page of ours may send a browser, for its content security policy: an origin, or a scheme."""
    split = urlsplit(address)
    return f"{split.scheme}://{split.netloc}" if split.netloc else f"{split.scheme}:"


def is_local(address: str) -> bool:
    """Tell whether an address is on the person's own machine, where any program could listen."""
    split = urlsplit(address)
    return split.scheme == "http" and _host(split) in LOOPBACK


def _same_but_port(asked: str, registered: str) -> bool:
    if not (is_local(asked) and is_local(registered)):
        return False
    one, other = urlsplit(asked), urlsplit(registered)
    return (_host(one), one.path, one.query) == (_host(other), other.path, other.query)


def _host(split: SplitResult) -> str:
    host = split.hostname or ""
    _ = split.port  # raises ValueError where that is no number
    return f"[{host}]" if ":" in host else host
