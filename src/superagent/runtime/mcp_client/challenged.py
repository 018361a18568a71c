"""Challenged: what a server that wants authorization says of it, and of who gives it (RFC 9728, RFC 8414).

All of it is said by the server. So its metadata is looked for at its own address only, speaks of that address, and the
authorization server is the one that a person named beforehand.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import urlsplit

from superagent.core.carried import Answer
from superagent.core.problems import InvalidInput, Problem, Unavailable
from superagent.core.resources import canonical_host
from superagent.core.strict_json import parse_object

MOST_BYTES = 64 * 1024
TIMEOUT_S = 15.0
MOST_SCOPES = 50
_PARAMETER = re.compile(r'([A-Za-z_]+)\s*=\s*(?:"((?:[^"\\]|\\.){0,2048})"|([^\s,"]{1,2048}))')
_CODE = re.compile(r"[a-z_]{1,40}")
_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,200}")  # RFC 6749, 3.3
_RESOURCE, _SERVER, _OPENID = (
    "/.well-known/oauth-protected-resource",
    "/.well-known/oauth-authorization-server",
    "/.well-known/openid-configuration",
)


@dataclass(frozen=True, slots=True)
class Challenge:
    """What stands in `WWW-Authenticate`: where the metadata are, which scopes are wanted, and what was wrong."""

    metadata: str = ""
    scopes: tuple[str, ...] = ()
    error: str = ""


@dataclass(frozen=True, slots=True)
class Protected:
    """A server as what is protected: its name there, who gives tokens for it, and for what."""

    resource: str
    issuers: tuple[str, ...]
    scopes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Giver:
    """An authorization server by its metadata; an empty address is one that it has not."""

    issuer: str
    token: str
    authorize: str = ""
    register: str = ""
    methods: tuple[str, ...] = ("client_secret_basic",)
    scopes: tuple[str, ...] = ()
    challenges: tuple[str, ...] = ()
    names_itself: bool = False


def challenge_of(answer: Answer) -> Challenge:
    """Read what a refusing answer asks for; empty where it says nothing."""
    said = answer.header("www-authenticate") or ""
    if said[:6].lower() != "bearer":
        return Challenge()
    found = {name.lower(): quoted or plain for name, quoted, plain in _PARAMETER.findall(said[:8192])}
    return Challenge(found.get("resource_metadata", ""), scopes_of(found.get("scope")), code_of(found.get("error")))


def code_of(said: Any) -> str:
    """Give why something was refused, as the protocol words it (RFC 6749, 5.2); empty for any other text.

    Such a text may repeat what was sent, and that was secret.
    """
    return said if isinstance(said, str) and _CODE.fullmatch(said) else ""


def scopes_of(said: Any) -> tuple[str, ...]:
    """Give scopes from a line or a list of them, each once; what is none is left out."""
    listed = said.split() if isinstance(said, str) else cast("list[Any]", said) if isinstance(said, list) else []
    return tuple(dict.fromkeys(one for one in listed if isinstance(one, str) and _SCOPE.fullmatch(one)))[:MOST_SCOPES]


async def protected(http: Any, url: str, challenge: Challenge) -> Protected:
    """Ask a server what it is as a resource. Raises `Unavailable`, problems of the network."""
    split = urlsplit(url)
    origin = f"{split.scheme}://{split.netloc}"
    places = [challenge.metadata] if challenge.metadata else [origin + _RESOURCE + split.path.rstrip("/")]
    if not challenge.metadata and split.path.strip("/"):
        places.append(origin + _RESOURCE)
    for place in places:
        if not _same(place, url):
            raise Unavailable("the server says that its metadata are at another address, where nobody looks")
        said = await _document(http, place)
        if said is not None:
            return _protected(said, url)
    raise Unavailable("the server wants authorization, and does not say by whom")


async def giver(http: Any, issuer: str) -> Giver:
    """Ask an authorization server for its metadata. Raises `Unavailable`, problems of the network."""
    split = urlsplit(issuer)
    origin, path = f"{split.scheme}://{split.netloc}", split.path.rstrip("/")
    places = [origin + _SERVER + path, origin + _OPENID + path] + ([origin + path + _OPENID] if path else [])
    for place in places:
        said = await _document(http, place)
        if said is None:
            continue
        if said.get("issuer") != issuer:  # RFC 8414, 3.3
            raise Unavailable("the authorization server says that it is another")
        return Giver(
            issuer,
            _address(said, "token_endpoint"),
            _address(said, "authorization_endpoint"),
            _address(said, "registration_endpoint"),
            scopes_of(said.get("token_endpoint_auth_methods_supported")) or ("client_secret_basic",),
            scopes_of(said.get("scopes_supported")),
            scopes_of(said.get("code_challenge_methods_supported")),
            said.get("authorization_response_iss_parameter_supported") is True,
        )
    raise Unavailable("the authorization server does not describe itself")


def _protected(said: dict[str, Any], url: str) -> Protected:
    resource, listed = said.get("resource"), said.get("authorization_servers")
    if not isinstance(resource, str) or not _within(url, resource):  # RFC 9728, 3.3
        raise Unavailable("the metadata of the server speak of another resource")
    issuers = [one for one in cast("list[Any]", listed)[:10] if _plain(one)] if isinstance(listed, list) else []
    if not issuers:
        raise Unavailable("the server wants authorization, and does not say by whom")
    return Protected(resource, tuple(issuers), scopes_of(said.get("scopes_supported")))


def _within(url: str, resource: str) -> bool:
    """Tell whether an address is, or lies beneath, what a resource is called."""
    if not _plain(resource) or not _same(url, resource):
        return False
    path, base = urlsplit(url).path.rstrip("/"), urlsplit(resource).path.rstrip("/")
    return not urlsplit(resource).fragment and (path == base or path.startswith(base + "/"))


def _same(one: str, other: str) -> bool:
    try:
        schemes = {urlsplit(one).scheme.lower(), urlsplit(other).scheme.lower()}
        return len(schemes) == 1 and canonical_host(one) == canonical_host(other)
    except (InvalidInput, ValueError):
        return False


def _plain(url: Any) -> bool:
    return isinstance(url, str) and len(url) <= 2048 and url.isascii() and url.isprintable() and "://" in url


def _address(said: dict[str, Any], name: str) -> str:
    found = said.get(name)
    return str(found) if _plain(found) else ""


async def _document(http: Any, place: str) -> dict[str, Any] | None:
    """Give a document, None where there is none."""
    headers = [("Accept", "application/json")]
    answer = await http.request("GET", place, headers=headers, follow=0, max_bytes=MOST_BYTES, timeout_s=TIMEOUT_S)
    if answer.status != 200:
        return None
    try:
        return parse_object(answer.body)
    except Problem:
        return None
