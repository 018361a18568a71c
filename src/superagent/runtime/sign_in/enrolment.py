"""Enrolment: a person in a browser session gives itself a password and second factors, and takes them away."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from superagent.core.principal import Principal, Secret
from superagent.core.problems import StepUpRequired
from superagent.runtime.sign_in.desk import SignedIn, SignIn, require_session
from superagent.runtime.sign_in.factors import SECOND, Factors
from superagent.runtime.sign_in.guard import Guard, Visitor
from superagent.runtime.sign_in.passkeys import TTL_S, Ceremony
from superagent.runtime.sign_in.passwords import Passwords
from superagent.runtime.sign_in.pending import Pending, over
from superagent.runtime.sign_in.sessions import Sessions

FRESH_S = 900.0
"""How old the last proof may be of whoever changes how a person proves itself."""


class Enrolment:
    """What a person proves itself by; each change is recorded, and ends the person's other sessions where it must."""

    def __init__(
        self,
        desk: SignIn,
        sessions: Sessions,
        factors: Factors,
        passwords: Passwords,
        pending: Pending,
        guard: Guard,
        now: Callable[[], float],
    ) -> None:
        self._desk = desk
        self._sessions = sessions
        self._factors = factors
        self._passwords = passwords
        self._pending = pending
        self._guard = guard
        self._now = now

    async def listed(self, principal: Principal) -> tuple[list[dict[str, Any]], bool]:
        """Give (a person's factors without anything secret, whether it has a password)."""
        rows = await self._factors.of(principal.tenant, principal.id)
        shown = [{name: getattr(row, name) for name in ("id", "kind", "name", "created_at", "used_at")} for row in rows]
        return shown, await self._passwords.has(principal.tenant, principal.id)

    async def require_fresh(self, principal: Principal) -> None:
        """Go on only if the person proved itself just now, with a second factor if it has one.

        Raises `Denied` outside of a browser session, `StepUpRequired`.
        """
        require_session(principal)
        now = self._now()
        if await self._factors.enrolled(principal.tenant, principal.id):
            at = principal.second_factor_at
        else:
            session = await self._sessions.get(principal.tenant, principal.key)
            at = session.created_at if session is not None else None
        if at is None or now - at > FRESH_S:
            raise StepUpRequired("changing how you sign in needs a fresh proof", hint="go to `/sign-in/step-up`")

    async def set_password(self, principal: Principal, password: Secret, visitor: Visitor) -> None:
        """Give oneself a password; all other sessions end. Raises as `require_fresh` does; `InvalidInput`."""
        await self.require_fresh(principal)
        await self._passwords.set(principal.tenant, principal.id, password)
        await self._sessions.end_all(principal.tenant, principal.id, but=principal.key)
        self._guard.record("signin.password_set", principal.tenant, principal.id, visitor)

    async def begin_totp(self, principal: Principal) -> tuple[str, str, str]:
        """Give (secret, `otpauth:` address, token of the next step) of a new one-time password."""
        from pyotp import random_base32
        from pyotp.totp import TOTP

        await self.require_fresh(principal)
        secret = random_base32()
        address = TOTP(secret).provisioning_uri(name=principal.id, issuer_name="Super-Agent")
        return (
            secret,
            address,
            await self._pending.put("totp", {"secret": secret}, TTL_S, principal.tenant, principal.id),
        )

    async def add_totp(self, principal: Principal, pending: str, code: str, visitor: Visitor) -> SignedIn:
        """Enrol it by a first code, which steps the session up. Raises `Conflict` when it does not fit."""
        await self.require_fresh(principal)
        self._guard.attempt(visitor, principal.tenant, principal.id)
        step = await self._pending.look("totp", pending)
        self._own(principal, step.tenant, step.person)
        id = await self._factors.add_totp(
            principal.tenant, principal.id, "one-time password", step.data["secret"], code
        )
        await self._pending.take("totp", pending)
        return await self._added(principal, id, "totp", visitor)

    async def begin_passkey(self, principal: Principal, origin: str) -> tuple[dict[str, Any], str]:
        """Give what a browser needs to make a passkey, and the token of the next step."""
        await self.require_fresh(principal)
        rows = await self._factors.of(principal.tenant, principal.id)
        known = [row.data for row in rows if row.kind == "passkey"]
        options, state = Ceremony(self._guard.own(origin)).enrol(principal.tenant, principal.id, known)
        noted = {"state": state, "origin": origin}
        return options, await self._pending.put("enrol", noted, TTL_S, principal.tenant, principal.id)

    async def add_passkey(
        self, principal: Principal, pending: str, response: str, name: str, visitor: Visitor
    ) -> SignedIn:
        """Enrol a passkey, which steps the session up. Raises `Unauthenticated` when it does not answer rightly."""
        await self.require_fresh(principal)
        step = await self._pending.take("enrol", pending)
        self._own(principal, step.tenant, step.person)
        ceremony = Ceremony(self._guard.own(step.data["origin"]))
        credential, data, counter = ceremony.enrolled(step.data["state"], response)
        id = await self._factors.add_passkey(
            principal.tenant, principal.id, name or "passkey", credential=credential, data=data,
            relying=ceremony.relying, counter=counter,
        )  # fmt: skip
        return await self._added(principal, id, "passkey", visitor)

    async def new_codes(self, principal: Principal, visitor: Visitor) -> list[str]:
        """Give fresh recovery codes, shown this once. Raises `StepUpRequired` for whoever has no second factor yet."""
        await self.require_fresh(principal)
        if not await self._factors.enrolled(principal.tenant, principal.id):
            raise StepUpRequired("recovery codes stand in for a second factor", hint="enrol one first")
        codes = await self._factors.new_codes(principal.tenant, principal.id)
        self._guard.record("signin.codes_renewed", principal.tenant, principal.id, visitor)
        return codes

    async def remove(self, principal: Principal, id: str, visitor: Visitor) -> None:
        """Take a factor away; all other sessions end. Raises `NotFound`, `Conflict` for the last."""
        await self.require_fresh(principal)
        await self._factors.remove(principal.tenant, principal.id, id)
        await self._sessions.end_all(principal.tenant, principal.id, but=principal.key)
        self._guard.record("signin.factor_removed", principal.tenant, principal.id, visitor, factor=id)

    def _own(self, principal: Principal, tenant: str, person: str) -> None:
        if (tenant, person) != (principal.tenant, principal.id):
            raise over()

    async def _added(self, principal: Principal, id: str, kind: str, visitor: Visitor) -> SignedIn:
        self._guard.record("signin.factor_added", principal.tenant, principal.id, visitor, factor=id, kind=kind)
        rows = await self._factors.of(principal.tenant, principal.id)
        if sum(row.kind in SECOND for row in rows) == 1:
            # sessions from before, perhaps by a link that somebody saw, do not outlive the first factor
            await self._sessions.end_all(principal.tenant, principal.id, but=principal.key)
        return await self._desk.proved(principal, visitor)
