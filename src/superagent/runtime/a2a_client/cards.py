"""Cards of other agents: fetched from where the connection leads, named by digest, and their signatures checked.

A signature only says who made a card. What is believed is what a person pinned: the digest of a card, and if they
want, the key that it is signed by.
"""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass
from typing import Any, Literal, cast

import msgspec
from a2a.client.card_resolver import parse_agent_card
from a2a.types.a2a_pb2 import AgentCard
from a2a.utils.signing import NoSignatureError, create_signature_verifier
from jwt import PyJWK

from superagent.core.problems import Problem, Unavailable
from superagent.core.strict_json import parse_object
from superagent.runtime.a2a_client.carrier import place_of_url, within

PATH = "/.well-known/agent-card.json"
MOST_CARD = 256 * 1024
MOST_KEYS = 64 * 1024
CARD_S = 15.0
BINDINGS = ("JSONRPC", "HTTP+JSON")

# no secret is shared with an agent, so a key that would check its signatures is never one that could have made them
_ALGORITHMS = ["EdDSA", "ES256", "ES384", "ES512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512"]
_KINDS = {"OKP", "EC", "RSA"}

Signature = Literal["verified", "none", "invalid"]


@dataclass(frozen=True, slots=True)
class Card:
    """A card as it was found; `signer` is the thumbprint (RFC 7638) of the key, empty where no signature holds."""

    digest: str
    said: dict[str, Any]
    signature: Signature
    signer: str
    parsed: AgentCard

    def reached_at(self, endpoint: str) -> AgentCard:
        """Give the card with only those interfaces that lie at the connection's own address, to be spoken to."""
        only = AgentCard()
        only.CopyFrom(self.parsed)
        del only.supported_interfaces[:]
        only.supported_interfaces.extend(
            one
            for one in self.parsed.supported_interfaces
            if one.protocol_binding in BINDINGS and within(one.url, endpoint)
        )
        if not only.supported_interfaces:
            raise Unavailable("the agent's card names no way to it at the address of its connection")
        return only


async def fetch(http: Any, endpoint: str, headers: list[tuple[str, str]]) -> Card:
    """Ask an agent for its card, and check its signature. Raises `Unavailable`, problems of the network."""
    asked = [("Accept", "application/json"), *headers]
    answer = await http.request("GET", endpoint + PATH, headers=asked, follow=0, max_bytes=MOST_CARD, timeout_s=CARD_S)
    if answer.status != 200:
        raise Unavailable(f"the agent answered {answer.status} to the question for its card")
    try:
        said = parse_object(answer.body)
        unsigned = {name: one for name, one in said.items() if name != "signatures"}
        digest = hashlib.sha256(msgspec.json.encode(unsigned, order="deterministic")).hexdigest()
        parsed = parse_agent_card(json.loads(answer.body))
    except Exception:
        # the parser of a card of others may stumble over anything
        raise Unavailable("what the agent gave as its card is none") from None
    signature, signer = await _checked(http, endpoint, parsed)
    return Card(digest, said, signature, signer, parsed)


async def _checked(http: Any, endpoint: str, card: AgentCard) -> tuple[Signature, str]:
    """Say whether a signature holds, by a key that the agent publishes at its own address, and by which."""
    if not card.signatures:
        return "none", ""
    published: dict[str, PyJWK] = {}
    for address in {_key_set(one.protected) for one in card.signatures[:4]}:
        if address and _at(address) == place_of_url(endpoint):
            published |= await _keys(http, address)
    used: list[str] = []

    def key(kid: str | None, jku: str | None) -> PyJWK:
        found = published[str(kid)]
        used.append(str(kid))
        return found

    try:
        create_signature_verifier(key, _ALGORITHMS)(card)
    except NoSignatureError:
        return "none", ""
    except Exception:
        # a key that is not there, one of a kind that does not fit, a header that is none: all the same here
        return "invalid", ""
    return "verified", _thumbprint(published[used[-1]])


def _key_set(protected: str) -> str:
    try:
        head = json.loads(base64.urlsafe_b64decode(protected[:4096] + "=" * (-len(protected[:4096]) % 4)))
        return str(cast("dict[str, Any]", head).get("jku", ""))[:2048]
    except (ValueError, AttributeError, RecursionError):
        return ""


async def _keys(http: Any, address: str) -> dict[str, PyJWK]:
    """Give published public keys by name; none where they cannot be had."""
    try:
        answer = await http.request("GET", address, follow=0, max_bytes=MOST_KEYS, timeout_s=CARD_S)
        found: Any = parse_object(answer.body).get("keys") if answer.status == 200 else None
    except Problem:
        return {}
    listed = cast("list[Any]", found)[:20] if isinstance(found, list) else []
    return {str(one["kid"]): key for one in listed if (key := _key(one)) is not None}


def _key(one: Any) -> PyJWK | None:
    try:
        return PyJWK(one) if one["kty"] in _KINDS and one["kid"] else None
    except Exception:  # what the library does not know as a key is none
        return None


def _thumbprint(key: PyJWK) -> str:
    """Name a key by what it is (RFC 7638): whatever it calls itself, this is the same."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
    from joserfc import jwk

    library: Any = jwk
    raw: Any = key.key
    pem = raw.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return library.import_key(pem, key.key_type).thumbprint()


def _at(url: str) -> tuple[str, str] | None:
    try:
        return place_of_url(url)
    except Problem:
        return None
