"""Keys: made, given a successor, ended. Only their public halves are kept."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Row

from superagent.core.bounds import Bounds
from superagent.core.changes import Keep
from superagent.core.context import Context
from superagent.core.grants import Grant
from superagent.core.principal import Principal
from superagent.core.problems import Denied, InvalidInput, NotFound, StepUpRequired
from superagent.core.resources import canonical_path
from superagent.data.database import Database
from superagent.data.transaction import Transaction
from superagent.runtime.agents import require_agent
from superagent.runtime.api_keys import mint, public_half
from superagent.runtime.first_start import OWNER_KEY, renew_owner_key
from superagent.runtime.hands import require_may_give, roles_held, widens
from superagent.runtime.holders import MOST_HOPS
from superagent.runtime.identity_tables import AGENTS, ENDED, GRANTS, KEYS
from superagent.runtime.names import check_name, require_roles, require_unused
from superagent.runtime.people import require_rank, roles_of
from superagent.runtime.policies import SqlPolicies
from superagent.runtime.shared_map import Epoch
from superagent.runtime.sign_in.factors import has_second

SHOWN = (
    "id", "principal", "kind", "role", "created_by", "created_at", "expires_at", "revoked_at", "last_used_at", "hint",
    "label", "why",
)  # fmt: skip


_COPIED = (
    "kind", "principal", "role", "workspace", "created_by", "expires_at", "label", "above", "bounds", "limits",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Asked:
    """What a key is to be. `only` are its bounds, `limits` its rate, networks and budget."""

    name: str
    role: str | None = None
    grants: Sequence[Grant] = ()
    expires_s: float | None = None
    workspace: str | None = None
    only: Sequence[Grant] = ()
    limits: dict[str, Any] = field(default_factory=dict[str, Any])

    def until(self, now: float) -> float | None:
        """Give when it ends; None for never."""
        return now + self.expires_s if self.expires_s else None

    def row(self, now: float) -> dict[str, Any]:
        """Give what stands in the row of every such key."""
        bounds = json.dumps(Bounds(self.only).document()) if self.only else ""
        return {
            "kind": "agent", "expires_at": self.until(now), "bounds": bounds,
            "limits": json.dumps(self.limits) if self.limits else "",
        }  # fmt: skip


class SqlKeys:
    """The keys of an installation."""

    def __init__(
        self,
        database: Database,
        policies: SqlPolicies,
        epoch: Epoch,
        workspaces: Path,
        now: Callable[[], float],
        new_id: Callable[[], str],
        owner_key: Path,
    ) -> None:
        self._database = database
        self._policies = policies
        self._epoch = epoch
        self._workspaces = workspaces
        self._now = now
        self._new_id = new_id
        self._owner_key = owner_key

    def asked(self, name: str, **what: Any) -> Asked:
        """Put together what a key is to be."""
        return Asked(name, **what)

    async def create(self, ctx: Context, asked: Asked, keep: Keep) -> dict[str, Any]:
        """Make a key for a new agent on behalf of the caller; it can do what both may do. Raises `Conflict`."""
        check_name(asked.name)
        human = ctx.principal.human
        if human is None:
            raise InvalidInput("only a person can make keys")
        chosen = asked.role or (None if asked.grants else "agent")
        own = str(self._workspaces / ctx.tenant / asked.name) if chosen else ""  # grants alone say where a key may go
        place = canonical_path(asked.workspace, "") if asked.workspace else own
        by, now, token = frozenset(human.roles), self._now(), mint()
        id = public_half(token).id
        row = asked.row(now) | {"principal": asked.name, "role": chosen, "workspace": place, "created_by": human.id}

        def write(tx: Transaction) -> None:
            require_unused(tx, asked.name)
            require_roles(tx, [chosen] if chosen else [], by)
            tx.insert(
                AGENTS, id=asked.name, kind="agent", owner=human.id, parent="", role=chosen, workspace=place,
                state="active", budget="", created_at=now,
            )  # fmt: skip
            self._insert(tx, token, row, asked.grants)
            keep(tx, id, {"id": id})

        await self._database.write(ctx.tenant, write)
        if asked.grants:
            await self._policies.changed()
        if place == own != "":
            await asyncio.to_thread(Path(place).mkdir, 0o700, True, True)
        return _made(token, asked.name, place, asked.until(now))

    async def create_more(self, ctx: Context, agent: str, asked: Asked, keep: Keep) -> dict[str, Any]:
        """Make one more key for an agent or a service of the caller's. Raises `NotFound`, `Denied` for another's."""
        now, token = self._now(), mint()
        id = public_half(token).id
        found: list[Row[Any]] = []

        def write(tx: Transaction) -> None:
            one = _require_may_make(tx, ctx.principal, agent, asked.grants, now)
            row = asked.row(now) | {
                "kind": one.kind, "principal": agent, "role": one.role, "workspace": one.workspace,
                "created_by": ctx.principal.id, "label": asked.name,
            }  # fmt: skip
            self._insert(tx, token, row, asked.grants)
            keep(tx, id, {"id": id})
            found.append(one)

        await self._database.write(ctx.tenant, write)
        if asked.grants:
            await self._policies.changed()
        return _made(token, agent, found[0].workspace, asked.until(now))

    async def require_may_make(self, who: Principal, agent: str | None, grants: Sequence[Grant]) -> None:
        """Go on only if somebody may make a key for an agent that is there. Raises `Denied`, `NotFound`."""
        if agent is not None:
            await self._database.read(who.tenant, lambda tx: _require_may_make(tx, who, agent, grants, self._now()))

    async def require_may_revoke(self, who: Principal, id: str) -> None:
        """Go on only if somebody may end a key that is there. Raises `Denied`."""

        def look(tx: Transaction) -> None:
            row = tx.first(KEYS, KEYS.c.id == id, KEYS.c.revoked_at.is_(None))
            if row is not None:
                _require_may_revoke(tx, who, row)

        await self._database.read(who.tenant, look)

    async def require_may_rotate(self, who: Principal, id: str) -> None:
        """Go on only if somebody may be given a key's successor. Raises `Denied`, `NotFound`."""

        def look(tx: Transaction) -> None:
            row = tx.first(KEYS, KEYS.c.id == id, KEYS.c.revoked_at.is_(None))
            if row is None:
                raise _no_key(id)
            _require_may_rotate(tx, row, who, self._now())

        await self._database.read(who.tenant, look)

    async def delegate(self, ctx: Context, asked: Asked, keep: Keep) -> dict[str, Any]:
        """Make a sub-agent of the calling agent, with a key: it can do what the whole chain may, within its bounds.

        Raises `Denied` for a chain that is as long as it may be, and for a key that nobody here has made.
        """
        check_name(asked.name)
        caller, now, token = ctx.principal, self._now(), mint()
        id, key = f"{caller.id}/{asked.name}", public_half(token).id
        if len(caller.ids) >= MOST_HOPS or len(id) > 64:
            raise Denied(f"a chain has at most {MOST_HOPS} members, the person included", hint="do this part yourself")
        if not caller.key.startswith("key_") or "." in caller.key:
            raise Denied("rights are lent on from a key that was made here", hint="`superagent keys attenuate`")
        row = asked.row(now) | {
            "kind": "agent", "principal": id, "role": None, "workspace": caller.workspace, "created_by": caller.id,
            "above": caller.key,
        }  # fmt: skip

        def write(tx: Transaction) -> None:
            require_unused(tx, id)
            human = caller.human
            tx.insert(
                AGENTS, id=id, kind="agent", owner=human.id if human else _owner(tx, caller.id), parent=caller.id,
                role=None, workspace=caller.workspace, state="active", budget="", created_at=now,
            )  # fmt: skip
            self._insert(tx, token, row, [])
            keep(tx, key, {"id": key})

        await self._database.write(ctx.tenant, write)
        return _made(token, id, caller.workspace, asked.until(now))

    async def rotate(self, ctx: Context, id: str, overlap_s: float, keep: Keep) -> dict[str, Any]:
        """Give a key a successor with the same rights; the old one is good for a while yet. Raises `NotFound`."""
        now, token = self._now(), mint()
        new = public_half(token).id
        found: list[Row[Any]] = []

        def write(tx: Transaction) -> None:
            old = tx.first(KEYS, KEYS.c.id == id, KEYS.c.revoked_at.is_(None))
            if old is None or (old.expires_at is not None and old.expires_at <= now):
                raise _no_key(id)
            _require_may_rotate(tx, old, ctx.principal, now)
            row = {name: getattr(old, name) for name in _COPIED}
            self._insert(tx, token, row, [])
            for one in tx.select(GRANTS, GRANTS.c.revoked_at.is_(None), GRANTS.c.body.contains(_subject(id))):
                body = one.body.replace(_subject(id), _subject(new))
                tx.insert(GRANTS, id=f"grant_{self._new_id()}", body=body, created_by=ctx.principal.id, created_at=now)
            self._policies.settle(tx, ctx.principal.id, f"the key {new} follows {id}")
            tx.update(KEYS, KEYS.c.above == id, above=new)
            until = min(now + overlap_s, old.expires_at or now + overlap_s)
            tx.update(KEYS, KEYS.c.id == id, expires_at=until)
            keep(tx, new, {"id": id, "new": new, "expires_at": old.expires_at})
            found.append(old)

        await self._database.write(ctx.tenant, write)
        self._epoch.bump()
        await self._policies.changed()
        old = found[0]
        return _made(token, old.principal, old.workspace, old.expires_at) | {"old_until": now + overlap_s}

    def _insert(self, tx: Transaction, token: str, row: dict[str, Any], grants: Sequence[Grant]) -> None:
        half, now = public_half(token), self._now()
        tx.insert(KEYS, id=half.id, public=half.public, created_at=now, hint=token[-4:], **row)
        for one in grants:
            own = one.model_copy(update={"subject": f"key:{half.id}"})
            body = own.model_dump_json(exclude={"id"}, exclude_defaults=True)
            tx.insert(GRANTS, id=f"grant_{self._new_id()}", body=body, created_by=row["created_by"], created_at=now)
        if grants:
            self._policies.settle(tx, row["created_by"], f"the key {half.id} has grants of its own")

    async def revoke(self, tenant: str, id: str, why: str = "", by: Principal | None = None) -> None:
        """End a key with its grants and all that was made of it, or one attenuated key. Raises `NotFound`.

        `by` may not end the key of a person with a role that it lacks (`Denied`). The key of the first start gets a
        successor in its file.
        """
        now = self._now()
        key, dot, block = id.partition(".")
        first: list[Row[Any]] = []

        def write(tx: Transaction) -> int:
            if dot:  # `key_….<blocks>.<end>`, as whoami shows it: the last block is what makes it this one
                there = tx.first(KEYS, KEYS.c.id == key)
                names = [one for one in block.split(".") if len(one) == 32]
                if there is None or not names:
                    return 0
                return int(tx.insert_new(ENDED, id=names[-1], key=key, by=by.id if by else "", at=now))
            row = tx.first(KEYS, KEYS.c.id == id, KEYS.c.revoked_at.is_(None))
            if row is None:
                return 0
            if by is not None:
                _require_may_revoke(tx, by, row)
            if row.label == OWNER_KEY:
                first.append(row)
            tx.update(GRANTS, GRANTS.c.body.contains(_subject(id), autoescape=True), revoked_at=now)
            self._policies.settle(tx, by.id if by else "", f"ends the key {id}")
            return tx.update(KEYS, KEYS.c.id == id, revoked_at=now, why=why)

        if not await self._database.write(tenant, write):
            raise _no_key(id)
        for row in first:
            await renew_owner_key(self._database, self._owner_key, tenant, row.principal, now)
        self._epoch.bump()
        await self._policies.changed()

    async def find(self, tenant: str, id: str) -> dict[str, Any]:
        """Give one key, without anything secret. Raises `NotFound`."""
        row = await self._database.read(tenant, lambda tx: tx.first(KEYS, KEYS.c.id == id))
        if row is None:
            raise _no_key(id)
        return _shown(row)

    async def reprieve(self, who: Principal, id: str, expires_at: float | None, new: str) -> None:
        """Take a rotation back: the successor ends, and the old key is good for as long as it was.

        Raises as `require_may_rotate` does.
        """
        await self.require_may_rotate(who, id)
        with suppress(NotFound):  # a successor that has ended since is as it shall be
            await self.revoke(who.tenant, new, "its rotation was taken back")
        await self._database.write(who.tenant, lambda tx: tx.update(KEYS, KEYS.c.id == id, expires_at=expires_at))
        self._epoch.bump()

    async def listed(self, tenant: str) -> list[dict[str, Any]]:
        """Give the keys of a tenant, without anything secret."""
        rows = await self._database.read(tenant, lambda tx: tx.select(KEYS, order=[KEYS.c.created_at]))
        return [_shown(row) for row in rows]


def _shown(row: Row[Any]) -> dict[str, Any]:
    shown = {("name" if name == "principal" else name): getattr(row, name) for name in SHOWN}
    shown["bounds"] = json.loads(row.bounds) if row.bounds else []
    shown["limits"] = json.loads(row.limits) if row.limits else {}
    return shown


def _made(token: str, agent: str, workspace: str, expires_at: float | None) -> dict[str, Any]:
    return {
        "id": public_half(token).id, "key": token, "agent": agent, "workspace": workspace, "expires_at": expires_at,
    }  # fmt: skip


def _subject(key: str) -> str:
    return f'"subject":"key:{key}"'


def _no_key(id: str) -> NotFound:
    return NotFound(f"there is no key `{id[:100]}`", hint="`access.keys.list` shows the keys")


def _owner(tx: Transaction, agent: str) -> str:
    return require_agent(tx, agent).owner


def _require_may_make(tx: Transaction, who: Principal, agent: str, grants: Sequence[Grant], now: float) -> Row[Any]:
    one = require_agent(tx, agent)
    if one.owner != who.id:
        raise Denied(f"`{agent}` acts for `{one.owner}`: only that person makes keys for it")
    if one.kind == "service" and widens(grants, ()):  # nobody's rights cap those of a service
        require_may_give(tx, who, [f"service:{agent}"])
    if one.kind == "service":
        _require_proved(tx, who, now)
    return one


def _require_may_revoke(tx: Transaction, who: Principal, key: Row[Any]) -> None:
    if key.kind == "human" and who.id != key.principal:
        require_rank(roles_held(tx, key.principal), frozenset(roles_of(who)), key.principal)


def _require_may_rotate(tx: Transaction, key: Row[Any], who: Principal, now: float) -> None:
    _require_own(tx, key, who.id)
    if key.kind != "agent":
        _require_proved(tx, who, now)
    if key.label == OWNER_KEY:
        raise Denied("the key of the first start is replaced in its file", hint="`access.keys.revoke` makes a new file")


def _require_proved(tx: Transaction, who: Principal, now: float) -> None:
    """Go on only with a fresh second factor, if the person has one. Raises `StepUpRequired`.

    The keys of people and services go on when the key that asked for them is ended: whoever has stolen one must not
    come by another.
    """
    if has_second(tx, who.tenant, who.id) and not who.fresh(now):
        raise StepUpRequired("to be given a key that outlives the present one needs a fresh second factor")


def _require_own(tx: Transaction, key: Row[Any], caller: str) -> None:
    """Go on only for whoever a key acts for: a new secret for it is given to nobody else. Raises `Denied`."""
    owner = key.principal if key.kind == "human" else _owner(tx, key.principal)
    if owner != caller:
        raise Denied(f"this key acts for `{owner}`: only that person is given a new one", hint="revoke it instead")
