"""Policies: each tenant's grants as an immutable snapshot, swapped when the policy epoch moves."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from superagent.core.grants import Grant
from superagent.core.policy import Policy
from superagent.core.problems import Denied, InvalidInput, NotFound
from superagent.core.resources import Protected
from superagent.data.database import Database
from superagent.data.transaction import InstanceTransaction, Transaction
from superagent.runtime.identity_tables import GRANTS, TENANTS
from superagent.runtime.shared_map import Epoch

ROLES_FILE = Path(__file__).with_name("roles.toml")
EVERYBODY = "everybody"
SYSTEM = "system"


def built_in(file: Path = ROLES_FILE) -> list[Grant]:
    """Give the grants of the built-in roles, with ids like `role:agent:1`; everybody's speak to every principal."""
    roles: dict[str, list[dict[str, Any]]] = tomllib.loads(file.read_text(encoding="utf-8"))
    grants: list[Grant] = []
    for role, sentences in roles.items():
        subject = "*" if role == EVERYBODY else f"role:{role}"
        for at, one in enumerate(sentences, 1):
            of_instance = one.pop("instance", False)
            grant = Grant(id=f"role:{role}:{at}", subject=subject, **one)
            grants.append(grant.of_instance() if of_instance else grant)
    return grants


def role_names(file: Path = ROLES_FILE) -> list[str]:
    """Give the built-in roles."""
    return [name for name in tomllib.loads(file.read_text(encoding="utf-8")) if name != EVERYBODY]


class SqlPolicies:
    """The policies of an installation, read from SQL and compiled; a failed read denies everything until it heals."""

    def __init__(
        self,
        database: Database,
        epoch: Epoch,
        protected: Protected,
        roots: tuple[str, ...],
        new_id: Callable[[], str],
        now: Callable[[], float],
    ) -> None:
        self._database = database
        self._epoch = epoch
        self._protected = protected
        self._roots = roots
        self._new_id = new_id
        self._now = now
        self._built_in = built_in()
        self._current: dict[str, Policy] = {}
        self._version = -1

    def of(self, tenant: str) -> Policy:
        """Give the snapshot in force. Raises `Denied` for a tenant that has none."""
        found = self._current.get(tenant)
        if found is None:
            raise Denied("there is no policy for this tenant, so nothing is allowed")
        return found

    @property
    def stale(self) -> bool:
        """Tell whether another worker changed a policy since the last read."""
        return self._epoch.read() != self._version

    async def refresh(self) -> None:
        """Read and compile every tenant's grants; when that fails, nothing is allowed until it works again."""
        version = self._epoch.read()
        try:
            rows, tenants = await self._database.read_instance(_everything)
            own: dict[str, list[Grant]] = {tenant: [] for tenant in tenants}
            for tenant, id, body in rows:
                own.setdefault(tenant, []).append(
                    Grant.model_validate_json(body, strict=True).model_copy(update={"id": id})
                )
        except Exception:
            self._current = {tenant: Policy([], version, self._protected) for tenant in self._current}
            raise
        self._current = {
            tenant: Policy([*self._built_in, *grants], version, self._protected, self._roots, tenant == SYSTEM)
            for tenant, grants in own.items()
        }
        self._version = version

    def listed(self, tenant: str) -> list[Grant]:
        """Give the grants in force, built-in roles included."""
        return list(self.of(tenant).grants)

    async def create(self, tenant: str, grant: Grant, by: str) -> Grant:
        """Keep a grant under a fresh id; in force here at once, in other workers within a second."""
        made = grant.model_copy(update={"id": f"grant_{self._new_id()}"})
        await self.restore(tenant, made, by)
        return made

    async def restore(self, tenant: str, grant: Grant, by: str) -> None:
        """Put a grant in force under the id it has."""
        body, now = grant.model_dump_json(exclude={"id"}, exclude_defaults=True), self._now()

        def write(tx: Transaction) -> None:
            if not tx.update(GRANTS, GRANTS.c.id == grant.id, revoked_at=None):
                tx.insert(GRANTS, id=grant.id, body=body, created_by=by, created_at=now)

        await self._database.write(tenant, write)
        await self.changed()

    async def revoke(self, tenant: str, id: str) -> Grant:
        """End a grant now. Raises `NotFound`; `InvalidInput` for a built-in one."""
        if id.startswith("role:"):
            raise InvalidInput("a grant of a built-in role cannot be revoked", hint="give the principal another role")
        found = next((one for one in self.of(tenant).grants if one.id == id), None)
        now = self._now()
        if found is None or not await self._database.write(
            tenant, lambda tx: tx.update(GRANTS, GRANTS.c.id == id, GRANTS.c.revoked_at.is_(None), revoked_at=now)
        ):
            raise NotFound(f"there is no grant `{id[:100]}`", hint="`grants.list` shows the grants in force")
        await self.changed()
        return found

    async def changed(self) -> None:
        """Tell every worker that grants changed, and read them here at once."""
        self._epoch.bump()
        await self.refresh()


def _everything(tx: InstanceTransaction) -> tuple[list[tuple[str, str, str]], list[str]]:
    live = tx.select(GRANTS, GRANTS.c.revoked_at.is_(None), order=[GRANTS.c.created_at, GRANTS.c.id])
    return [(row.tenant, row.id, row.body) for row in live], [row.id for row in tx.select(TENANTS)]
