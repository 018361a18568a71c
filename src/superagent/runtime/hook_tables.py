"""The table of hooks: who wants to be told of which job, and which state was told last."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Column, Double, Index, Integer, LargeBinary, String

from superagent.data.areas import Area

AREA = Area("hooks", "hooks_0001", Path(__file__).parent / "migrations" / "versions")
HOOKS = AREA.table(
    "hooks",
    Column("invocation", String(26), primary_key=True),
    Column("id", String(64), primary_key=True),
    Column("principal", String(255), nullable=False),
    Column("at", Double, nullable=False),
    Column("body", LargeBinary, nullable=False),  # sealed: the address, and what is shown to it
    Column("said", String(16), nullable=False),  # the state that was told last
    Column("attempts", Integer, nullable=False),
    Column("due", Double, nullable=False),  # not before; whoever tells takes it by moving this on
    Index(None, "due"),
    Index(None, "tenant", "principal"),
)
