"""An external identity provider: OpenID Connect code flow with PKCE, state and nonce, over the vetted client.

OpenID Connect Core 1.0 (3.1), RFC 9700 (mix-up and code injection), RFC 9207 (`iss` in the answer). Who may come in was
linked before, from within a session of the person: nothing that a provider says of names or addresses is believed.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from superagent.core.principal import Principal
from superagent.core.problems import Conflict, NotFound, Unauthenticated, Unavailable
from superagent.data.database import Database
from superagent.data.transaction import InstanceTransaction, Transaction
from superagent.runtime.sign_in.desk import SignedIn, SignIn
from superagent.runtime.sign_in.guard import Guard, Visitor
from superagent.runtime.sign_in.pending import Pending, over
from superagent.runtime.sign_in.tables import EXTERNAL
from superagent.settings import SignIn as Chosen

TTL_S = 600.0
LEEWAY_S = 60
MOST_BYTES = 256 * 1024
_ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"]
"""Public keys only: with a shared secret among them, a public key could be used as one (RFC 8725, 2.1)."""


class Provider:
    """The one provider that the settings name."""

    def __init__(
        self, database: Database, pending: Pending, guard: Guard, desk: SignIn, chosen: Chosen, now: Callable[[], float]
    ) -> None:
        self._database = database
        self._pending = pending
        self._guard = guard
        self._desk = desk
        self._chosen = chosen
        self._now = now

    @property
    def name(self) -> str:
        """Give the provider's host, empty when none is set."""
        return urlsplit(self._chosen.issuer).netloc

    async def begin(self, net: Any, origin: str, principal: Principal | None, earlier: str) -> tuple[str, str]:
        """Give (address to send the browser to, token that the browser must bring back in a cookie).

        With a principal the account is linked to that person instead. Raises `Unavailable` when none is set.
        """
        known = await self._metadata(net)
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        back = self._guard.own(origin) + "/sign-in/provider/back"
        noted = {"state": state, "nonce": nonce, "verifier": verifier, "back": back, "earlier": earlier}
        whose = (principal.tenant, principal.id) if principal is not None else ("", "")
        token = await self._pending.put("provider", noted, TTL_S, *whose)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        asked = {
            "response_type": "code", "client_id": self._chosen.client_id, "redirect_uri": back, "scope": "openid",
            "state": state, "nonce": nonce, "code_challenge": challenge, "code_challenge_method": "S256",
        }  # fmt: skip
        where = _plain(known, "authorization_endpoint")
        return f"{where}{'&' if '?' in where else '?'}{urlencode(asked)}", token

    async def finish(
        self, net: Any, token: str, said: dict[str, str], principal: Principal | None, visitor: Visitor
    ) -> SignedIn:
        """Take the browser that came back: sign in the person that the account is linked to, or link it.

        Raises `Unauthenticated`, and has recorded it then; `Conflict` when the account is another person's.
        """
        self._guard.attempt(visitor)
        try:
            step = await self._pending.take("provider", token)
            if not secrets.compare_digest(step.data["state"].encode(), said.get("state", "").encode()):
                raise refused("this answer belongs to another sign-in")
            if (step.tenant, step.person) != ((principal.tenant, principal.id) if principal is not None else ("", "")):
                raise over()
            known = await self._metadata(net)
            # a provider that says so always names itself: without, the answer may be another's (RFC 9207, 2.4)
            must = known.get("authorization_response_iss_parameter_supported") is True
            if said.get("iss", "" if must else known["issuer"]) != known["issuer"]:
                raise refused("this answer comes from another provider")
            if "code" not in said:
                raise refused(f"the provider did not agree: {said.get('error', 'no reason')[:60]}")
            claims = await self._claims(net, known, said["code"], step.data)
        except Unauthenticated as refusal:
            self._guard.record("signin.refused", "", "", visitor, way="provider", why=refusal.detail)
            raise
        if principal is not None:
            await self._link(principal, claims["iss"], claims["sub"])
            self._guard.record("signin.provider_linked", principal.tenant, principal.id, visitor)
            return await self._desk.proved(principal, visitor)
        return await self._sign_in(claims, visitor, step.data["earlier"])

    async def _sign_in(self, claims: dict[str, Any], visitor: Visitor, earlier: str) -> SignedIn:
        def read(tx: InstanceTransaction) -> Any:
            return tx.first(EXTERNAL, EXTERNAL.c.issuer == claims["iss"], EXTERNAL.c.subject == claims["sub"])

        row = await self._database.read_instance(read)
        if row is None:
            self._guard.record("signin.refused", "", "", visitor, way="provider", why="not linked")
            raise Unauthenticated(
                "nobody here belongs to this account", hint="sign in another way first, and link it there"
            )
        return await self._desk.in_by("provider", row.tenant, row.person, visitor, _second(claims), earlier)

    async def _link(self, principal: Principal, issuer: str, subject: str) -> None:
        now = self._now()

        def write(tx: InstanceTransaction) -> bool:
            found = tx.first(EXTERNAL, EXTERNAL.c.issuer == issuer, EXTERNAL.c.subject == subject)
            if found is not None:
                return (found.tenant, found.person) == (principal.tenant, principal.id)
            tx.insert(
                EXTERNAL, tenant=principal.tenant, issuer=issuer, subject=subject, person=principal.id, created_at=now
            )
            return True

        if not await self._database.write_instance(write):
            raise Conflict("this account is linked to somebody else")

    async def unlink(self, principal: Principal) -> None:
        """Let no account of the provider come in as this person any more. Raises `NotFound` when none is linked."""
        issuer = self._chosen.issuer

        def write(tx: Transaction) -> int:
            return tx.delete(EXTERNAL, EXTERNAL.c.person == principal.id, EXTERNAL.c.issuer == issuer)

        if not await self._database.write(principal.tenant, write):
            raise NotFound("no account of this provider is linked")

    async def _claims(self, net: Any, known: dict[str, Any], code: str, noted: dict[str, str]) -> dict[str, Any]:
        """Redeem the code and check the ID token (OpenID Connect Core, 3.1.3.7)."""
        sent = {
            "grant_type": "authorization_code", "code": code, "redirect_uri": noted["back"],
            "client_id": self._chosen.client_id, "code_verifier": noted["verifier"],
        }  # fmt: skip
        headers = [("content-type", "application/x-www-form-urlencoded"), ("accept", "application/json")]
        if secret := self._secret():
            pair = urlencode({"": self._chosen.client_id})[1:] + ":" + urlencode({"": secret})[1:]
            headers.append(("authorization", "Basic " + base64.b64encode(pair.encode()).decode()))
        answer = await net.http.request(
            "POST", _plain(known, "token_endpoint"), headers=headers, content=urlencode(sent).encode(), follow=0
        )
        if answer.status != 200:
            raise refused("the provider did not take the code")
        token = _json(answer).get("id_token")
        keys = _json(await net.http.request("GET", _plain(known, "jwks_uri"), follow=0))
        return checked(str(token), keys, known["issuer"], self._chosen.client_id, noted["nonce"], self._now())

    async def _metadata(self, net: Any) -> dict[str, Any]:
        issuer = self._chosen.issuer
        if not (issuer and self._chosen.client_id):
            raise Unavailable("no identity provider is set", hint="set `sign_in.issuer` and `sign_in.client_id`")
        found = _json(await net.http.request("GET", issuer.rstrip("/") + "/.well-known/openid-configuration", follow=0))
        if found.get("issuer") != issuer:
            raise refused("the provider says that it is another")
        return found

    def _secret(self) -> str:
        path = self._chosen.client_secret_file
        try:
            return Path(path).read_text(encoding="utf-8").strip() if path else ""
        except OSError:
            raise Unavailable("`sign_in.client_secret_file` cannot be read") from None


def checked(token: str, keys: dict[str, Any], issuer: str, client: str, nonce: str, now: float) -> dict[str, Any]:
    """Give the claims of an ID token. Raises `Unauthenticated` for one that is not for us, not now or not signed.

    A list of audiences must name us as the party that the token was made for (OpenID Connect Core, 3.1.3.7).
    """
    from joserfc import jwt
    from joserfc.errors import JoseError
    from joserfc.jwk import KeySet

    try:
        ring = KeySet.import_key_set({"keys": [one for one in keys["keys"] if one.get("kty") != "oct"]})
        claims = jwt.decode(token, ring, algorithms=_ALGORITHMS).claims
        registry = jwt.JWTClaimsRegistry(
            now=lambda: int(now), leeway=LEEWAY_S,
            iss={"essential": True, "value": issuer}, aud={"essential": True, "value": client},
            exp={"essential": True}, iat={"essential": True}, sub={"essential": True},
            nonce={"essential": True, "value": nonce},
        )  # fmt: skip
        registry.validate(claims)
        if isinstance(claims["aud"], list) and claims.get("azp", client if claims["aud"] == [client] else "") != client:
            raise ValueError("it was made for another")
    except (JoseError, ValueError, KeyError, TypeError) as bad:
        raise refused(f"the provider's token is not good: {type(bad).__name__}") from None
    return claims


def refused(why: str) -> Unauthenticated:
    """Give the problem of an answer that lets nobody in."""
    return Unauthenticated(why, hint="begin again at `/sign-in`")


def _second(claims: dict[str, Any]) -> bool:
    """Tell whether the provider says that it saw a second factor (RFC 8176)."""
    said = claims.get("amr")
    return isinstance(said, list) and any(one in said for one in ("mfa", "hwk", "otp"))


def _json(answer: Any) -> dict[str, Any]:
    try:
        if answer.status == 200 and len(answer.body) <= MOST_BYTES:
            found = json.loads(answer.body)
            if isinstance(found, dict):
                return found  # pyright: ignore[reportUnknownVariableType]
    except ValueError:
        pass
    raise Unavailable("the identity provider gives no sensible answer", hint="try again, or sign in another way")


def _plain(known: dict[str, Any], name: str) -> str:
    found = known.get(name)
    # it goes into a header of ours
    if not (isinstance(found, str) and found.isascii() and found.isprintable() and found.startswith("http")):
        raise Unavailable(f"the identity provider names no `{name}`")
    return found
