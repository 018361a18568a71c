"""Policies: each tenant's newest version as an immutable snapshot, swapped when the policy epoch moves."""

from __future__ import annotations

import asyncio
import hashlib
import tomllib
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from superagent.core.audit import AuditRecord
from superagent.core.changes import Keep, unkept
from superagent.core.grants import Grant
from superagent.core.policy import Policy
from superagent.core.principal import ANONYMOUS, Principal
from superagent.core.problems import Denied, InvalidInput, NotFound
from superagent.core.resources import Protected
from superagent.data.database import Database
from superagent.data.transaction import InstanceTransaction, Transaction
from superagent.runtime.hands import require_may_give, widens
from superagent.runtime.identity_tables import GRANTS, TENANTS
from superagent.runtime.policy_versions import PLATFORM, body_of, digest_of, grant_of, newest_of_each, settle
from superagent.runtime.shared_map import Epoch

ROLES_FILE = Path(__file__).with_name("roles.toml")
EVERYBODY = "everybody"
STRANGERS = "anonymous"
SYSTEM = "system"
UNREADABLE = -1
"""The version of a policy that could not be read: no decision bears it but denials."""
_STRANGER = f"anonymous:{ANONYMOUS.id}"
FIRST = (SYSTEM, "default")
"""The tenants of the first start: theirs is the machine."""


def built_in(file: Path = ROLES_FILE) -> list[Grant]:
    """Give the grants of the built-in roles, with ids like `role:agent:1`; everybody's speak to every principal."""
    roles: dict[str, list[dict[str, Any]]] = tomllib.loads(file.read_text(encoding="utf-8"))
    grants: list[Grant] = []
    for role, sentences in roles.items():
        if role == STRANGERS:
            continue
        subject = "*" if role == EVERYBODY else f"role:{role}"
        for at, one in enumerate(sentences, 1):
            of_instance = one.pop("instance", False)
            grant = Grant(id=f"role:{role}:{at}", subject=subject, **one)
            grants.append(grant.of_instance() if of_instance else grant)
    return grants


def for_strangers(file: Path = ROLES_FILE) -> list[Grant]:
    """Give the grants of whoever is not known: a closed set of operations, each by its whole name (rules.md 27)."""
    sentences: list[dict[str, Any]] = tomllib.loads(file.read_text(encoding="utf-8")).get(STRANGERS, [])
    grants = [Grant(id=f"role:{STRANGERS}:{at}", subject=_STRANGER, **one) for at, one in enumerate(sentences, 1)]
    if any("*" in name for one in grants for name in one.operations):
        raise ValueError("what strangers may call is named one by one")
    return grants


def role_names(file: Path = ROLES_FILE) -> list[str]:
    """Give the built-in roles."""
    return [name for name in tomllib.loads(file.read_text(encoding="utf-8")) if name not in (EVERYBODY, STRANGERS)]


class SqlPolicies:
    """The policies of an installation, read from SQL and compiled; a failed read denies everything until it heals.

    A change of a tenant's grants is a new version of its policy. Decisions bear its number, and whoever holds one from
    an older snapshot is judged again.
    """

    def __init__(
        self,
        database: Database,
        epoch: Epoch,
        protected: Protected,
        roots: tuple[str, ...],
        new_id: Callable[[], str],
        now: Callable[[], float],
        note: Callable[[AuditRecord], None],
    ) -> None:
        self._note = note
        self._database = database
        self._epoch = epoch
        self._protected = protected
        self._roots = roots
        self._new_id = new_id
        self._now = now
        self._built_in = built_in()
        self._roles = hashlib.sha256(ROLES_FILE.read_bytes()).hexdigest()
        self._for_strangers = for_strangers()
        self._current: dict[str, Policy] = {}
        self._bodies: dict[str, dict[str, str]] = {}  # by tenant: the stored grants behind each snapshot
        self._version = -1
        self._turn = asyncio.Lock()

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
        """Read what changed and compile it in a thread; when that fails, nothing is allowed until it works again.

        The policy of a tenant whose grants are the same stays, with all that was compiled of it.
        """
        async with self._turn:
            epoch = self._epoch.read()
            try:
                stored, numbers = await self._read()
                made = await asyncio.to_thread(self._compiled, stored, numbers)
            except Exception:
                self._current = {tenant: Policy([], UNREADABLE, self._protected) for tenant in self._current}
                self._bodies = {}
                raise
            self._current, self._bodies, self._version = made, stored, epoch

    async def _read(self) -> tuple[dict[str, dict[str, str]], dict[str, int]]:
        """Give every tenant's stored grants, and the number of its version; what nobody numbered is numbered now."""
        stored, newest = await self._database.read_instance(_everything)
        late = [tenant for tenant in stored if not self._numbered(tenant, stored[tenant], newest.get(tenant))]
        for tenant in late:
            why = "the built-in roles or grants are others than at the last look" if tenant in newest else "the first"
            await self._database.write(tenant, partial(self.settle, by=PLATFORM, reason=why))
        if late:
            stored, newest = await self._database.read_instance(_everything)
        return stored, {tenant: newest[tenant][0] for tenant in stored}

    def _numbered(self, tenant: str, bodies: dict[str, str], newest: tuple[int, str] | None) -> bool:
        if newest is None:
            return False
        known = self._current.get(tenant)
        if known is not None and known.version == newest[0] and self._bodies.get(tenant) == bodies:
            return True
        return digest_of(self._roles, bodies.items()) == newest[1]

    def _compiled(self, stored: dict[str, dict[str, str]], numbers: dict[str, int]) -> dict[str, Policy]:
        made: dict[str, Policy] = {}
        for tenant, bodies in stored.items():
            known, before = self._current.get(tenant), self._bodies.get(tenant)
            if known is not None and known.version == numbers[tenant] and before == bodies:
                made[tenant] = known
                continue
            own = {grant.id: grant for grant in known.grants} if known is not None and before is not None else {}
            grants = [own[id] if id in own and id in bodies else grant_of(id, body) for id, body in bodies.items()]
            every = [*self._built_in, *grants]
            made[tenant] = self._snapshot(tenant, every, numbers[tenant])
        # a tenant that does not exist, so nobody can grant anything in it
        made[ANONYMOUS.tenant] = Policy(self._for_strangers, 0, self._protected)
        return made

    def _snapshot(self, tenant: str, grants: list[Grant], version: int) -> Policy:
        return Policy(grants, version, self._closed_to(tenant), self._roots, tenant == SYSTEM)

    def settle(self, tx: Transaction, by: str, reason: str) -> int:
        """Give what this transaction leaves in force a number: call it last, wherever grants change."""
        return settle(tx, self._roles, by, self._now(), reason)

    def supposed(self, tenant: str, added: Sequence[Grant], removed: Collection[str]) -> Policy:
        """Give a snapshot that differs by so much from the one in force, and is in force nowhere."""
        present = self.of(tenant)
        left = [one for one in present.grants if one.id not in removed]
        fresh = [one.model_copy(update={"id": one.id or f"new:{at}"}) for at, one in enumerate(added, 1)]
        return self._snapshot(tenant, [*left, *fresh], present.version)

    def _closed_to(self, tenant: str) -> Protected:
        """Give what no grant of a tenant reaches: the workspaces of all others, and for later tenants this machine.

        Whoever owns a tenant that was added is no owner of the machine: its own workspaces are all that it sees of it.
        """
        own = self._protected.of_tenant(tenant)
        return own if tenant in FIRST or not own.places else replace(own, places=(*own.places, "/"))

    def listed(self, tenant: str) -> list[Grant]:
        """Give the grants in force, built-in roles included."""
        return [one for one in self.of(tenant).grants if not over(one, self._now())]

    async def sweep(self) -> int:
        """End grants whose time is over, and record it; they are in force nowhere from that very moment on."""
        now = self._now()

        def find(tx: InstanceTransaction) -> list[tuple[str, str]]:
            timed = tx.select(GRANTS, GRANTS.c.revoked_at.is_(None), GRANTS.c.body.contains('"until":'))
            return [(row.tenant, row.id) for row in timed if over(grant_of(row.id, row.body), now)]

        def end(tx: Transaction, id: str) -> bool:
            if not tx.update(GRANTS, GRANTS.c.id == id, GRANTS.c.revoked_at.is_(None), revoked_at=now):
                return False  # another process was quicker
            self.settle(tx, PLATFORM, f"the time of {id} is over")
            return True

        found = await self._database.read_instance(find)
        ended = [one for one in found if await self._database.write(one[0], partial(end, id=one[1]))]
        for tenant, id in ended:
            record = AuditRecord(kind="event", at=now, tenant=tenant, operation="grants.expire", detail={"grant": id})
            self._note(record)
        if ended:
            await self.changed()
        return len(ended)

    async def require_may_change(self, giver: Principal, added: Sequence[Grant], removed: Sequence[Grant] = ()) -> None:
        """Go on only if the giver gains nothing by a change, nor whoever it could act as. Raises `Denied`."""
        subjects = widens(added, removed)
        if subjects:
            await self._database.read(giver.tenant, lambda tx: require_may_give(tx, giver, subjects))

    async def create(self, tenant: str, grant: Grant, by: str, keep: Keep = unkept) -> Grant:
        """Keep a grant under a fresh id; in force here at once, in other workers within a second."""
        made = grant.model_copy(update={"id": f"grant_{self._new_id()}"})
        await self.restore(tenant, made, by, keep)
        return made

    async def restore(self, tenant: str, grant: Grant, by: str, keep: Keep = unkept) -> None:
        """Put a grant in force under the id it has."""

        def write(tx: Transaction) -> None:
            self.add(tx, grant, by)
            self.settle(tx, by, f"grants {grant.id}")
            keep(tx, grant.id, {"id": grant.id})

        await self._database.write(tenant, write)
        await self.changed()

    def add(self, tx: Transaction, grant: Grant, by: str) -> None:
        """Put a grant in force under its id, as part of a larger change."""
        if not tx.update(GRANTS, GRANTS.c.id == grant.id, revoked_at=None):
            tx.insert(GRANTS, id=grant.id, body=body_of(grant), created_by=by, created_at=self._now())

    async def revoke(self, tenant: str, id: str, by: str = PLATFORM, keep: Keep = unkept) -> Grant:
        """End a grant now. Raises `NotFound`; `InvalidInput` for a built-in one."""
        if id.startswith("role:"):
            raise InvalidInput("a grant of a built-in role cannot be revoked", hint="give the principal another role")
        found = next((one for one in self.of(tenant).grants if one.id == id), None)

        def write(tx: Transaction) -> int:
            ended = tx.update(GRANTS, GRANTS.c.id == id, GRANTS.c.revoked_at.is_(None), revoked_at=self._now())
            self.settle(tx, by, f"ends {id}")
            if ended and found is not None:
                keep(tx, id, {"grant": found.model_dump(exclude_defaults=True)})
            return ended

        if found is None or not await self._database.write(tenant, write):
            raise NotFound(f"there is no grant `{id[:100]}`", hint="`grants.list` shows the grants in force")
        await self.changed()
        return found

    async def changed(self) -> None:
        """Tell every worker that grants changed, and read them here at once."""
        self._epoch.bump()
        await self.refresh()


def over(grant: Grant, now: float) -> bool:
    """Tell whether a grant's time is over."""
    return grant.when.until is not None and now >= grant.when.until


def _everything(tx: InstanceTransaction) -> tuple[dict[str, dict[str, str]], dict[str, tuple[int, str]]]:
    stored: dict[str, dict[str, str]] = {row.id: {} for row in tx.select(TENANTS)}
    for row in tx.select(GRANTS, GRANTS.c.revoked_at.is_(None), order=[GRANTS.c.created_at, GRANTS.c.id]):
        stored.setdefault(row.tenant, {})[row.id] = row.body
    return stored, newest_of_each(tx)
