"""The tables of the audit index: blocks of lines, what each says of each tenant, and how far the chains were read."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import BigInteger, Column, Double, Index, Integer, String, Text

from superagent.data.areas import Area

AREA = Area("audit", "audit_0002", Path(__file__).parent / "migrations" / "versions")

# One row for each tenant in each block: where the block stands, and what a search needs to pass it by. The records
# themselves are read from their segment, which nobody can rewrite unseen. Lines count on over all blocks: `number` is
# that of the block's first.
BLOCKS = AREA.table(
    "audit_blocks",
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("chain", String(255), nullable=False),
    Column("segment", BigInteger, nullable=False),
    Column("place", BigInteger, nullable=False),
    Column("length", BigInteger, nullable=False),  # up to the end of the tenant's last record
    Column("lines", Integer, nullable=False),
    Column("records", Integer, nullable=False),  # of the tenant; fewer than lines where a block has several tenants
    Column("oldest", Double, nullable=False),
    Column("newest", Double, nullable=False),
    # each name that the tenant's records say, between line feeds (see audit_block); the longest text last, so that
    # who asks for the others need not read it
    Column("actors", Text, nullable=False),
    Column("operations", Text, nullable=False),
    Column("resources", Text, nullable=False),
    # holds all that decides which block comes next, so that a deep page skips what is too new without reading it
    Index(None, "tenant", "newest", "number", "oldest"),
)
# invocations in blocks where the time in their id would not lead: ended long after they began, or the clock was set
STRAYS = AREA.table(
    "audit_strays",
    Column("invocation", String(64), primary_key=True),
    Column("number", BigInteger, primary_key=True),
    rows_by_key=True,
)
CHAINS = AREA.instance_table(
    "audit_chains",
    Column("chain", String(255), primary_key=True),
    Column("segment", BigInteger, nullable=False),
    Column("place", BigInteger, nullable=False),
    Column("ended", Integer, nullable=False),
    # its last lines in a block, see audit_tail
    Column("reached", BigInteger, nullable=False),
    Column("begin", BigInteger, nullable=False),
    Column("lines", Integer, nullable=False),
)
