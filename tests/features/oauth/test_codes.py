"""Authorization codes: consent, PKCE, rotation, and everything that is refused on the way."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import urlencode

import pytest
import pytest_asyncio

from tests.features.oauth.parties import BACK, Client, agree, application, last_failure, refused, sent_back
from tests.surfaces.http.house import House

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def alive(house: House, tokens: dict[str, Any]) -> bool:
    response = await house.caller("app", tokens["access_token"]).call("access.whoami")
    assert response.status_code in (200, 401), response.text
    return response.status_code == 200


async def ended(house: House, why: str) -> dict[str, Any]:
    found = await house.records(operation="oauth.consent.ended", limit=1)
    assert why in found[0]["detail"]["why"]
    return found[0]


@pytest_asyncio.fixture(loop_scope="session")
async def app(house: House) -> Client:
    return await application(house)


async def test_a_person_agrees_and_the_application_acts_for_it_within_its_scopes(house: House, app: Client) -> None:
    tokens = await app.tokens(house.owner)
    caller = house.caller("app", tokens["access_token"])

    me = await caller.done("access.whoami")

    assert (me["id"], me["kind"], me["on_behalf_of"]) == (f"{app.id}/owner", "agent", ["owner"])
    assert tokens["token_type"] == "Bearer"
    assert (tokens["expires_in"], tokens["scope"]) == (300, "files.*")
    assert (await caller.call("files.list", {"path": me["workspace"]})).status_code == 200
    assert (await caller.call("audit.query")).status_code == 404


async def test_a_person_says_no(house: House, app: Client) -> None:
    back = await agree(house.owner, app.asks(), decision="deny")

    assert (back["error"], back["iss"]) == ("access_denied", house.address)
    assert back["state"] == app.state


async def test_an_agent_agrees_to_nothing_for_its_person(house: House, agent: Any, app: Client) -> None:
    page = await agent.http.get("/oauth/authorize", params=app.asks())

    assert page.status_code in (403, 404)
    assert (await house.records(operation="oauth.consent", limit=1))[0]["kind"] == "refused"


async def test_an_application_agrees_to_nothing_for_its_person(house: House, app: Client) -> None:
    app_caller = house.caller("app", (await app.tokens(house.owner, scope="*"))["access_token"])

    page = await app_caller.http.get("/oauth/authorize", params=app.asks())

    assert page.status_code in (403, 404)


async def test_a_stranger_is_asked_to_sign_in_first(house: House, app: Client) -> None:
    response = await house.stranger.get("/oauth/authorize", params=app.asks())

    assert response.status_code == 303
    assert response.headers["location"].startswith("/sign-in?next=%2Foauth%2Fauthorize%3F")


async def test_a_code_is_good_once_and_a_second_use_ends_all_that_came_of_it(house: House, app: Client) -> None:
    code = await app.code(house.owner)
    tokens = (await app.redeem(code)).json()
    assert await alive(house, tokens)

    refused(await app.redeem(code), "invalid_grant")

    assert not await alive(house, tokens)
    refused(await app.refresh(tokens["refresh_token"]), "invalid_grant")
    assert (await ended(house, "used twice"))["detail"]["client"] == app.id
    assert (await last_failure(house, app.id))["why"] == "invalid_grant"


async def test_of_many_uses_of_a_code_at_once_one_comes_through_and_is_dead(house: House, app: Client) -> None:
    code = await app.code(house.owner)

    answers = await asyncio.gather(*(app.redeem(code) for _ in range(8)))

    (first,) = [one.json() for one in answers if one.status_code == 200]
    assert not await alive(house, first)


async def test_of_many_uses_of_a_refresh_token_at_once_one_comes_through_and_is_dead(house: House, app: Client) -> None:
    tokens = await app.tokens(house.owner)

    answers = await asyncio.gather(*(app.refresh(tokens["refresh_token"]) for _ in range(8)))

    (first,) = [one.json() for one in answers if one.status_code == 200]
    assert not await alive(house, first)
    assert not await alive(house, tokens)


@pytest.mark.parametrize(
    ("other", "error"),
    [
        ({"code_verifier": "x" * 64}, "invalid_grant"),
        ({"code_verifier": ""}, "invalid_request"),
        ({"code_verifier": "short"}, "invalid_request"),
        ({"redirect_uri": "http://127.0.0.1:9/other"}, "invalid_grant"),
        ({"redirect_uri": ""}, "invalid_grant"),
        ({"resource": "https://elsewhere.example"}, "invalid_target"),
        ({"code": "sau_" + "x" * 40}, "invalid_grant"),
        ({"code": ""}, "invalid_request"),
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"grant_type": ""}, "unsupported_grant_type"),
    ],
)
async def test_a_code_is_refused_with_anything_else_than_it_was_asked_with(
    house: House, app: Client, other: dict[str, str], error: str
) -> None:
    code = await app.code(house.owner)

    refused(await app.redeem(code, **other), error)

    assert (await last_failure(house, app.id))["why"] == error


async def test_a_code_that_was_shown_with_a_wrong_verifier_is_spent(house: House, app: Client) -> None:
    code, right = await app.code(house.owner), app.verifier
    refused(await app.redeem(code, code_verifier="x" * 64), "invalid_grant")

    refused(await app.redeem(code, code_verifier=right), "invalid_grant")


async def test_the_code_of_another_client_is_refused_and_stays_good(house: House, app: Client) -> None:
    other = await application(house, name="Other")
    code = await app.code(house.owner)
    other.verifier = app.verifier

    refused(await other.redeem(code), "invalid_grant")

    assert (await house.records(operation="oauth.stranger", limit=1))[0]["detail"]["shown_by"] == other.id
    assert (await app.redeem(code)).status_code == 200


async def test_a_confidential_client_shows_its_secret_in_either_way(house: House) -> None:
    for basic in (True, False):
        app = await application(house, public=False)
        app.basic = basic
        assert (await app.redeem(await app.code(house.owner))).status_code == 200


async def test_a_confidential_client_without_its_secret_is_nobody(house: House) -> None:
    app = await application(house, public=False)
    code = await app.code(house.owner)
    for secret in (None, "sac_" + "x" * 40):
        shown = Client(house, app.id, secret, verifier=app.verifier)
        refused(await shown.redeem(code), "invalid_client", 401)
    assert (await last_failure(house, app.id))["why"] == "invalid_client"


# ---- the request itself


@pytest.mark.parametrize(
    "other",
    [
        {"redirect_uri": "https://evil.example/back"},
        {"redirect_uri": BACK + "/more"},
        {"redirect_uri": BACK + "?x=1"},
        {"redirect_uri": BACK + "#x"},
        {"redirect_uri": "http://127.0.0.1:9@evil.example/back"},
        {"redirect_uri": "http://127.0.0.1.evil.example/back"},
        {"redirect_uri": "//evil.example"},
        {"redirect_uri": "javascript:alert(1)"},
        {"redirect_uri": 'http://127.0.0.1:9/"><script>'},
        {"redirect_uri": ""},
        {"client_id": "client_none"},
        {"client_id": ""},
        {"client_id": "http://127.0.0.1/x"},
    ],
)
async def test_a_request_that_may_not_be_the_clients_sends_the_browser_nowhere(
    house: House, app: Client, other: dict[str, str]
) -> None:
    for respond in (
        house.owner.http.get("/oauth/authorize", params=app.asks(**other)),
        _pressed(house, app.asks(**other)),
    ):
        response = await respond
        assert response.status_code in (400, 422), response.text
        assert "location" not in response.headers
        assert "<script>" not in response.text
    failed = await house.records(operation="oauth.authorize", limit=1)
    assert failed[0]["problem"] == "invalid-input"


async def _pressed(house: House, asked: dict[str, str]) -> Any:
    return await house.owner.http.post("/oauth/authorize", data={"request": urlencode(asked), "decision": "allow"})


@pytest.mark.parametrize(
    ("other", "error"),
    [
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge_method": ""}, "invalid_request"),
        ({"code_challenge": "", "code_challenge_method": ""}, "invalid_request"),
        ({"code_challenge": ""}, "invalid_request"),
        ({"code_challenge": "x" * 128}, "invalid_request"),
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_type": "code token"}, "unsupported_response_type"),
        ({"response_type": ""}, "unsupported_response_type"),
        ({"scope": "nonsense!"}, "invalid_scope"),
        ({"resource": "https://elsewhere.example"}, "invalid_target"),
        ({"resource": "http://127.0.0.1:1/v1"}, "invalid_target"),
    ],
)
async def test_a_faulty_request_goes_back_with_an_error_and_who_said_it(
    house: House, app: Client, other: dict[str, str], error: str
) -> None:
    asked = app.asks(**other)
    for response in (await house.owner.http.get("/oauth/authorize", params=asked), await _pressed(house, asked)):
        back = sent_back(response)
        assert back["error"] == error
        assert back["iss"] == house.address
        assert back["state"] == app.state
        assert "code" not in back
    assert (await last_failure(house, app.id, "owner"))["why"] == error


async def test_more_than_a_client_may_have_is_refused(house: House) -> None:
    app = await application(house, scopes=["files.*:read"])

    back = sent_back(await house.owner.http.get("/oauth/authorize", params=app.asks(scope="files.*")))

    assert back["error"] == "invalid_scope"


async def test_on_this_machine_any_port_will_do(house: House, app: Client) -> None:
    asked = app.asks(redirect_uri="http://127.0.0.1:54321/back")

    page = await house.owner.http.get("/oauth/authorize", params=asked)

    assert page.status_code == 200


async def test_the_page_shows_what_others_say_as_text_and_stands_in_no_frame(house: House) -> None:
    app = await application(house, name="<b>Bank</b>")

    page = await house.owner.http.get("/oauth/authorize", params=app.asks())

    assert "&lt;b&gt;Bank&lt;/b&gt;" in page.text
    assert "<b>" not in page.text
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
    assert page.headers["x-frame-options"] == "DENY"
    assert page.headers["referrer-policy"] == "no-referrer"


# ---- refresh tokens


async def test_a_refresh_token_is_good_once_and_a_second_use_ends_the_family(house: House, app: Client) -> None:
    first = await app.tokens(house.owner)
    second = (await app.refresh(first["refresh_token"])).json()
    assert await alive(house, second)

    refused(await app.refresh(first["refresh_token"]), "invalid_grant")

    assert not await alive(house, second)
    assert not await alive(house, first)
    refused(await app.refresh(second["refresh_token"]), "invalid_grant")
    await ended(house, "used twice")


async def test_scopes_only_narrow_at_a_refresh(house: House, app: Client) -> None:
    tokens = await app.tokens(house.owner)
    refused(await app.refresh(tokens["refresh_token"], scope="files.* shell.*"), "invalid_scope")
    refused(await app.refresh(tokens["refresh_token"], scope="nonsense!"), "invalid_scope")

    narrow = (await app.refresh(tokens["refresh_token"], scope="files.*:read")).json()

    assert narrow["scope"] == "files.*:read"
    caller = house.caller("app", narrow["access_token"])
    assert (await caller.call("files.list", {"path": "."})).status_code == 200
    assert (await caller.call("files.write", {"path": "x", "content": "x"})).status_code in (403, 404)
    wide = (await app.refresh(narrow["refresh_token"])).json()
    assert wide["scope"] == "files.*"


async def test_the_refresh_token_of_another_client_is_refused(house: House, app: Client) -> None:
    other = await application(house, name="Other")
    tokens = await app.tokens(house.owner)

    refused(await other.refresh(tokens["refresh_token"]), "invalid_grant")

    assert (await app.refresh(tokens["refresh_token"])).status_code == 200


async def test_what_a_person_revokes_is_dead(house: House, app: Client) -> None:
    tokens = await app.tokens(house.owner)
    assert await alive(house, tokens)
    listed = (await house.owner.done("access.consents.list"))["consents"]
    (mine,) = [one for one in listed if one["client"] == app.id]
    assert mine["scopes"] == ["files.*"]

    await house.owner.done("access.consents.revoke", {"id": mine["id"]})

    assert not await alive(house, tokens)
    refused(await app.refresh(tokens["refresh_token"]), "invalid_grant")


async def test_a_deleted_client_is_dead_with_all_it_holds(house: House, app: Client) -> None:
    tokens = await app.tokens(house.owner)

    await house.owner.done("access.clients.delete", {"id": app.id})

    assert not await alive(house, tokens)
    assert (await app.refresh(tokens["refresh_token"])).json()["error"] == "invalid_client"
