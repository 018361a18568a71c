"""Proofs: a person's own key with a fresh second factor, for some minutes, for who calls without a browser.

The key itself stays what it was: whoever else holds it has nothing of this. A proof is a token of its own, good from
the address at which the factor was shown, and only as long as its key.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from superagent.core.principal import Facts, Principal
from superagent.core.problems import Denied, Unauthenticated
from superagent.data.database import Database
from superagent.data.transaction import InstanceTransaction
from superagent.runtime.holders import look_up
from superagent.runtime.sign_in.guard import Guard, Visitor
from superagent.runtime.sign_in.pending import Pending
from superagent.runtime.sign_in.recognising import WEB

KEY_ID, PREFIX = "key_", "sap_"
LIFE_S = 300.0
_KIND = "proof"


@dataclass(frozen=True, slots=True)
class Proof:
    """The token, shown this once, and until when it is good (epoch seconds)."""

    token: str
    until: float


class Proofs:
    """Makes proofs, and recognises them among the credentials."""

    def __init__(
        self, database: Database, pending: Pending, guard: Guard, workspaces: Path, now: Callable[[], float]
    ) -> None:
        self._database = database
        self._pending = pending
        self._guard = guard
        self._workspaces = workspaces
        self._now = now

    async def make(self, principal: Principal, visitor: Visitor) -> Proof:
        """Give the proof of somebody whose factor was taken just now."""
        now = self._now()
        noted = {"key": principal.key, "at": now, "until": now + LIFE_S, "remote": visitor.remote}
        token = await self._pending.put(_KIND, noted, LIFE_S, principal.tenant, principal.id)
        self._guard.record("signin.stepped_up", principal.tenant, principal.id, visitor, key=principal.key)
        return Proof(PREFIX + token, now + LIFE_S)

    def reads(self, token: str) -> bool:
        """Tell from its form alone whether a token is of this kind."""
        return token.startswith(PREFIX)

    async def recognise(self, token: str, facts: Facts) -> tuple[Principal, float]:
        """Give who shows it, by its key, with the factor. Raises `Unauthenticated`."""
        step = await self._pending.look(_KIND, token.removeprefix(PREFIX))
        noted, now = step.data, self._now()
        holder = await self._database.read_instance(lambda tx: look_up(tx, noted["key"]))
        until = 0.0 if holder is None else holder.until(now)
        here = noted["remote"] == facts.remote and facts.channel != WEB  # a cookie is sent by any page, a proof is not
        if holder is None or not until or not holder.welcomes(facts.remote) or not here:
            raise Unauthenticated("this proof is not good, or no longer", hint="show your factor with `signin.prove`")
        acting = replace(holder.principal(facts, self._workspaces), second_factor_at=noted["at"])
        return acting, min(until, noted["until"])

    def until(self, tx: InstanceTransaction, principal: Principal, now: float) -> float | None:
        """Say nothing: whoever acts by a proof acts by its key, which is looked at."""
        return None

    def present(self, tx: InstanceTransaction, principal: Principal, facts: Facts, now: float) -> Principal | None:
        """Say nothing, as above."""
        return None


def require_key(principal: Principal) -> None:
    """Go on only for a person's own key. Raises `Denied`: sessions have their own way, and nobody proves for others."""
    if principal.kind != "human" or not principal.key.startswith(KEY_ID):
        raise Denied("this is for a person's own key", hint="in a browser session, use `/sign-in/step-up`")
