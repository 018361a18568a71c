"""Opening sign-in: its stores and desks, put together over what an installation has."""

from __future__ import annotations

from dataclasses import dataclass

from superagent.core.ports import Audit
from superagent.runtime.places import Places
from superagent.runtime.sign_in.desk import SignIn
from superagent.runtime.sign_in.enrolment import Enrolment
from superagent.runtime.sign_in.factors import Factors
from superagent.runtime.sign_in.guard import Guard, Tries
from superagent.runtime.sign_in.passwords import Passwords
from superagent.runtime.sign_in.pending import Pending
from superagent.runtime.sign_in.proofs import Proofs
from superagent.runtime.sign_in.provider import Provider
from superagent.runtime.sign_in.recognising import SessionTokens
from superagent.runtime.sign_in.sessions import Life, Sessions
from superagent.runtime.sign_in.signing import PasskeySignatures
from superagent.runtime.stores import Stores
from superagent.settings import Settings


@dataclass(frozen=True, slots=True)
class Ways:
    """All of sign-in: what operations act through, and what must be swept."""

    desk: SignIn
    enrolment: Enrolment
    sessions: Sessions
    pending: Pending
    passwords: Passwords
    provider: Provider
    signatures: PasskeySignatures

    async def sweep(self) -> int:
        """Forget what is over."""
        return await self.sessions.sweep() + await self.pending.sweep()


def open_sign_in(stores: Stores, places: Places, settings: Settings, audit: Audit) -> Ways:
    """Put sign-in together, and have browser sessions recognised."""
    database, now, chosen = stores.database, stores.clock.now, settings.sign_in
    sessions = Sessions(database, stores.identity_epoch, now, Life(chosen.idle_s, chosen.life_s))
    factors = Factors(database, stores.keys, stores.identity_epoch, now, stores.clock.new_id)
    passwords, pending = Passwords(database, now), Pending(database, stores.keys, now)
    tries = Tries(chosen.tries_per_account, chosen.tries_per_address)
    guard = Guard(audit, stores.shared, now, tries, settings.server.public_url)
    proofs = Proofs(database, pending, guard, places.workspaces, now)
    desk = SignIn(database, sessions, factors, passwords, pending, guard, proofs, places.state, now)
    enrolment = Enrolment(desk, sessions, factors, passwords, pending, guard, now)
    provider = Provider(database, pending, guard, desk, chosen, now)
    stores.identity.recognisers += [SessionTokens(database, sessions, places.workspaces), proofs]
    return Ways(desk, enrolment, sessions, pending, passwords, provider, PasskeySignatures(factors, guard))
