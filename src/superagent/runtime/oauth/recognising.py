"""Recognising: who is behind an access token, and whether what it was given by still stands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Row

from superagent.core.principal import Facts, Principal
from superagent.core.problems import Unauthenticated
from superagent.core.scopes import bounds_of
from superagent.data.database import Database
from superagent.data.transaction import InstanceTransaction
from superagent.runtime.holders import EVERYTHING, groups_of, human_of, roles_among, state_of_tenant, stops_of
from superagent.runtime.identity_tables import AGENTS, PEOPLE
from superagent.runtime.oauth.site import Site
from superagent.runtime.oauth.tables import CLIENTS, COMMAND_LINE, CONSENTS

CONSENT = "consent_"
APPLICATION = "application"
"""The role of what a person lets act for it; the scopes of its token narrow it."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A consent with who gave it and to whom.

    `client` is None for one that describes itself at an address. `alive` says that tenant, person and client may act.
    """

    consent: Row[Any]
    client: Row[Any] | None
    person: Row[Any]
    alive: bool

    def until(self, now: float) -> float:
        """Give the moment until which it stands (epoch seconds), 0.0 when it does not."""
        stands = self.alive and self.consent.revoked_at is None and now < self.consent.expires_at
        return self.consent.expires_at if stands else 0.0


def standing(tx: InstanceTransaction, consent: str) -> Standing | None:
    """Find a consent by its id, and look whether everybody in it may act."""
    found = tx.first(CONSENTS, CONSENTS.c.id == consent)
    if found is None:
        return None
    tenant = found.tenant
    person = tx.first(PEOPLE, PEOPLE.c.tenant == tenant, PEOPLE.c.id == found.person)
    if person is None:
        return None
    client = tx.first(CLIENTS, CLIENTS.c.id == found.client)
    registered = client is not None and client.revoked_at is None
    agent = tx.first(AGENTS, AGENTS.c.tenant == tenant, AGENTS.c.id == found.client)
    stopped = stops_of(tx, tenant) & {EVERYTHING, f"user:{found.person}", f"agent:{found.client}"}
    alive = (
        (registered or "://" in found.client or found.client == COMMAND_LINE)
        and (agent is None or agent.state == "active")
        and person.state == state_of_tenant(tx, tenant) == "active"
        and not stopped
    )
    return Standing(found, client, person, alive)


class Tokens:
    """Recognise access tokens, for `SqlIdentity`; `why` hears of each one that is refused, and never the token."""

    def __init__(
        self,
        database: Database,
        site: Site,
        find: Callable[[str], Any],
        workspaces: Path,
        now: Callable[[], float],
        why: Callable[[Facts, str], None],
    ) -> None:
        self._database = database
        self._site = site
        self._find = find
        self._workspaces = workspaces
        self._now = now
        self._why = why

    def reads(self, token: str) -> bool:
        """Tell whether a credential is one for here."""
        return token.startswith("eyJ")

    async def recognise(self, token: str, facts: Facts) -> tuple[Principal, float]:
        """Give who is behind a token, and until when it may be believed without a look. Raises `Unauthenticated`."""
        from superagent.runtime.oauth.access_tokens import Refused, verified  # 0.3 s, for who uses tokens

        site = self._site
        try:
            claims = verified(token, self._find, site.issuers, site.resources(facts.channel), self._now())
            scopes = tuple(claims.scope.split())
            found = await self._database.read_instance(lambda tx: self._found(tx, claims.consent, scopes, facts))
            if found is None or found[1] != claims.client_id:
                raise Refused("what it was given by does not stand any more")
        except Refused as refused:
            self._why(facts, str(refused))
            raise Unauthenticated(
                "this token is not known, or no longer valid", hint="get a new one from `/oauth/token`"
            ) from None
        return found[0], min(float(claims.exp), found[2])

    def until(self, tx: InstanceTransaction, principal: Principal, now: float) -> float | None:
        """Give until when what a principal acts by stands, 0.0 for no longer; None for who acts by no token."""
        if not principal.key.startswith(CONSENT):
            return None
        found = standing(tx, principal.key)
        return 0.0 if found is None else found.until(now)

    def _found(
        self, tx: InstanceTransaction, consent: str, scopes: tuple[str, ...], facts: Facts
    ) -> tuple[Principal, str, float] | None:
        found = standing(tx, consent)
        until = 0.0 if found is None else found.until(self._now())
        if found is None or not until:
            return None
        return self._acting(tx, found, facts).within(bounds_of(scopes)), found.consent.client, until

    def present(self, tx: InstanceTransaction, principal: Principal, facts: Facts, now: float) -> Principal | None:
        """Give who acted by a token, within the scopes of that token, as long as its consent stands."""
        found = standing(tx, principal.key)
        if found is None or not found.until(now) or principal.bounds is None:
            return None
        return self._acting(tx, found, facts).within(principal.bounds)

    def _acting(self, tx: InstanceTransaction, found: Standing, facts: Facts) -> Principal:
        """Give the client of a consent acting for its person, with the roles of now, and without bounds yet."""
        client, id, tenant = found.client, found.consent.client, found.consent.tenant
        groups = groups_of(tx, tenant, [f"user:{found.person.id}", f"agent:{id}"])
        human = human_of(found.person, groups, facts, self._workspaces)
        service = client is not None and client.kind == "service"
        # what it does for one person is none of another's business: jobs, outcomes, undo and taint go by this name
        name, role, workspace = f"{id}/{found.person.id}", APPLICATION, human.workspace
        own = groups[0].get(f"agent:{id}", ())  # only a service is in any
        if client is not None and client.kind == "service":
            name, role, workspace = id, client.role, client.workspace
        return Principal(
            name, "service" if service else "agent", tenant, roles_among(role, own, groups[1]), human, workspace,
            found.consent.id, found.consent.client_name, facts.remote, groups=own,
        )  # fmt: skip
