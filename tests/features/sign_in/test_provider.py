"""Sign-in at an external identity provider: a real one (npm `oidc-provider`), and one that lies."""

from __future__ import annotations

import socket
from collections.abc import AsyncGenerator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
import pytest_asyncio

from tests.features.sign_in import people
from tests.features.sign_in.browser import Web
from tests.features.sign_in.provider import SECRET, agree, provider
from tests.features.sign_in.test_ways_in import events, of_nobody
from tests.promise import promise
from tests.surfaces.http.house import House, house_in, problem_of

pytestmark = pytest.mark.asyncio(loop_scope="session")


@dataclass
class Federated:
    house: House
    issuer: str


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def federated(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Federated]:
    data = tmp_path_factory.mktemp("federated") / "data"
    port = free_port()
    with ExitStack() as stack:
        issuer = stack.enter_context(provider(f"http://localhost:{port}/sign-in/provider/back"))
        set_up(data, issuer)
        wide: dict[str, Any] = {"sign_in__tries_per_address": 10_000}
        async with house_in(data, port=port, **wide) as house:
            house.installation.network.guard.declare("127.0.0.1", 0)
            yield Federated(house, issuer)


def set_up(data: Path, issuer: str) -> None:
    data.mkdir(parents=True)
    (data / "secret").write_text(SECRET)
    (data / "superagent.toml").write_text(
        f'[net]\nallow_private = ["127.0.0.0/8"]\n[sign_in]\nissuer = "{issuer}"\nclient_id = "superagent"\n'
        f'client_secret_file = "{data / "secret"}"\n'
    )


async def start(web: Web) -> str:
    """Go to the provider from the sign-in page; gives where the browser is sent."""
    page = await web.http.get("/sign-in")
    assert "Sign in with" in page.text
    response = await web.http.get("/sign-in/provider", headers={"Sec-Fetch-Site": "same-origin"})
    assert response.status_code == 303, response.text
    assert "SameSite=Lax" in response.headers["set-cookie"]
    return response.headers["location"]


async def back(web: Web, url: str) -> Any:
    """Come back from the provider: a navigation from another site, so without the strict cookie."""
    path = url.partition(f":{web.house.port}")[2]
    return await web.http.get(path, headers={"Sec-Fetch-Site": "cross-site"})


async def link(web: Web, account: str) -> None:
    """Link an account at the provider to the person who is in."""
    await web.get("/sign-in/you")
    page = await web.post("/sign-in/provider/link", {"csrf": await web.token()})
    url = page.text.partition("0;url=")[2].partition('"')[0].replace("&amp;", "&")
    returned = await agree(url, account)
    path = returned.partition(f":{web.house.port}")[2]
    away = await web.http.get(path, headers={"Sec-Fetch-Site": "cross-site", "Cookie": _lax(web)})
    assert 'http-equiv="refresh"' in away.text, away.text
    await web.get(path + "&again=1")
    page = await web.submit("/sign-in/provider/linked")
    assert page.status_code == 200, page.text


def _lax(web: Web) -> str:
    return f"superagent-away={web.http.cookies.get('superagent-away')}"


@promise("1.2c")
async def test_an_account_that_was_linked_lets_its_person_in_and_no_other_does(federated: Federated) -> None:
    house = federated.house
    web, name = Web(house), people.make(house)
    await web.by_link(name)
    await link(web, "ann@idp")
    assert await events(house, name, "signin.provider_linked")

    other = Web(house)
    page = await back(other, await agree(await start(other), "ann@idp"))
    assert page.status_code == 200, page.text
    assert (await other.done("access.whoami"))["id"] == name
    stranger = Web(house)
    page = await back(stranger, await agree(await start(stranger), "somebody-else@idp"))
    assert page.status_code == 401
    assert not stranger.session
    assert (await of_nobody(house))[0]["detail"]["way"] == "provider"
    third = Web(house)
    await third.by_link(people.make(house))
    await third.get("/sign-in/you")
    page = await third.post("/sign-in/provider/link", {"csrf": await third.token()})
    url = page.text.partition("0;url=")[2].partition('"')[0].replace("&amp;", "&")
    path = (await agree(url, "ann@idp")).partition(f":{house.port}")[2]
    await third.get(path + "&again=1")
    assert (await third.submit("/sign-in/provider/linked")).status_code == 409, "it is somebody else's"

    await web.done("signin.provider.unlink")
    fourth = Web(house)
    assert (await back(fourth, await agree(await start(fourth), "ann@idp"))).status_code == 401
    problem_of(await web.call("signin.provider.unlink"), 404, "not-found")


@pytest.mark.parametrize("wrong", ["state", "iss", "code", "cookie", "twice", "error", "nameless"])
async def test_an_answer_that_is_not_the_one_is_refused(federated: Federated, wrong: str) -> None:
    house = federated.house
    name, account = people.make(house), f"bob-{wrong}@idp"
    web = Web(house)
    await web.by_link(name)
    await link(web, account)
    other = Web(house)
    returned = await agree(await start(other), account)
    split = urlsplit(returned)
    said = dict(parse_qsl(split.query))
    match wrong:
        case "cookie":
            other = Web(house)  # another browser gets the answer: nobody is signed in by somebody else's
        case "twice":
            assert (await back(other, returned)).status_code == 200
            other.http.cookies.delete("superagent")
        case "nameless":
            del said["iss"]
        case "error":
            said = {"state": said["state"], "error": "access_denied"}
        case _:
            said[wrong] = "https://evil.example"

    page = await back(other, f"http://localhost:{house.port}{split.path}?{urlencode(said)}")

    assert page.status_code == 401
    assert not other.session
    assert (await of_nobody(house))[0]["detail"]["way"] == "provider"


async def test_without_a_provider_there_is_none(house: House) -> None:
    web = Web(house)
    assert "Sign in with" not in (await web.get("/sign-in")).text.replace("Sign in with a passkey", "")
    page = await web.http.get("/sign-in/provider")
    assert page.status_code == 503
