"""Agents and services: who acts without being a person, and the switch that stops them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import Row

from superagent.core.context import Context
from superagent.core.principal import Principal
from superagent.core.problems import InvalidInput, NotFound
from superagent.core.resources import canonical_path
from superagent.data.database import Database
from superagent.data.transaction import Transaction
from superagent.runtime.hands import require_may_hold
from superagent.runtime.holders import EVERYTHING
from superagent.runtime.identity_tables import AGENTS, KEYS, STOPS
from superagent.runtime.names import check_name, require_roles, require_unused
from superagent.runtime.people import require_person, roles_of
from superagent.runtime.shared_map import Epoch

State = dict[str, Any]


class SqlAgents:
    """The agents and services of an installation."""

    def __init__(self, database: Database, epoch: Epoch, workspaces: Path, now: Callable[[], float]) -> None:
        self._database = database
        self._epoch = epoch
        self._workspaces = workspaces
        self._now = now

    async def create(
        self, ctx: Context, id: str, kind: str, role: str | None, workspace: str | None, budget: State | None
    ) -> str:
        """Make an agent or service that the caller answers for; gives its workspace.

        Raises `Conflict`, and `Denied` for a service with a role that the caller lacks.
        """
        check_name(id)
        own = str(self._workspaces / ctx.tenant / id) if role else ""  # grants alone say where it may go
        place = canonical_path(workspace, "") if workspace else own
        now, by = self._now(), frozenset(roles_of(ctx.principal))

        def write(tx: Transaction) -> None:
            require_unused(tx, id)
            require_roles(tx, [role] if role else [], by)
            require_may_make(ctx.principal, id, kind, role)
            tx.insert(
                AGENTS, id=id, kind=kind, owner=ctx.principal.id, parent="", role=role, workspace=place,
                state="active", budget=json.dumps(budget) if budget else "", created_at=now,
            )  # fmt: skip

        await self._database.write(ctx.tenant, write)
        if place == own != "":
            await asyncio.to_thread(Path(place).mkdir, 0o700, True, True)
        return place

    async def require_may_make(self, who: Principal, id: str, kind: str, role: str | None) -> None:
        """Go on only if somebody may make such an agent. Raises `Denied`."""
        require_may_make(who, id, kind, role)

    async def listed(self, tenant: str, after: str, limit: int) -> list[State]:
        """Give agents in order of their names."""
        rows = await self._database.read(
            tenant, lambda tx: tx.select(AGENTS, AGENTS.c.id > after, order=[AGENTS.c.id], limit=limit)
        )
        return [_agent(row) for row in rows]

    async def show(self, tenant: str, id: str) -> State:
        """Give an agent with the ids of its keys that are good. Raises `NotFound`."""

        def read(tx: Transaction) -> State:
            row = require_agent(tx, id)
            keys = tx.select(
                KEYS, KEYS.c.principal == id, KEYS.c.kind != "human", KEYS.c.revoked_at.is_(None),
                order=[KEYS.c.created_at],
            )  # fmt: skip
            below = tx.select(AGENTS, AGENTS.c.parent == id, order=[AGENTS.c.id])
            return _agent(row) | {"keys": [one.id for one in keys], "lent_to": [one.id for one in below]}

        return await self._database.read(tenant, read)

    async def set_state(self, ctx: Context, id: str, state: str) -> None:
        """Pause, resume or remove an agent, with all it lent its rights to. Raises `NotFound`."""
        await self._change(ctx, id, state=state)

    async def set_budget(self, ctx: Context, id: str, budget: State | None) -> None:
        """Give an agent another budget, or none."""
        await self._change(ctx, id, budget=json.dumps(budget) if budget else "")

    async def _change(self, ctx: Context, id: str, **to: Any) -> None:
        def write(tx: Transaction) -> None:
            require_agent(tx, id)
            tx.update(AGENTS, AGENTS.c.id == id, **to)

        await self._database.write(ctx.tenant, write)
        self._epoch.bump()

    async def find(self, tenant: str, id: str) -> State | None:
        """Give what a change could alter; None for no agent, and for one that was removed."""
        row = await self._database.read(tenant, lambda tx: tx.first(AGENTS, AGENTS.c.id == id))
        return None if row is None or row.state == "removed" else {"state": row.state, "budget": row.budget}

    async def restore(self, ctx: Context, id: str, to: State | None) -> None:
        """Let an agent be as before; one that was not there is removed."""
        values = to or {"state": "removed"}
        await self._database.write(ctx.tenant, lambda tx: tx.update(AGENTS, AGENTS.c.id == id, **values))
        self._epoch.bump()


class SqlStops:
    """The kill switch: what acts without a person in a scope stands still until somebody lets it go on."""

    def __init__(self, database: Database, epoch: Epoch, now: Callable[[], float], new_id: Callable[[], str]) -> None:
        self._database = database
        self._epoch = epoch
        self._now = now
        self._new_id = new_id

    async def stop(self, ctx: Context, scope: str, reason: str) -> None:
        """Stop `everything`, all that acts for `user:…`, or `agent:…` with all it lent its rights to."""
        await self._database.write(ctx.tenant, lambda tx: _require_scope(tx, scope))
        await self.restore(ctx, scope, {"reason": reason})

    async def release(self, ctx: Context, scope: str) -> None:
        """Let a scope go on. Raises `NotFound` when it is not stopped."""
        if await self.find(ctx.tenant, scope) is None:
            raise NotFound(f"`{scope[:100]}` is not stopped", hint="`access.stops.list` shows what is")
        await self.restore(ctx, scope, None)

    async def listed(self, tenant: str) -> list[State]:
        """Give what is stopped now."""
        rows = await self._database.read(
            tenant, lambda tx: tx.select(STOPS, STOPS.c.released_at.is_(None), order=[STOPS.c.at])
        )
        return [{"scope": row.scope, "reason": row.reason, "by": row.by, "at": row.at} for row in rows]

    async def find(self, tenant: str, id: str) -> State | None:
        """Give why a scope is stopped, None when it is not."""
        row = await self._database.read(
            tenant, lambda tx: tx.first(STOPS, STOPS.c.scope == id, STOPS.c.released_at.is_(None))
        )
        return None if row is None else {"reason": row.reason}

    async def restore(self, ctx: Context, id: str, to: State | None) -> None:
        """Stop a scope or let it go on."""
        now, name, by = self._now(), self._new_id(), ctx.principal.id

        def write(tx: Transaction) -> None:
            tx.update(STOPS, STOPS.c.scope == id, STOPS.c.released_at.is_(None), released_at=now)
            if to is not None:
                tx.insert(STOPS, id=name, scope=id, reason=to["reason"], by=by, at=now)

        await self._database.write(ctx.tenant, write)
        self._epoch.bump()


def require_may_make(caller: Principal, id: str, kind: str, role: str | None) -> None:
    """Go on only if somebody may make such an agent. Raises `Denied`."""
    if kind == "service" and role:  # an agent never can more than its person, a service acts for nobody
        require_may_hold(caller, [role], f"the service `{id}`")


def require_agent(tx: Transaction, id: str) -> Row[Any]:
    """Give the row of an agent that was not removed. Raises `NotFound`."""
    row = tx.first(AGENTS, AGENTS.c.id == id, AGENTS.c.state != "removed")
    if row is None:
        raise NotFound(f"there is no agent `{id[:100]}`", hint="`access.agents.list` shows them")
    return row


def _require_scope(tx: Transaction, scope: str) -> None:
    kind, _, name = scope.partition(":")
    if kind == "user":
        require_person(tx, name)
    elif kind == "agent":
        require_agent(tx, name)
    elif scope != EVERYTHING:
        raise InvalidInput("a scope is `everything`, `user:…` or `agent:…`")


def _agent(row: Row[Any]) -> State:
    return {
        "id": row.id, "kind": row.kind, "owner": row.owner, "parent": row.parent, "role": row.role,
        "workspace": row.workspace, "state": row.state, "budget": json.loads(row.budget) if row.budget else None,
        "created_at": row.created_at,
    }  # fmt: skip
