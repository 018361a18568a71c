"""Schedules: calls that are made later or again and again, for somebody, with the rights this one has then.

A run is a job like every other: the same transaction that moves the schedule on to its next time queues it, so that one
is neither lost nor made twice, whatever dies and however many processes look.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Awaitable
from contextlib import asynccontextmanager
from typing import Any, Literal, Protocol

import msgspec
from sqlalchemy import Row

from superagent.core.context import Context
from superagent.core.invocation import Call, Invocation, Outcome, Status
from superagent.core.kernel import Kernel
from superagent.core.ports import Held
from superagent.core.principal import Principal
from superagent.core.problems import Conflict, Denied, InvalidInput, NeedsApproval, NotFound, TooLarge
from superagent.core.resources import Resource
from superagent.data.database import Database
from superagent.data.transaction import Transaction, Where
from superagent.runtime import log
from superagent.runtime.run_times import cron_times, moment
from superagent.runtime.stored import Seals, pack_held, place
from superagent.runtime.work import QUEUED_S
from superagent.runtime.work_rows import store
from superagent.runtime.work_tables import INVOCATIONS, SCHEDULES

LOOK_S = 0.5
LATE_S = 60.0
"""What comes later than this after its time was missed."""
MOST = 100  # of one account, and of those that have ended
AT_ONCE = 100
_OPEN = [one.value for one in (Status.WAITING, Status.QUEUED, Status.RUNNING, Status.ASKING)]

Missed = Literal["skip", "once"]
Overlap = Literal["skip", "allow"]


class Spec(msgspec.Struct, frozen=True):
    """What is run and when; `principal` is its owner, as stored."""

    operation: str
    input: dict[str, Any]
    name: str
    cron: str
    at: float | None
    timezone: str
    missed: Missed
    overlap: Overlap
    principal: dict[str, Any]
    reason: str = ""

    def due(self, after: float, count: int = 1) -> list[float]:
        """Give the next times after a time; none when there are none any more."""
        if self.cron:
            return cron_times(self.cron, self.timezone, after, count)
        return [self.at] if self.at is not None and self.at > after else []


_encode = msgspec.msgpack.Encoder().encode
_specs = msgspec.msgpack.Decoder(Spec)


class Who(Protocol):
    """Whether somebody for whom nobody calls may act now."""

    def present(self, principal: Principal) -> Awaitable[Principal | None]:
        """Give who acted before, with the roles of now and nothing proved; None when they may act no more."""
        ...

    def stopped(self, principal: Principal) -> Awaitable[bool]:
        """Tell whether the switch holds them back."""
        ...


class Schedules:
    """The schedules of an installation; this process makes their calls only if it `fires`."""

    def __init__(self, kernel: Kernel, database: Database, seals: Seals, who: Who, *, fires: bool = True) -> None:
        self._kernel = kernel
        self._database = database
        self._seals = seals
        self._who = who
        self._fires = fires

    @asynccontextmanager
    async def lifespan(self) -> AsyncGenerator[None]:
        """Make the calls that are due while the body runs."""
        firing = asyncio.create_task(self._keep_firing()) if self._fires else None
        try:
            yield
        finally:
            if firing is not None:
                firing.cancel()
                await asyncio.gather(firing, return_exceptions=True)

    # ---- for the operations

    def check_times(self, cron: str, at: str, timezone: str) -> None:
        """Go on only if these say when. Raises `InvalidInput`."""
        if bool(cron) == bool(at):
            raise InvalidInput("say when", hint="give either `cron` or `at`")
        if cron:
            cron_times(cron, timezone, 0.0)
        else:
            moment(at, timezone)

    def spec(
        self,
        ctx: Context,
        call: tuple[str, dict[str, Any]],
        when: tuple[str, str, str],
        rules: tuple[Missed, Overlap],
        name: str,
    ) -> Spec:
        """Give a schedule of `call` (operation, input) at `when` (cron, at, time zone). Raises `InvalidInput`."""
        cron, at, timezone = when
        self.check_times(cron, at, timezone)
        spec = Spec(
            *call, name, " ".join(cron.split()), moment(at, timezone) if at else None, timezone, *rules,
            ctx.principal.stored(), ctx.invocation.call.reason,
        )  # fmt: skip
        if not spec.due(ctx.now):
            raise InvalidInput("that time is over", hint="name one to come")
        return spec

    async def check(self, ctx: Context, spec: Spec) -> None:
        """Go on only if the call would be allowed now, to this caller and without asking anybody.

        Raises what the line raises, `NeedsApproval`, and `InvalidInput` for what cannot be scheduled.
        """
        found = self._kernel.find(spec.operation)
        if found is not None and (found.stream or found.name == "jobs.schedule"):
            raise InvalidInput(f"`{found.name}` cannot be scheduled", hint="schedule a call that ends by itself")
        call = Call(spec.operation, spec.input, dry_run=True)
        asked = self._kernel.invocation(call, ctx.principal.without_proof(), "schedule", parent=ctx.invocation.id)
        ticket = await self._kernel.pipeline.admit(asked)
        if isinstance(ticket, Outcome):
            return
        if any(ticket.values.get(argument) is not None for argument, _ in ticket.operation.secrets):
            raise InvalidInput(
                "a schedule keeps no secret values", hint="store the secret, and schedule an operation that names it"
            )
        if ticket.decision.verdict == "ask":
            raise NeedsApproval(
                f"each run of `{spec.operation}` would need a person's approval, and nobody would be there to ask",
                hint="ask for a grant that allows it",
            )

    async def add(self, ctx: Context, id: str, spec: Spec) -> None:
        """Store a schedule. Raises `TooLarge` when the caller, with all it lent its rights to, has a hundred."""
        body, due = self._sealed(ctx.tenant, id, spec), spec.due(ctx.now)
        await self._database.write(ctx.tenant, lambda tx: _insert(tx, id, spec, due[0] if due else None, body))

    async def remove(self, ctx: Context, id: str) -> None:
        """Remove a schedule; what it has queued stays."""
        await self._database.write(ctx.tenant, lambda tx: tx.delete(SCHEDULES, SCHEDULES.c.id == id))

    async def page(self, ctx: Context, cursor: str, limit: int) -> tuple[list[dict[str, Any]], str | None]:
        """Give (the schedules that the caller may see, oldest first, cursor of the next page)."""
        shown: list[dict[str, Any]] = []
        while True:
            where: list[Where] = [SCHEDULES.c.id > cursor]
            rows = await self._database.read(
                ctx.tenant, lambda tx, where=where: tx.select(SCHEDULES, *where, order=[SCHEDULES.c.id], limit=AT_ONCE)
            )
            for row in rows:
                cursor = row.id
                spec = self._spec(row)
                if self._kernel.may_look(ctx.principal, Principal.from_stored(spec.principal).marks, ctx.tenant):
                    if len(shown) == limit:
                        return shown, shown[-1]["id"]
                    shown.append(about(row, spec, ctx.now))
            if len(rows) < AT_ONCE:
                return shown, None

    async def own(self, ctx: Context, id: str) -> Spec:
        """Give a schedule of the caller, or of somebody who acts for it. Raises `NotFound`, `Denied`."""
        row = await self._row(ctx.tenant, id)
        spec = None if row is None else self._spec(row)
        owner = None if spec is None else Principal.from_stored(spec.principal)
        if spec is None or owner is None or not self._kernel.may_look(ctx.principal, owner.marks, ctx.tenant):
            raise _no_schedule(id)
        if ctx.principal.mark not in owner.marks:
            raise Denied(f"`{id}` is not yours, nor was it made on your behalf")
        return spec

    async def described(self, ctx: Context, id: str) -> dict[str, Any]:
        """Give what is shown of one schedule that was just made."""
        row = await self._row(ctx.tenant, id)
        assert row is not None
        return about(row, self._spec(row), ctx.now)

    # ---- for undo: the keeper of the kind `schedule`

    async def keep(self, ctx: Context, resource: Resource) -> tuple[dict[str, Any], str, int]:
        """Keep a schedule as it is: (data, digest, bytes kept)."""
        row = await self._row(ctx.tenant, resource.path)
        spec = None if row is None else msgspec.to_builtins(self._spec(row))
        return {"was": spec}, self._named(row), 512 + len(msgspec.json.encode(spec))

    async def digest(self, ctx: Context, resource: Resource) -> str:
        """Name what a schedule says; how often it has run is no part of it."""
        return self._named(await self._row(ctx.tenant, resource.path))

    async def settle(
        self, ctx: Context, resource: Resource, data: dict[str, Any], after: str | None
    ) -> tuple[str, dict[str, Any]]:
        """Name the state that was left; all else is known before the change."""
        return after or await self.digest(ctx, resource), data

    async def put_back(self, ctx: Context, resource: Resource, data: dict[str, Any]) -> None:
        """Remove a schedule that was not there, or make it again for the same owner; the present one goes first.

        Only for the owner, and whoever it acts for: the right to schedule is no right to the schedules of others.
        Raises `NotFound`, `TooLarge` when the owner has a hundred by now.
        """
        id, was = resource.path, data["was"]
        spec = None if was is None else msgspec.convert(was, Spec)
        await self._require_own(ctx, id, spec)
        body = None if spec is None else self._sealed(ctx.tenant, id, spec)

        def put(tx: Transaction) -> None:
            tx.delete(SCHEDULES, SCHEDULES.c.id == id)
            if spec is not None and body is not None:
                due = spec.due(ctx.now)
                _insert(tx, id, spec, due[0] if due else None, body)

        await self._database.write(ctx.tenant, put)

    async def preview(self, ctx: Context, resource: Resource, data: dict[str, Any]) -> str:
        """Say whether there will be a schedule."""
        was = data["was"]
        await self._require_own(ctx, resource.path, None if was is None else msgspec.convert(was, Spec))
        return f"{'-' if was is None else '+'}{resource.path}\n"

    async def _require_own(self, ctx: Context, id: str, kept: Spec | None) -> None:
        row = await self._row(ctx.tenant, id)
        for spec in (kept, None if row is None else self._spec(row)):
            if spec is not None and ctx.principal.mark not in Principal.from_stored(spec.principal).marks:
                raise _no_schedule(id)

    # ---- making the calls

    async def fire(self) -> int:
        """Make the calls that are due and say how many schedules were looked at; does no harm in several processes."""
        now = self._kernel.hands.clock.now()
        rows = await self._database.read_instance(
            lambda tx: tx.select(
                SCHEDULES, SCHEDULES.c.state == "active", SCHEDULES.c.due <= now, order=[SCHEDULES.c.due], limit=AT_ONCE
            )
        )
        for row in rows:
            await self._fire(row, now)
        return len(rows)

    async def _keep_firing(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                await self.fire()
            except Conflict:  # the platform is stopping: what was queued is taken up at its next start
                return
            except Exception as fault:  # this must go on: one broken schedule must not keep the others
                log.fault("", fault)

    async def _fire(self, row: Row[Any], now: float) -> None:
        spec, clock = self._spec(row), self._kernel.hands.clock
        owner = Principal.from_stored(spec.principal)
        following = spec.due(now)
        after: dict[str, Any] = {"due": None, "state": "ended"}
        if following:
            after = {"due": following[0], "state": "active"}
        if await self._who.stopped(owner):  # the switch: this call is left out, and the next ones when it is released
            await self._move(row, None, **after, skipped=row.skipped + 1)
            return
        principal = await self._who.present(owner)
        if principal is None:
            await self._pause(row, now)
            return
        if now - row.due > LATE_S and spec.missed == "skip":
            await self._move(row, None, **after, skipped=row.skipped + 1)
            return
        call = Call(spec.operation, spec.input, reason=spec.reason, queued=True)
        id = clock.new_id()
        invocation = Invocation(id, call, principal, "schedule", now, task=id)  # its own taint, which ends with it
        held = Held(
            invocation.id, row.tenant, Status.QUEUED, invocation, now, now + QUEUED_S, name=spec.name, schedule=row.id
        )
        alone = spec.overlap == "skip"
        if await self._move(row, held, alone=alone, **after, last=held.id, runs=row.runs + 1):
            self._kernel.resume(held)
        elif alone:  # the last one still runs, or another process was quicker: then this changes nothing
            await self._move(row, None, **after, skipped=row.skipped + 1)

    async def _move(self, row: Row[Any], held: Held | None, *, alone: bool = False, **values: Any) -> bool:
        """Move a schedule on and queue its run in one transaction, if nobody else has moved it meanwhile."""
        body = b"" if held is None else self._seals.seal("work", place(held.tenant, held.id), pack_held(held))

        def move(tx: Transaction) -> bool:
            last = (INVOCATIONS.c.id == row.last, INVOCATIONS.c.state.in_(_OPEN))
            if alone and tx.count(INVOCATIONS, *last):
                return False
            where = (SCHEDULES.c.id == row.id, SCHEDULES.c.due == row.due, SCHEDULES.c.state == "active")
            if not tx.update(SCHEDULES, *where, **values):
                return False
            if held is not None:
                store(tx, held, body)
            return True

        return await self._database.write(row.tenant, move)

    async def _pause(self, row: Row[Any], now: float) -> None:
        """Stop a schedule whose owner may act no more, and say so in the audit."""
        if await self._move(row, None, state="paused"):
            who = self._spec(row).principal["id"]
            record = self._kernel.pipeline.recorder.event(
                "jobs.schedule.paused", now, row.tenant, who, {"schedule": row.id}
            )
            self._kernel.hands.audit.note(record)

    async def _row(self, tenant: str, id: str) -> Row[Any] | None:
        return await self._database.read(tenant, lambda tx: tx.first(SCHEDULES, SCHEDULES.c.id == id))

    def _named(self, row: Row[Any] | None) -> str:
        return "nothing" if row is None else hashlib.sha256(_encode(self._spec(row))).hexdigest()

    def _sealed(self, tenant: str, id: str, spec: Spec) -> bytes:
        return self._seals.seal("schedules", place(tenant, id), _encode(spec))

    def _spec(self, row: Row[Any]) -> Spec:
        return _specs.decode(self._seals.open("schedules", place(row.tenant, row.id), row.body))


def _no_schedule(id: str) -> NotFound:
    return NotFound(f"there is no schedule `{id[:100]}`", hint="`jobs.schedules` shows yours")


def about(row: Row[Any], spec: Spec, now: float) -> dict[str, Any]:
    """Give what is shown of a schedule; never its input."""
    active = row.state == "active"
    return {
        "id": row.id, "operation": spec.operation, "name": spec.name or None, "owner": spec.principal["id"],
        "state": row.state,
        "cron": spec.cron or None, "at": spec.at, "timezone": spec.timezone, "missed": spec.missed,
        "overlap": spec.overlap, "due": spec.due(now, 5) if active else [], "runs": row.runs, "skipped": row.skipped,
        "last": row.last or None,
    }  # fmt: skip


def _insert(tx: Transaction, id: str, spec: Spec, due: float | None, body: bytes) -> None:
    """Add a schedule to those of its account, of which the oldest that have ended go. Raises `TooLarge`."""
    account = Principal.from_stored(spec.principal).account
    theirs, over = SCHEDULES.c.owner == account, SCHEDULES.c.state == "ended"
    if tx.count(SCHEDULES, theirs, ~over) >= MOST:
        raise TooLarge(f"you have {MOST} schedules", hint="remove some with `jobs.unschedule`")
    ended = tx.select(SCHEDULES, theirs, over, columns=[SCHEDULES.c.id], order=[SCHEDULES.c.id])
    tx.delete(SCHEDULES, SCHEDULES.c.id.in_([row.id for row in ended[:-MOST]]))
    state = "ended" if due is None else "active"
    tx.insert(SCHEDULES, id=id, owner=account, state=state, due=due, last="", runs=0, skipped=0, body=body)
