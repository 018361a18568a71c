"""The tables of policy: its versions, from when to when each grant was in force, and proposals."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Column, Double, String, Text

from superagent.data.areas import NUMBER, Area

AREA = Area("policy", "policy_0001", Path(__file__).parent / "migrations" / "versions")

VERSIONS = AREA.table(
    "policy_versions",
    Column("number", NUMBER, primary_key=True, autoincrement=False),  # from 1, without gaps
    Column("author", String(255), nullable=False),
    Column("at", Double, nullable=False),
    Column("reason", Text, nullable=False),
    Column("digest", String(64), nullable=False),  # over the built-in roles and all grants in force
)
SPANS = AREA.table(
    "policy_spans",
    Column("grant_id", String(64), primary_key=True),
    Column("since", NUMBER, primary_key=True, autoincrement=False),  # the first version with it
    Column("until", NUMBER),  # the first version without it; none while it is in force
)
PROPOSALS = AREA.table(
    "policy_proposals",
    Column("id", String(64), primary_key=True),
    Column("author", String(255), nullable=False),
    Column("chain", Text, nullable=False),  # JSON list: who proposed, and on whose behalf
    Column("at", Double, nullable=False),
    Column("reason", Text, nullable=False),
    Column("added", Text, nullable=False),  # JSON list of grants
    Column("removed", Text, nullable=False),  # JSON list of ids
    Column("state", String(16), nullable=False),  # waiting, applied, withdrawn
    Column("by", String(255), nullable=False),  # who applied or withdrew it
    Column("version", NUMBER),  # as which it was applied
)
