"""Endpoints: where a connection leads by name, which rules reach it, and which addresses it may end at.

Three questions that are asked in this order, and never answered by each other: is this text one endpoint for every
reader, do the rules reach its *name*, and is each *address* behind the name one of the public internet.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from superagent.core.patterns import HostPattern
from superagent.core.problems import InvalidInput
from superagent.core.resources import Effect, Resource, canonical_host

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

MOST_RULES = 1000
_METHOD = re.compile(r"[A-Z][A-Z-]{0,31}")
_BRACKETED = re.compile(r"\[(?P<six>[^\]]*)\]")
_PART = re.compile(r"0[xX][0-9a-fA-F]*|[0-9]+")


# ---- names


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A host and a port. `host` is in the one spelling that rules are judged by (see `resources.host_name`)."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    @classmethod
    def of(cls, text: str) -> Endpoint:
        """Read a URL, a `host:port` or a host (port 443). Raises `InvalidInput` for what has two readings."""
        host, _, port = canonical_host(text).rpartition(":")
        return cls(host, int(port))

    @classmethod
    def of_authority(cls, text: str) -> Endpoint:
        """Read `host:port` as it stands in a CONNECT line: nothing but these two, and both must be there."""
        return _of_authority(text)

    @property
    def literal(self) -> Address | None:
        """Give the address that stands in the place of a name; None when it is a name."""
        return _literal(self.host)

    def resource(self, effect: Effect) -> Resource:
        """Give what policy judges."""
        return Resource("host", "-", str(self), effect)


@lru_cache(maxsize=1024)
def _of_authority(text: str) -> Endpoint:
    if not re.search(r":[0-9]{1,5}\Z", text) or "@" in text or "/" in text:
        raise InvalidInput(f"`{text[:200]}` is not `host:port`")
    return Endpoint.of(text)


def address_in(text: str) -> Address | None:
    """Give the address that a resolver would read in a text, in any spelling; None when it is a name.

    Besides the two plain notations these are the five of the C library (`127.1`, `0x7f.1`, `017700000001`,
    `2130706433`), brackets, a dot at the end, zones, and IPv4 in an IPv6 coat, which is given as IPv4.
    """
    bare = text.strip().removesuffix(".")
    found = _BRACKETED.fullmatch(bare)
    six = found["six"] if found else bare
    try:
        return plain_address(ipaddress.ip_address(six.partition("%")[0]))
    except ValueError:
        return None if ":" in six else _four(bare)


_literal = lru_cache(maxsize=1024)(address_in)


def _four(text: str) -> Address | None:
    """Read what `inet_aton` reads: one to four numbers, the last of which fills the rest of the 32 bits."""
    parts = text.split(".")
    if not 1 <= len(parts) <= 4 or not all(_PART.fullmatch(part) for part in parts):
        return None
    try:
        *leading, last = (_number(part) for part in parts)
    except ValueError:
        return None
    if last >= 1 << 8 * (4 - len(leading)) or any(number > 255 for number in leading):
        return None
    return ipaddress.IPv4Address(sum(number << 24 - 8 * at for at, number in enumerate(leading)) + last)


def _number(part: str) -> int:
    if part[:2] in ("0x", "0X"):
        return int(part[2:] or "0", 16)
    return int(part, 8 if part.startswith("0") else 10) if len(part) <= 16 else 1 << 32


# ---- rules


@dataclass(frozen=True, slots=True)
class Reach:
    """What is allowed at an endpoint: these methods (None: any), and with `raw` also what is neither TLS nor HTTP."""

    methods: frozenset[str] | None = None
    raw: bool = False

    def takes(self, method: str) -> bool:
        """Tell whether a request with this method is allowed."""
        return self.methods is None or method in self.methods

    def and_(self, other: Reach) -> Reach:
        """Give what both allow."""
        if self.methods is None or other.methods is None:
            methods = self.methods if other.methods is None else other.methods
        else:
            methods = self.methods & other.methods
        return Reach(methods, self.raw and other.raw)


@dataclass(frozen=True, slots=True)
class HostRule:
    """One sentence of what may be reached: a pattern as in a grant's `where.hosts`, methods, and `raw`.

    Methods can only be held where requests can be read: in plain HTTP, and in TLS that the platform ends itself. What
    passes a tunnel must be TLS for the very name, or HTTP; `raw` lets anything pass (SSH, a database).
    """

    pattern: HostPattern
    methods: frozenset[str] | None = None
    raw: bool = False

    @classmethod
    def of(cls, host: str, methods: Iterable[str] = (), raw: bool = False) -> HostRule:
        """Read a rule. Raises `InvalidInput`."""
        try:
            pattern = HostPattern(host)
        except ValueError as bad:
            raise InvalidInput(f"`{host[:200]}`: {bad}", hint="for example `*.example.org:443`") from None
        named = frozenset(methods)
        strange = sorted(one for one in named if not _METHOD.fullmatch(one))
        if strange:
            raise InvalidInput(f"`{strange[0][:40]}` is no HTTP method", hint="write methods in capitals: `GET`")
        if named and raw:
            raise InvalidInput(f"`{host[:200]}`: methods cannot be held in a raw tunnel", hint="leave one of them out")
        return cls(pattern, named or None, raw)

    @classmethod
    def read(cls, text: str) -> HostRule:
        """Read a rule as people write it: `example.org:443`, `GET,HEAD example.org:80`, `db.example.org:5432 raw`.

        Raises `InvalidInput`.
        """
        words = text.split()
        raw = len(words) > 1 and words[-1] == "raw"
        methods = words[0].split(",") if len(words) - raw > 1 else []
        if len(words) != bool(methods) + 1 + raw:
            raise InvalidInput(f"`{text[:200]}` is no rule for hosts", hint="for example `GET example.org:443`")
        return cls.of(words[bool(methods)], methods, raw)

    @property
    def source(self) -> str:
        """Give the rule as people write it."""
        methods = f"{','.join(sorted(self.methods))} " if self.methods else ""
        return f"{methods}{self.pattern.source}{' raw' if self.raw else ''}"


class HostRules:
    """Layers of rules, each of which must reach an endpoint; within a layer any rule will do.

    So a server's, a tenant's, a key's and a request's rules stand beside each other, and each can only narrow.
    Without any layer nothing is reached.
    """

    __slots__ = ("layers",)

    def __init__(self, *layers: Sequence[HostRule]) -> None:
        if sum(map(len, layers)) > MOST_RULES:
            raise InvalidInput(f"at most {MOST_RULES} host rules", hint="use wildcards: `*.example.org:443`")
        self.layers = tuple(tuple(layer) for layer in layers)

    @classmethod
    def of(cls, *hosts: str) -> HostRules:
        """Read one layer of plain patterns. Raises `InvalidInput`."""
        return cls([HostRule.of(host) for host in hosts])

    def narrowed(self, layer: Sequence[HostRule]) -> HostRules:
        """Give the same with one more layer."""
        return HostRules(*self.layers, layer)

    def reach(self, endpoint: Endpoint) -> Reach | None:
        """Give what is allowed at an endpoint, None when it is not reached at all."""
        value, found = str(endpoint), None
        for layer in self.layers:
            rules = [rule for rule in layer if rule.pattern.match(value)]
            if not rules:
                return None
            named = [rule.methods for rule in rules if rule.methods is not None]
            methods = frozenset[str]().union(*named) if len(named) == len(rules) else None
            here = Reach(methods, any(rule.raw for rule in rules))
            found = here if found is None else found.and_(here)
        return found

    def why_not(self, endpoint: Endpoint) -> tuple[str, str]:
        """Say (why an endpoint is not reached, what would cure it)."""
        return "no rule reaches it", "ask whoever set the rules for one that covers it"


# ---- addresses


class NotPublic(Exception):
    """An address behind a name is not one of the public internet; callers say so without showing the address."""

    def __init__(self, address: str, why: str) -> None:
        super().__init__(f"{address} is {why}")
        self.address = address
        self.why = why


Public = Callable[[Address], bool]

# IANA special-purpose registries, read 2026-11; written out because what `ipaddress` calls global differs by version
_CLOSED: tuple[tuple[Network, str], ...] = tuple(
    (ipaddress.ip_network(network), why)
    for network, why in (
        ("0.0.0.0/8", "this host"),
        ("10.0.0.0/8", "private"),
        ("100.64.0.0/10", "behind a carrier's NAT"),
        ("127.0.0.0/8", "loopback"),
        ("168.63.129.16/32", "a cloud's own service"),  # public by number, answered by the host machine
        ("169.254.0.0/16", "link-local, where clouds keep credentials"),
        ("172.16.0.0/12", "private"),
        ("192.0.0.0/24", "reserved for protocols"),
        ("192.0.2.0/24", "for documentation"),
        ("192.88.99.0/24", "a relay of 6to4"),
        ("192.168.0.0/16", "private"),
        ("198.18.0.0/15", "for benchmarks"),
        ("198.51.100.0/24", "for documentation"),
        ("203.0.113.0/24", "for documentation"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
        ("2001::/23", "reserved for protocols (Teredo, ORCHID, benchmarks)"),
        ("2001:db8::/32", "for documentation"),
        ("3fff::/20", "for documentation"),
    )
)
_UNICAST = ipaddress.IPv6Network("2000::/3")  # all of IPv6 that is routed publicly
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_6TO4 = ipaddress.IPv6Network("2002::/16")
_ISATAP = 0x5EFE


def plain_address(address: Address) -> Address:
    """Give IPv4 for IPv4 in an IPv6 coat, which the kernel connects to as IPv4."""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def closed(address: Address) -> str:
    """Say why an address is not one of the public internet; empty when it is.

    IPv4 addresses that an IPv6 address carries (mapped, NAT64, 6to4, ISATAP) are judged as well: a gateway on the way
    would unpack them.
    """
    address = plain_address(address)
    for network, why in _CLOSED:
        if address.version == network.version and address in network:
            return why
    if isinstance(address, ipaddress.IPv4Address):
        return ""
    if address not in _UNICAST and address not in _NAT64:
        return "not public (loopback, private, link-local, multicast or reserved)"
    why = next((why for inner in _carried(address) if (why := closed(inner))), "")
    return f"carrying an address that is {why}" if why else ""


def _carried(address: ipaddress.IPv6Address) -> list[ipaddress.IPv4Address]:
    number = int(address)
    found: list[ipaddress.IPv4Address] = []
    if address in _NAT64 or (number >> 32 & 0xFCFFFFFF) == _ISATAP:
        found.append(ipaddress.IPv4Address(number & 0xFFFFFFFF))
    if address in _6TO4:
        found.append(ipaddress.IPv4Address(number >> 80 & 0xFFFFFFFF))
    return found


def is_public(address: Address) -> bool:
    """Tell whether an address is one of the public internet."""
    return not closed(address)


def public_or(networks: Iterable[str]) -> Public:
    """Give the same question with exceptions that whoever runs the installation has named (`net.allow_private`).

    Raises `InvalidInput` for what is no network.
    """
    try:
        named = tuple(ipaddress.ip_network(one) for one in networks)
    except ValueError as bad:
        raise InvalidInput(f"`net.allow_private`: {bad}", hint="write networks such as `10.1.2.0/24`") from None
    return lambda address: is_public(address) or any(plain_address(address) in network for network in named)


def vet(addresses: Iterable[str], public: Public = is_public) -> tuple[Address, ...]:
    """Give the addresses behind a name, each once. Raises `NotPublic` if a single one is not public.

    One bad answer among good ones is how a name is bound anew to an inner address, so it spoils them all.
    """
    found: dict[Address, None] = {}
    for text in addresses:
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            raise NotPublic(text, "no address") from None
        if isinstance(address, ipaddress.IPv6Address) and address.scope_id:
            raise NotPublic(text, "an address with a zone, which means something else on every machine")
        address = plain_address(address)
        if not public(address):
            raise NotPublic(text, closed(address) or "not allowed here")
        found[address] = None
    return tuple(found)
