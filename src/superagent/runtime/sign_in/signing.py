"""Signing: a passkey over what a person decides, so that the decision is shown to be theirs afterwards (ADR 57).

The challenge of the assertion (WebAuthn Level 3, 7.2) is the SHA-256 that names the request, the hash of all that was
shown of it, and the word. So the passkey signs exactly that, and whoever has the record can check it without us.
"""

from __future__ import annotations

import json
from typing import Any

from superagent.core.principal import Principal
from superagent.core.problems import Denied, InvalidInput, Problem
from superagent.core.seals import Signed
from superagent.runtime.sign_in.factors import Factors
from superagent.runtime.sign_in.guard import Guard
from superagent.runtime.sign_in.passkeys import Ceremony, credential_of

LONGEST = 16 * 1024
"""Characters of an assertion; they are in the record."""


class PasskeySignatures:
    """Check what people sign with their passkeys, and say what to ask a browser for."""

    def __init__(self, factors: Factors, guard: Guard) -> None:
        self._factors = factors
        self._guard = guard

    async def required(self, person: Principal) -> bool:
        """Tell whether somebody has what to sign with."""
        return bool(await self._known(person))

    async def options(self, person: Principal, challenge: bytes, origin: str) -> dict[str, Any]:
        """Give what a browser at our origin needs to sign. Raises `Denied` elsewhere, and for who has no passkey."""
        from fido2.utils import websafe_encode
        from fido2.webauthn import AttestedCredentialData

        relying = Ceremony(self._guard.own(origin)).relying
        ids = [AttestedCredentialData(row.data).credential_id for row in await self._known(person, relying)]
        if not ids:
            raise Denied(f"you have no passkey at `{relying}`", hint="add one at `/sign-in/you`")
        allowed = [{"type": "public-key", "id": websafe_encode(id)} for id in ids]
        asked = {"challenge": websafe_encode(challenge), "rpId": relying, "allowCredentials": allowed}
        return {"publicKey": asked | {"userVerification": "required", "timeout": 300_000}}

    async def verify(self, person: Principal, challenge: bytes, signature: dict[str, Any]) -> Signed:
        """Name the passkey that signed, with all that is needed to check it again.

        `signature` has the assertion as JSON text in `response`, and in `origin` where it was made. Raises `Denied` for
        one that is not this person's over this challenge, here and with the person verified.
        """
        response, origin = signature.get("response"), signature.get("origin")
        if not isinstance(response, str) or not isinstance(origin, str) or len(response) > LONGEST:
            raise InvalidInput("a signature has the passkey's answer as text in `response`, and its `origin`")
        try:
            return await self._verified(person, challenge, response, self._guard.own(origin))
        except Problem as bad:
            if isinstance(bad, Denied):
                raise
            raise Denied("this signature is not yours over this request", hint="look at the request again") from None

    async def _verified(self, person: Principal, challenge: bytes, response: str, origin: str) -> Signed:
        from fido2.utils import websafe_encode

        ceremony = Ceremony(origin)
        row = await self._factors.passkey(credential_of(response))
        if row is None or (row.tenant, row.person, row.place) != (person.tenant, person.id, ceremony.relying):
            raise Denied("this passkey is none of yours here")
        state = {"challenge": websafe_encode(challenge), "user_verification": "required"}
        counter = ceremony.shown(state, response, row.data)
        if not await self._factors.used(row, counter):
            raise Denied("this passkey counts as a copied one does", hint="remove it at `/sign-in/you`")
        return Signed(row.id, _proof(response, row.data, origin))

    async def _known(self, person: Principal, relying: str = "") -> list[Any]:
        rows = await self._factors.of(person.tenant, person.id)
        return [row for row in rows if row.kind == "passkey" and relying in ("", row.place)]


def _proof(response: str, data: bytes, origin: str) -> dict[str, str]:
    """Give what stands in the record, in hex, for that no filter takes for a secret: what was signed, and the key."""
    from fido2.cbor import encode
    from fido2.utils import websafe_decode
    from fido2.webauthn import AttestedCredentialData

    said = json.loads(response)["response"]
    names = {"client_data": "clientDataJSON", "authenticator_data": "authenticatorData", "signature": "signature"}
    parts = {name: websafe_decode(said[field]).hex() for name, field in names.items()}
    public: Any = AttestedCredentialData(data).public_key
    return parts | {"cose_public": encode(dict(public)).hex(), "origin": origin}
