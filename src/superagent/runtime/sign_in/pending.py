"""Pending steps: what a sign-in half done, a challenge or a link stands for; each is taken once."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from superagent.core.problems import Unauthenticated
from superagent.data.database import Database
from superagent.data.transaction import InstanceTransaction
from superagent.runtime.sign_in.sessions import digest
from superagent.runtime.sign_in.tables import PENDING
from superagent.runtime.stored import Seals

_PURPOSE = "sign-in-steps"


@dataclass(frozen=True, slots=True)
class Step:
    """One step: whose it is (empty while nobody is known), and what was noted with it."""

    tenant: str
    person: str
    data: dict[str, Any]


class Pending:
    """Steps that wait for their next, under tokens of which only the digest is kept."""

    def __init__(self, database: Database, keys: Seals, now: Callable[[], float]) -> None:
        self._database = database
        self._keys = keys
        self._now = now

    async def put(
        self, kind: str, data: dict[str, Any], ttl_s: float, tenant: str = "", person: str = "", *, alone: bool = False
    ) -> str:
        """Note a step and give its token. `alone` ends those of the same kind that still wait for the same person."""
        token = secrets.token_urlsafe(32)
        name = digest(token)
        sealed = self._keys.seal(_PURPOSE, name.encode(), json.dumps(data).encode())
        row: dict[str, Any] = {"digest": name, "kind": kind, "owner": tenant, "person": person, "data": sealed}
        row["until"] = self._now() + ttl_s

        def write(tx: InstanceTransaction) -> None:
            if alone:
                tx.delete(PENDING, PENDING.c.kind == kind, PENDING.c.owner == tenant, PENDING.c.person == person)
            tx.insert(PENDING, **row)

        await self._database.write_instance(write)
        return token

    async def look(self, kind: str, token: str) -> Step:
        """Give a step without taking it. Raises `Unauthenticated` when it is over, or was never."""
        found = await self._database.read_instance(lambda tx: self._find(tx, kind, token))
        if found is None:
            raise over()
        return found

    async def take(self, kind: str, token: str) -> Step:
        """Take a step: nobody else gets it. Raises `Unauthenticated` when it is over, was taken, or never was."""

        def write(tx: InstanceTransaction) -> Step | None:
            found = self._find(tx, kind, token)
            # deleting says who of two that come at once was first
            return found if found is not None and tx.delete(PENDING, PENDING.c.digest == digest(token)) else None

        found = await self._database.write_instance(write)
        if found is None:
            raise over()
        return found

    async def sweep(self) -> int:
        """Forget what is over."""
        now = self._now()
        return await self._database.write_instance(lambda tx: tx.delete(PENDING, PENDING.c.until < now))

    def _find(self, tx: InstanceTransaction, kind: str, token: str) -> Step | None:
        row = tx.first(PENDING, PENDING.c.digest == digest(token), PENDING.c.kind == kind)
        if row is None or row.until <= self._now():
            return None
        return Step(row.owner, row.person, json.loads(self._keys.open(_PURPOSE, row.digest.encode(), row.data)))


def over() -> Unauthenticated:
    """Give the problem of a step that cannot be taken."""
    return Unauthenticated("this step is over, or was taken already", hint="begin again at `/sign-in`")
