"""Services: their own tokens, what they may ask about tokens, their secrets, and their end."""

from __future__ import annotations

from typing import Any

import pytest

from tests.features.oauth.parties import Client, application, last_failure, refused, service
from tests.surfaces.http.house import Caller, House, problem_of

pytestmark = pytest.mark.asyncio(loop_scope="session")

GRANT = {"grant_type": "client_credentials"}


async def caller_of(house: House, client: Client, **fields: str) -> Caller:
    response = await client.token(**GRANT, **fields)
    assert response.status_code == 200, response.text
    assert "refresh_token" not in response.json()
    return house.caller(client.id, response.json()["access_token"])


async def test_a_service_acts_in_its_own_workspace_and_never_beyond_its_maker(house: House) -> None:
    caller = await caller_of(house, await service(house))

    me = await caller.done("access.whoami")

    assert (me["kind"], me["roles"], me["on_behalf_of"]) == ("service", ["agent"], ["owner"])
    assert (await caller.call("files.write", {"path": "mine", "content": "x"})).status_code == 200
    assert (await caller.call("files.write", {"path": "/tmp/not-mine", "content": "x"})).status_code == 202
    assert (await caller.call("access.keys.list")).status_code in (403, 404)
    assert (await caller.call("access.clients.create", {"name": "x", "kind": "service"})).status_code in (403, 404)


async def test_own_grants_and_scopes_are_both_needed(house: House) -> None:
    grants = [{"effect": "allow", "operations": ["audit.query", "files.list"], "effects": ["READ"]}]
    client = await service(house, grants=grants, scopes=["audit.*"])

    caller = await caller_of(house, client)

    assert (await caller.call("audit.query")).status_code == 200
    assert (await caller.call("files.list", {"path": "/"})).status_code == 404
    assert (await caller.call("audit.verify")).status_code == 404


async def test_a_service_asks_for_no_more_than_it_was_registered_for(house: House) -> None:
    client = await service(house, scopes=["files.*:read"])

    assert (await client.token(**GRANT, scope="files.list:read")).json()["scope"] == "files.list:read"
    for scope in ("files.*", "*", "nonsense!"):
        refused(await client.token(**GRANT, scope=scope), "invalid_scope")
    refused(await client.token(**GRANT, resource="https://elsewhere.example"), "invalid_target")


@pytest.mark.parametrize("flow", ["authorization_code", "refresh_token"])
async def test_a_service_comes_to_tokens_in_no_other_way(house: House, flow: str) -> None:
    client = await service(house)

    refused(await client.token(grant_type=flow, code="x", refresh_token="x"), "unauthorized_client")


async def test_an_application_gets_no_tokens_by_itself(house: House) -> None:
    app = await application(house, public=False)
    refused(await app.token(**GRANT), "unauthorized_client")
    app = await application(house)
    refused(await app.token(**GRANT), "invalid_client", 401)


async def test_a_secret_is_shown_once_and_kept_as_a_digest(house: House) -> None:
    client = await service(house)
    assert client.secret is not None

    listed = await house.owner.call("access.clients.list")
    shown = await house.owner.call("access.clients.show", {"id": client.id})

    assert client.secret not in listed.text + shown.text
    assert shown.json()["output"]["hint"] == client.secret[-4:]
    files = [path for path in (house.data / "state").rglob("*") if path.is_file()]
    assert any(path.suffix == ".db" for path in files)
    assert not [path for path in files if client.secret[4:].encode() in path.read_bytes()]


async def test_a_new_secret_takes_over_at_once_or_after_a_while(house: House) -> None:
    client = await service(house)
    first = client.secret
    client.secret = (await house.owner.done("access.clients.rotate", {"id": client.id, "overlap_s": 600}))["secret"]
    for secret in (first, client.secret):
        await caller_of(house, Client(house, client.id, secret))
    second = client.secret

    client.secret = (await house.owner.done("access.clients.rotate", {"id": client.id}))["secret"]

    await caller_of(house, client)
    for secret in (first, second):
        refused(await Client(house, client.id, secret).token(**GRANT), "invalid_client", 401)
    assert (await last_failure(house, client.id))["why"] == "invalid_client"


async def test_a_deleted_service_is_dead_with_its_tokens(house: House) -> None:
    client = await service(house)
    caller = await caller_of(house, client)
    assert (await caller.call("access.whoami")).status_code == 200

    await house.owner.done("access.clients.delete", {"id": client.id})

    problem_of(await caller.call("access.whoami"), 401, "unauthenticated")
    refused(await client.token(**GRANT), "invalid_client", 401)
    again = await house.owner.call("access.clients.delete", {"id": client.id})
    problem_of(again, 404, "not-found")


async def test_registering_is_taken_back_by_undo(house: House) -> None:
    response = await house.owner.call("access.clients.create", {"name": "brief", "kind": "service"})
    made = response.json()["output"]

    await house.owner.done("undo.apply", {"ids": [response.headers["x-invocation-id"]]})

    refused(await Client(house, made["id"], made["secret"]).token(**GRANT), "invalid_client", 401)


@pytest.mark.parametrize(
    "input",
    [
        {"kind": "service", "redirect_uris": ["https://a.example/b"]},
        {"kind": "service", "public": True},
        {"kind": "service", "device": True},
        {"kind": "service", "scopes": ["nonsense!"]},
        {"kind": "service", "role": "king"},
        {"kind": "service", "grants": [{"effect": "allow", "subject": "*", "operations": ["*"]}]},
        {"kind": "application"},
        {"kind": "application", "redirect_uris": ["https://a.example/b"], "role": "owner"},
        {"kind": "application", "redirect_uris": ["http://a.example/b"]},
        {"kind": "application", "redirect_uris": ["https://a.example/b#c"]},
        {"kind": "application", "redirect_uris": ["https://*.example/b"]},
        {"kind": "application", "redirect_uris": ["javascript:alert(1)"]},
        {"kind": "application", "redirect_uris": ["https://user@a.example/b"]},
    ],
)
async def test_what_cannot_be_registered_is_refused(house: House, input: dict[str, Any]) -> None:
    problem_of(await house.owner.call("access.clients.create", {"name": "x", **input}), 422, "invalid-input")


async def test_agents_register_nothing(house: House, agent: Caller) -> None:
    for operation, input in (
        ("access.clients.create", {"name": "x", "kind": "service"}),
        ("access.clients.rotate", {"id": "x"}),
        ("access.clients.delete", {"id": "x"}),
        ("access.clients.list", {}),
        ("access.consents.revoke", {"id": "x"}),
        ("access.signing_keys.rotate", {}),
    ):
        response = await agent.call(operation, input)
        assert response.status_code in (403, 404), (operation, response.text)
        await house.refusal(response)


# ---- asking about tokens


async def test_a_service_asks_what_a_token_is_good_for(house: House) -> None:
    app, asker = await application(house), await service(house)
    tokens = await app.tokens(house.owner)

    about = (await asker.post("introspect", token=tokens["access_token"])).json()
    refresh = (await asker.post("introspect", token=tokens["refresh_token"], token_type_hint="refresh_token")).json()

    assert (about["active"], about["client_id"], about["scope"]) == (True, app.id, "files.*")
    assert (about["iss"], about["aud"], about["sub"]) == (house.address, [house.address], "default/owner")
    assert about["exp"] - about["iat"] == 300
    assert (refresh["active"], refresh["token_type"]) == (True, "refresh_token")
    assert (await asker.post("introspect", token="nonsense")).json() == {"active": False}
    refused(await asker.post("introspect", token=""), "invalid_request")


async def test_strangers_learn_nothing_about_tokens(house: House) -> None:
    app = await application(house)
    tokens = await app.tokens(house.owner)
    nobody = await house.stranger.post("/oauth/introspect", data={"token": tokens["access_token"]})
    wrong = Client(house, (await service(house)).id, "sac_" + "x" * 40)
    other = await application(house, public=False)

    refused(nobody, "invalid_client", 401)
    refused(await wrong.post("introspect", token=tokens["access_token"]), "invalid_client", 401)
    refused(await app.post("introspect", token=tokens["access_token"]), "invalid_client", 401)
    assert (await other.post("introspect", token=tokens["access_token"])).json() == {"active": False}
    stranger = await house.records(operation="oauth.stranger", limit=1)
    assert stranger[0]["detail"]["shown_by"] == other.id
    assert (await last_failure(house, wrong.id))["why"] == "invalid_client"


async def test_a_client_gives_its_tokens_up(house: House) -> None:
    app, asker = await application(house), await service(house)
    for which in ("access_token", "refresh_token"):
        tokens = await app.tokens(house.owner)

        response = await app.post("revoke", token=tokens[which], token_type_hint="nonsense")

        assert response.status_code == 200
        assert (await asker.post("introspect", token=tokens["access_token"])).json() == {"active": False}
        assert (await asker.post("introspect", token=tokens["refresh_token"])).json() == {"active": False}
        problem_of(await house.caller("x", tokens["access_token"]).call("access.whoami"), 401, "unauthenticated")
    assert (await app.post("revoke", token="nonsense")).status_code == 200
    refused(await app.post("revoke", token=""), "invalid_request")


async def test_a_client_gives_up_only_its_own_tokens(house: House) -> None:
    app, other = await application(house), await application(house, name="Other")
    tokens = await app.tokens(house.owner)

    refused(await other.post("revoke", token=tokens["access_token"]), "invalid_grant")

    assert (await house.caller("x", tokens["access_token"]).call("access.whoami")).status_code == 200
    assert (await last_failure(house, other.id))["why"] == "invalid_grant"


async def test_nothing_is_asked_in_an_address(house: House) -> None:
    client = await service(house)
    assert client.secret is not None
    response = await house.stranger.post("/oauth/token", params=GRANT, data=GRANT, auth=(client.id, client.secret))
    problem_of(response, 400, "malformed")
    response = await house.stranger.get("/oauth/token", params=GRANT)
    problem_of(response, 404, "not-found")


async def test_characters_that_no_text_of_oauth_has_are_refused(house: House) -> None:
    for name in ("client_id", "code", "scope"):
        response = await house.stranger.post("/oauth/token", data={"grant_type": "authorization_code", name: "a\0b"})
        problem_of(response, 422, "invalid-input")
    page = await house.owner.http.get("/oauth/authorize", params={"client_id": "a\0b"})
    assert page.status_code == 422


async def test_two_ways_of_proof_at_once_are_no_proof(house: House) -> None:
    client = await service(house)
    assert client.secret is not None
    other = await service(house)
    response = await house.stranger.post(
        "/oauth/token", data={**GRANT, "client_id": other.id, "client_secret": "x"}, auth=(client.id, client.secret)
    )
    refused(response, "invalid_request")


@pytest.mark.parametrize("header", ["Basic", "Basic %%%", "Basic ÿ", "Basic /////w==", "Basic eA==", "Digest x", "x"])
async def test_a_header_that_proves_nothing_is_no_proof(house: House, header: str) -> None:
    shown = {b"Authorization": header.encode("latin-1")}
    response = await house.stranger.post("/oauth/token", data=GRANT, headers=shown)
    assert response.status_code in (400, 401), response.text
    assert response.json()["error"] in ("invalid_client", "invalid_request")


async def test_a_body_that_is_no_form_is_refused(house: House) -> None:
    problem_of(await house.stranger.post("/oauth/token", json=GRANT), 400, "malformed")
    twice = "grant_type=client_credentials&grant_type=refresh_token"
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    problem_of(await house.stranger.post("/oauth/token", content=twice, headers=form), 400, "malformed")
