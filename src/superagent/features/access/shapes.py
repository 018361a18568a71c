"""Shapes: what the operations on identities take and give."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from superagent.sdk import Cidr, Effect, Input, Output, Risk, Touches

NAME = Annotated[str, Field(min_length=1, max_length=63, description="a-z, 0-9, `-` and `_`")]
UserName = Annotated[NAME, Touches("user", Effect.CHANGE)]
UserGone = Annotated[NAME, Touches("user", Effect.DESTROY)]
TenantName = Annotated[NAME, Touches("tenant", Effect.CHANGE)]
TenantGone = Annotated[NAME, Touches("tenant", Effect.DESTROY)]
GroupName = Annotated[NAME, Touches("group", Effect.CHANGE)]
GroupGone = Annotated[NAME, Touches("group", Effect.DESTROY)]
RoleName = Annotated[NAME, Touches("role", Effect.CHANGE)]
RoleGone = Annotated[NAME, Touches("role", Effect.DESTROY)]
AgentId = Annotated[str, Field(min_length=1, max_length=255)]
AgentName = Annotated[AgentId, Touches("agent", Effect.CHANGE)]
AgentGone = Annotated[AgentId, Touches("agent", Effect.DESTROY)]
StopScope = Annotated[str, Field(max_length=255), Touches("stop", Effect.CHANGE)]
Roles = Annotated[list[NAME], Field(max_length=50)]
Limit = Annotated[int, Field(ge=1, le=500)]
YEARS_S = 10 * 365 * 86_400


class Budget(Input):
    """At most so much of each in `per_s` seconds; without `per_s` for ever. What is left out is not limited."""

    calls: Annotated[int, Field(ge=1)] | None = None
    cpu_s: Annotated[float, Field(gt=0)] | None = None
    bytes: Annotated[int, Field(ge=1)] | None = None
    money: Annotated[float, Field(gt=0)] | None = None
    per_s: Annotated[float, Field(ge=1, le=YEARS_S)] | None = 86_400.0


class KeyLimits(Input):
    """What a key is held to beside its rights: from which networks it is good, how fast, and how much."""

    cidr: Annotated[list[Cidr], Field(max_length=100)] = []
    rate_per_s: Annotated[float, Field(gt=0, le=1e6)] | None = None
    burst: Annotated[int, Field(ge=1, le=10**7)] | None = None
    budget: Budget | None = None


class Spending(Output):
    """One line of a budget: whose, of what, how much of how much is used, and when it begins anew (epoch seconds)."""

    whose: str
    measure: str
    most: float
    used: float
    until: float | None


class Who(Output):
    """The acting principal and the chain it acts for; `within` are the bounds of its key, `budgets` what is used."""

    id: str
    kind: str
    tenant: str
    roles: list[str]
    on_behalf_of: list[str]
    workspace: str
    key: str
    groups: list[str] = []
    within: list[dict[str, Any]] = []
    budgets: list[Spending] = []


class Person(Output):
    """A person of the tenant."""

    id: str
    name: str
    roles: list[str]
    state: Literal["active", "suspended", "removed"]
    created_at: float


class Hand(Output):
    """Who made an account, or was shown a key of it or the link into it, and when (epoch seconds)."""

    by: str
    how: Literal["made", "key", "link"]
    at: float


class PersonShown(Person):
    """A person with groups, agents, and how many keys are good.

    `hands` are those whom the account counts as, until an owner confirms it.
    """

    hands: list[Hand] = []

    groups: list[str]
    agents: list[str]
    keys: int


class PersonMade(Output):
    """A new person; `key` is a first key, shown this once, where one was asked for."""

    id: str
    roles: list[str]
    key: str | None = None


class People(Output):
    """People by name; `cursor` asks for the next page, None on the last."""

    users: list[Person]
    cursor: str | None


class Tenant(Output):
    """A tenant of the installation."""

    id: str
    state: Literal["active", "suspended", "removed"]
    created_at: float


class TenantMade(Output):
    """A new tenant with its first owner, whose key is shown this once."""

    id: str
    owner: str
    key: str


class Tenants(Output):
    """Every tenant."""

    tenants: list[Tenant]


class Group(Output):
    """A group: its members have its roles, and grants can name it."""

    id: str
    roles: list[str]
    members: list[str]


class Groups(Output):
    """The groups of the tenant."""

    groups: list[Group]


class Role(Output):
    """A role, built in or the tenant's own."""

    id: str
    summary: str
    built_in: bool


class RoleShown(Role):
    """A role with the grants it consists of."""

    grants: list[dict[str, Any]]


class RoleList(Output):
    """The roles that can be given."""

    roles: list[Role]


class Agent(Output):
    """An agent or service: who answers for it, and whether it may act."""

    id: str
    kind: Literal["agent", "service"]
    owner: str
    parent: str
    role: str | None
    workspace: str
    state: Literal["active", "paused", "removed"]
    budget: dict[str, Any] | None
    created_at: float


class AgentShown(Agent):
    """An agent with its keys, and those it lent its rights to."""

    keys: list[str]
    lent_to: list[str]


class Agents(Output):
    """Agents by name; `cursor` asks for the next page, None on the last."""

    agents: list[Agent]
    cursor: str | None


class AgentMade(Output):
    """A new agent; it acts once it has a key."""

    id: str
    kind: str
    workspace: str


class Made(Output):
    """A new key; `key` is shown this once."""

    id: str
    key: str
    agent: str
    workspace: str
    expires_at: float | None


class Rotated(Made):
    """A key's successor; the old key is good until `old_until`."""

    old_until: float


class Key(Output):
    """One key, without its secret; `bounds` are grants beyond which it does not reach."""

    id: str
    name: str
    kind: str
    role: str | None
    created_by: str
    created_at: float
    expires_at: float | None
    revoked_at: float | None
    last_used_at: float | None
    hint: str
    label: str
    why: str
    bounds: list[dict[str, Any]]
    limits: dict[str, Any]


class Listed(Output):
    """The keys of the tenant."""

    keys: list[Key]


class Stop(Output):
    """What stands still, by whom and why."""

    scope: str
    reason: str
    by: str
    at: float


class Stops(Output):
    """What is stopped now."""

    stops: list[Stop]


class Id(Output):
    """What was changed."""

    id: str


def risk_of(roles: list[str] | None) -> Risk:
    """Give how grave it is to give roles: those that hand on rights need a fresh second factor."""
    return Risk.CRITICAL if {"owner", "instance-owner", "admin"}.intersection(roles or ()) else Risk.HIGH
