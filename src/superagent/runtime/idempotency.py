"""Idempotency: a call with a key happens once in 24 hours, whatever dies in between (rules.md 19)."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from sqlalchemy import BigInteger, Column, Double, Index, LargeBinary, Row, String, func, tuple_

from superagent.core.invocation import Outcome, Status, Ticket
from superagent.core.ports import Clock, Remembered
from superagent.core.principal import Principal
from superagent.core.problems import IdempotencyMismatch, InvalidInput, TooLarge
from superagent.data.areas import Area
from superagent.data.database import Database
from superagent.data.transaction import InstanceTransaction, Transaction, Where
from superagent.runtime.presence import Presence
from superagent.runtime.stored import Seals, pack_outcome, place, unknown, unpack_outcome
from superagent.runtime.work_tables import INVOCATIONS

KEEP_S = 86_400.0
LONGEST_KEY = 255
QUOTA_BYTES = 4 * 1024**3
SHARE = 0.25
ROW_BYTES = 1024  # what a key costs besides its outcome
SWEEP_AT_ONCE = 500
AREA = Area("idempotency", "idempotency_0004", Path(__file__).parent / "migrations" / "versions")
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
    Column("account", String(255), nullable=False, server_default=""),  # against whose share it counts
    Index(None, "until"),
    Index(None, "invocation"),
)
USAGE = AREA.table(
    "idempotency_usage",
    Column("principal", String(255), primary_key=True),
    Column("bytes", BigInteger, nullable=False),
)


class SqlIdempotency:
    """Fill the port `Idempotency` with one row per (tenant, principal, operation, key).

    What is remembered of a tenant may take `quota_bytes`, and of somebody who acts for somebody else `share` of them.
    Nothing begins above that; what has begun is remembered whole.
    """

    def __init__(
        self,
        database: Database,
        seals: Seals,
        clock: Clock,
        presence: Presence,
        quota_bytes: int = QUOTA_BYTES,
        share: float = SHARE,
    ) -> None:
        self._quota = quota_bytes
        self._share = int(quota_bytes * share)
        self._database = database
        self._seals = seals
        self._clock = clock
        self._presence = presence

    async def begin(self, ticket: Ticket) -> Remembered | None:
        """Remember the call, or give the earlier one.

        None also for the very same invocation when it is taken up again. An earlier one whose process died is given
        with the outcome `unknown`: it is not run again. Raises `IdempotencyMismatch` for another input under the same
        key, `TooLarge` when as much is remembered as may be.
        """
        digest = _digest(ticket.input_digest, ticket.invocation.principal)
        call, invocation, tenant = ticket.invocation.call, ticket.invocation.id, ticket.invocation.principal.tenant
        if len(call.key) > LONGEST_KEY:
            raise InvalidInput(f"an idempotency key has at most {LONGEST_KEY} characters")
        now = self._clock.now()
        mine = {"digest": digest, "invocation": invocation, "owner": self._presence.name}
        keyed = {"principal": ticket.invocation.principal.id, "operation": call.operation, "key": call.key}

        account = ticket.invocation.principal.account

        def begin(tx: Transaction) -> tuple[Row[Any], bool] | None:
            if tx.insert_new(CALLS, **keyed, **mine, account=account, until=now + KEEP_S):
                self._use(tx, ticket)
                return None
            row = tx.first(CALLS, *_key(ticket))
            assert row is not None
            if row.invocation == invocation or row.until <= now:
                tx.update(CALLS, *_key(ticket), **mine, until=now + KEEP_S, outcome=None)
                _charge(tx, row.account, -len(row.outcome or b""))
                return None
            queued = (INVOCATIONS.c.id == row.invocation, INVOCATIONS.c.state == Status.QUEUED.value)
            return row, bool(tx.count(INVOCATIONS, *queued))

        found = await self._database.write(tenant, begin)
        if found is None:
            return None
        row, queued = found
        if row.digest != digest:
            raise IdempotencyMismatch(
                f"`{call.key}` was used for another input of `{call.operation}`, or by a key with other bounds"
            )
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

        def finish(tx: Transaction) -> None:
            row = tx.first(CALLS, *_own(ticket))
            if row is not None:
                tx.update(CALLS, *_own(ticket), outcome=sealed, until=until)
                _charge(tx, row.account, len(sealed) - len(row.outcome or b""))

        await self._database.write(tenant, finish)

    async def forget(self, ticket: Ticket) -> None:
        """Forget a call that was refused before its intent."""

        def forget(tx: Transaction) -> None:
            row = tx.first(CALLS, *_own(ticket))
            if row is not None:
                tx.delete(CALLS, *_own(ticket))
                _charge(tx, row.account, -_cost(row.outcome))

        await self._database.write(ticket.invocation.principal.tenant, forget)

    async def told(self, principal: Principal, invocation: str, input_digest: str) -> Outcome | None:
        """Give whoever made a call, within the same bounds, what is remembered of it; None where nothing is."""
        wanted = (
            CALLS.c.invocation == invocation,
            CALLS.c.principal == principal.id,
            CALLS.c.digest == _digest(input_digest, principal),
            CALLS.c.until > self._clock.now(),
        )
        row = await self._database.read(principal.tenant, lambda tx: tx.first(CALLS, *wanted))
        if row is None or row.outcome is None:
            return None
        return unpack_outcome(self._seals.open("outcomes", place(principal.tenant, invocation), row.outcome))

    async def sweep(self) -> int:
        """Forget what is older than 24 hours; give how many."""
        now = self._clock.now()
        swept = 0
        while count := await self._database.write_instance(lambda tx: _forget_until(tx, now)):
            swept += count
        return swept

    def _use(self, tx: Transaction, ticket: Ticket) -> None:
        principal = ticket.invocation.principal
        _charge(tx, principal.account, ROW_BYTES)
        used = tx.sum(USAGE, USAGE.c.bytes)
        mine = tx.sum(USAGE, USAGE.c.bytes, USAGE.c.principal == principal.account)
        if used > self._quota or (principal.shares and mine > self._share):
            whose = f"this tenant's {self._quota}" if used > self._quota else f"your share of {self._share}"
            raise TooLarge(
                f"the outcomes that are remembered by idempotency key would take more than {whose} bytes",
                hint="call without a key, or wait: keys are forgotten after 24 hours; the owner can raise"
                " `limits.agent_share`",
            )


def _digest(input_digest: str, who: Principal) -> str:
    """Name the input, and the bounds within which it was called: what came of it is not told within others."""
    if who.mark == who.id:
        return input_digest
    return hashlib.sha256(f"{input_digest} {who.mark}".encode()).hexdigest()


def _key(ticket: Ticket) -> tuple[Where, ...]:
    call = ticket.invocation.call
    return (
        CALLS.c.principal == ticket.invocation.principal.id,
        CALLS.c.operation == call.operation,
        CALLS.c.key == call.key,
    )


def _own(ticket: Ticket) -> tuple[Where, ...]:
    return (*_key(ticket), CALLS.c.invocation == ticket.invocation.id)


def _cost(outcome: bytes | None) -> int:
    return ROW_BYTES + len(outcome or b"")


def _charge(tx: Transaction, principal: str, size: int) -> None:
    """Count what the remembered calls of a principal take."""
    if size and not tx.update(USAGE, USAGE.c.principal == principal, bytes=USAGE.c.bytes + size):
        tx.insert(USAGE, principal=principal, bytes=size)


def _forget_until(tx: InstanceTransaction, now: float) -> int:
    key = (CALLS.c.tenant, CALLS.c.principal, CALLS.c.operation, CALLS.c.key)
    size = func.coalesce(func.length(CALLS.c.outcome), 0)
    columns = [*key, CALLS.c.account, size.label("size")]
    rows = tx.select(CALLS, CALLS.c.until <= now, columns=columns, limit=SWEEP_AT_ONCE)
    freed: dict[tuple[str, str], int] = {}
    for row in rows:
        freed[row.tenant, row.account] = freed.get((row.tenant, row.account), 0) + ROW_BYTES + row.size
    for (tenant, account), bytes_ in freed.items():
        theirs = (USAGE.c.tenant == tenant, USAGE.c.principal == account)
        tx.update(USAGE, *theirs, bytes=USAGE.c.bytes - bytes_)
        tx.delete(USAGE, *theirs, USAGE.c.bytes <= 0)
    return tx.delete(CALLS, tuple_(*key).in_([tuple(row[:4]) for row in rows])) if rows else 0
