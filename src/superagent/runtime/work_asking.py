"""Stored work that asks: jobs that wait until their caller has answered what they need to know."""

from __future__ import annotations

import dataclasses
from typing import Any

from msgspec.structs import replace
from sqlalchemy import Row, select

from superagent.core.invocation import Outcome, Status
from superagent.core.ports import Clock, Held
from superagent.core.problems import Conflict, NeedsInput
from superagent.core.questions import Question
from superagent.data.database import Database
from superagent.data.transaction import Transaction
from superagent.runtime.presence import Presence
from superagent.runtime.stored import Seals, pack_held, pack_outcome, place, unpack_held, unpack_outcome
from superagent.runtime.work_events import StoredEvents
from superagent.runtime.work_rows import row_of, set_timer
from superagent.runtime.work_tables import HOLDERS, INVOCATIONS, OUTBOX

MOST_ASKING = 100  # of one caller
PATIENCE_S = 86_400.0
"""How long a job waits for an answer, and then for its turn; what waits longer expires."""


class AskingJobs(StoredEvents):
    """The part of the port `Work` that parks a job, and lets it go on."""

    def __init__(self, database: Database, seals: Seals, clock: Clock, presence: Presence) -> None:
        super().__init__(database, seals, clock)
        self._presence = presence

    async def park(self, held: Held, outcome: Outcome) -> bool:
        """Let a job that runs here wait for answers to what its `NeedsInput` asks.

        False when a hundred of its caller's do so already: each costs room for a day.
        """
        id, until = outcome.invocation, self._clock.now() + PATIENCE_S
        sealed = self._seal_outcome(held.tenant, outcome)
        account = held.invocation.principal.account
        theirs = select(HOLDERS.c.invocation).where(HOLDERS.c.tenant == held.tenant, HOLDERS.c.person == account)
        asking = (INVOCATIONS.c.state == Status.ASKING.value, INVOCATIONS.c.id.in_(theirs))

        def park(tx: Transaction) -> bool:
            if tx.count(INVOCATIONS, *asking) >= MOST_ASKING:
                return False
            where = (INVOCATIONS.c.id == id, INVOCATIONS.c.state == Status.RUNNING.value)
            values = {"state": Status.ASKING.value, "outcome": sealed, "owner": "", "until": until}
            if tx.update(INVOCATIONS, *where, **values):
                set_timer(tx, id, "expire", until)
            return True

        return await self._database.write(held.tenant, park)

    async def answer(self, tenant: str, id: str, answers: dict[str, Any]) -> tuple[Held, tuple[Question, ...]]:
        """Add answers to what a job asks, and give what it still asks; with nothing left it is queued.

        What it did not ask is left out. Raises `Conflict` when it asks for nothing.
        """
        now = self._clock.now()

        def answer(tx: Transaction) -> tuple[Held, tuple[Question, ...]]:
            row = row_of(tx, id)
            if row is None or row.state != Status.ASKING.value:
                raise Conflict(f"`{id[:100]}` asks for nothing", hint="`jobs.status` shows how it stands")
            outcome, held = self._outcome(row), self._held(row, ())
            assert isinstance(outcome.problem, NeedsInput)
            asked = {one.name for one in outcome.problem.asks}
            left = tuple(one for one in outcome.problem.asks if one.name not in answers)
            call = held.invocation.call
            given = call.answers | {name: value for name, value in answers.items() if name in asked}
            held = _with(held, given)
            body = self._seals.seal("work", place(tenant, id), pack_held(held))
            if left:
                again = NeedsInput(outcome.problem.detail, asks=left)
                still = self._seal_outcome(tenant, replace(outcome, problem=again))
                tx.update(INVOCATIONS, INVOCATIONS.c.id == id, body=body, outcome=still)
                return held, left
            values = {"state": Status.QUEUED.value, "outcome": None, "body": body, "until": now + PATIENCE_S}
            tx.update(INVOCATIONS, INVOCATIONS.c.id == id, **values)
            set_timer(tx, id, "expire", now + PATIENCE_S)
            tx.insert(OUTBOX, invocation=id, at=now)
            return held, ()

        return await self._database.write(tenant, answer)

    def _seal_outcome(self, tenant: str, outcome: Outcome) -> bytes:
        return self._seals.seal("outcomes", place(tenant, outcome.invocation), pack_outcome(outcome))

    def _outcome(self, row: Row[Any]) -> Outcome:
        return unpack_outcome(self._seals.open("outcomes", place(row.tenant, row.id), row.outcome))

    def _held(self, row: Row[Any], approved_by: tuple[str, ...], asked: int = 1) -> Held:
        return unpack_held(self._seals.open("work", place(row.tenant, row.id), row.body), row, approved_by, asked)


def _with(held: Held, answers: dict[str, Any]) -> Held:
    call = replace(held.invocation.call, answers=answers)
    return dataclasses.replace(held, invocation=replace(held.invocation, call=call))
