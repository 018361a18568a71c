"""Passkeys: WebAuthn ceremonies (Level 3, 7.1 and 7.2) for our own origin, with user verification."""

from __future__ import annotations

import hashlib
import json
from typing import Any
from urllib.parse import urlsplit

from superagent.core.problems import Problem, Unauthenticated, Unavailable

TTL_S = 300.0


class Ceremony:
    """What enrols and asks passkeys at one origin; `fido2` does the checking."""

    def __init__(self, origin: str) -> None:
        from fido2.server import Fido2Server
        from fido2.webauthn import PublicKeyCredentialRpEntity

        host = urlsplit(origin).hostname or ""
        if host.replace(".", "").isdigit() or ":" in host:
            raise Unavailable(
                "passkeys belong to a name, and this address is a number",
                hint=origin.replace(f"[{host}]" if ":" in host else host, "localhost"),
            )
        self.relying = host
        relying = PublicKeyCredentialRpEntity(id=host, name="Super-Agent")
        self._server: Any = Fido2Server(relying, verify_origin=lambda said: said == origin)

    def enrol(self, tenant: str, person: str, known: list[bytes]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Give (options for the browser, state to keep) of an enrolment; `known` is what the person has already."""
        from fido2.webauthn import (
            AttestedCredentialData,
            PublicKeyCredentialUserEntity,
            ResidentKeyRequirement,
            UserVerificationRequirement,
        )

        handle = hashlib.sha256(f"superagent\0{tenant}\0{person}".encode()).digest()
        options, state = self._server.register_begin(
            PublicKeyCredentialUserEntity(id=handle, name=person, display_name=person),
            [AttestedCredentialData(data) for data in known],
            resident_key_requirement=ResidentKeyRequirement.REQUIRED,
            user_verification=UserVerificationRequirement.REQUIRED,
        )
        return _plain(options), _plain(state)

    def enrolled(self, state: dict[str, Any], response: str) -> tuple[bytes, bytes, int]:
        """Check what a browser sent: (credential id, what to keep of it, signature count). Raises `Unauthenticated`."""
        try:
            data = self._server.register_complete(state, json.loads(response))
            kept = data.credential_data
            assert kept is not None
            return bytes(kept.credential_id), bytes(kept), data.counter
        except Exception as bad:
            raise _refused(bad) from None

    def ask(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Give (options for the browser, state to keep) of an assertion by whichever passkey the person chooses."""
        from fido2.webauthn import UserVerificationRequirement

        options, state = self._server.authenticate_begin(user_verification=UserVerificationRequirement.REQUIRED)
        return _plain(options), _plain(state)

    def shown(self, state: dict[str, Any], response: str, data: bytes) -> int:
        """Check an assertion by the credential kept as `data`; gives its signature count. Raises `Unauthenticated`."""
        from fido2.webauthn import AttestedCredentialData, AuthenticationResponse

        try:
            said = json.loads(response)
            self._server.authenticate_complete(state, [AttestedCredentialData(data)], said)
            response_of: Any = AuthenticationResponse  # its types are lost on the way
            return int(response_of.from_dict(said).response.authenticator_data.counter)
        except Exception as bad:
            raise _refused(bad) from None


def credential_of(response: str) -> bytes:
    """Give the id of the credential that a response speaks of. Raises `Unauthenticated`."""
    try:
        from fido2.utils import websafe_decode

        return websafe_decode(json.loads(response)["rawId"])
    except Exception as bad:
        raise _refused(bad) from None


def _plain(value: Any) -> dict[str, Any]:
    return json.loads(json.dumps(value, default=dict))


def _refused(bad: Exception) -> Problem:
    # whatever a stranger sends can break the library anywhere; what it says may go to the record, never the response
    why = str(bad)[:100] if isinstance(bad, ValueError) and not isinstance(bad, json.JSONDecodeError) else "unreadable"
    return Unauthenticated(f"this passkey was not accepted: {why}", hint="begin again at `/sign-in`")
