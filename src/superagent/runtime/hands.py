"""Hands: who made a person or was shown what proves it, and what therefore counts as one and the same (ADR 56).

Whoever was shown the first key of an account, or the link into it, can act as that account. So the two approve nothing
for each other, and neither is given a right by the other. It ends when an owner says that a person of its own is behind
the account (`access.users.confirm`). Owners could take every demand away, so they alone give whatever they like.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from superagent.core.grants import Grant
from superagent.core.principal import Principal
from superagent.core.problems import Denied
from superagent.data.database import Database
from superagent.data.transaction import Transaction
from superagent.runtime.identity_tables import AGENTS, GROUPS, HANDS, KEYS, MEMBERS, PEOPLE

OWNER = "owner"
SHOWN = ("key", "link")
"""How somebody came to hold what proves a person; `made` alone gives nothing to act by."""

_CURE = "ask an owner"


def note_hand(tx: Transaction, person: str, by: str, how: str, now: float) -> None:
    """Note that somebody made a person (`made`), or was shown a `key` or a `link` of it."""
    if by and by != person:
        tx.insert_new(HANDS, person=person, by=by, how=how, at=now)


def hands_on(tx: Transaction, person: str) -> list[dict[str, str | float]]:
    """Give who made a person or was shown what proves it, oldest first."""
    rows = tx.select(HANDS, HANDS.c.person == person, order=[HANDS.c.at, HANDS.c.by, HANDS.c.how])
    return [{"by": row.by, "how": row.how, "at": row.at} for row in rows]


def set_hands(tx: Transaction, person: str, hands: Sequence[dict[str, str | float]]) -> None:
    """Let these hands be on a person, and no others."""
    tx.delete(HANDS, HANDS.c.person == person)
    tx.insert_many(HANDS, [{"person": person, **one} for one in hands])


def behind(tx: Transaction, id: str) -> frozenset[str]:
    """Give everybody who can be behind an account: itself, whoever made it or was shown its proof, and so on upwards.

    Of a service that is who answers for it as well.
    """
    found, fresh = {id}, {id}
    while fresh:
        above = {row.by for row in tx.select(HANDS, HANDS.c.person.in_(fresh))}
        services = tx.select(AGENTS, AGENTS.c.kind == "service", AGENTS.c.id.in_(fresh))
        fresh = (above | {row.owner for row in services}) - found
        found |= fresh
    return frozenset(found)


def require_apart(tx: Transaction, person: str, others: Iterable[str]) -> None:
    """Go on only with a person who can be nobody of these. Raises `Denied`."""
    mine = behind(tx, person)
    for other in others:
        if mine & behind(tx, other):
            raise Denied(
                f"`{person}` counts as the same person as `{other}`",
                hint="an owner says with `access.users.confirm` that an account is a person of its own",
            )


def roles_held(tx: Transaction, person: str) -> list[str]:
    """Give the roles that a person has, their own and by groups."""
    row = tx.first(PEOPLE, PEOPLE.c.id == person)
    own: list[str] = json.loads(row.roles) if row is not None else []
    groups = [row.group for row in tx.select(MEMBERS, MEMBERS.c.member == f"user:{person}")]
    return own + [role for row in tx.select(GROUPS, GROUPS.c.id.in_(groups)) for role in json.loads(row.roles)]


class SqlHands:
    """Who stands behind accounts, for the approval desk."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def behind(self, tenant: str, ids: Sequence[str]) -> frozenset[str]:
        """Give everybody who can be behind one of these accounts."""
        return await self._database.read(tenant, lambda tx: frozenset[str]().union(*(behind(tx, id) for id in ids)))


# ---- giving rights


def gives_freely(principal: Principal) -> bool:
    """Tell whether somebody may give rights that they lack, also to themselves: an owner, in person."""
    return principal.kind == "human" and OWNER in principal.roles


def require_may_give(tx: Transaction, giver: Principal, subjects: Iterable[str], what: str = "rights") -> None:
    """Go on only if nothing is given to the giver, nor to anybody whom the giver could act as. Raises `Denied`."""
    wanted = set(subjects)
    if not wanted or gives_freely(giver):
        return
    reached = wanted & _subjects_of(tx, _side(tx, giver))
    reached |= {one for one in wanted if one.startswith("key:") and _is_of(tx, one[4:], _side(tx, giver))}
    if reached:
        named = ", ".join(f"`{one}`" for one in sorted(reached))
        raise Denied(f"nobody gives {what} to themselves, or to whom they could act as: {named}", hint=_CURE)


def require_may_give_roles(tx: Transaction, giver: Principal, roles: Iterable[str], to: str) -> None:
    """Go on only if the giver has all these roles, or could not act as whom they are given to. Raises `Denied`."""
    lacking = set(roles) - set(giver.roles if giver.kind == "human" else ())
    if lacking:
        require_may_give(tx, giver, [to], f"the role {', '.join(sorted(lacking))}, which they lack,")


def require_may_hold(giver: Principal, roles: Iterable[str], what: str) -> None:
    """Go on only for whoever has all these roles, or is an owner: what is shown could be used. Raises `Denied`."""
    lacking = set(roles) - set(giver.roles if giver.kind == "human" else ())
    if lacking and not gives_freely(giver):
        raise Denied(f"{what} would let you act with the role {', '.join(sorted(lacking))}, which you lack", hint=_CURE)


def widens(added: Iterable[Grant], removed: Iterable[Grant]) -> list[str]:
    """Give the subjects that could do more after a change: what permits comes, or what forbids goes."""
    return [one.subject for one in added if one.effect != "deny"] + [
        one.subject for one in removed if one.effect == "deny"
    ]


def _side(tx: Transaction, giver: Principal) -> set[str]:
    """Give the accounts as which a person could act: its own, and those whose proof it or they were shown.

    It goes up as well, for an account may be no more than somebody's hand; but not through owners, who need none.
    """
    human = giver.human
    found = {human.id if human is not None else giver.id, *([giver.answers] if giver.answers else [])}
    fresh = set(found)
    while fresh:
        shown = HANDS.c.how.in_(SHOWN)
        below = {row.person for row in tx.select(HANDS, shown, HANDS.c.by.in_(fresh))}
        above = {row.by for row in tx.select(HANDS, shown, HANDS.c.person.in_(fresh))}
        fresh = {one for one in below | above if OWNER not in roles_held(tx, one)} - found
        found |= fresh
    return found


def _subjects_of(tx: Transaction, people: set[str]) -> set[str]:
    """Give the names by which grants reach these people, and the services that they answer for."""
    services = tx.select(AGENTS, AGENTS.c.kind == "service", AGENTS.c.owner.in_(people))
    named = {f"user:{one}" for one in people} | {
        f"{kind}:{one.id}" for one in services for kind in ("service", "agent")
    }
    roles = {role for one in people for role in roles_held(tx, one)} | {one.role for one in services if one.role}
    groups = {row.group for row in tx.select(MEMBERS, MEMBERS.c.member.in_(named))}
    roles |= {role for row in tx.select(GROUPS, GROUPS.c.id.in_(groups)) for role in json.loads(row.roles)}
    return named | {f"group:{one}" for one in groups} | {f"role:{one}" for one in roles} | {"*"}


def _is_of(tx: Transaction, key: str, people: set[str]) -> bool:
    """Tell whether a key is one that no person's rights cap, and that one of these people holds."""
    row = tx.first(KEYS, KEYS.c.id == key)
    if row is None or row.kind == "agent":
        return False
    if row.kind == "human":
        return row.principal in people
    service = tx.first(AGENTS, AGENTS.c.id == row.principal)
    return service is not None and service.owner in people
