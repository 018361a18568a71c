"""The access room: the stores of identities, put together."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from superagent.core.audit import AuditRecord
from superagent.core.invocation import Invocation
from superagent.data.database import Database
from superagent.runtime.agents import SqlAgents, SqlStops
from superagent.runtime.api_keys import public_half
from superagent.runtime.groups import SqlGroups, SqlRoles
from superagent.runtime.identity import SqlIdentity
from superagent.runtime.identity_keepers import IdentityKeeper
from superagent.runtime.identity_tables import KEYS
from superagent.runtime.key_store import SqlKeys
from superagent.runtime.people import SqlPeople
from superagent.runtime.policies import SqlPolicies
from superagent.runtime.shared_map import Epoch
from superagent.runtime.tenants import SqlTenants

MOST_SHOWN = 1000
Note = Callable[[AuditRecord], None]


class AccessRoom:
    """People, tenants, groups, roles, agents, stops, keys and budgets of an installation."""

    def __init__(
        self,
        database: Database,
        policies: SqlPolicies,
        identity: SqlIdentity,
        epoch: Epoch,
        workspaces: Path,
        now: Callable[[], float],
        new_id: Callable[[], str],
        owner_key: Path,
    ) -> None:
        self._database = database
        self._now = now
        self._shown: dict[str, tuple[str, str, str]] = {}
        self.people = SqlPeople(database, epoch, workspaces, now)
        self.tenants = SqlTenants(database, policies, epoch, workspaces, now)
        self.groups = SqlGroups(database, policies, epoch, now)
        self.roles = SqlRoles(database, policies, epoch, now, new_id)
        self.agents = SqlAgents(database, epoch, workspaces, now)
        self.stops = SqlStops(database, epoch, now, new_id)
        self.keys = SqlKeys(database, policies, epoch, workspaces, now, new_id, owner_key)
        self.budgets = identity.budgets
        self.keepers = {
            "user": IdentityKeeper(self.people),
            "tenant": IdentityKeeper(self.tenants),
            "group": IdentityKeeper(self.groups, self.groups.beside),
            "role": IdentityKeeper(self.roles),
            "agent": IdentityKeeper(self.agents),
            "stop": IdentityKeeper(self.stops),
        }

    def leaked(self, token: str, invocation: Invocation) -> None:
        """Take note of a key that stood in what a call gave; `end_shown` ends it a moment later."""
        if len(self._shown) < MOST_SHOWN:
            self._shown.setdefault(token, (invocation.id, invocation.call.operation, invocation.principal.id))

    async def end_shown(self, event: Callable[..., AuditRecord], note: Note) -> None:
        """End the keys that were shown, and record each; the key of the first start gets a successor in its file."""
        while self._shown:
            token, (invocation, operation, who) = self._shown.popitem()
            half = public_half(token)
            row = await self._database.read_instance(lambda tx, id=half.id: tx.first(KEYS, KEYS.c.id == id))
            if row is None or row.public != half.public or row.revoked_at is not None:
                continue
            await self.keys.revoke(row.tenant, row.id, f"shown by {operation} in {invocation}")
            detail = {"key": row.id, "of": row.principal, "operation": operation, "invocation": invocation}
            note(event("access.key_shown", self._now(), row.tenant, who, detail=detail))

    async def sweep(self) -> int:
        """Forget what was spent in windows long past."""
        return await self.budgets.sweep()
