"""Flows: the ways to tokens, and the endpoints about tokens, as Authlib wants them filled in."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row

from superagent.core.scopes import scopes_of, within
from superagent.runtime.oauth.access_tokens import Claims
from superagent.runtime.oauth.borrowed import (
    AuthorizationCodeGrant,
    ClientCredentialsGrant,
    CodeChallenge,
    DeviceAuthorizationEndpoint,
    DeviceCodeGrant,
    IntrospectionEndpoint,
    InvalidGrantError,
    InvalidRequestError,
    InvalidScopeError,
    RefreshTokenGrant,
    RevocationEndpoint,
)
from superagent.runtime.oauth.clients import Client
from superagent.runtime.oauth.credentials import digest
from superagent.runtime.oauth.ledger import DEVICE_S, INTERVAL_S, REFRESH_S, Ledger
from superagent.runtime.oauth.recognising import Standing
from superagent.runtime.oauth.tables import CODES, DEVICES, REFRESH
from superagent.runtime.oauth.targets import asked_for, narrowed

PROVED = ["client_secret_basic", "client_secret_post"]
ANY = [*PROVED, "none"]


@dataclass(frozen=True, slots=True)
class Spent:
    """A code, refresh token or device code under way: its row, and the consent behind it."""

    row: Row[Any]
    given: Standing

    @property
    def code_challenge(self) -> str:
        """Give the challenge that a code was asked for with."""
        return self.row.challenge

    @property
    def code_challenge_method(self) -> str:
        """Give how the challenge was made: there is one way."""
        return "S256"

    def get_redirect_uri(self) -> str:
        """Give the address that a code was sent to."""
        return self.row.redirect

    def get_scope(self) -> str:
        """Give all that was consented to."""
        return self.given.consent.scopes

    def check_client(self, client: Client) -> bool:
        """Tell whether it is this client's."""
        return self.row.client == client.id


class _Flow:
    """What all flows share: their tokens come from the ledger."""

    request: Any
    server: Any

    @property
    def ledger(self) -> Ledger:
        """Give the ledger."""
        return self.server.ledger

    def issue(self, given: Standing, scope: str, refreshes: bool) -> dict[str, Any]:
        """Give tokens for what was consented to, or for less."""
        audiences = narrowed(self.request.fields, self.ledger.site, given)
        return self.ledger.tokens(given, scope, audiences, refreshes)


class S256(CodeChallenge):
    """Proof of possession of the code, by SHA-256 and no other way, for every client (RFC 7636; OAuth 2.1, 4.1.1)."""

    SUPPORTED_CODE_CHALLENGE_METHOD = ["S256"]

    def validate_code_challenge(self, grant: Any, redirect_uri: str) -> None:
        """Refuse a request without a challenge, or with one that is no hash."""
        fields = grant.request.fields
        if fields.get("code_challenge_method") != "S256":
            raise InvalidRequestError("a code_challenge with the method S256 is needed")
        CodeChallenge.validate_code_challenge(self, grant, redirect_uri)
        if len(fields.get("code_challenge", "")) != 43:
            raise InvalidRequestError("the code_challenge is no SHA-256 hash")


class Targets:
    """The resource of a request, looked at before anybody is asked to consent to it."""

    def __call__(self, grant: Any) -> None:
        """Look at the resource whenever a request of this flow is looked at."""
        grant.register_hook("after_validate_authorization_request_payload", self.check)

    def check(self, grant: Any, redirect_uri: str) -> None:
        """Refuse a resource that is none of ours."""
        asked_for(grant.request.fields, grant.ledger.site, grant.ledger.issuer)


class Codes(_Flow, AuthorizationCodeGrant):
    """Authorization code with PKCE (OAuth 2.1, 4.1)."""

    TOKEN_ENDPOINT_AUTH_METHODS = ANY

    def save_authorization_code(self, code: str, request: Any) -> None:
        """Do nothing: the code was made with its consent."""

    def generate_authorization_code(self) -> str:
        """Write down what the person lets the client do, and give the code for it."""
        fields, ledger, who = self.request.fields, self.ledger, self.request.user
        client: Client = self.request.client
        given = ledger.consent(
            client, who.tenant, who.id, self.GRANT_TYPE, self.request.scope,
            asked_for(fields, ledger.site, ledger.issuer), REFRESH_S,
        )  # fmt: skip
        return ledger.code(given, fields["redirect_uri"], fields["code_challenge"])

    def query_authorization_code(self, code: str, client: Client) -> Spent | None:
        """Find a code and spend it: whatever else is wrong with the request, it was shown."""
        row = self.ledger.take(CODES, code, client)
        if row is None:
            return None
        self.ledger.spend(CODES, row)
        given = self.ledger.standing(row.consent)
        return None if given is None else Spent(row, given)

    def delete_authorization_code(self, authorization_code: Spent) -> None:
        """Do nothing: a spent code stays, so that a second use is recognised."""

    def authenticate_user(self, authorization_code: Spent) -> Standing:
        """Give whose consent it is."""
        return authorization_code.given

    def generate_token(self, user: Any = None, scope: Any = None, **more: Any) -> dict[str, Any]:
        """Give the tokens."""
        return self.issue(user, scope, bool(more.get("include_refresh_token")))


class Refreshes(_Flow, RefreshTokenGrant):
    """Refresh tokens, each good for one use (OAuth 2.1, 4.3)."""

    TOKEN_ENDPOINT_AUTH_METHODS = ANY
    INCLUDE_NEW_REFRESH_TOKEN = True

    def authenticate_refresh_token(self, refresh_token: str) -> Spent | None:
        """Find a refresh token; a second use ends everything that came of its consent."""
        row = self.ledger.take(REFRESH, refresh_token, self.request.client)
        given = None if row is None else self.ledger.standing(row.consent)
        return None if row is None or given is None else Spent(row, given)

    def _validate_token_scope(self, token: Spent) -> None:
        asked = self.request.payload.scope
        try:
            if asked and not within(scopes_of(asked), token.get_scope().split()):
                raise InvalidScopeError("more than was consented to")
        except ValueError:
            raise InvalidScopeError from None

    def authenticate_user(self, refresh_token: Spent) -> Standing:
        """Give whose consent it is."""
        return refresh_token.given

    def issue_token(self, user: Standing, refresh_token: Spent) -> dict[str, Any]:
        """Give the tokens; the new refresh token is for all that was consented to, as the old one was."""
        return self.issue(user, self.request.payload.scope or refresh_token.get_scope(), True)

    def revoke_old_credential(self, refresh_token: Spent) -> None:
        """Spend the one that was shown."""
        self.ledger.spend(REFRESH, refresh_token.row)


class Services(_Flow, ClientCredentialsGrant):
    """A service's own tokens (OAuth 2.1, 4.2)."""

    TOKEN_ENDPOINT_AUTH_METHODS = PROVED

    def generate_token(self, user: Any = None, scope: Any = None, **more: Any) -> dict[str, Any]:
        """Give an access token for what the client may, and no refresh token."""
        client: Client = self.request.client
        allowed = client.get_allowed_scope(scope)
        if allowed is None:
            raise InvalidScopeError("more than this client may have")
        ledger = self.ledger
        audiences = asked_for(self.request.fields, ledger.site, ledger.issuer)
        given = ledger.service(client, allowed, audiences)
        if not given.until(ledger.now):
            raise InvalidGrantError("whoever registered this client may act no more")
        return ledger.tokens(given, allowed, audiences, False)


class Device:
    """A device code under way."""

    def __init__(self, row: Row[Any], now: float) -> None:
        self.row = row
        self._now = now

    def get_client_id(self) -> str:
        """Give whose it is."""
        return self.row.client

    def get_scope(self) -> str:
        """Give what was asked for."""
        return self.row.scopes

    def get_user_code(self) -> str:
        """Give the code that the person types in."""
        return self.row.user_code

    def is_expired(self) -> bool:
        """Tell whether its time is over."""
        return self._now >= self.row.expires_at


class Devices(_Flow, DeviceCodeGrant):
    """Tokens for who has no browser (RFC 8628)."""

    TOKEN_ENDPOINT_AUTH_METHODS = ANY

    def query_device_credential(self, device_code: str) -> Device | None:
        """Find a device code; a second use of one that gave tokens ends them."""
        ledger = self.ledger
        row = ledger.tx.first(DEVICES, DEVICES.c.digest == digest(device_code))
        if row is None:
            return None
        if row.state == "used":
            ledger.end(row.consent, "a device code was used twice")
            return None
        return Device(row, ledger.now)

    def query_user_grant(self, user_code: str) -> tuple[Standing | None, bool] | None:
        """Give what the person said, None while nothing was said."""
        ledger = self.ledger
        row = ledger.tx.first(DEVICES, DEVICES.c.user_code == user_code)
        if row is None or row.state == "waiting":
            return None
        given = ledger.standing(row.consent) if row.state == "approved" else None
        return given, given is not None

    def should_slow_down(self, credential: Device) -> bool:
        """Tell whether it asks more often than it was told; then it has to wait longer from now on (RFC 8628, 3.5)."""
        row, now = credential.row, self.ledger.now
        early = now - row.polled_at < row.interval_s
        slower = row.interval_s + (INTERVAL_S if early else 0)
        self.ledger.tx.update(DEVICES, DEVICES.c.digest == row.digest, polled_at=now, interval_s=slower)
        return early

    def generate_token(self, user: Any = None, scope: Any = None, **more: Any) -> dict[str, Any]:
        """Give the tokens, once."""
        row = self.request.credential.row
        self.ledger.tx.update(DEVICES, DEVICES.c.digest == row.digest, state="used")
        return self.issue(user, scope, bool(more.get("include_refresh_token")))


class DeviceStart(DeviceAuthorizationEndpoint):
    """Where a device begins (RFC 8628, 3.1)."""

    CLIENT_AUTH_METHODS = ANY
    EXPIRES_IN = int(DEVICE_S)
    INTERVAL = INTERVAL_S

    def create_endpoint_response(self, request: Any) -> tuple[int, dict[str, Any], list[tuple[str, str]]]:
        """Give both codes, and where the person types one of them in."""
        ledger: Ledger = self.server.ledger
        client: Client = self.authenticate_client(request)
        if not client.check_grant_type(Devices.GRANT_TYPE):
            raise InvalidRequestError("this client does not use the device flow")
        self.server.validate_requested_scope(request.payload.scope)
        scopes = client.get_allowed_scope(request.payload.scope)
        if scopes is None:
            raise InvalidScopeError("more than this client may have")
        device, typed = ledger.device(client, scopes, asked_for(request.fields, ledger.site, ledger.issuer))
        where = f"{ledger.issuer}/device"
        body = {
            "device_code": device, "user_code": typed, "verification_uri": where,
            "verification_uri_complete": f"{where}?user_code={typed}", "expires_in": self.EXPIRES_IN,
            "interval": self.INTERVAL,
        }  # fmt: skip
        return 200, body, []


@dataclass(frozen=True, slots=True)
class About:
    """A token that somebody asks about or revokes: the consent behind it, and what an access token says."""

    consent: Row[Any]
    claims: Claims | None
    stands: bool
    now: float

    def check_client(self, client: Client) -> bool:
        """Tell whether it is this client's."""
        return self.consent.client == client.id

    def is_expired(self) -> bool:
        """Tell whether its time is over."""
        return self.claims is not None and self.now >= self.claims.exp

    def is_revoked(self) -> bool:
        """Tell whether what it was given by stands no more."""
        return not self.stands


class _About:
    """What both endpoints about tokens share."""

    server: Any

    def check_params(self, request: Any, client: Client) -> None:
        """Look for the token; a hint is a hint, and what a token is shows by itself (RFC 7009, 2.1)."""
        if not request.fields.get("token"):
            raise InvalidRequestError("there is no token in the request")

    def query_token(self, token_string: str, token_type_hint: str | None) -> About | None:
        """Find out what a token is."""
        ledger: Ledger = self.server.ledger
        found = ledger.behind(token_string)
        if found is None:
            return None
        consent, claims = found
        return About(consent, claims, ledger.standing(consent.id) is not None, ledger.now)


class Revocation(_About, RevocationEndpoint):
    """Where a client gives tokens up (RFC 7009): the consent ends, and all tokens with it."""

    CLIENT_AUTH_METHODS = ANY

    def revoke_token(self, token: About, request: Any) -> None:
        """End the consent behind a token."""
        self.server.ledger.end(token.consent.id, "its client revoked it")


class Introspection(_About, IntrospectionEndpoint):
    """Where services ask about tokens (RFC 7662): a service of the tenant about any, another client about its own."""

    CLIENT_AUTH_METHODS = PROVED

    def check_permission(self, token: About, client: Client, request: Any) -> bool:
        """Tell whether this client may know of this token."""
        service = client.kind == "service" and client.tenant == token.consent.tenant
        if service or token.check_client(client):
            return True
        self.server.ledger.strange(token.consent, client)  # whoever asks is only told that it is not active
        return False

    def introspect_token(self, token: About) -> dict[str, Any]:
        """Say what a token is good for."""
        consent, claims = token.consent, token.claims
        if claims is None:
            return {
                "active": True, "client_id": consent.client, "scope": consent.scopes, "token_type": "refresh_token",
                "sub": f"{consent.tenant}/{consent.person}", "aud": json.loads(consent.audiences),
                "iss": self.server.ledger.issuer, "exp": int(consent.expires_at), "iat": int(consent.created_at),
            }  # fmt: skip
        return {
            "active": True, "client_id": claims.client_id, "scope": claims.scope, "token_type": "Bearer",
            "sub": claims.sub, "aud": claims.aud, "iss": claims.iss, "exp": claims.exp, "iat": claims.iat,
            "jti": claims.jti,
        }  # fmt: skip
