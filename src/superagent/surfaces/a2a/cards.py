"""Agent cards: who this is, how it is reached and by which keys; signed, so that others can pass them on.

The public card names no operation: what there is to do is shown to who may do it, in the extended card.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from importlib.metadata import version
from typing import Any, Protocol

from a2a.server.request_handlers.response_helpers import agent_card_to_dict
from a2a.types.a2a_pb2 import (
    AgentCapabilities,
    AgentCard,
    AgentInterface,
    AgentProvider,
    AgentSkill,
    APIKeySecurityScheme,
    AuthorizationCodeOAuthFlow,
    ClientCredentialsOAuthFlow,
    HTTPAuthSecurityScheme,
    OAuth2SecurityScheme,
    OAuthFlows,
    SecurityRequirement,
    SecurityScheme,
    StringList,
)
from a2a.utils.constants import PROTOCOL_VERSION_0_3, PROTOCOL_VERSION_1_0, TransportProtocol
from a2a.utils.signing import create_agent_card_signer

from superagent.core.operation import Operation

JSON = "application/json"
TEXT = "text/plain"
KEYS = "/a2a/keys.json"
_DOOR = "/a2a"
_SCOPES = {"*:read": "call what only reads", "*:change": "call what changes", "*": "call everything"}
_SAYS = """\
Operates computers for other agents: files, commands, processes, databases and more, each as a named operation. Send a
message with one data part, {"operation": "files.read", "input": {"path": "notes.txt"}}. Every call is judged by policy,
recorded, contained, and can be undone where its result says so; what needs a person's approval is `input-required`
until that person has decided. The extended card lists the operations that your key may use."""
_GENERAL = AgentSkill(
    id="operate",
    name="Run an operation",
    description="Run one operation by its name, with an input that fits its schema; `catalogue.search` finds them.",
    tags=["operations"],
    examples=['{"operation": "catalogue.search", "input": {"query": "read a file"}}'],
    input_modes=[JSON, TEXT],
    output_modes=[JSON],
)


class Signing(Protocol):
    """Keys that cards are signed with."""

    def newest(self) -> tuple[str, bytes]:
        """Give the name and the private key (PEM) to sign with."""
        ...

    def published(self) -> dict[str, Any]:
        """Give the JWK set of all that cards may be signed with."""
        ...


class Cards:
    """The cards of one installation, for each address under which it is reached."""

    def __init__(self, keys: Signing) -> None:
        self._keys = keys

    def public(self, origin: str) -> dict[str, Any]:
        """Give the card that everybody may read, with what readers of 0.3 look for."""
        return agent_card_to_dict(self._signed(_card(origin), origin))

    def extended(self, origin: str, operations: Sequence[Operation]) -> AgentCard:
        """Give the card for a caller: a skill for each operation that it may use."""
        return _extended(tuple(operations), origin, *self._keys.newest())

    def keys(self) -> dict[str, Any]:
        """Give the public halves of the signing keys."""
        return self._keys.published()

    def _signed(self, card: AgentCard, origin: str) -> AgentCard:
        return _signed(card, origin, *self._keys.newest())


@lru_cache(16)
def _extended(operations: tuple[Operation, ...], origin: str, name: str, pem: bytes) -> AgentCard:
    """Make an extended card: it takes long, and many see the same."""
    card = _card(origin)
    card.skills.extend(_skill(one) for one in operations)
    return _signed(card, origin, name, pem)


def _signed(card: AgentCard, origin: str, name: str, pem: bytes) -> AgentCard:
    head: Any = {"alg": "EdDSA", "kid": name, "typ": "JOSE", "jku": origin + KEYS}
    return create_agent_card_signer(pem, head)(card)


def _card(origin: str) -> AgentCard:
    url = origin + _DOOR
    return AgentCard(
        name="Super-Agent",
        description=" ".join(_SAYS.split()),
        version=version("superagent"),
        provider=AgentProvider(organization="Super-Agent", url=origin),
        documentation_url=f"{origin}/docs",
        supported_interfaces=[
            AgentInterface(url=url, protocol_binding=binding.value, protocol_version=spoken)
            for spoken in (PROTOCOL_VERSION_1_0, PROTOCOL_VERSION_0_3)
            for binding in (TransportProtocol.JSONRPC, TransportProtocol.HTTP_JSON)
        ],
        capabilities=AgentCapabilities(streaming=True, push_notifications=True, extended_agent_card=True),
        security_schemes=_schemes(origin),
        security_requirements=[
            SecurityRequirement(schemes={"bearer": StringList()}),
            SecurityRequirement(schemes={"key": StringList()}),
            SecurityRequirement(schemes={"oauth": StringList(list=["*:read"])}),
        ],
        default_input_modes=[JSON, TEXT],
        default_output_modes=[JSON],
        skills=[_GENERAL],
    )


def _schemes(origin: str) -> dict[str, SecurityScheme]:
    # no `pkce_required` and no device flow: readers that also take 0.3 drop them, and then the signature does not fit
    token, oauth = f"{origin}/oauth/token", "OAuth 2.1 with PKCE; ask for the resource that ends in /a2a (RFC 8707)."
    flows = (
        OAuthFlows(authorization_code=AuthorizationCodeOAuthFlow(
            authorization_url=f"{origin}/oauth/authorize", token_url=token, scopes=_SCOPES)),
        OAuthFlows(client_credentials=ClientCredentialsOAuthFlow(token_url=token, scopes=_SCOPES)),
    )  # fmt: skip
    names = ("oauth", "oauth-client")
    metadata = f"{origin}/.well-known/oauth-authorization-server"
    schemes = {
        name: SecurityScheme(
            oauth2_security_scheme=OAuth2SecurityScheme(description=oauth, flows=one, oauth2_metadata_url=metadata)
        )
        for name, one in zip(names, flows, strict=True)
    }
    bearer = HTTPAuthSecurityScheme(scheme="Bearer", description="An API key of this installation, or an access token.")
    key = APIKeySecurityScheme(location="header", name="X-API-Key", description="An API key of this installation.")
    return {
        "bearer": SecurityScheme(http_auth_security_scheme=bearer),
        "key": SecurityScheme(api_key_security_scheme=key),
        **schemes,
    }


@lru_cache(4096)
def _skill(operation: Operation) -> AgentSkill:
    """Give the skill that an operation is; `catalogue.describe` tells the rest, its schema among it."""
    return AgentSkill(
        id=operation.name,
        name=operation.name,
        description=operation.summary,
        tags=[operation.domain, operation.effect.name.lower(), f"risk:{operation.risk.name.lower()}"],
        input_modes=[JSON],
        output_modes=[JSON],
    )
