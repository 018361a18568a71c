"""The tables of the audit index: where each record stands in the segments, and how far they were read."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import BigInteger, Column, Double, Index, Integer, String

from superagent.data.areas import NUMBER, Area

AREA = Area("audit", "audit_0001", Path(__file__).parent / "migrations" / "versions")

# what can be searched for; the record itself is read from its segment, which nobody can rewrite unseen
RECORDS = AREA.table(
    "audit_records",
    Column("number", NUMBER, primary_key=True, autoincrement=True),
    Column("at", Double, nullable=False),
    Column("invocation", String(64), nullable=False),
    Column("who", String(255), nullable=False),
    Column("human", String(255), nullable=False),  # the last of the chain: for whom it was done in the end
    Column("operation", String(255), nullable=False),
    Column("chain", String(255), nullable=False),
    Column("segment", BigInteger, nullable=False),
    Column("place", BigInteger, nullable=False),
    Column("length", Integer, nullable=False),
    # each in the order in which pages are read, so that no search has to sort more than it found
    Index(None, "tenant", "number"),
    Index(None, "tenant", "at"),
    Index(None, "tenant", "who", "at"),
    Index(None, "tenant", "human", "at"),
    Index(None, "tenant", "operation", "at"),
    Index(None, "tenant", "invocation"),
)
RESOURCES = AREA.table(
    "audit_resources",
    Column("resource", String(1024), primary_key=True),
    Column("at", Double, primary_key=True),
    Column("number", BigInteger, primary_key=True),
)
CHAINS = AREA.instance_table(
    "audit_chains",
    Column("chain", String(255), primary_key=True),
    Column("segment", BigInteger, nullable=False),
    Column("place", BigInteger, nullable=False),
    Column("ended", Integer, nullable=False),
)
