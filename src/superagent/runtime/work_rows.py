"""Rows of stored work: one invocation's, in every table."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row

from superagent.core.invocation import Status
from superagent.core.ports import Held
from superagent.data.transaction import InstanceTransaction, Transaction, Where
from superagent.runtime.identity_tables import PEOPLE
from superagent.runtime.work_events import forget_events
from superagent.runtime.work_logs import forget_log
from superagent.runtime.work_tables import APPROVALS, HOLDERS, INVOCATIONS, ORDERS, OUTBOX, REQUESTS, TIMERS

KEEP_ENDED_S = 7 * 86_400.0


def row_of(tx: Transaction | InstanceTransaction, id: str, *where: Where) -> Row[Any] | None:
    """Give the row of a stored invocation."""
    return tx.first(INVOCATIONS, INVOCATIONS.c.id == id, *where)


def store(tx: Transaction, held: Held, body: bytes) -> None:
    """Add an invocation that waits or is queued; `body` are its packed and sealed bytes."""
    tx.insert(
        INVOCATIONS,
        id=held.id,
        state=held.state.value,
        at=held.at,
        until=held.until,
        approvals_needed=held.approvals_needed,
        owner="",
        body=body,
        name=held.name,
        retry_of=held.retry_of,
        schedule=held.schedule,
    )
    who = held.invocation.principal
    for person in dict.fromkeys((*who.ids, *who.marks)):  # whose it is, and within which bounds it may be seen
        tx.insert(HOLDERS, person=person, invocation=held.id)
    set_timer(tx, held.id, "expire", held.until)
    if held.state is Status.QUEUED:
        tx.insert(OUTBOX, invocation=held.id, at=held.at)


def asked_of(tx: Transaction, id: str) -> int:
    """Give how often the same was asked for."""
    row = tx.first(REQUESTS, REQUESTS.c.invocation == id)
    return 1 if row is None else row.asked


def people_of(tx: Transaction, id: str) -> tuple[str, ...]:
    """Give who approved, in order; the word of somebody who may act no more counts no more."""
    people = [row.person for row in tx.select(APPROVALS, APPROVALS.c.invocation == id, order=[APPROVALS.c.at])]
    if not people:
        return ()
    gone = {row.id for row in tx.select(PEOPLE, PEOPLE.c.id.in_(people), PEOPLE.c.state != "active")}
    return tuple(one for one in people if one not in gone)


def set_timer(tx: Transaction, id: str, kind: str, due: float) -> None:
    """Set the one timer of an invocation."""
    tx.delete(TIMERS, TIMERS.c.invocation == id)
    tx.insert(TIMERS, invocation=id, kind=kind, due=due)


def forget(tx: Transaction, id: str) -> None:
    """Remove all that is stored of an invocation, unless it runs."""
    if tx.count(INVOCATIONS, INVOCATIONS.c.id == id, INVOCATIONS.c.state == Status.RUNNING.value):
        tx.update(TIMERS, TIMERS.c.invocation == id, due=TIMERS.c.due + KEEP_ENDED_S)
        return
    tx.delete(INVOCATIONS, INVOCATIONS.c.id == id)
    tx.delete(APPROVALS, APPROVALS.c.invocation == id)
    tx.delete(REQUESTS, REQUESTS.c.invocation == id)
    tx.delete(HOLDERS, HOLDERS.c.invocation == id)
    tx.delete(ORDERS, ORDERS.c.invocation == id)
    forget_log(tx, id)
    tx.delete(TIMERS, TIMERS.c.invocation == id)
    forget_events(tx, id)
