"""Definitions: what a connection may say of itself, checked before it is kept; pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from pydantic import ValidationError

from superagent.sdk import (
    ConnectionType,
    Fault,
    InvalidInput,
    Unavailable,
    canonical_host,
    canonical_path,
    faults_of,
    redact,
)

LONGEST_ENDPOINT = 2048
FILES = frozenset({"sqlite"})  # schemes whose endpoints are files and no hosts
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,127}")
_LOOPBACK = re.compile(r"(?:localhost|127\.[0-9.]+|\[::1\]):[0-9]+")


def check_name(name: str) -> None:
    """Check a connection's name. Raises `InvalidInput`."""
    if not _NAME.fullmatch(name):
        raise InvalidInput(
            "a connection's name has up to 128 letters, digits and `. _ / -`, and begins with a letter or digit",
            hint="for example `github` or `prod/orders`",
        )


def type_of(types: Mapping[str, ConnectionType], name: str) -> ConnectionType:
    """Give a type of connection. Raises `Unavailable` when no plugin provides it."""
    found = types.get(name)
    if found is None:
        raise Unavailable(
            f"no plugin provides connections of the type `{name[:64]}`", hint=f"there are: {', '.join(sorted(types))}"
        )
    return found


def host_of(endpoint: str) -> str:
    """Give the canonical `host:port` of an endpoint; empty for one that is a file (`sqlite:///srv/orders.db`).

    Raises `InvalidInput`, which never repeats the endpoint: people write passwords and tokens into addresses.
    """
    if "@" in endpoint or "?" in endpoint or "#" in endpoint:
        raise InvalidInput(
            "an endpoint has no user, password, query or fragment",
            hint="put the secret away with `secrets.put` and name it in `secret`",
        )
    if len(endpoint) > LONGEST_ENDPOINT or not endpoint.isprintable() or "://" not in endpoint:
        raise InvalidInput("an endpoint is a URL", hint="for example `https://api.example.org`")
    scheme, _, rest = endpoint.partition("://")
    if scheme in FILES and rest.startswith("/"):
        return ""
    try:
        return canonical_host(endpoint)
    except InvalidInput as bad:
        raise InvalidInput("the endpoint does not name a host and port", hint=bad.hint) from None


def endpoint_of(kind: ConnectionType, endpoint: str, secret: str) -> str:
    """Give the one spelling of an endpoint. Raises `InvalidInput` for one that the type does not know or trust."""
    host, (scheme, _, path, _, _) = host_of(endpoint), urlsplit(endpoint)
    if scheme not in kind.schemes:
        raise InvalidInput(f"a connection of the type `{kind.name}` begins with {' or '.join(kind.schemes)}")
    if scheme in FILES:
        return f"{scheme}://{canonical_path(path, '')}"
    if secret and scheme == "http" and not _LOOPBACK.fullmatch(host):
        raise InvalidInput("a secret must not travel in clear", hint="use an `https` endpoint")
    return f"{scheme}://{host}{path.rstrip('/')}"


def options_of(kind: ConnectionType, options: Mapping[str, Any]) -> dict[str, Any]:
    """Check options against what the type takes, and that none is a secret. Raises `InvalidInput`."""
    try:
        checked = kind.options.model_validate(options)
    except ValidationError as bad:
        faults = [Fault(f"$.options{one.path.removeprefix('$')}", one.message) for one in faults_of(bad)]
        raise InvalidInput(f"the options do not fit the type `{kind.name}`", errors=faults) from None
    given = checked.model_dump(mode="json", exclude_unset=True)
    if redact(given) != given:
        raise InvalidInput(
            "an option looks like a secret", hint="put it away with `secrets.put` and name it in `secret`"
        )
    return checked.model_dump(mode="json")
