"""The authorization service of an installation: light to make; what is heavy is loaded when it is first asked for."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

from superagent.core.audit import AuditRecord
from superagent.core.principal import Facts
from superagent.core.records import Flood
from superagent.data.database import Database
from superagent.runtime.keys import FileKeys
from superagent.runtime.net.network import Network
from superagent.runtime.oauth.client_store import SqlClients
from superagent.runtime.oauth.recognising import Tokens
from superagent.runtime.oauth.site import Site
from superagent.runtime.policies import SqlPolicies
from superagent.runtime.shared_map import Epoch


class Authorization:
    """Everything about tokens: who registered, who consented, what is signed, and who is behind a token."""

    def __init__(
        self,
        database: Database,
        policies: SqlPolicies,
        keys: FileKeys,
        epoch: Epoch,
        network: Network,
        workspaces: Path,
        now: Callable[[], float],
        new_id: Callable[[], str],
        note: Callable[[AuditRecord], None],
        *,
        public_url: str = "",
        registration: bool = False,
    ) -> None:
        self.site = Site(public_url)
        self.registration = registration
        self.clients = SqlClients(database, policies, epoch, workspaces, now, new_id)
        self.tokens = Tokens(database, self.site, self._find, workspaces, now, self._refused)
        self._database = database
        self._keys = keys
        self._epoch = epoch
        self._network = network
        self._now = now
        self._new_id = new_id
        self._note = note
        self._flood = Flood()

    @cached_property
    def signing(self):
        """Give the keys that tokens are signed with."""
        from superagent.runtime.oauth.signing import SigningKeys

        return SigningKeys(self._keys, self._epoch, self._now)

    @cached_property
    def desk(self):
        """Give what answers at the endpoints."""
        from superagent.runtime.oauth.desk import Desk

        return Desk(self._database, self.signing, self.site, self._epoch, self._now, self._new_id, self._note)

    @cached_property
    def documents(self):
        """Give what reads the documents of clients that describe themselves."""
        from superagent.runtime.oauth.documents import ClientDocuments

        return ClientDocuments(self._network, self._now)

    async def register(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Let a client register itself. Raises `InvalidInput`."""
        from superagent.runtime.oauth.registering import register

        return await register(self.clients, asked)

    def _find(self, name: str) -> Any:
        return self.signing.find(name)

    def _refused(self, facts: Facts, why: str) -> None:
        """Record why a token was not taken; the line records that it was not, and counts when there are many."""
        first, _ = self._flood.admit((facts.remote, facts.channel, why), self._now())
        if first:
            detail = {"remote": facts.remote, "why": why}
            self._note(
                AuditRecord(
                    kind="event", at=self._now(), tenant="system", who="anonymous", channel=facts.channel,
                    operation="oauth.token.refused", detail=detail,
                )
            )  # fmt: skip
