"""Versions of a policy: each set of grants that was in force, with author, time, reason and digest."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping

from sqlalchemy import func, select

from superagent.core.grants import Grant
from superagent.data.transaction import InstanceTransaction, Transaction
from superagent.runtime.identity_tables import GRANTS
from superagent.runtime.policy_tables import SPANS, VERSIONS

LONGEST_REASON = 1000
PLATFORM = "platform"

_AT_ONCE = 500
_digested = hashlib.sha256


def digest_of(roles: str, rows: Iterable[tuple[str, str]]) -> str:
    """Name all that is in force: the digest of the built-in roles, and (id, body) of each grant, in any order."""
    state = _digested(roles.encode())
    for id, body in sorted(rows):
        state.update(f"\n{id} {body}".encode())
    return state.hexdigest()


def settle(tx: Transaction, roles: str, by: str, at: float, reason: str) -> int:
    """Give what is in force at the end of a transaction that changed grants its number.

    It compares with what the newest version holds, so a change that nobody announced gets its version at the next look.
    Nothing new: no version.
    """
    live = {row.id: row.body for row in tx.select(GRANTS, GRANTS.c.revoked_at.is_(None))}
    known = {row.grant_id for row in tx.select(SPANS, SPANS.c.until.is_(None), columns=[SPANS.c.grant_id])}
    newest = tx.first(VERSIONS, order=[VERSIONS.c.number.desc()])
    digest = digest_of(roles, live.items())
    if newest is not None and newest.digest == digest:
        return newest.number
    number = newest.number + 1 if newest is not None else 1
    author, why = by[:255] or PLATFORM, reason[:LONGEST_REASON]
    tx.insert(VERSIONS, number=number, author=author, at=at, reason=why, digest=digest)
    tx.insert_many(SPANS, [{"grant_id": id, "since": number, "until": None} for id in live if id not in known])
    for ids in some_at_once(known - live.keys()):
        tx.update(SPANS, SPANS.c.grant_id.in_(ids), SPANS.c.until.is_(None), until=number)
    return number


def some_at_once(ids: Iterable[str]) -> Iterator[list[str]]:
    """Cut ids into lists that one statement can name."""
    rest = list(ids)
    for at in range(0, len(rest), _AT_ONCE):
        yield rest[at : at + _AT_ONCE]


def newest_of_each(tx: InstanceTransaction) -> dict[str, tuple[int, str]]:
    """Give number and digest of every tenant's newest version."""
    other = VERSIONS.alias()
    newest = select(func.max(other.c.number)).where(other.c.tenant == VERSIONS.c.tenant).scalar_subquery()
    return {row.tenant: (row.number, row.digest) for row in tx.select(VERSIONS, VERSIONS.c.number == newest)}


def in_force_at(tx: Transaction, number: int, known: Mapping[str, Grant]) -> list[Grant]:
    """Give the grants that a version held, oldest first; those of the built-in roles are not among them.

    What is `known` by its id need not be read: a stored grant is never edited.
    """
    held = (SPANS.c.since <= number) & (SPANS.c.until.is_(None) | (SPANS.c.until > number))
    ids = {row.grant_id for row in tx.select(SPANS, held, columns=[SPANS.c.grant_id])}
    rows = tx.select(GRANTS, order=[GRANTS.c.created_at, GRANTS.c.id])
    return [known.get(row.id) or grant_of(row.id, row.body) for row in rows if row.id in ids]


def grant_of(id: str, body: str) -> Grant:
    """Read a stored grant."""
    return Grant.model_validate_json(body, strict=True).model_copy(update={"id": id})


def body_of(grant: Grant) -> str:
    """Write a grant as it is stored: without its id."""
    return grant.model_dump_json(exclude={"id"}, exclude_defaults=True)
