"""Tenants: made, suspended, removed, by whoever owns the installation."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from superagent.core.context import Context
from superagent.core.principal import Principal
from superagent.core.problems import Conflict, Denied, NotFound
from superagent.data.database import Database
from superagent.data.transaction import InstanceTransaction
from superagent.runtime.api_keys import mint
from superagent.runtime.identity_tables import PEOPLE, TENANTS
from superagent.runtime.names import check_name
from superagent.runtime.people import insert_person_key
from superagent.runtime.policies import SYSTEM, SqlPolicies
from superagent.runtime.shared_map import Epoch

State = dict[str, Any]


class SqlTenants:
    """The tenants of an installation. A name is never used again: records, folders and keys stay under it."""

    def __init__(
        self, database: Database, policies: SqlPolicies, epoch: Epoch, workspaces: Path, now: Callable[[], float]
    ) -> None:
        self._database = database
        self._policies = policies
        self._epoch = epoch
        self._workspaces = workspaces
        self._now = now

    async def create(self, id: str, owner: str) -> str:
        """Make a tenant with its first owner, and give that person's key. Raises `Conflict`."""
        check_name(id)
        check_name(owner)
        token, now = mint(), self._now()

        def write(tx: InstanceTransaction) -> None:
            if tx.first(TENANTS, TENANTS.c.id == id) is not None:
                raise Conflict(f"the tenant `{id}` exists already", hint="choose another name; one is never used twice")
            tx.insert(TENANTS, id=id, created_at=now, state="active")
            tx.insert(PEOPLE, tenant=id, id=owner, roles=json.dumps(["owner"]), state="active", created_at=now, name="")
            insert_person_key(tx, owner, token, now, "first", tenant=id)

        await self._database.write_instance(write)
        await asyncio.to_thread((self._workspaces / id / owner).mkdir, 0o700, True, True)
        await self._policies.changed()
        return token

    async def listed(self) -> list[State]:
        """Give every tenant, in order of their names."""
        rows = await self._database.read_instance(lambda tx: tx.select(TENANTS, order=[TENANTS.c.id]))
        return [{"id": row.id, "state": row.state, "created_at": row.created_at} for row in rows]

    async def set_state(self, ctx: Context, id: str, state: str) -> None:
        """Suspend, resume or remove a tenant; all its people and agents stop within a second."""
        await self.require_may_change(ctx.principal, id)

        def write(tx: InstanceTransaction) -> int:
            return tx.update(TENANTS, TENANTS.c.id == id, TENANTS.c.state != "removed", state=state)

        if not await self._database.write_instance(write):
            raise NotFound(f"there is no tenant `{id[:100]}`", hint="`access.tenants.list` shows them")
        self._epoch.bump()

    async def require_may_change(self, who: Principal, id: str) -> None:
        """Go on only for a tenant that is not one's own, nor the system's. Raises `Denied`."""
        if id in (SYSTEM, who.tenant):
            raise Denied(f"`{id}` is {'the system tenant' if id == SYSTEM else 'your own tenant'}; it stays as it is")

    async def find(self, tenant: str, id: str) -> State | None:
        """Give the state of a tenant; None when there is none, or it was removed."""
        row = await self._database.read_instance(lambda tx: tx.first(TENANTS, TENANTS.c.id == id))
        return None if row is None or row.state == "removed" else {"state": row.state}

    async def restore(self, ctx: Context, id: str, to: State | None) -> None:
        """Let a tenant be as before; one that was not there is removed."""
        await self.require_may_change(ctx.principal, id)
        state = "removed" if to is None else to["state"]
        await self._database.write_instance(lambda tx: tx.update(TENANTS, TENANTS.c.id == id, state=state))
        self._epoch.bump()
