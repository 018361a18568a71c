"""Metadata: how programs find the way to tokens (RFC 8414, RFC 9728)."""

from __future__ import annotations

from typing import Any

from superagent.core.scopes import OFFLINE
from superagent.runtime.oauth.tables import DEVICE_FLOW

PROVED = ["client_secret_basic", "client_secret_post"]
SCOPES = ["*", "*:change", "*:read", OFFLINE]
"""What is shown of the scopes; further ones name operations: `files.*`, `files.read`, `files.*:read`."""
DEFAULT_SCOPE = "*:read"
"""What a client is told to ask for that does not know what it needs."""


def of_server(issuer: str, registration: bool) -> dict[str, Any]:
    """Describe the authorization server (RFC 8414, 2)."""
    out: dict[str, Any] = {
        "issuer": issuer,
        "authorization_endpoint": f"{issuer}/oauth/authorize",
        "token_endpoint": f"{issuer}/oauth/token",
        "jwks_uri": f"{issuer}/.well-known/jwks.json",
        "introspection_endpoint": f"{issuer}/oauth/introspect",
        "revocation_endpoint": f"{issuer}/oauth/revoke",
        "device_authorization_endpoint": f"{issuer}/oauth/device_authorization",
        "scopes_supported": SCOPES,
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code", "refresh_token", "client_credentials", DEVICE_FLOW],
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": [*PROVED, "none"],
        "revocation_endpoint_auth_methods_supported": [*PROVED, "none"],
        "introspection_endpoint_auth_methods_supported": PROVED,
        "authorization_response_iss_parameter_supported": True,
        "client_id_metadata_document_supported": True,
        "service_documentation": f"{issuer}/docs",
    }
    if registration:
        out["registration_endpoint"] = f"{issuer}/oauth/register"
    return out


def of_resource(issuer: str, path: str) -> dict[str, Any]:
    """Describe a protected resource: the API itself, or the door at a path (RFC 9728, 2)."""
    return {
        "resource": issuer + path,
        "authorization_servers": [issuer],
        "jwks_uri": f"{issuer}/.well-known/jwks.json",
        "scopes_supported": SCOPES[:-1],
        "bearer_methods_supported": ["header"],
        "resource_name": "Super-Agent",
        "resource_documentation": f"{issuer}/docs",
    }
