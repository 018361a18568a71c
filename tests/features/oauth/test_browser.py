"""People at their browsers: signing in on the way, agreeing by a form of ours, and pages of elsewhere that try to."""

from __future__ import annotations

from urllib.parse import parse_qs, quote, urlencode, urlsplit

import pytest
import pytest_asyncio

from tests.features.oauth.parties import BACK, Client, application, refused
from tests.features.sign_in.browser import PASSWORD, Web
from tests.surfaces.http.house import House

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(loop_scope="session")
async def web(house: House) -> Web:
    return Web(house)


@pytest_asyncio.fixture(loop_scope="session")
async def app(house: House) -> Client:
    return await application(house, device=True)


async def test_a_person_signs_in_on_the_way_and_agrees(house: House, web: Web, app: Client) -> None:
    await web.by_link()
    await web.set_password()
    web.http.cookies.clear()
    asked = app.asks()

    page = await web.get(f"/oauth/authorize?{urlencode(asked)}", **{"Sec-Fetch-Site": "cross-site"})
    assert "One moment" in page.text or "Sign in" in page.text
    await web.by_password(after=quote(f"/oauth/authorize?{urlencode(asked)}", safe=""), password=PASSWORD)
    assert "Let it act for you?" in (web.page.text if web.page else "")
    sent = await web.submit("/oauth/authorize", decision="allow")

    assert sent.status_code == 303, sent.text
    location = sent.headers["location"]
    assert location.startswith(BACK)
    back = parse_qs(urlsplit(location).query)
    assert back["iss"] == [web.origin]
    tokens = await app.redeem(back["code"][0])
    assert tokens.status_code == 200, tokens.text
    caller = house.caller("app", tokens.json()["access_token"])
    assert (await caller.call("access.whoami")).status_code == 200, "this machine has several names and is one resource"


async def test_a_page_of_elsewhere_presses_no_button(house: House, web: Web, app: Client) -> None:
    await web.by_link()
    asked = {"request": urlencode(app.asks()), "decision": "allow"}
    for fields, headers in (
        (asked, {}),
        (asked | {"csrf": "0" * 32}, {}),
        (asked | {"csrf": await web.token()}, {"Origin": "https://evil.example"}),
        (asked | {"csrf": await web.token()}, {"Sec-Fetch-Site": "cross-site"}),
    ):
        response = await web.post("/oauth/authorize", fields, **headers)
        assert response.status_code == 403, response.text
        assert "location" not in response.headers
    assert (await house.records(operation="oauth.authorize", limit=1))[0]["kind"] == "refused"
    pressed = await web.post("/oauth/authorize", asked | {"csrf": await web.token()})
    assert pressed.status_code == 303


async def test_a_person_types_a_devices_code_in(web: Web, app: Client) -> None:
    await web.by_link()
    codes = (await app.post("device_authorization")).json()
    page = await web.get(f"/device?user_code={codes['user_code'].lower()}")
    assert "Helper" in page.text
    page = await web.submit("/sign-in/device", decision="allow")

    assert "The device may go on" in page.text
    response = await app.token(
        grant_type="urn:ietf:params:oauth:grant-type:device_code", device_code=codes["device_code"]
    )
    assert response.status_code == 200, response.text
    assert (await web.get(f"/device?user_code={codes['user_code']}")).status_code == 404


async def test_a_device_is_let_in_by_no_page_of_elsewhere(web: Web, app: Client) -> None:
    await web.by_link()
    codes = (await app.post("device_authorization")).json()

    response = await web.post("/sign-in/device", {"user_code": codes["user_code"], "decision": "allow"})

    assert response.status_code == 403
    flow = "urn:ietf:params:oauth:grant-type:device_code"
    refused(await app.token(grant_type=flow, device_code=codes["device_code"]), "authorization_pending")
