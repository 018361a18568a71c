"""Registering: a client that makes itself known by a request (RFC 7591), where the settings allow it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from superagent.core.problems import InvalidInput
from superagent.runtime.oauth.client_store import APPLICATION_FLOWS, SqlClients
from superagent.runtime.oauth.desk import refusal

_PROVED = ("client_secret_basic", "client_secret_post")


async def register(clients: SqlClients, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Make the client that a request describes, and describe it back (RFC 7591, 3.2.1). Raises `InvalidInput`.

    Of what may be asked for beyond that it takes nothing: no pages, no logos, no keys to fetch.
    """
    method = asked.get("token_endpoint_auth_method", "none")
    flows = _texts(asked.get("grant_types", ["authorization_code"]))
    responses = _texts(asked.get("response_types", ["code"]))
    addresses = _texts(asked.get("redirect_uris", []))
    name, scope = asked.get("client_name", "an application without a name"), asked.get("scope", "")
    if method not in ("none", *_PROVED):
        raise _odd("this way of client authentication is not known here")
    if not set(flows) <= set(APPLICATION_FLOWS) or "authorization_code" not in flows or responses != ["code"]:
        raise _odd("a client that registers itself uses authorization codes, and refresh tokens")
    if not isinstance(name, str) or not isinstance(scope, str):
        raise _odd("a name and scopes are texts")
    try:
        made = await clients.register(name, scope, addresses, public=method == "none")
    except InvalidInput as odd:
        error = "invalid_redirect_uri" if "redirect" in odd.detail else "invalid_client_metadata"
        raise refusal({"error": error, "error_description": odd.detail}) from None
    out: dict[str, Any] = {
        "client_id": made["id"], "client_id_issued_at": int(made["at"]), "client_name": name,
        "redirect_uris": addresses, "grant_types": list(APPLICATION_FLOWS), "response_types": ["code"],
        "token_endpoint_auth_method": method, "scope": scope or "*",
    }  # fmt: skip
    if made["secret"]:
        out |= {"client_secret": made["secret"], "client_secret_expires_at": 0}
    return out


def _texts(found: Any) -> list[str]:
    listed = cast("list[object]", found) if isinstance(found, list) else [None]
    texts = [one for one in listed if isinstance(one, str)]
    if len(texts) != len(listed):
        raise _odd("addresses and ways are lists of texts")
    return texts


def _odd(what: str) -> InvalidInput:
    return refusal({"error": "invalid_client_metadata", "error_description": what})
