"""The tables of authorization: clients, consents, and the short-lived codes and tokens that come of them.

Nothing that a caller shows is kept: of secrets, codes and refresh tokens there are only digests.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Column, Double, Index, Integer, String, Text

from superagent.data.areas import Area

DEVICE_FLOW = "urn:ietf:params:oauth:grant-type:device_code"
COMMAND_LINE = "superagent-cli"
"""The one client that every installation knows: its own command line. It is public, and can only be a device."""

AREA = Area("oauth", "oauth_0001", Path(__file__).parents[1] / "migrations" / "versions")

CLIENTS = AREA.table(
    "oauth_clients",
    Column("id", String(64), primary_key=True),
    Column("kind", String(16), nullable=False),  # service, application
    Column("name", String(100), nullable=False),
    Column("digest", String(64)),  # of its secret; None for a public client
    Column("hint", String(16), nullable=False),
    Column("former", String(64)),  # digest of the secret before, good until `former_until`
    Column("former_until", Double),
    Column("redirects", Text, nullable=False),  # JSON list
    Column("flows", Text, nullable=False),  # JSON list of grant types
    Column("scopes", Text, nullable=False),
    Column("role", String(64)),
    Column("workspace", Text, nullable=False),
    Column("created_by", String(64), nullable=False),  # empty for one that registered itself
    Column("created_at", Double, nullable=False),
    Column("revoked_at", Double),
    Column("last_used_at", Double),
    Index("ix_oauth_clients_id", "id", unique=True),
)
CONSENTS = AREA.table(
    "oauth_consents",
    Column("id", String(64), primary_key=True),
    Column("client", Text, nullable=False),  # an id, or the address of a client's own document
    Column("client_name", String(100), nullable=False),
    Column("person", String(64), nullable=False),
    Column("flow", String(64), nullable=False),
    Column("scopes", Text, nullable=False),
    Column("audiences", Text, nullable=False),  # JSON list
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double, nullable=False),
    Column("revoked_at", Double),
    Column("why", String(64), nullable=False),
    Index("ix_oauth_consents_id", "id", unique=True),
)
CODES = AREA.table(
    "oauth_codes",
    Column("digest", String(64), primary_key=True),
    Column("consent", String(64), nullable=False),
    Column("client", Text, nullable=False),
    Column("redirect", Text, nullable=False),
    Column("challenge", String(128), nullable=False),
    Column("expires_at", Double, nullable=False),
    Column("used_at", Double),
    Index("ix_oauth_codes_digest", "digest", unique=True),
)
REFRESH = AREA.table(
    "oauth_refresh",
    Column("digest", String(64), primary_key=True),
    Column("consent", String(64), nullable=False),
    Column("client", Text, nullable=False),
    Column("expires_at", Double, nullable=False),
    Column("used_at", Double),
    Index("ix_oauth_refresh_digest", "digest", unique=True),
)
DEVICES = AREA.instance_table(
    "oauth_devices",
    Column("digest", String(64), primary_key=True),
    Column("user_code", String(16), nullable=False, unique=True),
    Column("client", Text, nullable=False),
    Column("client_name", String(100), nullable=False),
    Column("client_tenant", String(64), nullable=False),  # `-` for a client of no tenant
    Column("scopes", Text, nullable=False),
    Column("audiences", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double, nullable=False),
    Column("polled_at", Double, nullable=False),
    Column("interval_s", Integer, nullable=False),
    Column("state", String(16), nullable=False),  # waiting, approved, denied, used
    Column("approved_in", String(64), nullable=False),  # the tenant of who approved it; empty before
    Column("consent", String(64), nullable=False),
)
