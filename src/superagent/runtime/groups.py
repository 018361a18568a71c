"""Groups and custom roles: names under which several people, agents or grants stand together."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from superagent.core.context import Context
from superagent.core.grants import Grant
from superagent.core.principal import Principal
from superagent.core.problems import Conflict, Denied, InvalidInput, NotFound
from superagent.data.database import Database
from superagent.data.transaction import Transaction, Where
from superagent.runtime.hands import require_may_give
from superagent.runtime.identity_tables import AGENTS, GRANTS, GROUPS, MEMBERS, PEOPLE, ROLES
from superagent.runtime.names import GUARDED, check_name, require_fresh, require_roles
from superagent.runtime.people import require_rank, roles_of
from superagent.runtime.policies import EVERYBODY, SqlPolicies, role_names
from superagent.runtime.shared_map import Epoch

State = dict[str, Any]


class SqlGroups:
    """The groups of an installation: their members have their roles, and grants can name them (`group:…`)."""

    def __init__(self, database: Database, policies: SqlPolicies, epoch: Epoch, now: Callable[[], float]) -> None:
        self._database = database
        self._policies = policies
        self._epoch = epoch
        self._now = now

    async def create(self, ctx: Context, id: str, roles: list[str]) -> None:
        """Make a group. Raises `Conflict`, also while grants stand that name it: nobody inherits them unseen."""
        check_name(id)
        if await self.find(ctx.tenant, id) is not None:
            raise Conflict(f"the group `{id}` exists already")
        if left := await self.beside(ctx.tenant, id):
            raise Conflict(
                f"grants speak of `group:{id}` already: {', '.join(left['grants'][:5])}",
                hint="end them with `grants.revoke`, or choose another name",
            )
        await self.restore(ctx, id, {"roles": roles, "members": []})

    async def listed(self, tenant: str) -> list[State]:
        """Give groups with their members."""

        def read(tx: Transaction) -> list[State]:
            members: dict[str, list[str]] = {}
            for row in tx.select(MEMBERS, order=[MEMBERS.c.member]):
                members.setdefault(row.group, []).append(row.member)
            rows = tx.select(GROUPS, order=[GROUPS.c.id])
            return [{"id": row.id, "roles": json.loads(row.roles), "members": members.get(row.id, [])} for row in rows]

        return await self._database.read(tenant, read)

    async def add(self, ctx: Context, id: str, member: str) -> None:
        """Add a member, `user:…` or `agent:…`. Raises `NotFound`, `Conflict`, `Denied` for oneself."""
        found = await self._get(ctx.tenant, id)
        if member in found["members"]:
            raise Conflict(f"`{member}` is in `{id}` already")
        await self.restore(ctx, id, found | {"members": [*found["members"], member]})

    async def require_may_join(self, who: Principal, member: str) -> None:
        """Go on only if somebody may put a member into a group. Raises `Denied`."""
        await self._database.read(who.tenant, lambda tx: _require_may_join(tx, who, {member}))

    async def require_may_make(self, who: Principal, id: str, roles: list[str]) -> None:
        """Go on only if somebody may make a group with these roles. Raises `Denied`."""
        if roles:
            await self._database.read(who.tenant, lambda tx: require_may_give(tx, who, [f"group:{id}"]))

    async def require_may_change(self, who: Principal, id: str) -> None:
        """Go on only if somebody may change or delete a group. Raises `Denied`."""
        found = await self.find(who.tenant, id)
        require_rank(found["roles"] if found else [], frozenset(roles_of(who)), id)

    async def remove_member(self, ctx: Context, id: str, member: str) -> None:
        """Take a member out. Raises `NotFound`."""
        found = await self._get(ctx.tenant, id)
        if member not in found["members"]:
            raise NotFound(f"`{member[:100]}` is not in `{id}`")
        await self.restore(ctx, id, found | {"members": [one for one in found["members"] if one != member]})

    async def delete(self, ctx: Context, id: str) -> None:
        """Delete a group with the grants that name it; its members have them no more. Raises `NotFound`."""
        await self._get(ctx.tenant, id)
        await self.restore(ctx, id, None)

    async def find(self, tenant: str, id: str) -> State | None:
        """Give roles and members of a group, None when there is none."""

        def read(tx: Transaction) -> State | None:
            row = tx.first(GROUPS, GROUPS.c.id == id)
            if row is None:
                return None
            members = tx.select(MEMBERS, MEMBERS.c.group == id, order=[MEMBERS.c.member])
            return {"roles": json.loads(row.roles), "members": [one.member for one in members]}

        return await self._database.read(tenant, read)

    async def beside(self, tenant: str, id: str) -> State:
        """Give what ends with a group and comes back with it: the ids of the grants that name it."""
        found = await self._database.read(tenant, lambda tx: tx.select(GRANTS, *_naming(id), order=[GRANTS.c.id]))
        return {"grants": [row.id for row in found]} if found else {}

    async def _get(self, tenant: str, id: str) -> State:
        found = await self.find(tenant, id)
        if found is None:
            raise NotFound(f"there is no group `{id[:100]}`", hint="`access.groups.list` shows them")
        return found

    async def restore(self, ctx: Context, id: str, to: State | None) -> None:
        """Make a group what is said, or nothing; nobody puts themselves in, nor gives what only others may give.

        Grants that name it end with it. One that comes back has those again that ended with it.
        """
        by, now, caller = frozenset(roles_of(ctx.principal)), self._now(), ctx.principal

        def write(tx: Transaction) -> None:
            row = tx.first(GROUPS, GROUPS.c.id == id)
            had: list[str] = json.loads(row.roles) if row is not None else []
            require_rank(had, by, id)
            before = {one.member for one in tx.select(MEMBERS, MEMBERS.c.group == id)}
            if to is not None and set(to["roles"]) - set(had):
                require_may_give(tx, caller, [f"group:{id}"])
            tx.delete(MEMBERS, MEMBERS.c.group == id)
            tx.delete(GROUPS, GROUPS.c.id == id)
            if to is None:
                if tx.update(GRANTS, *_naming(id), revoked_at=now):
                    self._policies.settle(tx, caller.id, f"ends the group {id}")
                return
            if row is None and to.get("grants"):
                self._put_back(tx, ctx, to["grants"], id)
            require_roles(tx, to["roles"], by, had)
            _require_may_join(tx, caller, set(to["members"]) - before)
            if set(to["members"]) - before and {"admin", *GUARDED}.intersection(to["roles"]):
                require_fresh(caller, now)
            tx.insert(GROUPS, id=id, roles=json.dumps(to["roles"]), created_by=caller.id, created_at=now)
            for member in to["members"]:
                _require_member(tx, member)
                tx.insert(MEMBERS, group=id, member=member, added_at=now)

        await self._database.write(ctx.tenant, write)
        self._epoch.bump()
        if to is None or to.get("grants"):
            await self._policies.changed()

    def _put_back(self, tx: Transaction, ctx: Context, grants: list[str], id: str) -> None:
        """Put the grants in force again that ended with a group. Raises `StepUpRequired` where one permits something.

        None of them is in force; whatever the caller may not give has been refused by then, with the members.
        """
        rows = tx.select(GRANTS, GRANTS.c.id.in_(grants), _names(id))
        if any(json.loads(row.body)["effect"] != "deny" for row in rows):
            require_fresh(ctx.principal, self._now(), "to put back a group with what it permits")
            require_may_give(tx, ctx.principal, [f"group:{id}"])
        tx.update(GRANTS, GRANTS.c.id.in_([row.id for row in rows]), revoked_at=None)
        self._policies.settle(tx, ctx.principal.id, f"puts back the group {id}")


def _require_may_join(tx: Transaction, caller: Principal, members: set[str]) -> None:
    if any(one.partition(":")[2] in caller.ids for one in members):
        raise Denied("nobody puts themselves into a group", hint="ask another owner or admin")
    require_may_give(tx, caller, members, "what a group has")


class SqlRoles:
    """Custom roles: a name, and the grants whose subject it is."""

    def __init__(
        self,
        database: Database,
        policies: SqlPolicies,
        epoch: Epoch,
        now: Callable[[], float],
        new_id: Callable[[], str],
    ) -> None:
        self._database = database
        self._policies = policies
        self._epoch = epoch
        self._now = now
        self._new_id = new_id

    async def listed(self, tenant: str) -> list[State]:
        """Give the built-in roles and the tenant's own."""
        rows = await self._database.read(tenant, lambda tx: tx.select(ROLES, order=[ROLES.c.id]))
        built_in = [{"id": name, "summary": "", "built_in": True} for name in role_names()]
        return built_in + [{"id": row.id, "summary": row.summary, "built_in": False} for row in rows]

    async def show(self, tenant: str, id: str) -> State:
        """Give a role with its grants. Raises `NotFound`."""
        found = next((one for one in await self.listed(tenant) if one["id"] == id), None)
        if found is None:
            raise NotFound(f"there is no role `{id[:100]}`", hint="`access.roles.list` shows them")
        grants = [one for one in self._policies.listed(tenant) if one.subject == f"role:{id}"]
        return found | {"grants": [one.model_dump(exclude_defaults=True) for one in grants]}

    async def put(self, ctx: Context, id: str, summary: str, grants: list[Grant], *, new: bool) -> None:
        """Make a role, or let it permit something else. Raises `Conflict`, `NotFound`."""
        check_name(id)
        there = await self.find(ctx.tenant, id)
        if id in role_names() or id == EVERYBODY or (new and there is not None):
            raise Conflict(f"the role `{id}` exists already" + ("" if there else ", built in"))
        if not new and there is None:
            raise NotFound(f"there is no role `{id[:100]}` of your own", hint="`access.roles.list` shows them")
        if any(one.subject or one.id for one in grants):
            raise InvalidInput("the grants of a role have no `subject` and no `id`: they are the role's own")
        bodies = [one.model_dump(mode="json", exclude_defaults=True) for one in grants]
        await self._make(ctx, id, {"summary": summary, "grants": bodies})

    async def require_may_put(self, who: Principal, id: str, grants: list[Grant]) -> None:
        """Go on only if somebody may let a role consist of these grants. Raises `Denied`."""
        bodies = {one.model_dump_json(exclude={"id"}, exclude_defaults=True) for one in _owned(id, grants)}
        await self._database.read(who.tenant, lambda tx: _require_may_put(tx, who, id, grants, bodies))

    async def delete(self, ctx: Context, id: str) -> None:
        """Delete a role that nobody has. Raises `NotFound`, `Conflict`."""
        if await self.find(ctx.tenant, id) is None:
            raise NotFound(f"there is no role `{id[:100]}` of your own", hint="built-in roles stay")
        await self._make(ctx, id, None)

    async def find(self, tenant: str, id: str) -> State | None:
        """Give what a custom role says, None when there is none."""
        row = await self._database.read(tenant, lambda tx: tx.first(ROLES, ROLES.c.id == id))
        if row is None:
            return None
        grants = [one for one in self._policies.listed(tenant) if one.subject == f"role:{id}"]
        plain = [one.model_dump(mode="json", exclude={"id", "subject"}, exclude_defaults=True) for one in grants]
        return {"summary": row.summary, "grants": plain}

    async def restore(self, ctx: Context, id: str, to: State | None) -> None:
        """Make a role what it was, or nothing. Raises `Conflict` when somebody would lose it.

        What it permitted comes back only by whoever has shown a second factor a moment ago (`StepUpRequired`).
        """
        if to is not None and any(one["effect"] != "deny" for one in to["grants"]):
            require_fresh(ctx.principal, self._now(), "to put back a role that permits something")
        await self._make(ctx, id, to)

    async def _make(self, ctx: Context, id: str, to: State | None) -> None:
        now, by = self._now(), ctx.principal.id
        subject = f"role:{id}"
        grants = [] if to is None else [Grant.model_validate({**one, "subject": subject}) for one in to["grants"]]
        bodies = [one.model_dump_json(exclude={"id"}, exclude_defaults=True) for one in grants]

        def write(tx: Transaction) -> None:
            if to is None:
                _require_unheld(tx, id)
            else:
                if _forbidden(tx, subject) - set(bodies):
                    require_fresh(ctx.principal, now, "to end what a role forbids")
                _require_may_put(tx, ctx.principal, id, grants, set(bodies))
            tx.delete(ROLES, ROLES.c.id == id)
            mark = f'"subject":"{subject}"'
            own = GRANTS.c.body.contains(mark, autoescape=True)
            tx.update(GRANTS, own, GRANTS.c.revoked_at.is_(None), revoked_at=now)
            if to is not None:
                tx.insert(ROLES, id=id, summary=to["summary"], created_by=by, created_at=now)
            for body in bodies:
                tx.insert(GRANTS, id=f"grant_{self._new_id()}", body=body, created_by=by, created_at=now)
            self._policies.settle(tx, by, f"changes the role {id}")

        await self._database.write(ctx.tenant, write)
        await self._policies.changed()
        self._epoch.bump()


def _owned(id: str, grants: list[Grant]) -> list[Grant]:
    return [one.model_copy(update={"subject": f"role:{id}"}) for one in grants]


def _require_may_put(tx: Transaction, caller: Principal, id: str, grants: list[Grant], bodies: set[str]) -> None:
    subject = f"role:{id}"
    if any(one.effect != "deny" for one in grants) or _forbidden(tx, subject) - bodies:
        require_may_give(tx, caller, [subject])


def _require_member(tx: Transaction, member: str) -> None:
    kind, _, name = member.partition(":")
    table = {"user": PEOPLE, "agent": AGENTS}.get(kind)
    if table is None:
        raise InvalidInput("a member is `user:…` or `agent:…`")
    if tx.first(table, table.c.id == name, table.c.state != "removed") is None:
        raise NotFound(f"there is no {kind} `{name[:100]}`")


def _names(group: str) -> Where:
    return GRANTS.c.body.contains(f'"subject":"group:{group}"', autoescape=True)


def _naming(group: str) -> tuple[Where, Where]:
    """Select the grants in force whose subject is a group."""
    return _names(group), GRANTS.c.revoked_at.is_(None)


def _forbidden(tx: Transaction, subject: str) -> set[str]:
    """Give the stored grants that forbid a subject something."""
    mark = GRANTS.c.body.contains(f'"subject":"{subject}"', autoescape=True)
    bodies = [row.body for row in tx.select(GRANTS, mark, GRANTS.c.revoked_at.is_(None))]
    return {body for body in bodies if json.loads(body)["effect"] == "deny"}


def _require_unheld(tx: Transaction, id: str) -> None:
    holders = [f"user:{row.id}" for row in tx.select(PEOPLE) if id in json.loads(row.roles) and row.state != "removed"]
    holders += [f"group:{row.id}" for row in tx.select(GROUPS) if id in json.loads(row.roles)]
    holders += [f"agent:{row.id}" for row in tx.select(AGENTS, AGENTS.c.role == id, AGENTS.c.state != "removed")]
    if holders:
        raise Conflict(f"`{id}` is the role of {', '.join(sorted(holders)[:5])}", hint="give them another one first")
