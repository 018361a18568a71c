"""Identity: who is behind a key, whether they may still act, and making and ending keys."""

from __future__ import annotations

import asyncio
import json
import os
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

from sqlalchemy import Row

from superagent.core.context import Context
from superagent.core.grants import Grant
from superagent.core.limits import Rate
from superagent.core.principal import Credential, Principal
from superagent.core.problems import Conflict, InvalidInput, NotFound, Unauthenticated
from superagent.core.resources import canonical_path
from superagent.data.database import Database
from superagent.data.transaction import InstanceTransaction, Transaction
from superagent.runtime.api_keys import mint, public_half, well_formed
from superagent.runtime.identity_tables import GRANTS, KEYS, PEOPLE, TENANTS
from superagent.runtime.policies import SqlPolicies, role_names
from superagent.runtime.shared_map import Epoch

CACHE_S = 300.0
MOST_CACHED = 10_000
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


@dataclass(frozen=True, slots=True)
class Known:
    """A token that was recognised: valid until `until` (epoch seconds) and while the identity epoch stands."""

    principal: Principal
    epoch: int
    until: float


class SqlIdentity:
    """People and keys of an installation."""

    def __init__(
        self,
        database: Database,
        policies: SqlPolicies,
        epoch: Epoch,
        workspaces: Path,
        now: Callable[[], float],
        new_id: Callable[[], str],
        agent_rate: Rate,
    ) -> None:
        self._database = database
        self._policies = policies
        self._epoch = epoch
        self._workspaces = workspaces
        self._now = now
        self._new_id = new_id
        self._agent_rate = agent_rate
        self._pepper = secrets.token_bytes(32)  # the cache holds keyed digests, never keys
        self._known: dict[tuple[bytes, str, str], Known] = {}
        self._alive: dict[str, tuple[int, float]] = {}
        self._used: dict[tuple[str, str], float] = {}

    # ---- recognising

    def known(self, token: str, remote: str, channel: str) -> Principal | None:
        """Give the principal of a key recognised a moment ago whose right to act nobody has touched since."""
        known = self._known.get((self._digest(token), remote, channel))
        if known is None or known.epoch != self._epoch.read() or self._now() >= known.until:
            return None
        return known.principal

    def _digest(self, token: str) -> bytes:
        return blake2b(token.encode("utf-8", "replace"), key=self._pepper, digest_size=16).digest()

    async def identify(self, credential: Credential) -> Principal:
        """Give the principal of a key. Raises `Unauthenticated`, always with the same words."""
        token, facts = credential.value.reveal(), credential.facts
        known = self.known(token, facts.remote, facts.channel)
        if known is not None:
            return known
        if not well_formed(token):
            raise Unauthenticated("this is not a key", hint="a key begins with `sak_`; check that it was copied whole")
        epoch, now = self._epoch.read(), self._now()
        half = public_half(token)
        found = await self._database.read_instance(lambda tx: _key_and_person(tx, half.id))
        if found is None or not secrets.compare_digest(found[0].public, half.public) or not _living(*found, now):
            raise Unauthenticated("this key is not known, or no longer valid")
        principal = self._principal(*found, credential)
        place = (self._digest(token), facts.remote, facts.channel)
        until = min(now + CACHE_S, found[0].expires_at or now + CACHE_S)
        if len(self._known) >= MOST_CACHED:
            self._known.clear()
        self._known[place] = Known(principal, epoch, until)
        self._used[(principal.tenant, half.id)] = now
        return principal

    def _principal(self, key: Row[Any], person: Row[Any], credential: Credential) -> Principal:
        facts = credential.facts
        human = Principal(
            person.id,
            "human",
            person.tenant,
            tuple(json.loads(person.roles)),
            workspace=str(self._workspaces / person.tenant / person.id),
            key=key.id if key.kind == "human" else "",
            remote=facts.remote,
            # nobody can enrol a second factor yet: the owner's key counts as one on this very machine (rules.md 11)
            trusted_local=key.kind == "human" and facts.loopback,
        )
        if key.kind == "human":
            return human
        roles = (key.role,) if key.role else ()
        return Principal(key.principal, "agent", key.tenant, roles, human, key.workspace, key.id, remote=facts.remote)

    def alive(self, principal: Principal) -> bool:
        """Tell whether the key and the people of a chain may still act; looked up when the identity epoch moved."""
        key = principal.key
        if not key:
            return True
        epoch, now = self._epoch.read(), self._now()
        known = self._alive.get(key)
        if known is None or known[0] != epoch:
            found = self._database.read_instance_now(lambda tx: _key_and_person(tx, key))
            until = 0.0 if found is None or not _living(*found, now) else found[0].expires_at or float("inf")
            if len(self._alive) >= MOST_CACHED:
                self._alive.clear()
            known = self._alive[key] = (epoch, until)
        return now < known[1]

    def rate_of(self, principal: Principal) -> Rate | None:
        """Give the limit of calls per second: agents have one, people do not."""
        return self._agent_rate if principal.kind != "human" else None

    async def note_use(self) -> None:
        """Write down when keys were last used; called about once a minute."""
        used, self._used = self._used, {}
        if used:

            def write(tx: InstanceTransaction) -> None:
                for (tenant, id), at in used.items():
                    tx.update(KEYS, KEYS.c.tenant == tenant, KEYS.c.id == id, last_used_at=at)

            await self._database.write_instance(write)

    # ---- making and ending

    async def create(
        self,
        ctx: Context,
        name: str,
        role: str | None,
        grants: list[Grant],
        expires_s: int | None,
        workspace: str | None,
    ) -> dict[str, Any]:
        """Make a key for a new agent on behalf of the caller; it can do what both may do."""
        if not _NAME.fullmatch(name):
            raise InvalidInput("a name has 1 to 63 characters: a-z, 0-9, `-` and `_`, beginning with a letter or digit")
        if role is not None and role not in role_names():
            raise InvalidInput(f"there is no role `{role[:60]}`", hint=f"the roles are {', '.join(role_names())}")
        human = ctx.principal.human
        if human is None:
            raise InvalidInput("only a person can make keys")
        chosen = role or (None if grants else "agent")
        own = str(self._workspaces / ctx.tenant / name) if chosen else ""  # grants alone say where a key may go
        place = canonical_path(workspace, "") if workspace else own
        token = mint()
        row = {
            "kind": "agent", "principal": name, "role": chosen, "workspace": place, "created_by": human.id,
            "expires_at": ctx.now + expires_s if expires_s else None,
        }  # fmt: skip
        id = await self._add_key(ctx.tenant, token, grants, row)
        if place == own != "":
            await asyncio.to_thread(Path(place).mkdir, 0o700, True, True)
        return {"id": id, "key": token, "agent": name, "workspace": place, "expires_at": row["expires_at"]}

    async def _add_key(self, tenant: str, token: str, grants: list[Grant], row: dict[str, Any]) -> str:
        half, now = public_half(token), self._now()
        own = [one.model_copy(update={"subject": f"key:{half.id}"}) for one in grants]
        bodies = [one.model_dump_json(exclude={"id"}, exclude_defaults=True) for one in own]

        def write(tx: Transaction) -> None:
            name = row["principal"]
            # a name is never used again: it owns a folder, undo entries and grants
            taken = tx.first(KEYS, KEYS.c.principal == name)
            if taken is not None or tx.first(PEOPLE, PEOPLE.c.id == name) is not None:
                raise Conflict(f"`{name}` exists already", hint="choose another name; one is never used twice")
            tx.insert(KEYS, id=half.id, public=half.public, created_at=now, hint=token[-4:], **row)
            for body in bodies:
                tx.insert(GRANTS, id=f"grant_{self._new_id()}", body=body, created_by=row["created_by"], created_at=now)

        await self._database.write(tenant, write)
        if bodies:
            await self._policies.changed()
        return half.id

    async def revoke(self, tenant: str, id: str) -> None:
        """End a key and its grants; every worker refuses it from now on. Raises `NotFound`."""
        now = self._now()

        def write(tx: Transaction) -> int:
            subject = f'"subject":"key:{id}"'
            tx.update(GRANTS, GRANTS.c.body.contains(subject, autoescape=True), revoked_at=now)
            return tx.update(KEYS, KEYS.c.id == id, KEYS.c.revoked_at.is_(None), revoked_at=now)

        if not await self._database.write(tenant, write):
            raise NotFound(f"there is no key `{id[:100]}`", hint="`access.keys.list` shows the keys")
        self._epoch.bump()
        await self._policies.changed()

    async def listed(self, tenant: str) -> list[dict[str, Any]]:
        """Give the keys of a tenant, without anything secret."""
        shown = "id principal kind role created_by created_at expires_at revoked_at last_used_at hint"
        rows = await self._database.read(tenant, lambda tx: tx.select(KEYS, order=[KEYS.c.created_at]))
        return [
            {("name" if name == "principal" else name): getattr(row, name) for name in shown.split()} for row in rows
        ]

    async def bootstrap(self, key_file: Path) -> bool:
        """Make the tenants `system` and `default` and the user `owner` with a key file, once; True if it was now."""
        now = self._now()
        if await self._database.read_instance(lambda tx: tx.count(TENANTS)):
            return False
        token = mint()
        half = public_half(token)
        await asyncio.to_thread((self._workspaces / "default" / "owner").mkdir, 0o700, True, True)
        # the file first: a key that stands in no file is of no use, a file whose key is unknown is written again
        _write_secret(key_file, token + "\n")

        def write(tx: InstanceTransaction) -> None:
            for tenant in ("system", "default"):
                tx.insert(TENANTS, id=tenant, created_at=now)
            roles = json.dumps(["owner", "instance-owner"])
            tx.insert(PEOPLE, tenant="default", id="owner", roles=roles, state="active", created_at=now)
            tx.insert(
                KEYS, tenant="default", id=half.id, public=half.public, kind="human", principal="owner", role=None,
                workspace="", created_by="owner", created_at=now, hint=token[-4:],
            )  # fmt: skip

        await self._database.write_instance(write)
        return True


def _key_and_person(tx: InstanceTransaction, id: str) -> tuple[Row[Any], Row[Any]] | None:
    key = tx.first(KEYS, KEYS.c.id == id)
    if key is None:
        return None
    person = tx.first(PEOPLE, PEOPLE.c.tenant == key.tenant, PEOPLE.c.id == key.created_by)
    return None if person is None else (key, person)


def _living(key: Row[Any], person: Row[Any], now: float) -> bool:
    return key.revoked_at is None and (key.expires_at is None or now < key.expires_at) and person.state == "active"


def _write_secret(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
