"""Browser sessions: kept as digests, turned at each proof, dead at their end or when they were idle for too long."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row

from superagent.core.problems import NotFound
from superagent.data.database import Database
from superagent.data.transaction import InstanceTransaction, Transaction
from superagent.runtime.identity_tables import PEOPLE
from superagent.runtime.shared_map import Epoch
from superagent.runtime.sign_in.tables import SESSIONS

PREFIX = "ses_"
"""How the id of a session begins; the id is no secret, the token `sas_…` is."""

LOOKED_UP_S = 60.0
KEPT_S = 7 * 86_400.0


@dataclass(frozen=True, slots=True)
class Life:
    """How long a session may lie idle, and how long it may last, in seconds."""

    idle_s: float = 3600.0
    most_s: float = 43_200.0


@dataclass(frozen=True, slots=True)
class Started:
    """A new session; the token is shown this once."""

    token: str
    id: str
    ends_at: float


class Sessions:
    """The browser sessions of an installation."""

    def __init__(self, database: Database, epoch: Epoch, now: Callable[[], float], life: Life) -> None:
        self._database = database
        self._epoch = epoch
        self._now = now
        self._life = life
        self._seen: dict[tuple[str, str], float] = {}

    async def start(
        self, tenant: str, person: str, way: str, mfa_at: float | None, client: str = "", replaces: str = ""
    ) -> Started:
        """Begin a session under a fresh token; the one that it `replaces` (an id) ends with that.

        A session that was turned keeps the end of the first: no proof makes it longer.
        """
        token = "sas_" + secrets.token_urlsafe(32)
        id, now = PREFIX + secrets.token_hex(12), self._now()
        ends_at = now + self._life.most_s

        def write(tx: Transaction) -> tuple[float, bool]:
            end, ended = ends_at, False
            if replaces:
                earlier = tx.first(SESSIONS, SESSIONS.c.id == replaces, SESSIONS.c.ended_at.is_(None))
                if earlier is not None:
                    end = earlier.ends_at if earlier.person == person else end
                    ended = bool(tx.update(SESSIONS, SESSIONS.c.id == replaces, ended_at=now))
            tx.insert(
                SESSIONS, id=id, digest=digest(token), person=person, way=way, client=client[:200], created_at=now,
                seen_at=now, mfa_at=mfa_at, ends_at=end, ended_at=None,
            )  # fmt: skip
            return end, ended

        end, ended = await self._database.write(tenant, write)
        if ended:
            self._epoch.bump()
        return Started(token, id, end)

    async def find(self, token: str) -> tuple[Row[Any], Row[Any], float] | None:
        """Give (session, person, until when this may be believed) of a token, None when it is no living session's."""
        if not token.startswith("sas_") or len(token) > 100:
            return None
        name = digest(token)
        found = await self._database.read_instance(lambda tx: _with_person(tx, SESSIONS.c.digest == name))
        now = self._now()
        if found is None or (until := self._until(*found)) <= now:
            return None
        session = found[0]
        self._seen[session.tenant, session.id] = now
        return *found, min(until, now + LOOKED_UP_S)

    def until_in(self, tx: InstanceTransaction, id: str) -> float:
        """Give when a session ends at the latest, 0.0 when it has ended or its person may not act."""
        found = _with_person(tx, SESSIONS.c.id == id)
        return 0.0 if found is None else self._until(*found)

    def _until(self, session: Row[Any], person: Row[Any]) -> float:
        if session.ended_at is not None or person.state != "active":
            return 0.0
        seen = max(session.seen_at, self._seen.get((session.tenant, session.id), 0.0))
        return min(session.ends_at, seen + self._life.idle_s)

    async def get(self, tenant: str, id: str) -> Row[Any] | None:
        """Give a session by its id."""
        return await self._database.read(tenant, lambda tx: tx.first(SESSIONS, SESSIONS.c.id == id))

    async def listed(self, tenant: str, person: str) -> list[Row[Any]]:
        """Give the living sessions of a person, newest first."""
        now = self._now()
        rows = await self._database.read(
            tenant,
            lambda tx: tx.select(
                SESSIONS, SESSIONS.c.person == person, SESSIONS.c.ended_at.is_(None), SESSIONS.c.ends_at > now,
                order=[SESSIONS.c.created_at.desc()],
            ),
        )  # fmt: skip
        idle = now - self._life.idle_s
        return [row for row in rows if max(row.seen_at, self._seen.get((tenant, row.id), 0.0)) > idle]

    async def end(self, tenant: str, person: str, id: str) -> None:
        """End one session of a person; every worker refuses it from now on. Raises `NotFound`."""
        now = self._now()
        own = (SESSIONS.c.id == id, SESSIONS.c.person == person, SESSIONS.c.ended_at.is_(None))
        if not await self._database.write(tenant, lambda tx: tx.update(SESSIONS, *own, ended_at=now)):
            raise NotFound(f"there is no session `{id[:60]}`", hint="`access.sessions.list` shows them")
        self._epoch.bump()

    async def end_all(self, tenant: str, person: str, but: str = "") -> int:
        """End the sessions of a person, except for one; gives how many."""
        now = self._now()
        own = (SESSIONS.c.person == person, SESSIONS.c.id != but, SESSIONS.c.ended_at.is_(None))
        ended = await self._database.write(tenant, lambda tx: tx.update(SESSIONS, *own, ended_at=now))
        if ended:
            self._epoch.bump()
        return ended

    async def sweep(self) -> int:
        """Write down when sessions were last seen, and forget those that ended a week ago."""
        seen, self._seen = self._seen, {}
        over = self._now() - KEPT_S

        def write(tx: InstanceTransaction) -> int:
            for (tenant, id), at in seen.items():
                tx.update(SESSIONS, SESSIONS.c.tenant == tenant, SESSIONS.c.id == id, seen_at=at)
            return tx.delete(SESSIONS, (SESSIONS.c.ends_at < over) | (SESSIONS.c.ended_at < over))

        return await self._database.write_instance(write)


def digest(token: str) -> str:
    """Name a token that is too random to be guessed: SHA-256, hex."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def _with_person(tx: InstanceTransaction, which: Any) -> tuple[Row[Any], Row[Any]] | None:
    session = tx.first(SESSIONS, which)
    if session is None:
        return None
    person = tx.first(PEOPLE, PEOPLE.c.tenant == session.tenant, PEOPLE.c.id == session.person)
    return None if person is None else (session, person)
