"""Names of people, agents, groups, roles and tenants: what they look like, and that each is given once."""

from __future__ import annotations

import re

from superagent.core.principal import Principal
from superagent.core.problems import Conflict, InvalidInput, StepUpRequired
from superagent.data.transaction import Transaction
from superagent.runtime.identity_tables import AGENTS, PEOPLE, ROLES
from superagent.runtime.policies import EVERYBODY, role_names

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
GUARDED = ("owner", "instance-owner")
"""Roles that only whoever has them gives or takes."""


RESERVED = frozenset(
    {
        "me",  # whoever calls, in `access.sessions.*`
        "system",  # the tenant of the installation
        "anonymous",  # strangers
        "everybody", "everything", "all", "none", "any",  # what speaks of all or nobody, in grants, stops and filters
        "platform", "superagent",  # what the platform does by itself, in policy versions and in the audit
        "schedule", "workflow", "node",  # who acts when nobody calls
        "human", "user", "agent", "service", "key", "role", "group", "tenant",  # kinds, before the colon of a subject
        "web", "superagent-cli",  # clients of the platform itself
    }
)  # fmt: skip
"""Names that mean something to the platform: nobody and nothing is called so."""
RESERVED_BEGINNINGS = ("client_", "consent_")
"""What the ids of clients and consents begin with: an agent of that name would be taken for one."""


def check_name(name: str) -> None:
    """Go on only with a name that can stand in paths and grants, and that means nothing else. Raises `InvalidInput`."""
    if not _NAME.fullmatch(name):
        raise InvalidInput("a name has 1 to 63 characters: a-z, 0-9, `-` and `_`, beginning with a letter or digit")
    if name in RESERVED or name.startswith(RESERVED_BEGINNINGS):
        raise InvalidInput(f"`{name}` means something to the platform already", hint="choose another name")


def require_unused(tx: Transaction, name: str) -> None:
    """Go on only with a name that nobody has or had: it owns a folder, undo entries and grants. Raises `Conflict`."""
    for table in (PEOPLE, AGENTS):
        if tx.first(table, table.c.id == name) is not None:
            raise Conflict(f"`{name}` exists already", hint="choose another name; one is never used twice")


def require_roles(tx: Transaction, roles: list[str], by: frozenset[str], had: list[str] | None = None) -> None:
    """Go on only with roles that there are and that the caller may give or take. Raises `InvalidInput`.

    `by` are the caller's own roles, `had` those there were before.
    """
    own = {row.id for row in tx.select(ROLES, columns=[ROLES.c.id])}
    known = [*role_names(), *sorted(own)]
    for role in roles:
        if role not in known or role == EVERYBODY:
            raise InvalidInput(f"there is no role `{role[:60]}`", hint=f"the roles are {', '.join(known)}")
    for role in set(roles) ^ set(had or []):
        if role in GUARDED and role not in by:
            raise InvalidInput(f"only who has the role `{role}` gives or takes it", hint="ask an owner")


def require_fresh(principal: Principal, now: float, what: str = "to give a role that hands on rights") -> None:
    """Go on only for whoever has shown a second factor a moment ago. Raises `StepUpRequired`."""
    if not principal.fresh(now):
        raise StepUpRequired(f"{what} needs a fresh second factor")
