"""The tables of stored work: one transaction scope for invocations, approvals, events, timers and the outbox."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Column, Double, Index, Integer, LargeBinary, String

from superagent.data.areas import Area

AREA = Area("work", "work_0002", Path(__file__).parent / "migrations" / "versions")

INVOCATIONS = AREA.table(
    "work_invocations",
    Column("id", String(26), primary_key=True),
    Column("state", String(16), nullable=False),
    Column("at", Double, nullable=False),
    Column("until", Double, nullable=False),
    Column("approvals_needed", Integer, nullable=False),
    Column("owner", String(16), nullable=False),  # the process that runs it; empty before and after
    Column("body", LargeBinary, nullable=False),  # sealed
    Column("outcome", LargeBinary),  # sealed
    Index(None, "tenant", "state", "id"),
    Index(None, "state", "owner"),
)
APPROVALS = AREA.table(
    "work_approvals",
    Column("invocation", String(26), primary_key=True),
    Column("person", String(255), primary_key=True),
    Column("at", Double, nullable=False),
)
# what waits, by who asked and by what is the same (a digest), so that asking again makes no second request
REQUESTS = AREA.table(
    "work_requests",
    Column("invocation", String(26), primary_key=True),
    Column("principal", String(255), nullable=False),
    Column("mark", String(64), nullable=False),
    Column("asked", Integer, nullable=False),
    Index(None, "tenant", "principal", "mark"),
)
STREAMS = AREA.table(
    "work_streams",
    Column("invocation", String(26), primary_key=True),
    Column("events", Integer, nullable=False),
    Column("bytes", Integer, nullable=False),
)
EVENTS = AREA.table(
    "work_events",
    Column("invocation", String(26), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("body", LargeBinary, nullable=False),  # sealed
)
# one timer per invocation: when it expires (`expire`), later when it may be forgotten (`forget`)
TIMERS = AREA.table(
    "work_timers",
    Column("invocation", String(26), primary_key=True),
    Column("due", Double, nullable=False),
    Column("kind", String(16), nullable=False),
    Index(None, "due"),
)
# hints that something is ready to run; whoever takes it up removes the hint in the same transaction
OUTBOX = AREA.table(
    "work_outbox",
    Column("invocation", String(26), primary_key=True),
    Column("at", Double, nullable=False),
    Index(None, "at"),
)
