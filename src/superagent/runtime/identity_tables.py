"""The tables of identity: tenants, people, groups, agents, keys, grants, custom roles, stops, and what was spent."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Column, Double, Index, String, Text

from superagent.data.areas import Area

AREA = Area("identity", "identity_0003", Path(__file__).parent / "migrations" / "versions")

TENANTS = AREA.instance_table(
    "identity_tenants",
    Column("id", String(64), primary_key=True),
    Column("created_at", Double, nullable=False),
    Column("state", String(16), nullable=False, server_default="active"),  # active, suspended, removed
)
PEOPLE = AREA.table(
    "identity_people",
    Column("id", String(64), primary_key=True),
    Column("roles", Text, nullable=False),  # JSON list
    Column("state", String(16), nullable=False),  # active, suspended, removed
    Column("created_at", Double, nullable=False),
    Column("name", String(200), nullable=False, server_default=""),
)
# who acts without being a person: an agent acts for its owner, a service for nobody but answers to its owner
AGENTS = AREA.table(
    "identity_agents",
    Column("id", String(255), primary_key=True),
    Column("kind", String(16), nullable=False),  # agent, service
    Column("owner", String(64), nullable=False),  # a person
    Column("parent", String(255), nullable=False),  # the agent that made it, empty for none
    Column("role", String(64)),
    Column("workspace", Text, nullable=False),
    Column("state", String(16), nullable=False),  # active, paused, removed
    Column("budget", Text, nullable=False),  # JSON, empty for none
    Column("created_at", Double, nullable=False),
    Index(None, "tenant", "owner"),
)
KEYS = AREA.table(
    "identity_keys",
    Column("id", String(64), primary_key=True),
    Column("public", String(64), nullable=False),
    Column("kind", String(16), nullable=False),  # human, agent, service
    Column("principal", String(64), nullable=False),
    Column("role", String(64)),
    Column("workspace", Text, nullable=False),
    Column("created_by", String(64), nullable=False),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double),
    Column("revoked_at", Double),
    Column("last_used_at", Double),
    Column("hint", String(16), nullable=False),
    Column("label", String(64), nullable=False, server_default=""),
    Column("above", String(64), nullable=False, server_default=""),  # the key by which it was delegated
    Column("bounds", Text, nullable=False, server_default=""),  # JSON: grants beyond which it does not reach
    Column("limits", Text, nullable=False, server_default=""),  # JSON: rate and budget
    Column("why", String(200), nullable=False, server_default=""),  # why it was revoked, where that is not plain
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
GROUPS = AREA.table(
    "identity_groups",
    Column("id", String(64), primary_key=True),
    Column("roles", Text, nullable=False),  # JSON list
    Column("created_by", String(64), nullable=False),
    Column("created_at", Double, nullable=False),
)
MEMBERS = AREA.table(
    "identity_members",
    Column("member", String(255), primary_key=True),  # user:… or agent:…
    Column("group", String(64), primary_key=True),
    Column("added_at", Double, nullable=False),
)
# a custom role is a name; what it permits are the grants whose subject it is
ROLES = AREA.table(
    "identity_roles",
    Column("id", String(64), primary_key=True),
    Column("summary", Text, nullable=False),
    Column("created_by", String(64), nullable=False),
    Column("created_at", Double, nullable=False),
)
STOPS = AREA.table(
    "identity_stops",
    Column("id", String(64), primary_key=True),
    Column("scope", String(255), nullable=False),  # everything, user:… or agent:…
    Column("reason", Text, nullable=False),
    Column("by", String(64), nullable=False),
    Column("at", Double, nullable=False),
    Column("released_at", Double),
)
# whoever made a person, or was shown what proves that person, until an owner says that somebody else is behind it
HANDS = AREA.table(
    "identity_hands",
    Column("person", String(64), primary_key=True),
    Column("by", String(64), primary_key=True),
    Column("how", String(16), primary_key=True),  # made, key, link
    Column("at", Double, nullable=False),
)
SPENT = AREA.table(
    "identity_spent",
    Column("subject", String(255), primary_key=True),  # agent:… or key:…
    Column("measure", String(16), primary_key=True),  # calls, cpu_s, bytes, money
    Column("began", Double, primary_key=True),  # the window, epoch seconds
    Column("amount", Double, nullable=False),
)
# attenuated keys that were ended one by one, by the revocation id of their newest block
ENDED = AREA.table(
    "identity_ended",
    Column("id", String(128), primary_key=True),
    Column("key", String(64), nullable=False),
    Column("by", String(64), nullable=False),
    Column("at", Double, nullable=False),
    Index(None, "tenant", "key"),
)
