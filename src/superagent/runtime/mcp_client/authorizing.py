"""Authorizing: how this installation gets tokens for a server (MCP 2026-07-28 and 2025-11-25, authorization).

By the client's own credentials, or by a person who follows a link and brings back what the browser ended at (code flow
with PKCE, RFC 9207, RFC 8707). A connection of the type `oauth` names the authorization server; its secret, and every
token, goes to that host and to the server, and to nobody else.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import msgspec
from msgspec.structs import replace

from superagent.core.connections import Connected
from superagent.core.principal import Secret
from superagent.core.problems import Conflict, Fix, InvalidInput, Problem, Unavailable
from superagent.core.resources import canonical_host
from superagent.core.strict_json import parse_object
from superagent.runtime.hosted.call import shown
from superagent.runtime.mcp_client import challenged
from superagent.runtime.mcp_client.challenged import MOST_BYTES, TIMEOUT_S, Giver, Protected, scopes_of
from superagent.runtime.mcp_client.granted import Begun, Granted

TTL_S = 600.0
_ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_ASSERTION_S = 60
_LONGEST_TOKEN = 16 * 1024
_FORM = [("Content-Type", "application/x-www-form-urlencoded"), ("Accept", "application/json")]
_OFFLINE = "offline_access"


@dataclass(frozen=True, slots=True)
class Login:
    """A connection of the type `oauth` as it is used: its own words, and its secret where it has one."""

    connected: Connected
    secret: Secret | None

    @property
    def issuer(self) -> str:
        """Name the authorization server, to the letter."""
        return str(self.connected.options.get("issuer") or self.connected.endpoint)

    @property
    def alone(self) -> bool:
        """Tell whether the client asks for itself, and no person."""
        return self.connected.options.get("grant") == "client_credentials"

    @property
    def scopes(self) -> tuple[str, ...]:
        """Give the scopes that a person chose, none for what the server asks for."""
        return scopes_of(self.connected.options.get("scopes"))

    @property
    def digest(self) -> str:
        """Name what it says: tokens that were given for other words are not used."""
        one = self.connected
        said = [one.endpoint, one.secret, one.options]
        return hashlib.sha256(msgspec.json.encode(said, order="deterministic")).hexdigest()


class Rejected(Exception):
    """The authorization server gives no token; the text is its code for why."""


def chosen(protected: Protected, login: Login) -> None:
    """Go on only with the authorization server that a person named. Raises `Unavailable`."""
    if login.issuer in protected.issuers:
        return
    one, other = login.connected, protected.issuers[0]
    # what we are called at the one, and the secret for it, are of no use at the other, and none of its business
    options = {name: value for name, value in one.options.items() if name != "client_id"} | {"issuer": other}
    changed = {"name": one.name, "endpoint": other, "options": options, "without_secret": bool(one.secret)}
    raise Unavailable(
        f"the server takes tokens of {shown(', '.join(protected.issuers), 300)}, and not of `{login.issuer}`",
        hint="a person looks at it, and lets the connection lead there if it is the right one",
        fix=Fix("connections.update", changed),
    )


def wanted(login: Login, protected: Protected, challenged: tuple[str, ...], before: list[str]) -> list[str]:
    """Give the scopes to ask for: a person's choice, else what the server wants, and what there was (SEP-2350)."""
    first = login.scopes or challenged or protected.scopes
    return list(dict.fromkeys([*before, *first, *challenged]))


async def client_of(http: Any, login: Login, giver: Giver, resource: str, back: str, before: Granted | None) -> Granted:
    """Give as whom we ask: by the connection, as we registered before, or registered now (RFC 7591).

    Raises `Unavailable`, `Conflict`, problems of the network.
    """
    _fitting(giver.token, login)
    named = str(login.connected.options.get("client_id", ""))
    if named:
        method = _method(giver, login)
        return Granted(login.digest, giver.issuer, resource, giver.token, named, method)
    if before is not None and before.client and before.issuer == giver.issuer and before.login == login.digest:
        return replace(before, resource=resource, endpoint=giver.token)
    if not giver.register or login.alone:
        raise Unavailable(
            f"`{login.issuer}` wants to know its clients beforehand",
            hint="register there by hand, and write `client_id` into the options of the connection",
        )
    _fitting(giver.register, login)
    method = next((one for one in ("none", "client_secret_basic", "client_secret_post") if one in giver.methods), "")
    about = {
        "client_name": "Superagent", "redirect_uris": [back], "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"], "token_endpoint_auth_method": method or "client_secret_basic",
        "application_type": "native" if loopback(urlsplit(back).hostname or "") else "web",
    }  # fmt: skip
    answer = await http.request(
        "POST", giver.register, headers=[("Content-Type", "application/json"), ("Accept", "application/json")],
        content=json.dumps(about).encode(), follow=0, max_bytes=MOST_BYTES, timeout_s=TIMEOUT_S,
    )  # fmt: skip
    said = _object(answer.body) if answer.status in (200, 201) else {}
    client, secret = said.get("client_id"), said.get("client_secret", "")
    if not (_line(client) and (secret == "" or _line(secret))):
        raise Unavailable(f"`{login.issuer}` did not register us ({answer.status})", hint="register there by hand")
    told = said.get("token_endpoint_auth_method")
    method = (
        str(told)
        if told in ("none", "client_secret_basic", "client_secret_post")
        else about["token_endpoint_auth_method"]
    )
    method = "none" if not secret else "client_secret_basic" if method == "none" else method
    return Granted(login.digest, giver.issuer, resource, giver.token, str(client), str(method), str(secret))


def link_of(granted: Granted, giver: Giver, back: str, scopes: list[str], now: float) -> tuple[str, Granted]:
    """Give the link that a person follows, and what has to be held until they come back. Raises `Unavailable`."""
    if not giver.authorize or urlsplit(giver.authorize).scheme not in ("http", "https"):
        raise Unavailable(f"`{giver.issuer}` has no page on which a person could agree")
    if "S256" not in giver.challenges:
        raise Unavailable(f"`{giver.issuer}` does not bind a code to who asked for it (PKCE, S256), so it is not used")
    if _OFFLINE in giver.scopes:  # without it there may be no refresh token (SEP-2207)
        scopes = [*dict.fromkeys([*scopes, _OFFLINE])]
    state, verifier = secrets.token_urlsafe(32), secrets.token_urlsafe(48)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    asked = {
        "response_type": "code", "client_id": granted.client, "redirect_uri": back, "state": state,
        "code_challenge": challenge, "code_challenge_method": "S256", "resource": granted.resource,
    } | ({"scope": " ".join(scopes)} if scopes else {})  # fmt: skip
    begun = Begun(state, verifier, back, now + TTL_S, giver.names_itself)
    joint = "&" if "?" in giver.authorize else "?"
    return f"{giver.authorize}{joint}{urlencode(asked)}", replace(granted, begun=begun, scopes=scopes)


def code_of(granted: Granted, answer: str, now: float) -> str:
    """Give the code in the address at which a browser ended. Raises `InvalidInput`, `Conflict`."""
    begun = granted.begun
    if begun is None or now > begun.until:
        raise Conflict("nobody was sent to agree, or it is too long ago", hint="`plugins.authorize` gives a new link")
    said = parse_qs(urlsplit(answer).query, max_num_fields=20)
    if any(len(values) != 1 for values in said.values()):
        raise InvalidInput("this is not the address at which the browser ended")
    if not secrets.compare_digest(said.get("state", [""])[0].encode(), begun.state.encode()):
        raise InvalidInput("this answer belongs to another authorization", hint="`plugins.authorize` gives a new link")
    issuer = said.get("iss", [""])[0]
    if issuer != granted.issuer and (issuer or begun.names_itself):  # RFC 9207, 2.4
        raise InvalidInput("this answer comes from another authorization server")
    if "code" not in said:
        why = challenged.code_of(said.get("error", [""])[0]) or "it does not say why"
        raise Conflict(f"the authorization server did not agree: {why}")
    return said["code"][0]


async def redeem(http: Any, granted: Granted, login: Login, fields: dict[str, str], now: float) -> Granted:
    """Ask for a token with these fields (RFC 6749, 4). Raises `Rejected`, `Unavailable`, problems of the network."""
    _fitting(granted.endpoint, login)
    secret = granted.secret or (login.secret.reveal() if login.secret is not None else "")
    sent, headers = {**fields, "resource": granted.resource}, list(_FORM)
    match granted.method:
        case "private_key_jwt":
            sent |= {"client_assertion_type": _ASSERTION, "client_assertion": _assertion(granted, login, secret, now)}
        case "client_secret_basic":
            pair = urlencode({"": granted.client})[1:] + ":" + urlencode({"": secret})[1:]
            headers.append(("Authorization", "Basic " + base64.b64encode(pair.encode()).decode()))
        case "client_secret_post":
            sent |= {"client_id": granted.client, "client_secret": secret}
        case _:
            sent |= {"client_id": granted.client}
    answer = await http.request(
        "POST", granted.endpoint, headers=headers, content=urlencode(sent).encode(), follow=0, max_bytes=MOST_BYTES,
        timeout_s=TIMEOUT_S,
    )  # fmt: skip
    said = _object(answer.body)
    if answer.status != 200:
        raise Rejected(challenged.code_of(said.get("error")) or f"status {answer.status}")
    token, kind = said.get("access_token"), said.get("token_type")
    if not _line(token) or not isinstance(kind, str) or kind.lower() != "bearer":
        raise Unavailable(f"`{granted.issuer}` gave something that is no bearer token")
    for_s, further = said.get("expires_in"), said.get("refresh_token")
    return replace(
        granted, access=str(token), refresh=str(further) if _line(further) else granted.refresh,
        until=now + for_s if isinstance(for_s, int | float) and for_s > 0 else 0.0, begun=None, wanted=[],
        scopes=list(scopes_of(said.get("scope")) or granted.scopes),
    )  # fmt: skip


# ---- inside


def _method(giver: Giver, login: Login) -> str:
    if login.connected.options.get("client_auth") == "key":
        return "private_key_jwt"
    if login.secret is None:
        return "none"
    return "client_secret_post" if "client_secret_basic" not in giver.methods else "client_secret_basic"


def _assertion(granted: Granted, login: Login, key: str, now: float) -> str:
    """Give what proves that we hold the client's key (RFC 7523, 2.2). Raises `Conflict` for a secret that is none."""
    from joserfc import jwt
    from joserfc.errors import JoseError
    from joserfc.jwk import ECKey, OKPKey, RSAKey

    algorithm = str(login.connected.options.get("algorithm", "ES256"))
    kinds: dict[str, Any] = {"ES": ECKey, "RS": RSAKey, "PS": RSAKey, "Ed": OKPKey}
    claims = {
        "iss": granted.client, "sub": granted.client, "aud": granted.issuer, "jti": secrets.token_urlsafe(16),
        "iat": int(now), "exp": int(now) + _ASSERTION_S,
    }  # fmt: skip
    try:
        held = kinds[algorithm[:2]].import_key(key)
        return jwt.encode({"alg": algorithm}, claims, held, algorithms=[algorithm])
    except (JoseError, ValueError, KeyError, TypeError):
        raise Conflict(
            f"the secret of `{login.connected.name}` is no private key for {algorithm}", hint="put it as PEM or JWK"
        ) from None


def _fitting(url: str, login: Login) -> None:
    """Go on only to the host of the connection, and not in clear. Raises `Unavailable`."""
    try:
        there = canonical_host(url)
    except (InvalidInput, ValueError):
        there = ""
    if there != login.connected.host:
        raise Unavailable(
            f"`{login.issuer}` wants what is secret sent to `{shown(there or url, 200)}`, and it goes to "
            f"`{login.connected.host}` only",
            hint="if that is right, let the connection's endpoint be there, and its option `issuer` name this one",
        )
    if urlsplit(url).scheme != "https" and not loopback(urlsplit(url).hostname or ""):
        raise Unavailable("a token must not travel in clear", hint="use an `https` address")


def loopback(name: str) -> bool:
    """Tell whether a host is this machine."""
    return name in ("localhost", "::1") or name.startswith("127.")


def _object(body: bytes) -> dict[str, Any]:
    try:
        return parse_object(body)
    except Problem:
        return {}


def _line(value: Any) -> bool:
    """Tell whether a value can stand in a header or form: one word of visible ASCII."""
    return isinstance(value, str) and 0 < len(value) <= _LONGEST_TOKEN and all("!" <= one <= "~" for one in value)
