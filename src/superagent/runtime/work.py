"""Stored work: invocations that outlive their request, what people decided about them, and what came of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from hashlib import sha256
from typing import Any

from sqlalchemy import Row, and_, func, or_, select

from superagent.core.invocation import Outcome, Status
from superagent.core.ports import Clock, Held
from superagent.core.problems import Conflict, Overloaded, RateLimited
from superagent.data.database import Database
from superagent.data.transaction import InstanceTransaction, Transaction, Where
from superagent.runtime.hands import require_apart
from superagent.runtime.identity_tables import PEOPLE
from superagent.runtime.presence import Presence
from superagent.runtime.stored import Seals, pack_held, place, unknown
from superagent.runtime.work_asking import AskingJobs
from superagent.runtime.work_rows import KEEP_ENDED_S, asked_of, forget, people_of, row_of, set_timer, store
from superagent.runtime.work_tables import APPROVALS, HOLDERS, INVOCATIONS, ORDERS, OUTBOX, REQUESTS, TIMERS

QUEUED_S = 86_400.0  # what waits longer for its turn expires
SWEEP_AT_ONCE = 500
MOST_ATTEMPTS = 3  # of what may be repeated: a call that ends the process each time must not do so for ever
MOST_QUEUED = 1000  # of one caller: who needs more at once waits for some of them
MOST_WAITING = 100  # of one caller: each costs room, and somebody's attention
AHEAD = "ahead:"  # what the mark of a request begins with that comes before its call; other marks are hexadecimal
Room = Callable[[str, Sequence[str]], Awaitable[object]]
"""Takes a tenant and who acts in it, on whose behalf; raises a `Problem` when they leave too much behind already."""

_OPEN = (Status.WAITING, Status.QUEUED, Status.RUNNING, Status.ASKING)


class SqlWork(AskingJobs):
    """Fill the port `Work` with rows; bodies and outcomes are sealed, bound to tenant and id.

    A running row carries the name of its process (`Presence`), so a row whose process died is found at once and becomes
    `unknown`; it is never run again by itself.
    """

    def __init__(self, database: Database, seals: Seals, clock: Clock, presence: Presence) -> None:
        super().__init__(database, seals, clock, presence)
        self.repeats: Callable[[Held], bool] = lambda held: False  # whether a cut-off call may be run again by itself
        self.room: Room | None = None

    async def hold(self, held: Held) -> None:
        """Store a waiting or queued invocation.

        Raises `Overloaded` when a thousand of the caller's are in line, and what `room` raises.
        """
        if self.room is not None and held.state is Status.QUEUED:
            await self.room(held.tenant, held.invocation.principal.charged)
        body = self._seals.seal("work", place(held.tenant, held.id), pack_held(held))
        theirs = _charged_to(held)
        queued = (INVOCATIONS.c.state == Status.QUEUED.value, INVOCATIONS.c.id.in_(theirs))

        def hold(tx: Transaction) -> None:
            if held.state is Status.QUEUED and tx.count(INVOCATIONS, *queued) >= MOST_QUEUED:
                raise Overloaded(
                    f"{MOST_QUEUED} of your calls are in line already", hint="wait for some with `jobs.wait`"
                )
            store(tx, held, body)

        await self._database.write(held.tenant, hold)

    async def ask(self, held: Held) -> Held:
        """Store an invocation that waits for approval; one by the same caller that waits for the same is given instead.

        Raises `RateLimited` when a hundred of the caller's wait already.
        """
        body = self._seals.seal("work", place(held.tenant, held.id), pack_held(held))
        call, now = held.invocation, self._clock.now()
        mark = sha256(place(held.hash, *call.principal.marks, call.call.session)).hexdigest()
        mark = AHEAD + mark[len(AHEAD) :] if held.ahead else mark
        waits = (INVOCATIONS.c.state == Status.WAITING.value, INVOCATIONS.c.until > now)
        theirs = select(REQUESTS.c.invocation).where(
            REQUESTS.c.tenant == held.tenant, REQUESTS.c.principal == call.principal.id
        )

        def ask(tx: Transaction) -> tuple[Row[Any], tuple[str, ...], int] | None:
            row = tx.first(INVOCATIONS, *waits, INVOCATIONS.c.id.in_(theirs.where(REQUESTS.c.mark == mark)))
            if row is not None:
                tx.update(REQUESTS, REQUESTS.c.invocation == row.id, asked=REQUESTS.c.asked + 1)
                return row, people_of(tx, row.id), asked_of(tx, row.id)
            if tx.count(INVOCATIONS, *waits, INVOCATIONS.c.id.in_(_charged_to(held))) >= MOST_WAITING:
                raise RateLimited(
                    f"{MOST_WAITING} of your calls wait for a person already",
                    hint="wait for decisions, or take some back with `jobs.cancel`",
                )
            store(tx, held, body)
            tx.insert(REQUESTS, invocation=held.id, principal=call.principal.id, mark=mark, asked=1)
            return None

        found = await self._database.write(held.tenant, ask)
        return held if found is None else self._held(*found)

    async def get(self, tenant: str, id: str, mark: str = "") -> Held | None:
        """Give a stored invocation, with a `mark` only if it is one of its own; None when there is none."""
        # others' are not even read: what takes longer would tell that they are there
        mine = select(HOLDERS.c.invocation).where(HOLDERS.c.tenant == tenant, HOLDERS.c.person == mark)
        where = (INVOCATIONS.c.id.in_(mine.where(HOLDERS.c.invocation == id)),) if mark else ()

        def find(tx: Transaction) -> tuple[Row[Any], tuple[str, ...], int] | None:
            row = row_of(tx, id, *where)
            return None if row is None else (row, people_of(tx, id), asked_of(tx, id))

        found = await self._database.read(tenant, find)
        return None if found is None else self._held(*found)

    async def waiting(self, tenant: str, limit: int = 200, after: str = "") -> list[Held]:
        """Give what waits for approval, oldest first; `after` is the last id of the page before."""

        def page(tx: Transaction) -> list[tuple[Row[Any], tuple[str, ...], int]]:
            where = (INVOCATIONS.c.state == Status.WAITING.value, INVOCATIONS.c.id > after)
            rows = tx.select(INVOCATIONS, *where, order=[INVOCATIONS.c.id], limit=limit)
            return [(row, people_of(tx, row.id), asked_of(tx, row.id)) for row in rows]

        return [self._held(*one) for one in await self._database.read(tenant, page)]

    async def ahead(self, tenant: str, principal: str) -> list[Held]:
        """Give what a caller asked for ahead of its calls and has not used yet, decided or not."""
        now = self._clock.now()
        theirs = select(REQUESTS.c.invocation).where(
            REQUESTS.c.tenant == tenant, REQUESTS.c.principal == principal, REQUESTS.c.mark.startswith(AHEAD)
        )
        where = (
            INVOCATIONS.c.state == Status.WAITING.value, INVOCATIONS.c.until > now, INVOCATIONS.c.id.in_(theirs)
        )  # fmt: skip

        def find(tx: Transaction) -> list[tuple[Row[Any], tuple[str, ...]]]:
            return [(row, people_of(tx, row.id)) for row in tx.select(INVOCATIONS, *where, limit=MOST_WAITING)]

        return [self._held(*one) for one in await self._database.read(tenant, find)]

    async def decided(self) -> list[Held]:
        """Give what enough people approved and nobody set off, because the process died in between; of all tenants."""
        waiting = INVOCATIONS.c.state == Status.WAITING.value

        def find(tx: InstanceTransaction) -> list[tuple[Row[Any], tuple[str, ...]]]:
            given: dict[tuple[str, str], list[str]] = {}
            gone = {(row.tenant, row.id) for row in tx.select(PEOPLE, PEOPLE.c.state != "active")}
            for row in tx.select(APPROVALS, order=[APPROVALS.c.at]):
                if (row.tenant, row.person) in gone:
                    continue
                given.setdefault((row.tenant, row.invocation), []).append(row.person)
            rows = tx.select(INVOCATIONS, waiting, INVOCATIONS.c.id.in_([id for _, id in given]))
            found = [(row, tuple(given.get((row.tenant, row.id), ()))) for row in rows]
            return [(row, people) for row, people in found if len(people) >= row.approvals_needed]

        held = [self._held(*one) for one in await self._database.read_instance(find)]
        return [one for one in held if not one.ahead]

    async def approve(self, tenant: str, id: str, by: str) -> Held:
        """Add an approval.

        Raises `Conflict` when it no longer waits or this person has approved already, and `Denied` when that was
        somebody who could be the same person.
        """
        now = self._clock.now()

        def approve(tx: Transaction) -> tuple[Row[Any], tuple[str, ...]]:
            row = row_of(tx, id)
            if row is None or row.state != Status.WAITING.value or row.until <= now:
                raise Conflict(f"`{id[:100]}` no longer waits for approval")
            earlier = people_of(tx, id)
            if not tx.insert_new(APPROVALS, invocation=id, person=by, at=now):
                raise Conflict(f"you have approved `{id}` already", hint="somebody else has to approve it too")
            require_apart(tx, by, earlier)
            return row, people_of(tx, id)

        return self._held(*await self._database.write(tenant, approve))

    async def move(self, tenant: str, id: str, sources: Sequence[Status], target: Status) -> bool:
        """Change the state if it is one of `sources`, in one statement; False when it was not."""
        owner = self._presence.name if target is Status.RUNNING else ""
        states = [one.value for one in sources]
        now = self._clock.now()

        def swap(tx: Transaction) -> bool:
            where = (INVOCATIONS.c.id == id, INVOCATIONS.c.state.in_(states))
            times: dict[str, Any] = {"ended": None if target in _OPEN else now}
            if target is Status.RUNNING:
                times |= {"started": now, "attempts": func.coalesce(INVOCATIONS.c.attempts, 0) + 1}
            if not tx.update(INVOCATIONS, *where, state=target.value, owner=owner, **times):
                return False
            tx.delete(OUTBOX, OUTBOX.c.invocation == id)
            if target is Status.QUEUED:
                tx.insert(OUTBOX, invocation=id, at=now)
            elif target is Status.RUNNING:
                tx.delete(TIMERS, TIMERS.c.invocation == id)  # what runs has a deadline of its own
            else:
                set_timer(tx, id, "forget", now + KEEP_ENDED_S)
            return True

        return await self._database.write(tenant, swap)

    async def finish(self, tenant: str, outcome: Outcome) -> None:
        """Store what came of it; a state that is an end already stays, unless it was `unknown`."""
        id = outcome.invocation
        sealed = self._seal_outcome(tenant, outcome)
        now = self._clock.now()
        forget_at = now + KEEP_ENDED_S

        def finish(tx: Transaction) -> None:
            tx.update(INVOCATIONS, INVOCATIONS.c.id == id, outcome=sealed, owner="")
            open_states = [one.value for one in (*_OPEN, Status.UNKNOWN)]
            where = (INVOCATIONS.c.id == id, INVOCATIONS.c.state.in_(open_states))
            tx.update(INVOCATIONS, *where, state=outcome.status.value, ended=now)
            tx.delete(ORDERS, ORDERS.c.invocation == id)
            set_timer(tx, id, "forget", forget_at)
            tx.delete(OUTBOX, OUTBOX.c.invocation == id)

        await self._database.write(tenant, finish)

    async def outcome(self, tenant: str, id: str) -> Outcome | None:
        """Give a stored outcome, None when there is none (yet)."""
        row = await self._database.read(tenant, lambda tx: row_of(tx, id))
        return None if row is None or row.outcome is None else self._outcome(row)

    # ---- as jobs

    async def listed(
        self, tenant: str, *, person: str = "", states: Sequence[Status] = (), before: str = "", limit: int = 50
    ) -> list[Held]:
        """Give stored invocations, newest first: of everybody, or those that one person may see as a part of theirs."""
        where: list[Where] = []
        if person:
            mine = select(HOLDERS.c.invocation).where(HOLDERS.c.tenant == tenant, HOLDERS.c.person == person)
            where.append(INVOCATIONS.c.id.in_(mine))
        if states:
            where.append(INVOCATIONS.c.state.in_([one.value for one in states]))
        if before:
            where.append(INVOCATIONS.c.id < before)
        rows = await self._database.read(
            tenant, lambda tx: tx.select(INVOCATIONS, *where, order=[INVOCATIONS.c.id.desc()], limit=limit)
        )
        return [self._held(row, ()) for row in rows]

    async def latest(
        self, tenant: str, person: str, *, states: Sequence[Status] = (), since: float = 0.0,
        before: tuple[float, str] | None = None, limit: int = 50,
    ) -> tuple[list[Held], int]:  # fmt: skip
        """Give what one person may see as a part of theirs, the last changed first, and how much there is in all.

        `since` leaves out what last changed earlier (epoch seconds); `before` is `last_changed` of where to go on.
        """
        changed = func.coalesce(INVOCATIONS.c.ended, INVOCATIONS.c.started, INVOCATIONS.c.at)
        mine = select(HOLDERS.c.invocation).where(HOLDERS.c.tenant == tenant, HOLDERS.c.person == person)
        where: list[Where] = [INVOCATIONS.c.id.in_(mine), changed >= since]
        if states:
            where.append(INVOCATIONS.c.state.in_([one.value for one in states]))
        at, id = before or (float("inf"), "")
        rest = or_(changed < at, and_(changed == at, INVOCATIONS.c.id < id)) if before else changed >= since

        def page(tx: Transaction) -> tuple[Sequence[Row[Any]], int]:
            order = [changed.desc(), INVOCATIONS.c.id.desc()]
            return tx.select(INVOCATIONS, *where, rest, order=order, limit=limit), tx.count(INVOCATIONS, *where)

        rows, number = await self._database.read(tenant, page)
        return [self._held(row, ()) for row in rows], number

    async def states(self, tenant: str, ids: Sequence[str]) -> dict[str, Status]:
        """Give the states of stored invocations by id; those that are not stored are left out."""
        rows = await self._database.read(
            tenant,
            lambda tx: tx.select(
                INVOCATIONS, INVOCATIONS.c.id.in_(list(ids)), columns=[INVOCATIONS.c.id, INVOCATIONS.c.state]
            ),
        )
        return {row.id: Status(row.state) for row in rows}

    async def order(self, tenant: str, invocation: str, kind: str, value: float) -> None:
        """Leave word for the process that runs a job; it is gone when the job ends."""
        id = self._clock.new_id()
        await self._database.write(
            tenant, lambda tx: tx.insert(ORDERS, id=id, invocation=invocation, kind=kind, value=value)
        )

    async def orders(self, ids: Collection[str]) -> list[tuple[str, str, float]]:
        """Take the word left for jobs that run here: (invocation, kind, value), oldest first."""
        found = await self._database.read_instance(
            lambda tx: tx.select(ORDERS, order=[ORDERS.c.id], limit=SWEEP_AT_ONCE)
        )
        mine = [row for row in found if row.invocation in ids]
        if mine:
            taken = [row.id for row in mine]
            await self._database.write_instance(lambda tx: tx.delete(ORDERS, ORDERS.c.id.in_(taken)))
        return [(row.invocation, row.kind, row.value) for row in mine]

    async def forget(self, tenant: str, id: str) -> None:
        """Remove an invocation that has ended, with its log, its events and its outcome. Raises `Conflict`."""

        def remove(tx: Transaction) -> None:
            if tx.count(INVOCATIONS, INVOCATIONS.c.id == id, INVOCATIONS.c.state.in_([one.value for one in _OPEN])):
                raise Conflict(f"`{id}` has not ended", hint="stop it first with `jobs.cancel`")
            forget(tx, id)

        await self._database.write(tenant, remove)

    # ---- what nobody asked for: starts and sweeps

    async def at_start(self) -> list[Held]:
        """Settle what dead processes left running and give back what is queued, to be taken up again."""
        await self.settle_lost()
        return await self.ready()

    async def settle_lost(self) -> list[Outcome]:
        """Turn what dead processes left running into `unknown`, and give those outcomes.

        What `repeats` allows is queued again instead, three times at most.
        """
        running = INVOCATIONS.c.state == Status.RUNNING.value
        lost: list[Outcome] = []
        for row in await self._database.read_instance(lambda tx: tx.select(INVOCATIONS, running)):
            if not self._presence.alive(row.owner):
                held = self._held(row, ())
                if self.repeats(held) and (row.attempts or 0) < MOST_ATTEMPTS:
                    await self._again(held, row.owner)
                    continue
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
            return [row_of(tx, hint.invocation, INVOCATIONS.c.tenant == hint.tenant) for hint in hints]

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
                self._database.write(timer.tenant, lambda tx, id=timer.invocation: forget(tx, id))
                if timer.kind == "forget"
                else self._expire(timer.tenant, timer.invocation)
                for timer in rows
            )
        )
        return len(rows)

    async def _again(self, held: Held, owner: str) -> None:
        """Queue again what a dead process ran; only while it is that process's: another may have done so already."""
        now = self._clock.now()

        def again(tx: Transaction) -> None:
            where = (INVOCATIONS.c.id == held.id, INVOCATIONS.c.state == held.state.value, INVOCATIONS.c.owner == owner)
            if tx.update(INVOCATIONS, *where, state=Status.QUEUED.value, owner=""):
                set_timer(tx, held.id, "expire", now + QUEUED_S)
                tx.insert(OUTBOX, invocation=held.id, at=now)

        await self._database.write(held.tenant, again)

    async def _expire(self, tenant: str, id: str) -> None:
        held = await self.get(tenant, id)
        assert held is not None  # its timer stands in the same transaction
        late = Conflict("this call waited too long and has expired", hint="call again")
        await self._end(held, Outcome(id, held.invocation.call.operation, Status.EXPIRED, problem=late))

    async def _end(self, held: Held, outcome: Outcome, owner: str = "") -> bool:
        """End an invocation that nobody works on; False when its state or owner is another by now."""
        sealed = self._seal_outcome(held.tenant, outcome)
        now = self._clock.now()

        def end(tx: Transaction) -> bool:
            where = (INVOCATIONS.c.id == held.id, INVOCATIONS.c.state == held.state.value, INVOCATIONS.c.owner == owner)
            if not tx.update(INVOCATIONS, *where, state=outcome.status.value, outcome=sealed, owner="", ended=now):
                return False
            tx.delete(ORDERS, ORDERS.c.invocation == held.id)
            set_timer(tx, held.id, "forget", now + KEEP_ENDED_S)
            tx.delete(OUTBOX, OUTBOX.c.invocation == held.id)
            return True

        return await self._database.write(held.tenant, end)


def _charged_to(held: Held) -> Any:
    """Select all that is charged to the same account: of an agent, with all it lent its rights to."""
    account = held.invocation.principal.account
    return select(HOLDERS.c.invocation).where(HOLDERS.c.tenant == held.tenant, HOLDERS.c.person == account)
