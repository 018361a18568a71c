"""Recognising: who is behind a browser session's token, as one more kind of credential of `SqlIdentity`."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from sqlalchemy import Row

from superagent.core.principal import Facts, Principal
from superagent.core.problems import Unauthenticated
from superagent.data.database import Database
from superagent.data.transaction import InstanceTransaction
from superagent.runtime.holders import present_person
from superagent.runtime.identity_tables import GROUPS, MEMBERS, TENANTS
from superagent.runtime.sign_in.sessions import PREFIX, Sessions

WEB = "web"
"""The channel by which the door hands over cookies: a session's token anywhere else is nothing."""


class SessionTokens:
    """Browser sessions among the credentials that are recognised."""

    def __init__(self, database: Database, sessions: Sessions, workspaces: Path) -> None:
        self._database = database
        self._sessions = sessions
        self._workspaces = workspaces

    def reads(self, token: str) -> bool:
        """Tell from its form alone whether a token is of this kind."""
        return token.startswith("sas_")

    async def recognise(self, token: str, facts: Facts) -> tuple[Principal, float]:
        """Give who shows it and until when to believe it. Raises `Unauthenticated`."""
        found = await self._sessions.find(token) if facts.channel == WEB else None
        if found is None:
            raise ended()
        session, person, until = found
        human = await self._database.read_instance(lambda tx: person_as(tx, person, facts, self._workspaces))
        if human is None:
            raise ended()
        return replace(human, key=session.id, second_factor_at=session.mfa_at), until

    def until(self, tx: InstanceTransaction, principal: Principal, now: float) -> float | None:
        """Give until when a session is good, 0.0 for no more; None when the principal is in none."""
        if not principal.key.startswith(PREFIX):
            return None
        return self._sessions.until_in(tx, principal.key)

    def present(self, tx: InstanceTransaction, principal: Principal, facts: Facts, now: float) -> Principal | None:
        """Give the person of a session, ended or not; None when the person may act no more."""
        return present_person(tx, principal.tenant, principal.id, facts, self._workspaces)


def person_as(tx: InstanceTransaction, person: Row[Any], facts: Facts, workspaces: Path) -> Principal | None:
    """Give a person as a principal with the roles and groups of now; None when it, or its tenant, may not act."""
    tenant = tx.first(TENANTS, TENANTS.c.id == person.tenant)
    if tenant is None or tenant.state != "active" or person.state != "active":
        return None
    member = tx.select(MEMBERS, MEMBERS.c.tenant == person.tenant, MEMBERS.c.member == f"user:{person.id}")
    groups = tuple(sorted(row.group for row in member))
    rows = tx.select(GROUPS, GROUPS.c.tenant == person.tenant, GROUPS.c.id.in_(groups))
    roles: list[str] = [*json.loads(person.roles), *(role for row in rows for role in json.loads(row.roles))]
    return Principal(
        person.id, "human", person.tenant, tuple(dict.fromkeys(roles)), name=person.name, remote=facts.remote,
        workspace=str(workspaces / person.tenant / person.id), groups=groups,
    )  # fmt: skip


def ended() -> Unauthenticated:
    """Give the problem of a session that is over, or was never."""
    return Unauthenticated("this session has ended", hint="sign in again at `/sign-in`")
