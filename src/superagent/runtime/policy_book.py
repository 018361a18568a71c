"""The policy book: editions of a tenant's policy as people write it, changing it as a whole, and proposals."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import Row

from superagent.core.changes import Keep, unkept
from superagent.core.grants import Grant
from superagent.core.policy_text import digest_of
from superagent.core.problems import Conflict, NotFound, TooLarge
from superagent.data.database import Database
from superagent.data.transaction import Transaction
from superagent.runtime.identity_tables import GRANTS
from superagent.runtime.policies import SqlPolicies
from superagent.runtime.policy_tables import PROPOSALS, VERSIONS
from superagent.runtime.policy_versions import body_of, grant_of, in_force_at, some_at_once

MOST_WAITING = 50
MOST_TO_KEEP = 10_000


class Version(msgspec.Struct, frozen=True):
    """One version of a policy: who made it when and why; `digest` covers the built-in roles as well."""

    number: int
    author: str
    at: float
    reason: str
    digest: str


class Edition(msgspec.Struct, frozen=True):
    """What a version holds as people write it: all stored grants but those that belong to keys.

    `digest` names what these grants say.
    """

    number: int
    grants: tuple[Grant, ...]
    digest: str


class Proposal(msgspec.Struct, frozen=True):
    """A change that somebody suggests; `chain` is who, and on whose behalf. `state`: waiting, applied or withdrawn."""

    id: str
    author: str
    chain: tuple[str, ...]
    at: float
    reason: str
    added: tuple[Grant, ...]
    removed: tuple[str, ...]
    state: str
    by: str = ""
    version: int | None = None


class PolicyBook:
    """Editions and proposals of every tenant."""

    def __init__(
        self, database: Database, policies: SqlPolicies, new_id: Callable[[], str], now: Callable[[], float]
    ) -> None:
        self._database = database
        self._policies = policies
        self._new_id = new_id
        self._now = now
        self.require_may_change = policies.require_may_change

    # ---- editions

    async def present(self, tenant: str) -> Edition:
        """Give what is in force."""
        known = self._known(tenant)
        return await self._database.read(tenant, lambda tx: _present(tx, known))

    async def edition(self, tenant: str, number: int) -> Edition:
        """Give what a version held. Raises `NotFound`."""
        known = self._known(tenant)
        return await self._database.read(tenant, lambda tx: _edition(tx, number, known))

    def _known(self, tenant: str) -> dict[str, Grant]:
        return {one.id: one for one in self._policies.of(tenant).grants}

    async def version(self, tenant: str, number: int) -> Version:
        """Give who made a version and why. Raises `NotFound`."""
        row = await self._database.read(tenant, lambda tx: tx.first(VERSIONS, VERSIONS.c.number == number))
        if row is None:
            raise _no_version(number)
        return _version(row)

    async def versions(self, tenant: str, below: int | None, limit: int) -> list[Version]:
        """Give versions, newest first."""
        where = [] if below is None else [VERSIONS.c.number < below]
        rows = await self._database.read(
            tenant, lambda tx: tx.select(VERSIONS, *where, order=[VERSIONS.c.number.desc()], limit=limit)
        )
        return [_version(row) for row in rows]

    async def apply(
        self,
        tenant: str,
        base: str,
        added: Sequence[Grant],
        removed: Sequence[str],
        by: str,
        reason: str,
        proposal: str = "",
    ) -> int:
        """Change the policy whose digest is `base`, in one step; gives the number of the new version.

        Raises `Conflict` when the policy or the proposal is another by now.
        """
        now, known = self._now(), self._known(tenant)
        fresh = [one.model_copy(update={"id": f"grant_{self._new_id()}"}) for one in added]

        def write(tx: Transaction) -> int:
            present = _present(tx, known)
            if present.digest != base:
                raise Conflict("the policy was changed since", hint="look at the change again, then apply it")
            live = {grant.id for grant in present.grants}
            for id in removed:
                if id not in live:
                    raise Conflict(f"the grant `{id[:100]}` is not in force", hint="look at the policy again")
            tx.insert_many(
                GRANTS, [{"id": one.id, "body": body_of(one), "created_by": by, "created_at": now} for one in fresh]
            )
            for ids in some_at_once(removed):
                tx.update(GRANTS, GRANTS.c.id.in_(ids), revoked_at=now)
            number = self._policies.settle(tx, by, reason)
            if proposal:
                _end(tx, proposal, "applied", by, number)
            return number

        number = await self._database.write(tenant, write)
        await self._policies.changed()
        return number

    async def restore(self, tenant: str, number: int, by: str, reason: str) -> None:
        """Put in force what a version held, under the ids it had there; grants of keys stay as they are."""
        now, known = self._now(), self._known(tenant)

        def write(tx: Transaction) -> None:
            then = {grant.id for grant in _edition(tx, number, known).grants}
            live = {grant.id for grant in _present(tx, known).grants}
            for ids in some_at_once(live - then):
                tx.update(GRANTS, GRANTS.c.id.in_(ids), revoked_at=now)
            for ids in some_at_once(then - live):
                tx.update(GRANTS, GRANTS.c.id.in_(ids), revoked_at=None)
            self._policies.settle(tx, by, reason)

        await self._database.write(tenant, write)
        await self._policies.changed()

    # ---- proposals

    async def propose(
        self, tenant: str, chain: tuple[str, ...], added: Sequence[Grant], removed: Sequence[str], reason: str,
        keep: Keep = unkept,
    ) -> Proposal:  # fmt: skip
        """Keep a suggestion for people to look at. Raises `TooLarge` when very many of its author's wait."""
        made = Proposal(
            f"proposal_{self._new_id()}", chain[0], chain, self._now(), reason, tuple(added), tuple(removed), "waiting"
        )
        bodies = await asyncio.to_thread(lambda: [body_of(one) for one in added])
        row = {
            "id": made.id, "author": made.author, "chain": json.dumps(chain), "at": made.at, "reason": reason,
            "added": json.dumps(bodies), "removed": json.dumps(list(removed)),
            "state": made.state, "by": "", "version": None,
        }  # fmt: skip

        def write(tx: Transaction) -> None:
            waiting = tx.count(PROPOSALS, PROPOSALS.c.author == made.author, PROPOSALS.c.state == "waiting")
            if waiting >= MOST_WAITING:
                raise TooLarge(f"{waiting} proposals of yours wait already", hint="withdraw one, or wait for people")
            if tx.count(PROPOSALS) >= MOST_TO_KEEP:
                oldest = tx.first(PROPOSALS, PROPOSALS.c.state != "waiting", order=[PROPOSALS.c.id])
                if oldest is None:
                    raise TooLarge(f"{MOST_TO_KEEP} proposals wait already", hint="let people decide some first")
                tx.delete(PROPOSALS, PROPOSALS.c.id == oldest.id)
            tx.insert(PROPOSALS, **row)
            keep(tx, made.id, {"id": made.id})

        await self._database.write(tenant, write)
        return made

    async def proposal(self, tenant: str, id: str) -> Proposal:
        """Give a proposal. Raises `NotFound`."""
        row = await self._database.read(tenant, lambda tx: tx.first(PROPOSALS, PROPOSALS.c.id == id))
        if row is None:
            raise NotFound(f"there is no proposal `{id[:100]}`", hint="`policy.proposals` shows them")
        return await asyncio.to_thread(_proposal, row)

    async def proposals(
        self, tenant: str, *, author: str | None, state: str | None, after: str, limit: int
    ) -> list[Proposal]:
        """Give proposals, oldest first; of one author or of all."""
        where = [PROPOSALS.c.id > after]
        where += [] if author is None else [PROPOSALS.c.author == author]
        where += [] if state is None else [PROPOSALS.c.state == state]
        rows = await self._database.read(
            tenant, lambda tx: tx.select(PROPOSALS, *where, order=[PROPOSALS.c.id], limit=limit)
        )
        return await asyncio.to_thread(lambda: [_proposal(row) for row in rows])

    async def withdraw(self, tenant: str, id: str, by: str) -> None:
        """End a proposal that waits. Raises `Conflict` when it does not."""
        await self._database.write(tenant, lambda tx: _end(tx, id, "withdrawn", by, None))

    async def reopen(self, tenant: str, id: str) -> None:
        """Let a withdrawn proposal wait again. Raises `Conflict` when it was not withdrawn."""
        found = PROPOSALS.c

        def write(tx: Transaction) -> None:
            if not tx.update(PROPOSALS, found.id == id, found.state == "withdrawn", state="waiting", by=""):
                raise Conflict(f"the proposal `{id[:100]}` was not withdrawn")

        await self._database.write(tenant, write)


def _end(tx: Transaction, id: str, state: str, by: str, version: int | None) -> None:
    waiting = (PROPOSALS.c.id == id, PROPOSALS.c.state == "waiting")
    if not tx.update(PROPOSALS, *waiting, state=state, by=by, version=version):
        raise Conflict(f"the proposal `{id[:100]}` does not wait any more", hint="`policy.proposals` shows them")


def _present(tx: Transaction, known: Mapping[str, Grant]) -> Edition:
    newest = tx.first(VERSIONS, order=[VERSIONS.c.number.desc()])
    rows = tx.select(GRANTS, GRANTS.c.revoked_at.is_(None), order=[GRANTS.c.created_at, GRANTS.c.id])
    grants = [known.get(row.id) or grant_of(row.id, row.body) for row in rows]
    return _made(newest.number if newest is not None else 0, grants)


def _edition(tx: Transaction, number: int, known: Mapping[str, Grant]) -> Edition:
    if tx.first(VERSIONS, VERSIONS.c.number == number) is None:
        raise _no_version(number)
    return _made(number, in_force_at(tx, number, known))


def _made(number: int, grants: list[Grant]) -> Edition:
    own = tuple(one for one in grants if not one.subject.startswith("key:"))  # what a key has lives and dies with it
    return Edition(number, own, digest_of(own))


def _no_version(number: int) -> NotFound:
    return NotFound(f"there is no version {number} of this policy", hint="`policy.versions` shows them")


def _version(row: Row[Any]) -> Version:
    return Version(row.number, row.author, row.at, row.reason, row.digest)


def _proposal(row: Row[Any]) -> Proposal:
    return Proposal(
        row.id, row.author, tuple(json.loads(row.chain)), row.at, row.reason,
        tuple(grant_of("", body) for body in json.loads(row.added)), tuple(json.loads(row.removed)),
        row.state, row.by, row.version,
    )  # fmt: skip
