"""Holders: who stands behind a key, whether all of them may still act, and the principal that they make."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from sqlalchemy import Row

from superagent.core.bounds import Bounds
from superagent.core.budgets import Budget, budget_of
from superagent.core.grants import Grant
from superagent.core.limits import Rate
from superagent.core.principal import Facts, Principal
from superagent.data.transaction import InstanceTransaction
from superagent.runtime.first_start import OWNER_KEY
from superagent.runtime.identity_tables import AGENTS, GROUPS, KEYS, MEMBERS, PEOPLE, STOPS, TENANTS
from superagent.runtime.sign_in.factors import has_second

EVERYTHING = "everything"
_ALL = Grant(effect="allow", operations=["*"])
FOR_EVER = float("inf")
Groups = tuple[dict[str, tuple[str, ...]], dict[str, tuple[str, ...]]]  # of each member, and the roles of each group
MOST_HOPS = 4
"""How many may stand in a chain, the person included: person, agent, sub-agent, and one that this one lends to."""


@dataclass(frozen=True)
class Holder:
    """Rows that belong together: a key, its agent (None for a person's own key), the person, and the key above."""

    key: Row[Any]
    agent: Row[Any] | None
    person: Row[Any]
    above: Holder | None
    tenant_state: str
    groups: dict[str, tuple[str, ...]]  # of `user:…` and `agent:…`
    group_roles: dict[str, tuple[str, ...]]
    stops: frozenset[str]
    enrolled: bool = False  # the person has a second factor

    def up(self) -> Iterator[Holder]:
        """Give this one and those by whose keys it was made."""
        hop: Holder | None = self
        while hop is not None:
            yield hop
            hop = hop.above

    @property
    def groups_and_roles(self) -> Groups:
        """Give the groups of its members, and the roles of these groups."""
        return self.groups, self.group_roles

    @cached_property
    def bounds(self) -> Bounds | None:
        """Give the grants beyond which the key does not reach; None for none."""
        return Bounds.of(json.loads(self.key.bounds)) if self.key.bounds else None

    @cached_property
    def limits(self) -> dict[str, Any]:
        """Give the key's own limits: cidr, rate_per_s, burst, budget."""
        return json.loads(self.key.limits) if self.key.limits else {}

    @property
    def rate(self) -> Rate | None:
        """Give the tightest limit of calls per second that the key, or one above it, was given; None for none."""
        found: dict[str, Any] | None = None
        for hop in self.up():
            own = hop.limits.get("rate_per_s")
            if own and (found is None or own < found["rate_per_s"]):
                found = hop.limits
        if found is None:
            return None
        return Rate(found["rate_per_s"], found.get("burst") or max(1, round(2 * found["rate_per_s"])))

    def budgets(self) -> list[tuple[str, str, Budget]]:
        """Give what its calls are charged to, as (tenant, subject, budget): each key's own, and each agent's."""
        owed: list[tuple[str, str, Budget]] = []
        for hop in self.up():
            own = budget_of(hop.limits.get("budget"))
            if own is not None:
                owed.append((hop.key.tenant, f"key:{hop.key.id}", own))
            if hop.agent is not None and hop.agent.budget:
                theirs = budget_of(json.loads(hop.agent.budget))
                if theirs is not None:
                    owed.append((hop.key.tenant, f"agent:{hop.agent.id}", theirs))
        return owed

    def until(self, now: float) -> float:
        """Give the moment until which the key is good if nobody ends it before; 0.0 when it is not."""
        if self.ended(now) is not None:
            return 0.0
        return min(hop.key.expires_at or FOR_EVER for hop in self.up())

    def ended(self, now: float) -> tuple[str, str] | None:
        """Say why the key is not good any more, and what helps; None while it is. Only for whoever showed it."""
        for hop in self.up():
            key, agent = hop.key, hop.agent
            its = "this key" if hop is self else "the key that this one was lent from"
            if key.revoked_at is not None:
                return f"{its} was revoked", "ask its owner for a new one"
            if key.expires_at and now >= key.expires_at:
                return f"{its} has expired", "ask its owner for a new one"
            if hop.tenant_state != "active":
                return f"the tenant of {its} is {hop.tenant_state}", "whoever runs this installation can resume it"
            if hop.person.state != "active":
                return (
                    f"the person behind {its} is {hop.person.state}",
                    "somebody who manages people can let them act again",
                )
            if agent is not None and agent.state != "active":
                return f"the agent of {its} is {agent.state}", "its owner can let it go on with `access.agents.resume`"
            if agent is not None and not hop.stops.isdisjoint(_scopes(agent)):
                return f"the agent of {its} was stopped", "a person can let it go on with `access.release`"
        return None

    def welcomes(self, remote: str) -> bool:
        """Tell whether the key, and those above it, may be used from an address."""
        return all(within(remote, hop.limits.get("cidr") or ()) for hop in self.up())

    def principal(self, facts: Facts, workspaces: Path) -> Principal:
        """Give the principal, with whom it acts for."""
        acting = self._acting(facts, workspaces)
        return acting if self.bounds is None or self.above is not None else acting.within(self.bounds)

    def _acting(self, facts: Facts, workspaces: Path) -> Principal:
        key, agent, person = self.key, self.agent, self.person
        if self.above is not None and agent is not None:
            # what was lent has no rights of its own: it is the lender, within bounds
            lender = self.above.principal(facts, workspaces)
            return lender.within(self.bounds or Bounds([_ALL]), agent.id.rpartition("/")[2]).by_key(key.id)
        if agent is None:
            # until a second factor is enrolled, the key that the first start made counts as one on this very machine
            first = key.label == OWNER_KEY and facts.loopback and not self.enrolled
            return replace(human_of(person, self.groups_and_roles, facts, workspaces), key=key.id, trusted_local=first)
        return replace(agent_of(agent, person, self.groups_and_roles, facts, workspaces), key=key.id)


def look_up(tx: InstanceTransaction, id: str) -> Holder | None:
    """Read who stands behind a key; None when there is no such key, or what it belongs to is gone."""
    key = tx.first(KEYS, KEYS.c.id == id)
    if key is None:
        return None
    agent, owner = None, key.principal
    if key.kind != "human":
        agent = tx.first(AGENTS, AGENTS.c.tenant == key.tenant, AGENTS.c.id == key.principal)
        if agent is None:
            return None
        owner = agent.owner
    person = tx.first(PEOPLE, PEOPLE.c.tenant == key.tenant, PEOPLE.c.id == owner)
    above = look_up(tx, key.above) if key.above else None
    if person is None or (key.above and above is None):
        return None
    named = [f"user:{owner}", *([f"agent:{agent.id}"] if agent is not None else [])]
    groups, roles = groups_of(tx, key.tenant, named)
    enrolled = agent is None and has_second(tx, key.tenant, owner)
    state, stops = state_of_tenant(tx, key.tenant), stops_of(tx, key.tenant)
    return Holder(key, agent, person, above, state, groups, roles, stops, enrolled)


def groups_of(tx: InstanceTransaction, tenant: str, members: Sequence[str]) -> Groups:
    """Give the groups of each member, and the roles of each of these groups."""
    found: dict[str, tuple[str, ...]] = {}
    for row in tx.select(MEMBERS, MEMBERS.c.tenant == tenant, MEMBERS.c.member.in_(members), order=[MEMBERS.c.group]):
        found[row.member] = (*found.get(row.member, ()), row.group)
    names = {name for groups in found.values() for name in groups}
    if not names:
        return found, {}
    rows = tx.select(GROUPS, GROUPS.c.tenant == tenant, GROUPS.c.id.in_(names))
    return found, {row.id: tuple(json.loads(row.roles)) for row in rows}


def state_of_tenant(tx: InstanceTransaction, tenant: str) -> str:
    """Give `active`, `suspended` or `removed`."""
    row = tx.first(TENANTS, TENANTS.c.id == tenant)
    return "removed" if row is None else row.state


def stops_of(tx: InstanceTransaction, tenant: str) -> frozenset[str]:
    """Give the scopes that are stopped now."""
    rows = tx.select(STOPS, STOPS.c.tenant == tenant, STOPS.c.released_at.is_(None), columns=[STOPS.c.scope])
    return frozenset(row.scope for row in rows)


def present_person(tx: InstanceTransaction, tenant: str, id: str, facts: Facts, workspaces: Path) -> Principal | None:
    """Give a person as they are now, who has proved nothing; None for who may not act. For sessions and tokens."""
    person = tx.first(PEOPLE, PEOPLE.c.tenant == tenant, PEOPLE.c.id == id)
    if person is None or person.state != "active" or state_of_tenant(tx, tenant) != "active":
        return None
    return human_of(person, groups_of(tx, tenant, [f"user:{id}"]), facts, workspaces)


def renewed(tx: InstanceTransaction, principal: Principal) -> Principal:
    """Give a chain with the roles and groups of now; the very same one where they are what they were.

    Whoever stands in no table keeps what it has: it is the platform's own.
    """
    above = principal.on_behalf_of and renewed(tx, principal.on_behalf_of)
    if principal.bounds is not None and above is not None:  # it is the one above, within bounds
        roles, groups = above.roles, above.groups
    else:
        roles, groups = _held(tx, principal) or (principal.roles, principal.groups)
    same = set(roles) == set(principal.roles) and set(groups) == set(principal.groups)
    if same and above is principal.on_behalf_of:
        return principal
    return replace(principal, roles=roles, groups=groups, on_behalf_of=above)


def _held(tx: InstanceTransaction, hop: Principal) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    """Give the roles and groups that somebody has now; None for who stands in no table."""
    human = hop.kind == "human"
    table, named = (PEOPLE, f"user:{hop.id}") if human else (AGENTS, f"agent:{hop.id}")
    row = tx.first(table, table.c.tenant == hop.tenant, table.c.id == hop.id)
    if row is None:
        return None
    groups, given = groups_of(tx, hop.tenant, [named])
    own = groups.get(named, ())
    roles: list[str] = json.loads(row.roles) if human else [row.role] if row.role else []
    return tuple(dict.fromkeys([*roles, *roles_among(None, own, given)])), own


def human_of(person: Row[Any], groups: Groups, facts: Facts, workspaces: Path) -> Principal:
    """Give a person as a principal, with the groups that were read with it."""
    own = groups[0].get(f"user:{person.id}", ())
    roles = tuple(dict.fromkeys([*json.loads(person.roles), *roles_among(None, own, groups[1])]))
    workspace = str(workspaces / person.tenant / person.id)
    return Principal(
        person.id, "human", person.tenant, roles, workspace=workspace, remote=facts.remote, groups=own, name=person.name
    )


def agent_of(agent: Row[Any], person: Row[Any], groups: Groups, facts: Facts, workspaces: Path) -> Principal:
    """Give an agent or service as a principal, with whom it acts for."""
    own = groups[0].get(f"agent:{agent.id}", ())
    roles = roles_among(agent.role, own, groups[1])
    # a service stays when people go: it has its own rights, and somebody who answers for it
    above = None if agent.kind == "service" else human_of(person, groups, facts, workspaces)
    answers = agent.owner if above is None else ""
    return Principal(
        agent.id, agent.kind, agent.tenant, roles, above, agent.workspace, remote=facts.remote, groups=own,
        answers=answers,
    )  # fmt: skip


def spoken_of(tx: InstanceTransaction, tenant: str, subject: str, workspaces: Path) -> Principal | None:
    """Give who `user:…`, `agent:…` or `key:…` is, alive or not, with the roles of now and nothing proved.

    An agent is meant as it acts by its first key that was not ended.
    """
    kind, _, name = subject.partition(":")
    facts = Facts("", "", "schedule")
    if kind == "key":
        found = look_up(tx, name)
        return found.principal(facts, workspaces).without_proof() if found and found.key.tenant == tenant else None
    agent = tx.first(AGENTS, AGENTS.c.tenant == tenant, AGENTS.c.id == name) if kind == "agent" else None
    if agent is not None:
        own = (KEYS.c.tenant == tenant, KEYS.c.principal == name, KEYS.c.kind != "human", KEYS.c.revoked_at.is_(None))
        first = tx.select(KEYS, *own, order=[KEYS.c.created_at], limit=1)
        found = look_up(tx, first[0].id) if first else None
        if found is not None:  # grants and bounds can be the key's own
            return found.principal(facts, workspaces).without_proof()
    owner = agent.owner if agent is not None else name if kind == "user" else ""
    person = tx.first(PEOPLE, PEOPLE.c.tenant == tenant, PEOPLE.c.id == owner)
    if person is None:
        return None
    groups = groups_of(tx, tenant, [f"user:{owner}", *([subject] if agent is not None else [])])
    if agent is not None:
        return agent_of(agent, person, groups, facts, workspaces)
    return human_of(person, groups, facts, workspaces)


def within(remote: str, networks: Sequence[str]) -> bool:
    """Tell whether an address lies in one of the networks; no networks are all of them."""
    if not networks:
        return True
    try:
        address = ipaddress.ip_address(remote)
    except ValueError:
        return False  # of a caller whose address is not known nobody can say that it is in
    mapped = getattr(address, "ipv4_mapped", None)
    return any((mapped or address) in ipaddress.ip_network(one) for one in networks)


def _scopes(agent: Row[Any]) -> tuple[str, ...]:
    return (EVERYTHING, f"user:{agent.owner}", f"agent:{agent.id}")


def roles_among(own: str | None, groups: Sequence[str], roles: dict[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Give somebody's own role and those of its groups."""
    given = [own] if own else []
    return tuple(dict.fromkeys([*given, *(role for group in groups for role in roles.get(group, ()))]))
