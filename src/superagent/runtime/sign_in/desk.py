"""The sign-in desk: every way in for people, from a proof of who they are to a browser session."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Row

from superagent.core.principal import Facts, Principal, Secret
from superagent.core.problems import Conflict, Denied, NotFound, Unauthenticated
from superagent.data.database import Database
from superagent.runtime.hands import note_hand
from superagent.runtime.identity_tables import PEOPLE
from superagent.runtime.sign_in import recovery
from superagent.runtime.sign_in.factors import Factors
from superagent.runtime.sign_in.guard import Guard, Visitor
from superagent.runtime.sign_in.passkeys import TTL_S, Ceremony, credential_of
from superagent.runtime.sign_in.passwords import Passwords
from superagent.runtime.sign_in.pending import Pending, over
from superagent.runtime.sign_in.proofs import Proof, Proofs, require_key
from superagent.runtime.sign_in.recognising import person_as
from superagent.runtime.sign_in.sessions import PREFIX, Sessions, Started

HALF_S = 300.0
LINK_S = 3600.0
WRONG = "the name or the password is wrong"


@dataclass(frozen=True, slots=True)
class SignedIn:
    """Somebody who is in: the session, and who it is."""

    session: Started
    tenant: str
    person: str


class SignIn:
    """Ways in: password with a code, passkey, one-use link; and the step up within a session."""

    def __init__(
        self,
        database: Database,
        sessions: Sessions,
        factors: Factors,
        passwords: Passwords,
        pending: Pending,
        guard: Guard,
        proofs: Proofs,
        state: Path,
        now: Callable[[], float],
    ) -> None:
        self._database = database
        self._sessions = sessions
        self._factors = factors
        self._passwords = passwords
        self._pending = pending
        self._guard = guard
        self._proofs = proofs
        self._state = state
        self._now = now
        self._set_up = False

    # ---- password and code

    async def by_password(
        self, tenant: str, user: str, password: Secret, visitor: Visitor, earlier: str = ""
    ) -> SignedIn | str:
        """Give the session of a person without second factor, else a token for the step that asks for it.

        Raises `Unauthenticated`, always with the same words; `RateLimited`.
        """
        self._guard.attempt(visitor, tenant, user)
        fits = await self._passwords.fits(tenant, user, password)
        person = await self.person(tenant, user)
        if person is None or not fits:
            known = (tenant, user) if person is not None else ("", "")
            self._guard.record("signin.refused", *known, visitor, way="password")
            raise Unauthenticated(WRONG, hint="try again, or use a passkey")
        if await self._factors.enrolled(tenant, user):
            return await self._pending.put("half", {"earlier": earlier}, HALF_S, tenant, user)
        return await self._in(tenant, user, "password", None, visitor, earlier)

    async def by_code(self, half: str, code: str, visitor: Visitor) -> SignedIn:
        """Finish a sign-in by password with a one-time or recovery code. Raises `Unauthenticated`, `RateLimited`."""
        step = await self._pending.look("half", half)
        await self._take_code(step.tenant, step.person, code, visitor)
        step = await self._pending.take("half", half)
        return await self._in(step.tenant, step.person, "password", self._now(), visitor, step.data["earlier"])

    async def _take_code(self, tenant: str, person: str, code: str, visitor: Visitor) -> None:
        self._guard.attempt(visitor, tenant, person)
        if not await self._factors.takes_code(tenant, person, code):
            self._guard.record("signin.refused", tenant, person, visitor, way="code")
            raise Unauthenticated("this code is wrong, or was used already", hint="wait for the next one")

    # ---- passkeys

    async def ask_passkey(self, origin: str, person: Principal | None = None) -> tuple[dict[str, Any], str]:
        """Give what a browser needs to ask for a passkey, and the token of the next step. Raises `Denied`."""
        options, state = Ceremony(self._guard.own(origin)).ask()
        whose = (person.tenant, person.id) if person is not None else ("", "")
        return options, await self._pending.put("passkey", {"state": state, "origin": origin}, TTL_S, *whose)

    async def by_passkey(self, pending: str, response: str, visitor: Visitor, earlier: str = "") -> SignedIn:
        """Give the session of whoever's passkey answered. Raises `Unauthenticated`, `RateLimited`."""
        key = await self._answered(pending, response, visitor, ("", ""))
        return await self._in(key.tenant, key.person, "passkey", self._now(), visitor, earlier)

    async def _answered(self, pending: str, response: str, visitor: Visitor, whose: tuple[str, str]) -> Row[Any]:
        self._guard.attempt(visitor)
        step = await self._pending.take("passkey", pending)
        if (step.tenant, step.person) != whose:
            raise over()
        key = await self._factors.passkey(credential_of(response))
        owner = (key.tenant, key.person) if key is not None else ("", "")
        try:
            if key is None or (whose[0] and owner != whose):
                raise Unauthenticated("this passkey is not known here", hint="use another, or your password")
            ceremony = Ceremony(self._guard.own(step.data["origin"]))
            if ceremony.relying != key.place:
                raise Unauthenticated("this passkey belongs to another address")
            counter = ceremony.shown(step.data["state"], response, key.data)
            if not await self._factors.used(key, counter):
                raise Unauthenticated("this passkey was copied: its count does not grow", hint="remove it")
            if await self.person(*owner) is None:
                raise Unauthenticated("this passkey is not known here", hint="use another, or your password")
        except Unauthenticated as refusal:
            self._guard.record("signin.refused", *owner, visitor, way="passkey", why=refusal.detail)
            raise
        return key

    # ---- links

    async def link(self, tenant: str, person: str) -> str:
        """Make a one-use link's token for a person who has no second factor yet; an hour. It ends those made before."""
        return await self._pending.put("link", {"way": "link"}, LINK_S, tenant, person, alone=True)

    async def invite(self, by: Principal, user: str) -> str:
        """Make a one-use link's token by which a person comes in for the first time.

        Raises `NotFound`; `Conflict` for whoever can sign in already; `Denied` for a person with more roles than one's
        own: the link is in the hands of who makes it.
        """
        tenant = by.tenant
        row = await self.person(tenant, user)
        person = None
        if row is not None:
            # where it works plays no part: only the roles are looked at, those of its groups among them
            person = await self._database.read_instance(lambda tx: person_as(tx, row, Facts(), Path()))
        if person is None:
            raise NotFound(f"there is no user `{user[:64]}`", hint="`access.users.list` shows them")
        if "owner" not in by.roles and not set(person.roles) <= set(by.roles):
            raise Denied(f"`{user}` has roles that you have not", hint="ask an owner to invite this user")
        if await self._passwords.has(tenant, user) or await self._factors.enrolled(tenant, user):
            raise Conflict(f"`{user}` can sign in already", hint="`superagent recover` helps whoever lost a factor")
        now = self._now()
        await self._database.write(tenant, lambda tx: note_hand(tx, user, by.id, "link", now))
        return await self.link(tenant, user)

    async def by_link(self, token: str, visitor: Visitor, earlier: str = "") -> SignedIn:
        """Give the session of a one-use link; one of `recover` counts as a second factor. Raises `Unauthenticated`."""
        self._guard.attempt(visitor)
        step = await asyncio.to_thread(recovery.take, self._state, token, self._now())
        try:
            step = step or await self._pending.take("link", token)
        except Unauthenticated:
            self._guard.record("signin.refused", "", "", visitor, way="link")
            raise
        way = step.data["way"]
        if await self.person(step.tenant, step.person) is None:
            raise over()
        if way == "link" and await self._factors.enrolled(step.tenant, step.person):
            # made before the factor was enrolled: it must not come in beside it
            self._guard.record("signin.refused", step.tenant, step.person, visitor, way="link")
            raise over()
        mfa_at = self._now() if way == "recover" else None
        return await self._in(step.tenant, step.person, way, mfa_at, visitor, earlier)

    # ---- within a session

    async def step_up(self, principal: Principal, code: str, visitor: Visitor) -> SignedIn:
        """Turn a session into one with a fresh second factor, by a code. Raises `Unauthenticated`, `RateLimited`."""
        require_session(principal)
        await self._take_code(principal.tenant, principal.id, code, visitor)
        return await self.proved(principal, visitor)

    async def prove(self, principal: Principal, code: str, visitor: Visitor) -> Proof:
        """Give a person's own key with a fresh second factor, by a code. Raises `Unauthenticated`, `RateLimited`."""
        require_key(principal)
        await self._take_code(principal.tenant, principal.id, code, visitor)
        return await self._proofs.make(principal, visitor)

    async def step_up_by_passkey(self, principal: Principal, pending: str, response: str, visitor: Visitor) -> SignedIn:
        """Do the same by a passkey of the same person."""
        require_session(principal)
        await self._answered(pending, response, visitor, (principal.tenant, principal.id))
        return await self.proved(principal, visitor)

    async def proved(self, principal: Principal, visitor: Visitor) -> SignedIn:
        """Turn a session after a second factor was shown in it: a new token, the old one is dead."""
        earlier = await self._sessions.get(principal.tenant, principal.key)
        way = earlier.way if earlier is not None else "password"
        self._guard.record("signin.stepped_up", principal.tenant, principal.id, visitor)
        made = await self._sessions.start(
            principal.tenant, principal.id, way, self._now(), visitor.client, replaces=principal.key
        )
        return SignedIn(made, principal.tenant, principal.id)

    async def out(self, principal: Principal, visitor: Visitor) -> None:
        """End the session that somebody is in."""
        require_session(principal)
        await self._sessions.end(principal.tenant, principal.id, principal.key)
        self._guard.record("signin.out", principal.tenant, principal.id, visitor)

    async def person(self, tenant: str, id: str) -> Row[Any] | None:
        """Give a person who may sign in, None when there is none."""
        if not tenant or len(id) > 64 or len(tenant) > 64:
            return None
        row = await self._database.read(tenant, lambda tx: tx.first(PEOPLE, PEOPLE.c.id == id))
        return row if row is not None and row.state == "active" else None

    async def in_by(self, way: str, tenant: str, person: str, visitor: Visitor, mfa: bool, earlier: str) -> SignedIn:
        """Give the session of somebody whom a provider vouches for. Raises `Unauthenticated` when it may not act."""
        if await self.person(tenant, person) is None:
            raise Unauthenticated("nobody here belongs to this account")
        return await self._in(tenant, person, way, self._now() if mfa else None, visitor, earlier)

    async def set_up(self) -> bool:
        """Tell whether a human owner with a second factor exists; once it does, this is not asked again."""
        self._set_up = self._set_up or await self._factors.owner_enrolled()
        return self._set_up

    async def _in(
        self, tenant: str, person: str, way: str, mfa_at: float | None, visitor: Visitor, earlier: str
    ) -> SignedIn:
        # whatever session the browser had before is not gone on with: no fixation (ASVS 7.2.4)
        made = await self._sessions.start(tenant, person, way, mfa_at, visitor.client)
        if earlier and (found := await self._sessions.find(earlier)) is not None:
            await self._sessions.end(found[0].tenant, found[0].person, found[0].id)
        self._guard.record("signin.done", tenant, person, visitor, way=way, session=made.id)
        return SignedIn(made, tenant, person)


def require_session(principal: Principal) -> None:
    """Go on only within a browser session of a person. Raises `Denied` for keys: they prove no person."""
    if principal.kind != "human" or not principal.key.startswith(PREFIX):
        raise Denied("this happens in a browser session only", hint="sign in at `/sign-in`")
