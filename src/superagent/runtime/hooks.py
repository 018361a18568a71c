"""Hooks: whoever has a job can have an address told of each of its states, until it ends.

What is told is the state and nothing else: no input, no output, no error text. Who was told fetches the rest with a key
of its own. Whether the address may be told is judged when the hook is made, and again each time.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec
from sqlalchemy import Row, select

from superagent.core.audit import AuditRecord
from superagent.core.context import Context
from superagent.core.endpoints import Endpoint
from superagent.core.invocation import Status
from superagent.core.kernel import Kernel
from superagent.core.ports import Held
from superagent.core.problems import Conflict, Denied, InvalidInput, NotFound, Problem, TooLarge
from superagent.core.resources import Effect
from superagent.data.database import Database
from superagent.data.transaction import InstanceTransaction, Transaction
from superagent.runtime import log
from superagent.runtime.hook_tables import HOOKS
from superagent.runtime.net.journal import Whose
from superagent.runtime.net.network import Network
from superagent.runtime.net.posting import TIMEOUT_S, Posting
from superagent.runtime.stored import Seals, place
from superagent.runtime.work_tables import INVOCATIONS

CREATE = "jobs.hooks.create"
LOOK_S = 0.5
AT_ONCE = 20
MOST_OF_A_JOB = 10
MOST_OF_ONE = 100
AGAIN_AFTER_S = (1.0, 10.0, 60.0, 300.0, 1800.0)
KEEP_S = 8 * 86_400.0
_SHOWN = re.compile(r"[\x21-\x7e]([\x20-\x7e]{0,4094}[\x21-\x7e])?")
_OPEN = frozenset({Status.WAITING, Status.QUEUED, Status.RUNNING, Status.ASKING})
_A2A = {
    Status.WAITING: "input-required", Status.ASKING: "input-required", Status.QUEUED: "submitted",
    Status.RUNNING: "working", Status.DONE: "completed", Status.PREVIEWED: "completed", Status.UNDONE: "completed",
    Status.CANCELLED: "canceled",
}  # fmt: skip


class Body(msgspec.Struct, frozen=True):
    """Where to tell, in which shape (`job`, `a2a`, `a2a-0.3`), and what is shown there."""

    url: str
    shape: str
    token: str = ""
    authorization: str = ""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a hook is to be."""

    invocation: str
    id: str
    body: Body


class Hooks:
    """The hooks of an installation. `again_after_s` are the waits between attempts; after the last a hook is gone."""

    def __init__(
        self,
        kernel: Kernel,
        database: Database,
        seals: Seals,
        network: Network,
        note: Callable[[AuditRecord], None],
        again_after_s: tuple[float, ...] = AGAIN_AFTER_S,
    ) -> None:
        self._kernel = kernel
        self._database = database
        self._seals = seals
        self._network = network
        self._note = note
        self._again_after_s = again_after_s

    # ---- for the operations

    def asked(self, invocation: str, id: str, url: str, shape: str, token: str, scheme: str, credentials: str) -> Asked:
        """Put together what a hook is to be. Raises `InvalidInput` for what no header can carry."""
        if not all(_SHOWN.fullmatch(one) for one in (token, credentials) if one):
            raise InvalidInput("what is shown to an address goes into a header: visible ASCII, up to 4096 characters")
        return Asked(invocation, id, Body(url, shape, token, f"{scheme} {credentials}" if credentials else ""))

    async def create(self, ctx: Context, asked: Asked) -> None:
        """Make one, or change the one of that name. Raises `Denied`, `NotFound`, `Conflict`, `TooLarge`.

        It may be made before its job, by who makes that next: it is told nothing of what turns out to be another's.
        """
        literal = Endpoint.of(asked.body.url).literal
        if literal is not None and not self._network.public(literal):
            raise Denied("only public addresses are told", hint="the owner can list networks in `net.allow_private`")
        held = await self._kernel.hands.work.get(ctx.tenant, asked.invocation)
        if held is not None:
            held = await self._kernel.held(ctx.principal, asked.invocation)
            if held.invocation.principal.mark != ctx.principal.mark:
                raise Denied("only who made a call may have others told of it")
            if held.state not in _OPEN:
                raise Conflict("this job has ended", hint="look at it with `jobs.status`")
        sealed = self._seals.seal(
            "hooks", _place(ctx.tenant, asked.invocation, asked.id), msgspec.json.encode(asked.body)
        )
        who, now, said = ctx.principal.mark, ctx.now, held.state.value if held is not None else ""

        def write(tx: Transaction) -> None:
            named = (HOOKS.c.invocation == asked.invocation, HOOKS.c.id == asked.id)
            found = tx.first(HOOKS, *named)
            if found is not None and found.principal != who:
                raise NotFound(f"there is no job `{asked.invocation}`")
            if found is not None:
                tx.update(HOOKS, *named, body=sealed, attempts=0, due=0.0)
                return
            if (
                tx.count(HOOKS, HOOKS.c.invocation == asked.invocation) >= MOST_OF_A_JOB
                or tx.count(HOOKS, HOOKS.c.principal == who) >= MOST_OF_ONE
            ):
                raise TooLarge(
                    f"a job has at most {MOST_OF_A_JOB} hooks, and one caller {MOST_OF_ONE}",
                    hint="delete some with `jobs.hooks.delete`",
                )
            tx.insert(
                HOOKS, invocation=asked.invocation, id=asked.id, principal=who, at=now, body=sealed, said=said,
                attempts=0, due=0.0,
            )  # fmt: skip

        await self._database.write(ctx.tenant, write)

    async def listed(self, ctx: Context, invocation: str) -> list[tuple[str, Body]]:
        """Give the caller's own hooks of a job."""
        where = (HOOKS.c.invocation == invocation, HOOKS.c.principal == ctx.principal.mark)
        rows = await self._database.read(ctx.tenant, lambda tx: tx.select(HOOKS, *where, order=[HOOKS.c.id]))
        return [(row.id, self._body(row)) for row in rows]

    async def delete(self, ctx: Context, invocation: str, id: str) -> bool:
        """Remove one of the caller's own; False when there was none."""
        where = (HOOKS.c.invocation == invocation, HOOKS.c.id == id, HOOKS.c.principal == ctx.principal.mark)
        return bool(await self._database.write(ctx.tenant, lambda tx: tx.delete(HOOKS, *where)))

    # ---- telling

    @asynccontextmanager
    async def lifespan(self) -> AsyncGenerator[None]:
        """Tell while the body runs; what is not told by its end is told after the next start."""
        telling = asyncio.create_task(self._keep_telling())
        try:
            yield
        finally:
            telling.cancel()
            await asyncio.gather(telling, return_exceptions=True)

    async def _keep_telling(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                due = await self._due()
                if due:
                    await asyncio.gather(*(self._tell(row, state) for row, state in due))
            except Exception as fault:  # this must go on: else nobody would be told of anything any more
                log.fault("", fault)

    async def _due(self) -> list[tuple[Row[Any], Status]]:
        """Take what has something to tell; each is taken by one process, for as long as telling may last."""
        now = self._kernel.hands.clock.now()
        state = (
            select(INVOCATIONS.c.state)
            .where(INVOCATIONS.c.tenant == HOOKS.c.tenant, INVOCATIONS.c.id == HOOKS.c.invocation)
            .scalar_subquery()
        )

        def take(tx: InstanceTransaction) -> list[tuple[Row[Any], Status]]:
            rows = tx.select(HOOKS, HOOKS.c.due <= now, HOOKS.c.said != state, order=[HOOKS.c.due], limit=AT_ONCE)
            taken: list[tuple[Row[Any], Status]] = []
            for row in rows:
                if tx.update(HOOKS, *_of(row), HOOKS.c.due == row.due, due=now + 2 * TIMEOUT_S):
                    found = tx.first(
                        INVOCATIONS, INVOCATIONS.c.tenant == row.tenant, INVOCATIONS.c.id == row.invocation
                    )
                    taken += [(row, Status(found.state))] if found is not None else []
            return taken

        if not await self._database.read_instance(
            lambda tx: tx.first(HOOKS, HOOKS.c.due <= now, HOOKS.c.said != state)
        ):
            return []
        return await self._database.write_instance(take)

    async def _tell(self, row: Row[Any], state: Status) -> None:
        trouble = ""
        try:
            held = await self._kernel.hands.work.get(row.tenant, row.invocation)
            if held is None:
                return
            body = self._body(row)
            await self._judge(row, held, body)
            whose = Whose.of(held.invocation)
            await Posting(body.url, self._network, whose).post(told(held, state, body.shape), _headers(body))
        except (Denied, NotFound) as refused:
            await self._drop(row, refused.detail)
            return
        except (Problem, OSError) as fault:
            trouble = str(fault)[:300] or type(fault).__name__
        if trouble and row.attempts >= len(self._again_after_s):
            await self._drop(row, trouble)
        elif trouble:
            again = self._kernel.hands.clock.now() + self._again_after_s[int(row.attempts)]
            await self._settle(row, attempts=row.attempts + 1, due=again)
        else:
            self._record(row, state.value)
            if state in _OPEN:
                await self._settle(row, said=state.value, attempts=0, due=0.0)
            else:
                await self._remove(row)

    async def _judge(self, row: Row[Any], held: Held, body: Body) -> None:
        """Go on only if who made the hook made the call, is alive, and may still tell this address. Raises `Denied`."""
        kernel = self._kernel
        principal = await kernel.hands.identity.renewed(held.invocation.principal)
        operation = kernel.find(CREATE)
        if principal.mark != row.principal or operation is None or not kernel.hands.identity.alive(principal):
            raise Denied("whoever made this hook may act no more, or did not make the call")
        facts = kernel.pipeline.facts(held.invocation, operation, {})
        resource = Endpoint.of(body.url).resource(Effect.CHANGE)
        if kernel.policy_of(principal).decide(principal, operation, (resource,), facts).verdict == "deny":
            raise Denied(f"`{resource.path}` may not be told any more")

    async def _settle(self, row: Row[Any], **values: Any) -> None:
        await self._database.write(row.tenant, lambda tx: tx.update(HOOKS, *_named(row), **values))

    async def _remove(self, row: Row[Any]) -> None:
        await self._database.write(row.tenant, lambda tx: tx.delete(HOOKS, *_named(row)))

    async def _drop(self, row: Row[Any], why: str) -> None:
        self._record(row, row.said, why)
        await self._remove(row)

    def _record(self, row: Row[Any], state: str, failed: str = "") -> None:
        detail = {"job": row.invocation, "hook": row.id, "state": state} | ({"failed": failed} if failed else {})
        record = AuditRecord(
            kind="event", at=self._kernel.hands.clock.now(), tenant=row.tenant, operation="jobs.hooks.tell",
            who=row.principal, detail=detail, status="failed" if failed else "done",
        )  # fmt: skip
        with suppress(Problem):
            self._note(record)

    def _body(self, row: Row[Any]) -> Body:
        opened = self._seals.open("hooks", _place(row.tenant, row.invocation, row.id), row.body)
        return msgspec.json.decode(opened, type=Body)

    async def sweep(self) -> int:
        """Forget hooks whose jobs never came, or are forgotten themselves."""
        before = self._kernel.hands.clock.now() - KEEP_S
        return await self._database.write_instance(lambda tx: tx.delete(HOOKS, HOOKS.c.at < before))


def told(held: Held, state: Status, shape: str) -> bytes:
    """Give what is told of a job in a state, in the shape that was asked for."""
    at = held.ended or held.started or held.at
    if shape == "job":
        job = {"id": held.id, "operation": held.invocation.call.operation, "state": state.value, "at": at}
        return msgspec.json.encode({"event": "job.changed", "job": job})
    stamp = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    name, context = _A2A.get(state, "failed"), held.invocation.call.session
    if shape == "a2a-0.3":
        status = {"state": name, "timestamp": stamp}
        return msgspec.json.encode({"kind": "task", "id": held.id, "contextId": context, "status": status})
    status = {"state": "TASK_STATE_" + name.upper().replace("-", "_"), "timestamp": stamp}
    return msgspec.json.encode({"statusUpdate": {"taskId": held.id, "contextId": context, "status": status}})


def _headers(body: Body) -> dict[str, str]:
    shown = {"X-A2A-Notification-Token": body.token} if body.token else {}
    return shown | ({"Authorization": body.authorization} if body.authorization else {})


def _place(tenant: str, invocation: str, id: str) -> bytes:
    return place(tenant, invocation, id)


def _named(row: Row[Any]) -> tuple[Any, ...]:
    return (HOOKS.c.invocation == row.invocation, HOOKS.c.id == row.id)


def _of(row: Row[Any]) -> tuple[Any, ...]:
    return (HOOKS.c.tenant == row.tenant, *_named(row))
