"""Stored work: invocations that outlive their request, what people decided about them, and what came of them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

from sqlalchemy import Row, select

from superagent.core.invocation import Outcome, Status
from superagent.core.ports import Clock, Held
from superagent.core.problems import Conflict, RateLimited
from superagent.data.database import Database
from superagent.data.transaction import InstanceTransaction, Transaction, Where
from superagent.runtime.presence import Presence
from superagent.runtime.stored import Seals, pack_held, pack_outcome, place, unknown, unpack_held, unpack_outcome
from superagent.runtime.work_events import StoredEvents, forget_events
from superagent.runtime.work_tables import APPROVALS, INVOCATIONS, OUTBOX, REQUESTS, TIMERS

KEEP_ENDED_S = 7 * 86_400.0
SWEEP_AT_ONCE = 500
MOST_WAITING = 100  # of one caller: each costs room, and somebody's attention
_OPEN = (Status.WAITING, Status.QUEUED, Status.RUNNING)


class SqlWork(StoredEvents):
    """Fill the port `Work` with rows; bodies and outcomes are sealed, bound to tenant and id.

    A running row carries the name of its process (`Presence`), so a row whose process died is found at once and becomes
    `unknown`; it is never run again by itself.
    """

    def __init__(self, database: Database, seals: Seals, clock: Clock, presence: Presence) -> None:
        super().__init__(database, seals, clock)
        self._presence = presence

    async def hold(self, held: Held) -> None:
        """Store a waiting or queued invocation."""
        body = self._seals.seal("work", place(held.tenant, held.id), pack_held(held))
        await self._database.write(held.tenant, lambda tx: _store(tx, held, body))

    async def ask(self, held: Held) -> Held:
        """Store an invocation that waits for approval; one by the same caller that waits for the same is given instead.

        Raises `RateLimited` when a hundred of the caller's wait already.
        """
        body = self._seals.seal("work", place(held.tenant, held.id), pack_held(held))
        call, now = held.invocation, self._clock.now()
        mark = sha256(place(held.hash, *call.principal.ids, call.call.session)).hexdigest()
        waits = (INVOCATIONS.c.state == Status.WAITING.value, INVOCATIONS.c.until > now)
        theirs = select(REQUESTS.c.invocation).where(
            REQUESTS.c.tenant == held.tenant, REQUESTS.c.principal == call.principal.id
        )

        def ask(tx: Transaction) -> tuple[Row[Any], tuple[str, ...], int] | None:
            row = tx.first(INVOCATIONS, *waits, INVOCATIONS.c.id.in_(theirs.where(REQUESTS.c.mark == mark)))
            if row is not None:
                tx.update(REQUESTS, REQUESTS.c.invocation == row.id, asked=REQUESTS.c.asked + 1)
                return row, _people(tx, row.id), _asked(tx, row.id)
            if tx.count(INVOCATIONS, *waits, INVOCATIONS.c.id.in_(theirs)) >= MOST_WAITING:
                raise RateLimited(
                    f"{MOST_WAITING} of your calls wait for a person already",
                    hint="wait for decisions, or take some back with `jobs.cancel`",
                )
            _store(tx, held, body)
            tx.insert(REQUESTS, invocation=held.id, principal=call.principal.id, mark=mark, asked=1)
            return None

        found = await self._database.write(held.tenant, ask)
        return held if found is None else self._held(*found)

    async def get(self, tenant: str, id: str) -> Held | None:
        """Give a stored invocation, None when there is none."""

        def find(tx: Transaction) -> tuple[Row[Any], tuple[str, ...], int] | None:
            row = _row(tx, id)
            return None if row is None else (row, _people(tx, id), _asked(tx, id))

        found = await self._database.read(tenant, find)
        return None if found is None else self._held(*found)

    async def waiting(self, tenant: str, limit: int = 200, after: str = "") -> list[Held]:
        """Give what waits for approval, oldest first; `after` is the last id of the page before."""

        def page(tx: Transaction) -> list[tuple[Row[Any], tuple[str, ...], int]]:
            where = (INVOCATIONS.c.state == Status.WAITING.value, INVOCATIONS.c.id > after)
            rows = tx.select(INVOCATIONS, *where, order=[INVOCATIONS.c.id], limit=limit)
            return [(row, _people(tx, row.id), _asked(tx, row.id)) for row in rows]

        return [self._held(*one) for one in await self._database.read(tenant, page)]

    async def approve(self, tenant: str, id: str, by: str) -> Held:
        """Add an approval. Raises `Conflict` when it no longer waits or this person has approved already."""
        now = self._clock.now()

        def approve(tx: Transaction) -> tuple[Row[Any], tuple[str, ...]]:
            row = _row(tx, id)
            if row is None or row.state != Status.WAITING.value or row.until <= now:
                raise Conflict(f"`{id[:100]}` no longer waits for approval")
            if not tx.insert_new(APPROVALS, invocation=id, person=by, at=now):
                raise Conflict(f"you have approved `{id}` already", hint="somebody else has to approve it too")
            return row, _people(tx, id)

        return self._held(*await self._database.write(tenant, approve))

    async def move(self, tenant: str, id: str, sources: Sequence[Status], target: Status) -> bool:
        """Change the state if it is one of `sources`, in one statement; False when it was not."""
        owner = self._presence.name if target is Status.RUNNING else ""
        states = [one.value for one in sources]
        now = self._clock.now()

        def swap(tx: Transaction) -> bool:
            where = (INVOCATIONS.c.id == id, INVOCATIONS.c.state.in_(states))
            if not tx.update(INVOCATIONS, *where, state=target.value, owner=owner):
                return False
            tx.delete(OUTBOX, OUTBOX.c.invocation == id)
            if target is Status.QUEUED:
                tx.insert(OUTBOX, invocation=id, at=now)
            elif target is Status.RUNNING:
                tx.delete(TIMERS, TIMERS.c.invocation == id)  # what runs has a deadline of its own
            else:
                _set_timer(tx, id, "forget", now + KEEP_ENDED_S)
            return True

        return await self._database.write(tenant, swap)

    async def finish(self, tenant: str, outcome: Outcome) -> None:
        """Store what came of it; a state that is an end already stays, unless it was `unknown`."""
        id = outcome.invocation
        sealed = self._seal_outcome(tenant, outcome)
        forget_at = self._clock.now() + KEEP_ENDED_S

        def finish(tx: Transaction) -> None:
            tx.update(INVOCATIONS, INVOCATIONS.c.id == id, outcome=sealed, owner="")
            open_states = [one.value for one in (*_OPEN, Status.UNKNOWN)]
            where = (INVOCATIONS.c.id == id, INVOCATIONS.c.state.in_(open_states))
            tx.update(INVOCATIONS, *where, state=outcome.status.value)
            _set_timer(tx, id, "forget", forget_at)
            tx.delete(OUTBOX, OUTBOX.c.invocation == id)

        await self._database.write(tenant, finish)

    async def outcome(self, tenant: str, id: str) -> Outcome | None:
        """Give a stored outcome, None when there is none (yet)."""
        row = await self._database.read(tenant, lambda tx: _row(tx, id))
        if row is None or row.outcome is None:
            return None
        return unpack_outcome(self._seals.open("outcomes", place(tenant, id), row.outcome))

    # ---- what nobody asked for: starts and sweeps

    async def at_start(self) -> list[Held]:
        """Settle what dead processes left running and give back what is queued, to be taken up again."""
        await self.settle_lost()
        return await self.ready()

    async def settle_lost(self) -> list[Outcome]:
        """Turn what dead processes left running into `unknown`, and give those outcomes."""
        running = INVOCATIONS.c.state == Status.RUNNING.value
        lost: list[Outcome] = []
        for row in await self._database.read_instance(lambda tx: tx.select(INVOCATIONS, running)):
            if not self._presence.alive(row.owner):
                held = self._held(row, ())
                outcome = unknown(held.id, held.invocation.call.operation)
                if await self._end(held, outcome, row.owner):
                    lost.append(outcome)
        return lost

    async def ready(self, older_s: float = 0.0) -> list[Held]:
        """Give what is queued and was not taken up within some seconds, oldest first, of all tenants.

        Taking up is a compare-and-swap (`move`), so it does no harm when several processes are given the same.
        """
        latest = self._clock.now() - older_s

        def find(tx: InstanceTransaction) -> list[Row[Any] | None]:
            hints = tx.select(OUTBOX, OUTBOX.c.at <= latest, order=[OUTBOX.c.at], limit=SWEEP_AT_ONCE)
            return [_row(tx, hint.invocation, INVOCATIONS.c.tenant == hint.tenant) for hint in hints]

        return [self._held(row, ()) for row in await self._database.read_instance(find) if row is not None]

    async def sweep(self) -> int:
        """Settle what dead processes left, expire what waited too long, forget what ended long ago.

        Gives how many timers went off; at most 500 at once.
        """
        await self.settle_lost()
        now = self._clock.now()
        rows = await self._database.read_instance(
            lambda tx: tx.select(TIMERS, TIMERS.c.due <= now, order=[TIMERS.c.due], limit=SWEEP_AT_ONCE)
        )
        await asyncio.gather(
            *(
                self._database.write(timer.tenant, lambda tx, id=timer.invocation: _forget(tx, id))
                if timer.kind == "forget"
                else self._expire(timer.tenant, timer.invocation)
                for timer in rows
            )
        )
        return len(rows)

    async def _expire(self, tenant: str, id: str) -> None:
        held = await self.get(tenant, id)
        assert held is not None  # its timer stands in the same transaction
        late = Conflict("this call waited too long and has expired", hint="call again")
        await self._end(held, Outcome(id, held.invocation.call.operation, Status.EXPIRED, problem=late))

    async def _end(self, held: Held, outcome: Outcome, owner: str = "") -> bool:
        """End an invocation that nobody works on; False when its state or owner is another by now."""
        sealed = self._seal_outcome(held.tenant, outcome)
        forget_at = self._clock.now() + KEEP_ENDED_S

        def end(tx: Transaction) -> bool:
            where = (INVOCATIONS.c.id == held.id, INVOCATIONS.c.state == held.state.value, INVOCATIONS.c.owner == owner)
            if not tx.update(INVOCATIONS, *where, state=outcome.status.value, outcome=sealed, owner=""):
                return False
            _set_timer(tx, held.id, "forget", forget_at)
            tx.delete(OUTBOX, OUTBOX.c.invocation == held.id)
            return True

        return await self._database.write(held.tenant, end)

    def _seal_outcome(self, tenant: str, outcome: Outcome) -> bytes:
        return self._seals.seal("outcomes", place(tenant, outcome.invocation), pack_outcome(outcome))

    def _held(self, row: Row[Any], approved_by: tuple[str, ...], asked: int = 1) -> Held:
        return unpack_held(self._seals.open("work", place(row.tenant, row.id), row.body), row, approved_by, asked)


def _row(tx: Transaction | InstanceTransaction, id: str, *where: Where) -> Row[Any] | None:
    return tx.first(INVOCATIONS, INVOCATIONS.c.id == id, *where)


def _store(tx: Transaction, held: Held, body: bytes) -> None:
    tx.insert(
        INVOCATIONS,
        id=held.id,
        state=held.state.value,
        at=held.at,
        until=held.until,
        approvals_needed=held.approvals_needed,
        owner="",
        body=body,
    )
    _set_timer(tx, held.id, "expire", held.until)
    if held.state is Status.QUEUED:
        tx.insert(OUTBOX, invocation=held.id, at=held.at)


def _asked(tx: Transaction, id: str) -> int:
    row = tx.first(REQUESTS, REQUESTS.c.invocation == id)
    return 1 if row is None else row.asked


def _people(tx: Transaction, id: str) -> tuple[str, ...]:
    return tuple(row.person for row in tx.select(APPROVALS, APPROVALS.c.invocation == id, order=[APPROVALS.c.at]))


def _set_timer(tx: Transaction, id: str, kind: str, due: float) -> None:
    tx.delete(TIMERS, TIMERS.c.invocation == id)
    tx.insert(TIMERS, invocation=id, kind=kind, due=due)


def _forget(tx: Transaction, id: str) -> None:
    if tx.count(INVOCATIONS, INVOCATIONS.c.id == id, INVOCATIONS.c.state == Status.RUNNING.value):
        tx.update(TIMERS, TIMERS.c.invocation == id, due=TIMERS.c.due + KEEP_ENDED_S)
        return
    tx.delete(INVOCATIONS, INVOCATIONS.c.id == id)
    tx.delete(APPROVALS, APPROVALS.c.invocation == id)
    tx.delete(REQUESTS, REQUESTS.c.invocation == id)
    tx.delete(TIMERS, TIMERS.c.invocation == id)
    forget_events(tx, id)
