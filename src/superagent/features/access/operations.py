"""Access: who you are, and who else there is: people, groups, agents, keys, tenants."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Protocol

from superagent.core.operation import written
from superagent.features.access import agents, groups, keys, people, tenants
from superagent.features.access.shapes import Spending, Who
from superagent.sdk import Context, Effect, Plugin, Principal, Risk


class Ledger(Protocol):
    """What keys may use and have used (`runtime.budgets.Budgets`)."""

    @property
    def of_key(self) -> Any:
        """Give the accounts of each key that has any."""
        ...

    def shown(self, principal: Principal) -> list[dict[str, Any]]:
        """Give the lines of a principal's budgets."""
        ...


class Room(Protocol):
    """The stores behind all of it (`runtime.access_room.AccessRoom`)."""

    @property
    def people(self) -> people.Store:
        """Give the people."""
        ...

    @property
    def tenants(self) -> tenants.Store:
        """Give the tenants."""
        ...

    @property
    def groups(self) -> groups.GroupStore:
        """Give the groups."""
        ...

    @property
    def roles(self) -> groups.RoleStore:
        """Give the roles."""
        ...

    @property
    def agents(self) -> agents.Store:
        """Give the agents."""
        ...

    @property
    def stops(self) -> agents.Switch:
        """Give the switch."""
        ...

    @property
    def keys(self) -> keys.Keys:
        """Give the keys."""
        ...

    @property
    def budgets(self) -> Ledger:
        """Give the budgets."""
        ...

    @property
    def keepers(self) -> dict[str, Any]:
        """Give how each kind of thing is kept for undo."""
        ...


def plugin(room: Room) -> Plugin:
    """Make the plugin over the stores of identities."""
    access = Plugin("access")
    budgeted = room.budgets.of_key
    known = lru_cache(1024)(_who)  # a principal never changes, so neither does the answer

    @lru_cache(1024)
    def told(principal: Principal) -> Who:
        return written(known(principal))

    @access.operation(risk=Risk.LOW, effect=Effect.READ, inline=True)
    async def whoami(ctx: Context) -> Who:
        """Say who acts, in which tenant, with which roles, on whose behalf, and what is left of its budgets."""
        principal = ctx.principal
        if principal.key not in budgeted:
            return told(principal)
        lines = [Spending(**line) for line in room.budgets.shown(principal)]
        return known(principal).model_copy(update={"budgets": lines})

    people.add_to(access, room.people)
    tenants.add_to(access, room.tenants)
    groups.add_to(access, room.groups, room.roles)
    agents.add_to(access, room.agents, room.stops)
    keys.add_to(access, room.keys)
    for kind, keeper in room.keepers.items():
        access.resource(kind, keeper)
    return access


def _who(principal: Principal) -> Who:
    bounds = [grant for hop in principal.chain() if hop.bounds for grant in hop.bounds.document()]
    return Who(
        id=principal.id,
        kind=principal.kind,
        tenant=principal.tenant,
        roles=list(principal.roles),
        on_behalf_of=list(principal.ids[1:]),
        workspace=principal.workspace,
        key=principal.key,
        groups=list(principal.groups),
        within=bounds,
    )
