"""Access tokens at the doors: which are taken, which are not, and that the audit knows why."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import httpx
import pytest
from joserfc import jws
from joserfc.jwk import OctKey, OKPKey

from tests.features.oauth.parties import application, service
from tests.surfaces.http.house import House, problem_of

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def good(house: House) -> dict[str, Any]:
    """Give the claims of a token that is taken."""
    response = await (await service(house)).token(grant_type="client_credentials")
    return claims_of(response.json()["access_token"])


def claims_of(token: str) -> dict[str, Any]:
    text = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))


def made(house: House, claims: dict[str, Any], key: Any = None, **header: Any) -> str:
    """Sign claims, with our own newest key unless another is given."""
    name, own = house.installation.authorization.signing.newest()
    head = {"alg": "Ed25519", "typ": "at+jwt", "kid": name, **header}
    algorithms = ["Ed25519", "EdDSA", "HS256", "none"]
    registry = jws.JWSRegistry(algorithms=algorithms, strict_check_header=False)
    return jws.serialize_compact(head, json.dumps(claims), key or own, registry=registry)


async def refused(house: House, token: str, why: str) -> None:
    """Check that a token is not taken at the door, and that the audit says why and does not hold it."""
    response = await house.stranger.post("/v1/operations/access.whoami", json={}, headers=_bearer(token))
    problem_of(response, 401, "unauthenticated")
    challenge = response.headers["www-authenticate"]
    assert 'error="invalid_token"' in challenge
    assert f'resource_metadata="{house.address}/.well-known/oauth-protected-resource"' in challenge
    found = (await house.installation.index.query("system", operation="oauth.token.refused", limit=1))[0]
    assert why in found[0]["detail"]["why"], found
    stranger = (await house.installation.index.query("system", actor="anonymous", limit=500))[0]
    assert any(one["kind"] == "refused" and one["problem"] == "unauthenticated" for one in stranger)
    assert token not in json.dumps([found, stranger])


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def taken(house: House, token: str) -> bool:
    response = await house.stranger.post("/v1/operations/access.whoami", json={}, headers=_bearer(token))
    return response.status_code == 200


async def test_a_token_that_says_the_same_and_is_signed_by_us_is_taken(house: House) -> None:
    assert await taken(house, made(house, await good(house)))


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"iss": "https://elsewhere.example"}, "another issuer"),
        ({"aud": ["https://elsewhere.example"]}, "another audience"),
        ({"aud": []}, "another audience"),
        ({"exp": 1}, "expired"),
        ({"iat": time.time() + 3600}, "do not hold"),
        ({"consent": "consent_none"}, "does not stand"),
        ({"client_id": "client_other"}, "does not stand"),
        ({"exp": None}, "do not hold"),
        ({"exp": "never"}, "do not hold"),
        ({"aud": "*"}, "do not hold"),
        ({"consent": 1}, "do not hold"),
    ],
)
async def test_a_token_that_says_something_else_is_refused(house: House, changed: dict[str, Any], why: str) -> None:
    claims = {name: value for name, value in {**await good(house), **changed}.items() if value is not None}

    await refused(house, made(house, claims), why)


async def test_a_token_of_tomorrow_is_refused(house: House) -> None:
    claims = await good(house)
    claims |= {"iat": claims["iat"] + 3600, "exp": claims["exp"] + 3600}

    await refused(house, made(house, claims), "not yet valid")


async def test_keys_and_algorithms_are_not_the_tokens_choice(house: House) -> None:
    claims = await good(house)
    published = (await house.stranger.get("/.well-known/jwks.json")).json()["keys"][0]
    theirs = OKPKey.generate_key("Ed25519")
    public = base64.urlsafe_b64decode(published["x"] + "=")
    for token, why in (
        (made(house, claims, OctKey.import_key(public), alg="HS256"), "algorithm"),
        (made(house, claims, OctKey.import_key(json.dumps(published).encode()), alg="HS256"), "algorithm"),
        (made(house, claims, theirs), "signature"),
        (made(house, claims, theirs, kid="another"), "no key of ours"),
        (made(house, claims, theirs, kid="../../../etc/passwd"), "no key of ours"),
        (made(house, claims, kid=""), "no key of ours"),
        (made(house, claims, theirs, jku="https://evil.example/jwks.json"), "header"),
        (made(house, claims, theirs, jwk=theirs.as_dict(private=False)), "header"),
        (made(house, claims, x5u="https://evil.example/x.pem"), "header"),
        (made(house, claims, typ="JWT"), "type"),
        (made(house, claims, typ="dpop+jwt"), "type"),
    ):
        await refused(house, token, why)


async def test_what_is_no_token_is_refused(house: House) -> None:
    token = made(house, await good(house))
    head, body, signature = token.split(".")
    unsigned = base64.urlsafe_b64encode(b'{"alg":"none","typ":"at+jwt"}').decode().rstrip("=")
    other = (
        base64.urlsafe_b64encode(json.dumps({**claims_of(token), "scope": "* *:read"}).encode()).decode().rstrip("=")
    )
    for one, why in (
        (f"{unsigned}.{body}.", "algorithm"),
        (f"{head}.{other}.{signature}", "signature"),
        (f"{head}.{body}.{signature[:-4]}AAAA", "signature"),
        (f"{head}.{body}", "no token"),
        (f"{head}.{body}.{signature}.{signature}", "no token"),
        ("eyJ" + "x" * 9000 + "..", "no token"),
        ("eyJ!!!.x.x", "no token"),
        ("eyJ9.x.x", "no token"),
        ("eyJbXQ.e30.x", "no token"),
        (base64.urlsafe_b64encode(b'{"a":' + b"[" * 5000).decode().rstrip("=") + ".e30.x", "no token"),
    ):
        await refused(house, one, why)


async def test_a_token_is_for_one_door(house: House) -> None:
    client = await service(house)
    mcp, api = f"{house.address}/mcp", house.address
    for_mcp = (await client.token(grant_type="client_credentials", resource=mcp)).json()["access_token"]
    for_api = (await client.token(grant_type="client_credentials", resource=api)).json()["access_token"]

    assert claims_of(for_mcp)["aud"] == [mcp]
    await refused(house, for_mcp, "another audience")
    assert await taken(house, for_api)
    ask = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    opened = await house.stranger.post(
        "/mcp", json=ask, headers=_bearer(for_mcp) | {"Accept": "application/json, text/event-stream"}
    )
    assert opened.status_code == 400, opened.text  # who asks is known; what it asked lacks a handshake
    assert "session" in opened.text.lower()
    problem_of(await house.stranger.post("/mcp", headers=_bearer(for_api)), 401, "unauthenticated")


async def test_the_closed_door_says_where_tokens_come_from(house: House) -> None:
    response = await house.stranger.post("/mcp", json={})

    problem_of(response, 401, "unauthenticated")
    metadata = f"{house.address}/.well-known/oauth-protected-resource/mcp"
    assert response.headers["www-authenticate"] == f'Bearer resource_metadata="{metadata}", scope="*:read"'
    described = (await house.stranger.get(metadata)).json()
    assert (described["resource"], described["authorization_servers"]) == (f"{house.address}/mcp", [house.address])
    assert described["bearer_methods_supported"] == ["header"]


async def test_a_key_opens_the_door_too(house: House) -> None:
    assert (await house.owner.http.post("/mcp")).status_code == 400  # known, and asks nothing


async def test_a_token_in_the_address_or_a_cookie_is_no_token(house: House) -> None:
    token = made(house, await good(house))
    for ask in (
        house.stranger.post("/v1/operations/access.whoami", params={"access_token": token}, json={}),
        house.stranger.post("/v1/operations/access.whoami", json={}, headers={"Cookie": f"superagent={token}"}),
        house.stranger.post("/v1/operations/access.whoami", data={"access_token": token}),
        house.stranger.post("/mcp", params={"access_token": token}),
    ):
        response: httpx.Response = await ask
        assert response.status_code == 401, response.text


async def test_a_suspended_person_takes_its_tokens_along(house: House) -> None:
    from superagent.runtime.identity_tables import PEOPLE

    tokens = await (await application(house)).tokens(house.owner)
    assert await taken(house, tokens["access_token"])
    database, epoch = house.installation.authorization._database, house.installation.authorization._epoch  # pyright: ignore[reportPrivateUsage] - suspending people is another feature's
    where = (PEOPLE.c.tenant == "default", PEOPLE.c.id == "owner")

    await database.write_instance(lambda tx: tx.update(PEOPLE, *where, state="suspended"))
    epoch.bump()
    try:
        await refused(house, tokens["access_token"], "does not stand")
    finally:
        await database.write_instance(lambda tx: tx.update(PEOPLE, *where, state="active"))
        epoch.bump()
    assert await taken(house, tokens["access_token"])


async def test_rights_are_those_of_now_and_not_those_of_then(house: House) -> None:
    app = await application(house)
    caller = house.caller("app", (await app.tokens(house.owner, scope="*:read"))["access_token"])
    assert (await caller.call("audit.query")).status_code == 200
    forbid = {"effect": "deny", "subject": "user:owner", "operations": ["audit.query"], "origin": ["agent"]}
    made_ = await house.owner.done("grants.create", {"grant": forbid})

    assert (await caller.call("audit.query")).status_code in (403, 404)

    await house.owner.done("grants.revoke", {"id": made_["id"]})
    assert (await caller.call("audit.query")).status_code == 200


async def test_keys_turn_while_tokens_live(house: House) -> None:
    before = (await house.stranger.get("/.well-known/jwks.json")).json()["keys"]
    old = made(house, await good(house))

    kid = (await house.owner.done("access.signing_keys.rotate"))["kid"]

    after = (await house.stranger.get("/.well-known/jwks.json")).json()["keys"]
    assert [one["kid"] for one in after] == [kid, *[one["kid"] for one in before]]
    assert all(set(one) == {"kty", "crv", "x", "use", "alg", "kid"} for one in after)
    assert await taken(house, old)
    response = await (await service(house)).token(grant_type="client_credentials")
    head = json.loads(base64.urlsafe_b64decode(response.json()["access_token"].split(".")[0] + "=="))
    assert (head["kid"], head["alg"], head["typ"]) == (kid, "Ed25519", "at+jwt")
