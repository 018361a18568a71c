"""The ledger of one request to the authorization server: what it finds and changes, within one transaction.

What has to wait for the transaction's end is collected: events for the audit, and whether every process must look anew.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Row, Table

from superagent.core.scopes import OFFLINE
from superagent.data.transaction import InstanceTransaction
from superagent.runtime.oauth import clients, credentials
from superagent.runtime.oauth.access_tokens import LIFE_S, Claims, Refused, genuine, signed
from superagent.runtime.oauth.clients import Client
from superagent.runtime.oauth.recognising import CONSENT, Standing, standing
from superagent.runtime.oauth.signing import SigningKeys
from superagent.runtime.oauth.site import Site
from superagent.runtime.oauth.tables import CLIENTS, CODES, CONSENTS, DEVICES, REFRESH

CODE_S, DEVICE_S = 60.0, 600.0
REFRESH_S = 30 * 86_400.0
INTERVAL_S = 5
FLOWS = ("authorization_code", "refresh_token")
"""What a client that describes itself may use."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that a tenant's audit should tell."""

    tenant: str
    what: str
    who: str
    detail: dict[str, str]


@dataclass(slots=True)
class Ledger:
    """One transaction's view. `issuer` is us as the caller reached us; `described` a client that describes itself.

    A description is fetched for the consent page only. Later such a client is known by what was consented to, so that
    no stranger's request makes this server ask anywhere.
    """

    tx: InstanceTransaction
    signing: SigningKeys
    site: Site
    issuer: str
    now: float
    new_id: Callable[[], str]
    described: Client | None = None
    events: list[Event] = field(default_factory=list[Event])
    ended: bool = False

    # ---- clients

    def client(self, id: str) -> Client | None:
        """Find a client by its id, or take the one that describes itself under this very address."""
        if self.described is not None and self.described.id == id:
            return self.described
        if "://" in id:
            known = self.tx.first(CONSENTS, CONSENTS.c.client == id)
            return None if known is None else clients.described(id, known.client_name, (), FLOWS)
        return clients.registered(self.tx, id, self.now)

    def used(self, client: Client) -> None:
        """Note that a client showed itself."""
        if not client.document:
            self.tx.update(CLIENTS, CLIENTS.c.id == client.id, last_used_at=self.now)

    # ---- consents

    def consent(
        self, client: Client, tenant: str, person: str, flow: str, scopes: str, audiences: Sequence[str], life_s: float
    ) -> Standing:
        """Write down what a client is let do, for whom and for how long."""
        id = f"{CONSENT}{self.new_id()}"
        self.tx.insert(
            CONSENTS, tenant=tenant, id=id, client=client.id, client_name=client.name, person=person, flow=flow,
            scopes=scopes, audiences=json.dumps(list(audiences)), created_at=self.now, expires_at=self.now + life_s,
            why="",
        )  # fmt: skip
        found = standing(self.tx, id)
        assert found is not None, "a consent is given by somebody"
        return found

    def service(self, client: Client, scopes: str, audiences: Sequence[str]) -> Standing:
        """Give what a service acts by: one thing for all its tokens, so that these share their limits and their end."""
        flow = "client_credentials"
        mine = (CONSENTS.c.client == client.id, CONSENTS.c.flow == flow, CONSENTS.c.revoked_at.is_(None))
        row = self.tx.first(CONSENTS, *mine, CONSENTS.c.expires_at > self.now + REFRESH_S / 2)
        found = None if row is None else standing(self.tx, row.id)
        if found is not None:
            return found
        return self.consent(client, client.tenant, client.owner, flow, scopes, audiences, REFRESH_S)

    def standing(self, consent: str) -> Standing | None:
        """Find a consent that stands."""
        found = standing(self.tx, consent)
        return found if found is not None and found.until(self.now) else None

    def end(self, consent: str, why: str) -> None:
        """End a consent, and with it every token that was given by it."""
        row = self.tx.first(CONSENTS, CONSENTS.c.id == consent)
        if row is None or row.revoked_at is not None:
            return
        self.tx.update(CONSENTS, CONSENTS.c.id == consent, revoked_at=self.now, why=why)
        self.ended = True
        detail = {"consent": consent, "client": row.client, "why": why}
        self.events.append(Event(row.tenant, "oauth.consent.ended", row.person, detail))

    # ---- what is shown once

    def take(self, table: Table, shown: str, client: Client) -> Row[Any] | None:
        """Find a code or refresh token that this client may use now; one that was used before ends all it gave."""
        row = self.tx.first(table, table.c.digest == credentials.digest(shown))
        if row is None:
            return None
        if row.used_at is not None:
            self.end(row.consent, "a code or refresh token was used twice")
            return None
        if row.client != client.id:
            self.strange(row, client)
            return None
        return row if self.now < row.expires_at else None

    def strange(self, row: Row[Any], client: Client) -> None:
        """Note that a client showed what is another's; `row` is a consent, or comes of one."""
        detail = {"client": row.client, "shown_by": client.id}
        self.events.append(Event(row.tenant, "oauth.stranger", "", detail))

    def spend(self, table: Table, row: Row[Any]) -> None:
        """Note that a code or refresh token was used."""
        self.tx.update(table, table.c.digest == row.digest, used_at=self.now)

    def code(self, consent: Standing, redirect: str, challenge: str) -> str:
        """Give a code for what was consented to."""
        shown, row = credentials.mint(credentials.CODE), consent.consent
        self.tx.insert(
            CODES, tenant=row.tenant, digest=credentials.digest(shown), consent=row.id, client=row.client,
            redirect=redirect, challenge=challenge, expires_at=self.now + CODE_S,
        )  # fmt: skip
        return shown

    def device(self, client: Client, scopes: str, audiences: Sequence[str]) -> tuple[str, str]:
        """Give a device code and the code that a person types in for it."""
        shown, typed = credentials.mint(credentials.DEVICE), credentials.user_code()
        self.tx.insert(
            DEVICES, digest=credentials.digest(shown), user_code=typed, client=client.id, client_name=client.name,
            client_tenant=client.tenant, scopes=scopes, audiences=json.dumps(list(audiences)), created_at=self.now,
            expires_at=self.now + DEVICE_S, polled_at=0.0, interval_s=INTERVAL_S, state="waiting", approved_in="",
            consent="",
        )  # fmt: skip
        return shown, typed

    # ---- tokens

    def tokens(self, given: Standing, scopes: str, audiences: Sequence[str], refreshes: bool) -> dict[str, Any]:
        """Give an access token, and a refresh token where the client may have one."""
        consent, rights = given.consent, " ".join(one for one in scopes.split() if one != OFFLINE)
        name, key = self.signing.newest()
        service = given.client is not None and given.client.kind == "service"
        at = int(self.now)
        claims = Claims(
            iss=self.issuer, sub=consent.client if service else f"{consent.tenant}/{consent.person}",
            aud=list(audiences), client_id=consent.client, scope=rights, iat=at, exp=at + LIFE_S, jti=self.new_id(),
            consent=consent.id,
        )  # fmt: skip
        out: dict[str, Any] = {
            "access_token": signed(claims, name, key), "token_type": "Bearer", "expires_in": LIFE_S, "scope": scopes,
        }  # fmt: skip
        if refreshes:
            out["refresh_token"] = shown = credentials.mint(credentials.REFRESH)
            self.tx.insert(
                REFRESH, tenant=consent.tenant, digest=credentials.digest(shown), consent=consent.id,
                client=consent.client, expires_at=min(self.now + REFRESH_S, consent.expires_at),
            )  # fmt: skip
        return out

    def behind(self, token: str) -> tuple[Row[Any], Claims | None] | None:
        """Find the consent behind an access or refresh token, with what an access token says; None for neither."""
        claims: Claims | None = None
        if token.startswith(credentials.REFRESH):
            row = self.tx.first(REFRESH, REFRESH.c.digest == credentials.digest(token), REFRESH.c.used_at.is_(None))
            consent = None if row is None or self.now >= row.expires_at else row.consent
        else:
            try:
                claims = genuine(token, self.signing.find, self.site.issuers)
            except Refused:
                return None
            consent = claims.consent
        found = None if consent is None else self.tx.first(CONSENTS, CONSENTS.c.id == consent)
        return None if found is None else (found, claims)
