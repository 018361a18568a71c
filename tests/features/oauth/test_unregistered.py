"""Clients that nobody registered: those that describe themselves at an address, and those that register themselves."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.features.oauth.parties import BACK, Client, agree, refused
from tests.runtime.net.certificates import Authority
from tests.runtime.net.outside import Asked, Names, Site, leads, ok, site
from tests.surfaces.http.house import House, house_in, problem_of

pytestmark = pytest.mark.asyncio(loop_scope="session")

JSON = "Content-Type: application/json"


@asynccontextmanager
async def outside(tmp_path: Path, answers: dict[str, bytes]) -> AsyncGenerator[tuple[House, Site]]:
    """Open a house beside a web site of clients; what is at each path may be given later."""
    authority, data = Authority(tmp_path), tmp_path / "data"
    data.mkdir(mode=0o700)
    allowed = f'[net]\nallow_private = ["127.0.0.1/32"]\nca_file = "{authority.file}"\n'
    (data / "superagent.toml").write_text(allowed)
    names = Names({"app.test": ["127.0.0.1"], "inside.test": ["10.0.0.1"]})

    def answer(asked: Asked) -> bytes:
        return answers.get(asked.line.split()[1], ok(b"nothing", status="404 Not Found"))

    async with (
        site(answer, authority.server("app.test")) as there,
        house_in(data, resolve=names, limits__agent_rate_per_s=1e6, limits__agent_burst=10**6) as house,
    ):
        yield house, there


def document(address: str, **other: Any) -> bytes:
    said = {
        "client_id": address, "client_name": "Wanderer", "redirect_uris": [BACK],
        "token_endpoint_auth_method": "none", **other,
    }  # fmt: skip
    return ok(json.dumps({name: value for name, value in said.items() if value is not None}).encode(), JSON)


async def test_a_client_that_describes_itself_is_shown_as_such_and_acts_for_who_agrees(tmp_path: Path) -> None:
    answers: dict[str, bytes] = {}
    async with outside(tmp_path, answers) as (house, there):
        address = f"https://app.test:{there.port}/client.json"
        answers["/client.json"] = document(address)
        app = Client(house, address, None)

        page = await house.owner.http.get("/oauth/authorize", params=app.asks())
        tokens = await app.tokens(house.owner)

        assert "Wanderer" in page.text
        assert "Nobody registered it here" in page.text
        assert address in page.text
        assert len(there.asked) == 1, "it is asked once, not for each page and never by a stranger's request"
        me = await house.caller("app", tokens["access_token"]).done("access.whoami")
        assert (me["id"], me["on_behalf_of"]) == (f"{address}/owner", ["owner"])
        assert (await app.refresh(tokens["refresh_token"])).status_code == 200
        (connection,) = await house.records(operation="egress.connection")
        assert connection["detail"]["inside"] == "oauth.consent"


@pytest.mark.parametrize(
    "other",
    [
        {"client_id": "https://other.test/client.json"},
        {"client_id": None},
        {"redirect_uris": []},
        {"redirect_uris": None},
        {"redirect_uris": [BACK, "javascript:alert(1)"]},
        {"redirect_uris": "https://app.test/back"},
        {"redirect_uris": [1]},
        {"redirect_uris": ["https://elsewhere.test/back"]},
        {"client_secret": "x"},
        {"token_endpoint_auth_method": "client_secret_basic"},
        {"token_endpoint_auth_method": "private_key_jwt"},
    ],
)
async def test_a_document_that_does_not_hold_is_refused(tmp_path: Path, other: dict[str, Any]) -> None:
    answers: dict[str, bytes] = {}
    async with outside(tmp_path, answers) as (house, there):
        address = f"https://app.test:{there.port}/client.json"
        answers["/client.json"] = document(address, **other)

        page = await house.owner.http.get("/oauth/authorize", params=Client(house, address, None).asks())

        assert page.status_code in (400, 422), page.text
        assert "location" not in page.headers
        assert (await house.records(operation="oauth.consent", limit=1))[0]["problem"] == "invalid-input"


async def test_an_answer_that_is_no_document_is_refused(tmp_path: Path) -> None:
    answers: dict[str, bytes] = {}
    async with outside(tmp_path, answers) as (house, there):
        base = f"https://app.test:{there.port}"
        answers |= {
            "/leads": leads(f"{base}/client.json"),
            "/client.json": document(f"{base}/client.json"),
            "/text": ok(b"hello"),
            "/list": ok(b"[]", JSON),
            "/large": document(f"{base}/large", more="x" * 20_000),
        }
        for path in ("/leads", "/text", "/list", "/large", "/none"):
            asked = Client(house, base + path, None).asks()
            page = await house.owner.http.get("/oauth/authorize", params=asked)
            assert page.status_code in (400, 413, 422), (path, page.text)


async def test_an_address_inside_is_not_asked(tmp_path: Path) -> None:
    async with outside(tmp_path, {}) as (house, there):
        for address in (
            "https://inside.test/client.json", "https://127.0.0.1:1/x/../client.json", "https://app.test/",
            f"http://app.test:{there.port}/client.json", f"https://u@app.test:{there.port}/client.json",
            f"https://app.test:{there.port}/client.json?x=1", f"https://app.test:{there.port}/{'x' * 300}",
            "https://[::1/x", "file:///etc/passwd",
        ):  # fmt: skip
            page = await house.owner.http.get("/oauth/authorize", params=Client(house, address, None).asks())
            assert page.status_code in (400, 403, 422), (address, page.text)
            assert "location" not in page.headers
        assert there.connections == 0


async def test_a_stranger_makes_the_server_ask_nowhere(tmp_path: Path) -> None:
    async with outside(tmp_path, {}) as (house, there):
        app = Client(house, f"https://app.test:{there.port}/client.json", None)

        refused(await app.token(grant_type="refresh_token", refresh_token="x"), "invalid_client", 401)
        assert (await house.stranger.get("/oauth/authorize", params=app.asks())).status_code == 303

        assert there.connections == 0


# ---- registering oneself


async def test_nobody_registers_itself_unless_the_settings_say_so(house: House) -> None:
    response = await house.stranger.post("/oauth/register", json={"redirect_uris": [BACK]})

    problem = problem_of(response, 503, "unavailable")
    assert "access.clients.create" in problem["hint"]
    metadata = (await house.stranger.get("/.well-known/oauth-authorization-server")).json()
    assert "registration_endpoint" not in metadata


async def test_with_the_switch_on_a_client_registers_itself_and_asks_people(tmp_path: Path) -> None:
    async with house_in(tmp_path / "data", oauth__registration=True) as house:
        metadata = (await house.stranger.get("/.well-known/oauth-authorization-server")).json()
        for method in ("none", "client_secret_post"):
            asked = {
                "redirect_uris": [BACK], "client_name": "Wanderer", "token_endpoint_auth_method": method,
                "grant_types": ["authorization_code", "refresh_token"], "response_types": ["code"], "scope": "files.*",
            }  # fmt: skip
            response = await house.stranger.post(metadata["registration_endpoint"], json=asked)
            assert response.status_code == 201, response.text
            said = response.json()
            assert ("client_secret" in said) is (method != "none")
            app = Client(house, said["client_id"], said.get("client_secret"), basic=False)
            tokens = await app.tokens(house.owner)
            assert tokens["scope"] == "files.*"
            assert (await agree(house.owner, app.asks(), decision="deny"))["error"] == "access_denied"
        assert (await house.owner.done("access.clients.list"))["clients"] == [], "they belong to no tenant"


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        ({}, "invalid_redirect_uri"),
        ({"redirect_uris": ["http://evil.example/back"]}, "invalid_redirect_uri"),
        ({"redirect_uris": "x"}, "invalid_client_metadata"),
        ({"redirect_uris": [BACK], "grant_types": ["client_credentials"]}, "invalid_client_metadata"),
        ({"redirect_uris": [BACK], "grant_types": ["implicit"]}, "invalid_client_metadata"),
        ({"redirect_uris": [BACK], "response_types": ["token"]}, "invalid_client_metadata"),
        ({"redirect_uris": [BACK], "token_endpoint_auth_method": "private_key_jwt"}, "invalid_client_metadata"),
        ({"redirect_uris": [BACK], "scope": "nonsense!"}, "invalid_client_metadata"),
        ({"redirect_uris": [BACK], "client_name": 1}, "invalid_client_metadata"),
        ({"redirect_uris": [BACK], "client_name": "a\nb"}, "invalid_client_metadata"),
    ],
)
async def test_what_cannot_register_itself_is_told_why(tmp_path: Path, asked: dict[str, Any], error: str) -> None:
    async with house_in(tmp_path / "data", oauth__registration=True) as house:
        refused(await house.stranger.post("/oauth/register", json=asked), error)


# ---- metadata


async def test_the_metadata_says_what_there_is(house: House) -> None:
    said = (await house.stranger.get("/.well-known/oauth-authorization-server")).json()

    assert said["issuer"] == house.address
    assert said["code_challenge_methods_supported"] == ["S256"]
    assert said["authorization_response_iss_parameter_supported"] is True
    assert said["client_id_metadata_document_supported"] is True
    for name, address in said.items():
        if name.endswith("_endpoint"):
            assert address.startswith(f"{house.address}/oauth/")
            assert (await house.stranger.post(address.removeprefix(house.address))).status_code != 404
    here = "/.well-known/oauth-protected-resource"
    assert (await house.stranger.get(here)).json()["resource"] == house.address
    problem_of(await house.stranger.get(f"{here}/nothing"), 422, "invalid-input")
    problem_of(await house.stranger.post(here), 404, "not-found")
    problem_of(await house.stranger.get("/.well-known/jwks.json/x"), 404, "not-found")
    problem_of(await house.stranger.get("/oauth/nothing"), 404, "not-found")


async def test_a_made_up_host_names_no_issuer(house: House) -> None:
    for host in ("evil.example", f"evil.example:{house.port}", "127.0.0.1:1"):
        said = (await house.stranger.get("/.well-known/oauth-authorization-server", headers={"Host": host})).json()
        assert said["issuer"] == house.address


async def test_each_name_of_this_machine_is_an_issuer_of_its_own(house: House) -> None:
    name = f"localhost:{house.port}"
    said = (await house.stranger.get("/.well-known/oauth-authorization-server", headers={"Host": name})).json()

    assert said["issuer"] == f"http://{name}"


async def test_a_public_address_is_the_one_issuer(tmp_path: Path) -> None:
    async with house_in(tmp_path / "data", server__public_url="https://agents.example") as house:
        for host in ("agents.example", f"localhost:{house.port}", "evil.example"):
            said = (await house.stranger.get("/.well-known/oauth-authorization-server", headers={"Host": host})).json()
            assert said["issuer"] == "https://agents.example"
