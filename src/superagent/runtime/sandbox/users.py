"""Users: which user of this machine each tenant's commands run as, where the server can change to others."""

from __future__ import annotations

import os
from pathlib import Path

from sqlalchemy import BigInteger, Column, UniqueConstraint

from superagent.core.problems import SandboxUnavailable
from superagent.data.areas import Area
from superagent.data.database import Database
from superagent.data.transaction import InstanceTransaction

AREA = Area("sandbox", "sandbox_0001", Path(__file__).parents[1] / "migrations" / "versions")
USERS = AREA.table(
    "sandbox_users",
    Column("user", BigInteger, nullable=False),
    UniqueConstraint("user"),
)


class TenantUsers:
    """One user for each tenant, from a range that belongs to the sandbox alone; once given, it stays the tenant's.

    `first` and `count` are the range. A server that is not root has only itself: its tenants are kept apart by the
    namespaces alone.
    """

    def __init__(self, database: Database, first: int, count: int) -> None:
        self._database = database
        self._first = first
        self._count = count
        self._known: dict[str, int] = {}

    @property
    def probe(self) -> int | None:
        """Give the user that stands for nobody: what a probe runs as."""
        return self._first if os.geteuid() == 0 else None

    def known(self, tenant: str) -> int | None:
        """Give the user of a tenant that has run something since this process began, None where it has none."""
        return self._known.get(tenant)

    async def of(self, tenant: str) -> int | None:
        """Give the tenant's user, None where nobody can be changed. Raises `SandboxUnavailable` when none is left."""
        if os.geteuid() != 0:
            return None
        found = self._known.get(tenant)
        if found is None:
            found = self._known[tenant] = await self._database.write_instance(lambda tx: self._given(tx, tenant))
        return found

    def _given(self, tx: InstanceTransaction, tenant: str) -> int:
        row = tx.first(USERS, USERS.c.tenant == tenant)
        if row is not None:
            return int(row.user)
        end = self._first + self._count
        last = tx.first(USERS, USERS.c.user >= self._first, USERS.c.user < end, order=[USERS.c.user.desc()])
        user = (self._first if last is None else int(last.user)) + 1
        if user >= end:
            raise SandboxUnavailable(
                "there is no user left for another tenant", hint="give the setting `sandbox.users` a larger number"
            )
        tx.insert(USERS, tenant=tenant, user=user)
        return user
