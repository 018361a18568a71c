"""Identity: who is behind a credential, and whether they may still act."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Protocol

from superagent.core.attenuation import take_apart
from superagent.core.budgets import Budget
from superagent.core.limits import Rate
from superagent.core.principal import Credential, Facts, Principal
from superagent.core.problems import Unauthenticated
from superagent.data.database import Database
from superagent.data.transaction import InstanceTransaction
from superagent.runtime.api_keys import public_half, well_formed
from superagent.runtime.attenuated import UNKNOWN, ended_of, lent, require_good, still_good
from superagent.runtime.budgets import Budgets, Stored, read_spent
from superagent.runtime.holders import EVERYTHING, FOR_EVER, Holder, look_up, renewed, spoken_of, stops_of
from superagent.runtime.identity_tables import AGENTS, KEYS, PEOPLE, TENANTS
from superagent.runtime.shared_map import Epoch

CACHE_S = 300.0
MOST_CACHED = 10_000


@dataclass(frozen=True, slots=True)
class Known:
    """A token that was recognised: valid until `until` (epoch seconds) and while the identity epoch stands."""

    principal: Principal
    epoch: int
    until: float


@dataclass(frozen=True, slots=True)
class _Found:
    """A key's holder, and what its calls are charged to."""

    holder: Holder
    owed: list[tuple[str, str, Budget]]
    spent: Stored
    ended: frozenset[str]


class Recognises(Protocol):
    """One more kind of credential: what it looks like, whom it shows, and whether it is still good."""

    def reads(self, token: str) -> bool:
        """Tell from its form alone whether a token is of this kind."""
        ...

    async def recognise(self, token: str, facts: Facts) -> tuple[Principal, float]:
        """Give who shows it and until when it is good (epoch seconds). Raises `Unauthenticated`."""
        ...

    def until(self, tx: InstanceTransaction, principal: Principal, now: float) -> float | None:
        """Give until when the credential in `principal.key` is good, 0.0 for no more; None when it is no such one."""
        ...

    def present(self, tx: InstanceTransaction, principal: Principal, facts: Facts, now: float) -> Principal | None:
        """Give who acted by such a credential, with the roles of now; None when it may act no more."""
        ...


class SqlIdentity:
    """Who calls. Keys are recognised here; other kinds of credentials are added to `recognisers`."""

    def __init__(
        self, database: Database, epoch: Epoch, workspaces: Path, now: Callable[[], float], agent_rate: Rate
    ) -> None:
        self.recognisers: list[Recognises] = []
        self.budgets = Budgets(database, now)
        self._database = database
        self._epoch = epoch
        self._workspaces = workspaces
        self._now = now
        self._agent_rate = agent_rate
        # the cache holds keyed digests, never keys
        self._keyed = blake2b(key=secrets.token_bytes(32), digest_size=16)
        self._known: dict[tuple[bytes, str, str], Known] = {}
        self._alive: dict[Principal, tuple[int, float]] = {}
        self._used: dict[tuple[str, str], float] = {}
        self._rates: dict[str, Rate] = {}  # of keys that have one of their own

    def known(self, token: bytes, remote: str, channel: str) -> Principal | None:
        """Give the principal of a key recognised a moment ago whose right to act nobody has touched since."""
        state = self._keyed.copy()
        state.update(token)
        known = self._known.get((state.digest(), remote, channel))
        if known is None or known.epoch != self._epoch.read() or self._now() >= known.until:
            return None
        return known.principal

    async def identify(self, credential: Credential) -> Principal:
        """Give the principal of a credential. Raises `Unauthenticated`, with why a key is dead for who shows it."""
        token, facts = credential.value.reveal(), credential.facts
        shown = token.encode("utf-8", "replace")
        known = self.known(shown, facts.remote, facts.channel)
        if known is not None:
            return known
        epoch, now = self._epoch.read(), self._now()
        principal, until = await self._recognise(token, facts)
        state = self._keyed.copy()
        state.update(shown)
        if len(self._known) >= MOST_CACHED:
            self._known.clear()
        self._known[state.digest(), facts.remote, facts.channel] = Known(principal, epoch, min(now + CACHE_S, until))
        return principal

    async def _recognise(self, token: str, facts: Facts) -> tuple[Principal, float]:
        for kind in self.recognisers:
            if kind.reads(token):
                return await kind.recognise(token, facts)
        shown = take_apart(token)
        if shown is not None:
            found = await self._database.read_instance(lambda tx: self._read(tx, shown.key))
            if found is None:
                raise Unauthenticated(UNKNOWN)
            principal, until = lent(shown, found.holder, found.ended, facts, self._workspaces, self._now())
            self._learn(principal.key, found)
            return principal, until
        if not well_formed(token):
            raise Unauthenticated("this is not a key", hint="a key begins with `sak_`; check that it was copied whole")
        half, now = public_half(token), self._now()
        found = await self._database.read_instance(lambda tx: self._read(tx, half.id))
        if found is None or not secrets.compare_digest(found.holder.key.public, half.public):
            raise Unauthenticated(UNKNOWN)
        require_good(found.holder, facts, now)
        until = found.holder.until(now)
        self._learn(half.id, found)
        self.used(found.holder.key.tenant, half.id)
        return found.holder.principal(facts, self._workspaces), until

    def _read(self, tx: InstanceTransaction, key: str) -> _Found | None:
        """Read all that there is to know of a key, in one look."""
        holder = look_up(tx, key)
        if holder is None:
            return None
        owed = holder.budgets()
        return _Found(holder, owed, read_spent(tx, [(one[0], one[1]) for one in owed]), ended_of(tx, key))

    def _learn(self, key: str, found: _Found) -> None:
        """Keep what every call by a key is held against: its rate, and its budgets.

        Where that is forgotten, so is that the keys were recognised: nobody calls without what they are held against.
        """
        if max(len(self.budgets.of_key), len(self._rates)) >= MOST_CACHED:
            for kept in (self.budgets.of_key, self._rates, self._known, self._alive):
                kept.clear()
        self.budgets.learn(key, found.owed, found.spent)
        rate = found.holder.rate
        if rate is None:
            self._rates.pop(key, None)
        else:
            self._rates[key] = rate

    async def holder(self, key: str) -> Holder | None:
        """Give who stands behind a key, by its id; None for none."""
        return await self._database.read_instance(lambda tx: look_up(tx, key))

    def used(self, tenant: str, key: str) -> None:
        """Note that a key was used now."""
        self._used[tenant, key] = self._now()

    def alive(self, principal: Principal) -> bool:
        """Tell whether the credential and everybody in a chain may still act, with the roles and groups they have.

        It is read when the identity epoch moved.
        """
        known = self._alive.get(principal)  # by itself: another with the same key may have had other roles
        if known is None or known[0] != self._epoch.read():
            epoch, now = self._epoch.read(), self._now()
            until = self._database.read_instance_now(lambda tx: self._until(tx, principal, now))
            if len(self._alive) >= MOST_CACHED:
                self._alive.clear()
            known = self._alive[principal] = (epoch, until)
        return known[1] == FOR_EVER or self._now() < known[1]

    async def renewed(self, principal: Principal) -> Principal:
        """Give a chain with the roles and groups of now, for a call that was admitted a while ago."""
        return await self._database.read_instance(lambda tx: renewed(tx, principal))

    def _until(self, tx: InstanceTransaction, principal: Principal, now: float) -> float:
        if renewed(tx, principal) is not principal:  # it would be judged by roles that it has no more
            return 0.0
        for kind in self.recognisers:
            until = kind.until(tx, principal, now)
            if until is not None:
                return min(until, people_until(tx, principal))
        if not principal.key:
            return people_until(tx, principal)
        parts = principal.key.split(".")
        found = self._read(tx, parts[0])
        if found is None:
            return 0.0
        self._learn(principal.key, found)
        until = found.holder.until(now)
        return until if len(parts) == 1 else min(until, still_good(tx, parts))

    async def present(self, principal: Principal) -> Principal | None:
        """Give who acted before, with the roles of now and nothing proved; None when it may act no more (rules.md 13).

        A key and a consent have to stand. A browser session may have ended: the person was it, and the person stays.
        """
        facts, now = Facts("", "", "schedule"), self._now()

        def read(tx: InstanceTransaction) -> Principal | None:
            for kind in self.recognisers:
                if kind.until(tx, principal, now) is not None:
                    return kind.present(tx, principal, facts, now)
            found = look_up(tx, principal.key)
            return found.principal(facts, self._workspaces) if found is not None and found.until(now) else None

        found = await self._database.read_instance(read)
        return found and found.without_proof()

    async def stopped(self, principal: Principal) -> bool:
        """Tell whether the switch holds back what would act for somebody while nobody calls."""
        stops = await self._database.read_instance(lambda tx: stops_of(tx, principal.tenant))
        named = {f"{'user' if hop.kind == 'human' else 'agent'}:{hop.id}" for hop in principal.chain()}
        return not stops.isdisjoint(named | {EVERYTHING})

    async def acting(self, tenant: str, subject: str) -> Principal | None:
        """Give who `user:…`, `agent:…` or `key:…` is, alive or not, with the roles of now and nothing proved."""
        return await self._database.read_instance(lambda tx: spoken_of(tx, tenant, subject, self._workspaces))

    def rate_of(self, principal: Principal) -> Rate | None:
        """Give the limit of calls per second: a key's own, else agents have one and people do not."""
        own = self._rates.get(principal.key) if self._rates else None
        return own or (self._agent_rate if principal.kind != "human" else None)

    async def note_use(self) -> None:
        """Write down when keys were last used; called about once a minute."""
        used, self._used = self._used, {}
        if used:

            def write(tx: InstanceTransaction) -> None:
                for (tenant, id), at in used.items():
                    tx.update(KEYS, KEYS.c.tenant == tenant, KEYS.c.id == id, last_used_at=at)

            await self._database.write_instance(write)


def people_until(tx: InstanceTransaction, principal: Principal) -> float:
    """Tell of the people and agents of a chain whether they may act: infinity, or 0.0 when one may not.

    Names that stand in no table are the platform's own, or another's to judge.
    """
    tenant = principal.tenant
    home = tx.first(TENANTS, TENANTS.c.id == tenant)
    if home is not None and home.state != "active":
        return 0.0
    stops = stops_of(tx, tenant)
    for hop in principal.chain():
        table = PEOPLE if hop.kind == "human" else AGENTS
        row = tx.first(table, table.c.tenant == tenant, table.c.id == hop.id)
        if row is not None and row.state != "active":
            return 0.0
        if hop.kind != "human" and stops:
            owner = f"user:{row.owner}" if row is not None else ""
            if not stops.isdisjoint({EVERYTHING, owner, f"agent:{hop.id}"}):
                return 0.0
    return FOR_EVER
