"""ID tokens of a provider that lies, or of somebody who poses as one: each is refused."""

from __future__ import annotations

import base64
import hmac
import json
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

from superagent.core.problems import Unauthenticated
from superagent.runtime.sign_in.provider import checked

NOW = 1_000_000.0
KEY = RSAKey.generate_key(2048, {"kid": "one"})
OTHER = RSAKey.generate_key(2048, {"kid": "one"})
CURVE = ECKey.generate_key("P-256", {"kid": "two"})
KEYS: dict[str, Any] = {"keys": [KEY.as_dict(private=False), CURVE.as_dict(private=False)]}
GOOD: dict[str, Any] = {
    "iss": "https://idp", "aud": "us", "sub": "ann", "exp": int(NOW) + 60, "iat": int(NOW), "nonce": "n",
}  # fmt: skip


def look(token: str, keys: dict[str, Any] = KEYS) -> dict[str, Any]:
    return checked(token, keys, "https://idp", "us", "n", NOW)


def made(key: Any = KEY, alg: str = "RS256", **claims: Any) -> str:
    return jwt.encode({"alg": alg, "kid": key.kid}, GOOD | claims, key, algorithms=[alg])


def test_a_good_token_shows_who_it_is() -> None:
    assert look(made())["sub"] == "ann"
    assert look(made(CURVE, "ES256"))["sub"] == "ann"
    assert look(made(aud=["us"]))["sub"] == "ann"
    assert look(made(aud=["us", "them"], azp="us"))["sub"] == "ann"


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "https://evil"}, {"aud": "them"}, {"aud": ["us", "them"]}, {"aud": ["us", "them"], "azp": "them"},
        {"exp": int(NOW) - 61}, {"exp": None}, {"nonce": "m"}, {"nonce": None}, {"sub": None}, {"sub": ""},
        {"iat": int(NOW) + 3600}, {"aud": None}, {"iss": None},
    ],
    ids=str,
)  # fmt: skip
def test_a_token_that_is_not_for_us_or_not_now_is_refused(claims: dict[str, Any]) -> None:
    plain = {name: value for name, value in (GOOD | claims).items() if value is not None}
    token = jwt.encode({"alg": "RS256", "kid": "one"}, plain, KEY)
    with pytest.raises(Unauthenticated):
        look(token)


def test_a_token_that_another_signed_is_refused() -> None:
    with pytest.raises(Unauthenticated):
        look(made(OTHER))


def part(plain: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(plain).encode()).rstrip(b"=").decode()


def test_a_token_without_a_signature_is_refused() -> None:
    for alg in ("none", "None", "RS256"):
        with pytest.raises(Unauthenticated):
            look(f"{part({'alg': alg, 'kid': 'one'})}.{part(GOOD)}.")


@pytest.mark.parametrize("secret", [KEY.as_pem(private=False), json.dumps(KEYS["keys"][0]).encode(), b""])
def test_a_public_key_is_never_taken_for_a_shared_secret(secret: bytes) -> None:
    signed = f"{part({'alg': 'HS256', 'kid': 'one'})}.{part(GOOD)}"
    tag = base64.urlsafe_b64encode(hmac.digest(secret, signed.encode(), "sha256")).rstrip(b"=").decode()
    shared = {"kty": "oct", "kid": "one", "k": base64.urlsafe_b64encode(secret).rstrip(b"=").decode()}

    for keys in (KEYS, {"keys": [shared]}, {"keys": [shared, *KEYS["keys"]]}):
        with pytest.raises(Unauthenticated):
            look(f"{signed}.{tag}", keys)


@pytest.mark.parametrize("token", ["", "None", "a.b.c", "x" * 100])
def test_what_is_no_token_is_refused(token: str) -> None:
    with pytest.raises(Unauthenticated):
        look(token)
    with pytest.raises(Unauthenticated):
        look(made(), {})
