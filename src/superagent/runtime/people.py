"""People: those of a tenant, what roles they have, and whether they may act."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import Row

from superagent.core.changes import Keep
from superagent.core.context import Context
from superagent.core.principal import Principal
from superagent.core.problems import Conflict, Denied, NotFound
from superagent.data.database import Database
from superagent.data.transaction import Transaction
from superagent.runtime.api_keys import mint, public_half
from superagent.runtime.hands import (
    behind,
    gives_freely,
    hands_on,
    note_hand,
    require_may_give_roles,
    require_may_hold,
    roles_held,
    set_hands,
)
from superagent.runtime.identity_tables import AGENTS, KEYS, MEMBERS, PEOPLE
from superagent.runtime.names import GUARDED, check_name, require_fresh, require_roles, require_unused
from superagent.runtime.shared_map import Epoch

State = dict[str, Any]


class SqlPeople:
    """The people of an installation. Whoever is removed keeps their name: what they did is recorded under it."""

    def __init__(self, database: Database, epoch: Epoch, workspaces: Path, now: Callable[[], float]) -> None:
        self._database = database
        self._epoch = epoch
        self._workspaces = workspaces
        self._now = now

    async def create(self, ctx: Context, id: str, roles: list[str], name: str, *, key: bool) -> str | None:
        """Add a person; with `key`, give a first key of theirs.

        Raises `Conflict`, `InvalidInput`, and `Denied` for a key to roles that the caller lacks.
        """
        check_name(id)
        now, by = self._now(), frozenset(roles_of(ctx.principal))
        token = mint() if key else None

        def write(tx: Transaction) -> None:
            require_unused(tx, id)
            require_roles(tx, roles, by)
            tx.insert(PEOPLE, id=id, roles=json.dumps(roles), state="active", created_at=now, name=name)
            note_hand(tx, id, ctx.principal.id, "made", now)
            if token is not None:
                require_may_show(ctx.principal, id, roles)
                note_hand(tx, id, ctx.principal.id, "key", now)
                insert_person_key(tx, id, token, now, "first")

        await self._database.write(ctx.tenant, write)
        await asyncio.to_thread((self._workspaces / ctx.tenant / id).mkdir, 0o700, True, True)
        return token

    async def listed(self, tenant: str, after: str, limit: int) -> list[State]:
        """Give people in order of their names."""
        rows = await self._database.read(
            tenant, lambda tx: tx.select(PEOPLE, PEOPLE.c.id > after, order=[PEOPLE.c.id], limit=limit)
        )
        return [_person(row) for row in rows]

    async def show(self, tenant: str, id: str) -> State:
        """Give one person with groups and agents. Raises `NotFound`."""

        def read(tx: Transaction) -> State:
            row = require_person(tx, id)
            groups = tx.select(MEMBERS, MEMBERS.c.member == f"user:{id}", order=[MEMBERS.c.group])
            agents = tx.select(AGENTS, AGENTS.c.owner == id, order=[AGENTS.c.id])
            keys = tx.count(KEYS, KEYS.c.kind == "human", KEYS.c.principal == id, KEYS.c.revoked_at.is_(None))
            return _person(row) | {
                "hands": hands_on(tx, id),
                "groups": [one.group for one in groups], "agents": [one.id for one in agents], "keys": keys,
            }  # fmt: skip

        return await self._database.read(tenant, read)

    async def set_state(self, ctx: Context, id: str, state: str) -> None:
        """Suspend, resume or remove a person. Raises `Denied` for oneself, and for who has a role that one lacks.

        All that such a person has begun ends within a second: sessions, tokens, agents and running calls.
        """
        await self._write(ctx, id, lambda row: {"state": state, "roles": json.loads(row.roles)})

    async def set_roles(self, ctx: Context, id: str, roles: list[str]) -> None:
        """Give a person these roles and no others."""
        await self._write(ctx, id, lambda row: {"state": row.state, "roles": roles})

    async def confirm(self, ctx: Context, id: str, keep: Keep) -> None:
        """Say that a person of their own is behind an account, and keep whose hands were on it.

        Raises `Denied` for anybody but an owner, and for whoever the account could be; `Conflict` where it is known.
        """
        caller = ctx.principal

        def write(tx: Transaction) -> None:
            _require_may_confirm(tx, caller, id)
            found = hands_on(tx, id)
            if not found:
                raise Conflict(f"`{id}` counts as a person of their own already")
            set_hands(tx, id, [])
            keep(tx, id, {"id": id, "hands": found})

        await self._database.write(ctx.tenant, write)

    async def require_may_set(self, who: Principal, id: str, roles: list[str]) -> None:
        """Go on only if somebody may give a person these roles. Raises `Denied`, `NotFound`."""

        def look(tx: Transaction) -> None:
            _require_may_set(tx, who, id, roles, json.loads(require_person(tx, id).roles))

        await self._database.read(who.tenant, look)

    async def require_may_change(self, who: Principal, id: str) -> None:
        """Go on only if somebody may suspend, resume or remove a person. Raises `Denied`, `NotFound`."""

        def look(tx: Transaction) -> None:
            had = json.loads(require_person(tx, id).roles)
            _require_may_set(tx, who, id, had, had)

        await self._database.read(who.tenant, look)

    async def require_may_confirm(self, who: Principal, id: str) -> None:
        """Go on only if somebody may say that a person is one of their own. Raises `Denied`, `NotFound`."""
        await self._database.read(who.tenant, lambda tx: _require_may_confirm(tx, who, id))

    async def require_may_create(self, who: Principal, id: str, roles: list[str], key: bool) -> None:
        """Go on only if somebody may add a person, and be shown their first `key`. Raises `Denied`."""
        if key:
            require_may_show(who, id, roles)

    async def unconfirm(self, tenant: str, id: str, hands: list[State]) -> None:
        """Take that back."""
        await self._database.write(tenant, lambda tx: set_hands(tx, id, hands))

    async def find(self, tenant: str, id: str) -> State | None:
        """Give what a change could alter; None for nobody, and for whoever was removed."""
        row = await self._database.read(tenant, lambda tx: tx.first(PEOPLE, PEOPLE.c.id == id))
        if row is None or row.state == "removed":
            return None
        return {"state": row.state, "roles": json.loads(row.roles)}

    async def restore(self, ctx: Context, id: str, to: State | None) -> None:
        """Let a person be as before; one that was nobody is removed."""
        await self._write(ctx, id, lambda row: to or {"state": "removed", "roles": json.loads(row.roles)}, gone=True)

    async def _write(self, ctx: Context, id: str, to: Callable[[Row[Any]], State], *, gone: bool = False) -> None:
        caller = ctx.principal

        def write(tx: Transaction) -> None:
            row = tx.first(PEOPLE, PEOPLE.c.id == id) if gone else require_person(tx, id)
            if row is None:
                raise NotFound(f"there is no user `{id[:100]}`")
            wanted, had = to(row), json.loads(row.roles)
            _require_may_set(tx, caller, id, wanted["roles"], had)
            gained = set(wanted["roles"]) - set(had)
            if gone and gained & {"admin", *GUARDED}:  # an undo is judged as the operation alone, not by its input
                require_fresh(caller, self._now())
            tx.update(PEOPLE, PEOPLE.c.id == id, state=wanted["state"], roles=json.dumps(wanted["roles"]))

        await self._database.write(ctx.tenant, write)
        self._epoch.bump()


def _require_may_set(tx: Transaction, caller: Principal, id: str, roles: list[str], had: list[str]) -> None:
    """Go on only if somebody may give a person, who had these, those roles. Raises `Denied`."""
    if id in caller.ids:
        raise Denied("nobody changes their own roles or state", hint="ask another owner or admin")
    by = frozenset(roles_of(caller))
    require_rank(roles_held(tx, id), by, id)
    require_roles(tx, roles, by, had)
    require_may_give_roles(tx, caller, set(roles) - set(had), f"user:{id}")


def _require_may_confirm(tx: Transaction, caller: Principal, id: str) -> None:
    require_person(tx, id)
    if not gives_freely(caller) or id in behind(tx, caller.id):
        raise Denied("only an owner says so, and never of themselves or of who made them", hint="ask an owner")


def require_may_show(caller: Principal, id: str, roles: list[str]) -> None:
    """Go on only with who could act with these roles anyway: the person's key is shown to them. Raises `Denied`."""
    require_may_hold(caller, roles, f"the first key of `{id}`")


def require_person(tx: Transaction, id: str) -> Row[Any]:
    """Give the row of a person who was not removed. Raises `NotFound`."""
    row = tx.first(PEOPLE, PEOPLE.c.id == id, PEOPLE.c.state != "removed")
    if row is None:
        raise NotFound(f"there is no user `{id[:100]}`", hint="`access.users.list` shows them")
    return row


def require_rank(had: list[str], by: frozenset[str], id: str) -> None:
    """Go on only where the person has no guarded role that the caller lacks. Raises `Denied`."""
    for role in GUARDED:
        if role in had and role not in by:
            raise Denied(f"`{id}` has the role `{role}`, and only who has it too may change that person")


def roles_of(principal: Principal) -> tuple[str, ...]:
    """Give the roles by which somebody gives roles: those of a person who acts in person."""
    return principal.roles if principal.kind == "human" else ()


def insert_person_key(tx: Any, person: str, token: str, now: float, label: str, **more: Any) -> None:
    """Add a person's own key."""
    half = public_half(token)
    tx.insert(
        KEYS, id=half.id, public=half.public, kind="human", principal=person, role=None, workspace="",
        created_by=person, created_at=now, hint=token[-4:], label=label, **more,
    )  # fmt: skip


def _person(row: Row[Any]) -> State:
    return {
        "id": row.id, "name": row.name, "roles": json.loads(row.roles), "state": row.state,
        "created_at": row.created_at,
    }  # fmt: skip
