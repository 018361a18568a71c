"""Access tokens: JWTs of the profile `at+jwt` (RFC 9068), signed with Ed25519 (RFC 8037, RFC 9864)."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import msgspec
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey

LIFE_S = 300
ALGORITHM = "Ed25519"
TYPE = "at+jwt"
LONGEST = 8192
_LATE_S = 5.0  # clocks of two workers of a host are the same; this is for a step of that clock
_HEADER = frozenset({"alg", "typ", "kid"})


class Refused(Exception):
    """A token is not accepted; the text says why, for the audit and not for the caller."""


class Claims(msgspec.Struct, frozen=True):
    """What an access token says (RFC 9068, 2.2). `consent` is what it was given by: dead, when that is revoked."""

    iss: str
    sub: str
    aud: list[str]
    client_id: str
    scope: str
    iat: int
    exp: int
    jti: str
    consent: str


def signed(claims: Claims, name: str, key: OKPKey) -> str:
    """Give the token that says this, signed by a key of this name."""
    header = {"alg": ALGORITHM, "typ": TYPE, "kid": name}
    return jwt.encode(header, msgspec.structs.asdict(claims), key, algorithms=[ALGORITHM])


def verified(
    token: str, find: Callable[[str], OKPKey | None], issuers: Sequence[str], audiences: Sequence[str], now: float
) -> Claims:
    """Give what a token says, once all of it holds (RFC 9068, 4; RFC 8725). Raises `Refused`."""
    claims = genuine(token, find, issuers)
    if not set(audiences) & set(claims.aud):
        raise Refused("another audience")
    if not claims.iat - _LATE_S <= now < claims.exp:
        raise Refused("expired, or not yet valid")
    return claims


def genuine(token: str, find: Callable[[str], OKPKey | None], issuers: Sequence[str]) -> Claims:
    """Give what a token says that is ours, whomever it is for and whether its time is over. Raises `Refused`.

    The key is found by its name among our own and nowhere else: a token cannot bring one along or say where one lies,
    and its algorithm is not a choice.
    """
    header = _header(token)
    if header.get("alg") != ALGORITHM:
        raise Refused("another algorithm")
    if str(header.get("typ", "")).lower() not in (TYPE, f"application/{TYPE}"):
        raise Refused("another type of token")
    if not header.keys() <= _HEADER:
        raise Refused("a header that an access token has not")
    key = find(str(header.get("kid", "")))
    if key is None:
        raise Refused("no key of ours")
    try:
        claims = msgspec.convert(jwt.decode(token, key, algorithms=[ALGORITHM]).claims, Claims)
    except (JoseError, ValueError) as bad:  # `ValidationError` of msgspec is a ValueError
        raise Refused("a signature or claims that do not hold") from bad
    if claims.iss not in issuers:
        raise Refused("another issuer")
    return claims


def looks_like_one(token: str) -> bool:
    """Tell whether a text can be a JWT at all; nothing else of it is looked at."""
    return token.startswith("eyJ") and len(token) <= LONGEST and token.count(".") == 2 and token.isascii()


def _header(token: str) -> Mapping[str, Any]:
    if not looks_like_one(token):
        raise Refused("no token")
    text = token.partition(".")[0]
    try:
        header = json.loads(urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (ValueError, RecursionError) as bad:  # a header may nest as deep as it is long
        raise Refused("no token") from bad
    if not isinstance(header, dict):
        raise Refused("no token")
    return cast("dict[str, Any]", header)
