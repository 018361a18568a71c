"""The tables of stored work, in one transaction scope: invocations, their logs and timers, the outbox, schedules."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import BigInteger, Column, Double, Index, Integer, LargeBinary, String

from superagent.data.areas import Area

AREA = Area("work", "work_0003", Path(__file__).parent / "migrations" / "versions")

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
    Column("started", Double),
    Column("ended", Double),
    Column("attempts", Integer),  # how often it was taken up: more than once only if its operation may be repeated
    Column("retry_of", String(26)),
    Column("schedule", String(26)),
    Column("name", String(100)),
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
# who may see an invocation: its caller, and everybody on whose behalf the call was made
HOLDERS = AREA.table(
    "work_holders",
    Column("person", String(255), primary_key=True),
    Column("invocation", String(26), primary_key=True),
)
# of each output stream of a job the newest bytes are kept: from `first` to `end`, counted from the job's beginning
LOGS = AREA.table(
    "work_logs",
    Column("invocation", String(26), primary_key=True),
    Column("stream", String(8), primary_key=True),
    Column("first", BigInteger, nullable=False),
    Column("end", BigInteger, nullable=False),
)
LOG_PARTS = AREA.table(
    "work_log_parts",
    Column("invocation", String(26), primary_key=True),
    Column("stream", String(8), primary_key=True),
    Column("end", BigInteger, primary_key=True, autoincrement=False),  # where this part ends
    Column("body", LargeBinary, nullable=False),  # sealed
)
# what somebody wants of a job that runs in another process: to stop within so many seconds, or a signal
ORDERS = AREA.table(
    "work_orders",
    Column("id", String(26), primary_key=True),
    Column("invocation", String(26), nullable=False),
    Column("kind", String(8), nullable=False),
    Column("value", Double, nullable=False),
)
SCHEDULES = AREA.table(
    "work_schedules",
    Column("id", String(26), primary_key=True),
    Column("owner", String(255), nullable=False),  # the account that it counts against
    Column("state", String(16), nullable=False),
    Column("due", Double),
    Column("last", String(26), nullable=False),
    Column("runs", Integer, nullable=False),
    Column("skipped", Integer, nullable=False),
    Column("body", LargeBinary, nullable=False),  # sealed
    Index(None, "state", "due"),
)
