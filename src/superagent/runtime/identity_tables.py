"""The tables of identity: tenants, people, keys, grants."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Column, Double, Index, String, Text

from superagent.data.areas import Area

AREA = Area("identity", "identity_0001", Path(__file__).parent / "migrations" / "versions")

TENANTS = AREA.instance_table(
    "identity_tenants",
    Column("id", String(64), primary_key=True),
    Column("created_at", Double, nullable=False),
)
PEOPLE = AREA.table(
    "identity_people",
    Column("id", String(64), primary_key=True),
    Column("roles", Text, nullable=False),  # JSON list
    Column("state", String(16), nullable=False),  # active, suspended
    Column("created_at", Double, nullable=False),
)
KEYS = AREA.table(
    "identity_keys",
    Column("id", String(64), primary_key=True),
    Column("public", String(64), nullable=False),
    Column("kind", String(16), nullable=False),  # human, agent
    Column("principal", String(64), nullable=False),
    Column("role", String(64)),
    Column("workspace", Text, nullable=False),
    Column("created_by", String(64), nullable=False),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double),
    Column("revoked_at", Double),
    Column("last_used_at", Double),
    Column("hint", String(16), nullable=False),
    Index("ix_identity_keys_id", "id", unique=True),
)
GRANTS = AREA.table(
    "identity_grants",
    Column("id", String(64), primary_key=True),
    Column("body", Text, nullable=False),  # the grant as JSON
    Column("created_by", String(64), nullable=False),
    Column("created_at", Double, nullable=False),
    Column("revoked_at", Double),
)
