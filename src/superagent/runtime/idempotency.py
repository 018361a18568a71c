"""Idempotency: a call with a key happens once in 24 hours, whatever dies in between (rules.md 19)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import Column, Double, Index, LargeBinary, Row, String

from superagent.core.invocation import Outcome, Status, Ticket
from superagent.core.ports import Clock, Remembered
from superagent.core.problems import IdempotencyMismatch, InvalidInput
from superagent.data.areas import Area
from superagent.data.database import Database
from superagent.data.transaction import Transaction, Where
from superagent.runtime.presence import Presence
from superagent.runtime.stored import Seals, pack_outcome, place, unknown, unpack_outcome
from superagent.runtime.work_tables import INVOCATIONS

KEEP_S = 86_400.0
LONGEST_KEY = 255
AREA = Area("idempotency", "idempotency_0001", Path(__file__).parent / "migrations" / "versions")
CALLS = AREA.table(
    "idempotency_calls",
    Column("principal", String(255), primary_key=True),
    Column("operation", String(200), primary_key=True),
    Column("key", String(LONGEST_KEY), primary_key=True),
    Column("digest", String(64), nullable=False),
    Column("invocation", String(26), nullable=False),
    Column("owner", String(16), nullable=False),  # the process that runs it
    Column("until", Double, nullable=False),
    Column("outcome", LargeBinary),  # sealed; none while it runs
    Index(None, "until"),
)


class SqlIdempotency:
    """Fill the port `Idempotency` with one row per (tenant, principal, operation, key)."""

    def __init__(self, database: Database, seals: Seals, clock: Clock, presence: Presence) -> None:
        self._database = database
        self._seals = seals
        self._clock = clock
        self._presence = presence

    async def begin(self, ticket: Ticket) -> Remembered | None:
        """Remember the call, or give the earlier one.

        None also for the very same invocation when it is taken up again. An earlier one whose process died is given
        with the outcome `unknown`: it is not run again. Raises `IdempotencyMismatch` for another input under the same
        key.
        """
        call, invocation, tenant = ticket.invocation.call, ticket.invocation.id, ticket.invocation.principal.tenant
        if len(call.key) > LONGEST_KEY:
            raise InvalidInput(f"an idempotency key has at most {LONGEST_KEY} characters")
        now = self._clock.now()
        mine = {"digest": ticket.input_digest, "invocation": invocation, "owner": self._presence.name}
        keyed = {"principal": ticket.invocation.principal.id, "operation": call.operation, "key": call.key}

        def begin(tx: Transaction) -> tuple[Row[Any], bool] | None:
            if tx.insert_new(CALLS, **keyed, **mine, until=now + KEEP_S):
                return None
            row = tx.first(CALLS, *_key(ticket))
            assert row is not None
            if row.invocation == invocation or row.until <= now:
                tx.update(CALLS, *_key(ticket), **mine, until=now + KEEP_S, outcome=None)
                return None
            queued = (INVOCATIONS.c.id == row.invocation, INVOCATIONS.c.state == Status.QUEUED.value)
            return row, bool(tx.count(INVOCATIONS, *queued))

        found = await self._database.write(tenant, begin)
        if found is None:
            return None
        row, queued = found
        if row.digest != ticket.input_digest:
            raise IdempotencyMismatch(f"`{call.key}` was used for another input of `{call.operation}`")
        if row.outcome is not None:
            sealed = self._seals.open("outcomes", place(tenant, row.invocation), row.outcome)
            return Remembered(row.invocation, unpack_outcome(sealed))
        if queued or self._presence.alive(row.owner):
            return Remembered(row.invocation, None)
        return Remembered(row.invocation, unknown(row.invocation, call.operation))

    async def finish(self, ticket: Ticket, outcome: Outcome) -> None:
        """Remember what came of it, for 24 hours."""
        tenant = ticket.invocation.principal.tenant
        sealed = self._seals.seal("outcomes", place(tenant, ticket.invocation.id), pack_outcome(outcome))
        until = self._clock.now() + KEEP_S
        await self._database.write(tenant, lambda tx: tx.update(CALLS, *_own(ticket), outcome=sealed, until=until))

    async def forget(self, ticket: Ticket) -> None:
        """Forget a call that was refused before its intent."""
        await self._database.write(ticket.invocation.principal.tenant, lambda tx: tx.delete(CALLS, *_own(ticket)))

    async def sweep(self) -> int:
        """Forget what is older than 24 hours; give how many."""
        now = self._clock.now()
        return await self._database.write_instance(lambda tx: tx.delete(CALLS, CALLS.c.until <= now))


def _key(ticket: Ticket) -> tuple[Where, ...]:
    call = ticket.invocation.call
    return (
        CALLS.c.principal == ticket.invocation.principal.id,
        CALLS.c.operation == call.operation,
        CALLS.c.key == call.key,
    )


def _own(ticket: Ticket) -> tuple[Where, ...]:
    return (*_key(ticket), CALLS.c.invocation == ticket.invocation.id)
