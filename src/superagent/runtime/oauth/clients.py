"""Clients: who may ask for tokens, as Authlib's server sees them, and where they are found."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row

from superagent.core.scopes import scopes_of, within
from superagent.data.transaction import InstanceTransaction
from superagent.runtime.oauth import redirects
from superagent.runtime.oauth.borrowed import ClientMixin
from superagent.runtime.oauth.credentials import digest
from superagent.runtime.oauth.tables import CLIENTS, COMMAND_LINE, DEVICE_FLOW

NO_TENANT = "-"
"""Whose a client is that registered or described itself: nobody's, so people of each tenant may let it act for them."""


@dataclass(frozen=True, slots=True)
class Client(ClientMixin):
    """A client. `digests` are those of its secrets that are good now; a public one has none."""

    id: str
    tenant: str
    kind: str
    name: str
    digests: tuple[str, ...]
    redirects: tuple[str, ...]
    flows: tuple[str, ...]
    scopes: tuple[str, ...]
    owner: str = ""

    @property
    def confidential(self) -> bool:
        """Tell whether it has to prove who it is."""
        return bool(self.digests)

    @property
    def document(self) -> str:
        """Give the address at which it describes itself, empty for one that is registered."""
        return self.id if "://" in self.id else ""

    # ---- what Authlib asks

    def get_client_id(self) -> str:
        """Give its id."""
        return self.id

    def get_default_redirect_uri(self) -> None:
        """Give nothing: each request names its redirect address."""

    def get_allowed_scope(self, scope: str | None) -> str | None:
        """Give the scopes it gets for those it asks for (all it may have for none); None when they go too far."""
        if not scope:
            return " ".join(self.scopes) or None
        return scope if within(scopes_of(scope), self.scopes) else None

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        """Tell whether it registered a redirect address."""
        return redirects.matches(redirect_uri, self.redirects)

    def check_client_secret(self, client_secret: str) -> bool:
        """Tell whether this is its secret, or the one before while that is good."""
        shown = digest(client_secret)
        return any(secrets.compare_digest(shown, one) for one in self.digests)

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        """Tell whether it may prove itself in this way; one with a secret must show it everywhere."""
        return (method != "none") is self.confidential

    def check_response_type(self, response_type: str) -> bool:
        """Tell whether it may get authorization codes; there are no other responses."""
        return response_type == "code" and "authorization_code" in self.flows

    def check_grant_type(self, grant_type: str) -> bool:
        """Tell whether it may get tokens in this way."""
        return grant_type in self.flows


def registered(tx: InstanceTransaction, id: str, now: float) -> Client | None:
    """Find a client that is registered and not revoked, or the command line, which is built in."""
    if id == COMMAND_LINE:
        flows = (DEVICE_FLOW, "refresh_token")
        return Client(id, NO_TENANT, "application", "Super-Agent command line", (), (), flows, ("*",))
    row = tx.first(CLIENTS, CLIENTS.c.id == id, CLIENTS.c.revoked_at.is_(None))
    return None if row is None else client_of(row, now)


def described(id: str, name: str, redirects: tuple[str, ...], flows: tuple[str, ...]) -> Client:
    """Give a public client that describes itself; what it may ask for is up to the person."""
    return Client(id, NO_TENANT, "application", name, (), redirects, flows, ("*",))


def client_of(row: Row[Any], now: float) -> Client:
    """Read a client."""
    former = row.former if row.former and row.former_until and now < row.former_until else None
    return Client(
        row.id,
        row.tenant,
        row.kind,
        row.name,
        tuple(one for one in (row.digest, former) if one),
        tuple(json.loads(row.redirects)),
        tuple(json.loads(row.flows)),
        tuple(row.scopes.split()),
        row.created_by,
    )
