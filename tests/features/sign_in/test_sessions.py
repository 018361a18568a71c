"""Browser sessions: forged requests, fixation, ends, the step up, and tokens shown in the wrong place."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from urllib.parse import quote

import pytest

from tests.features.sign_in.browser import Web
from tests.features.sign_in.people import suspend
from tests.features.sign_in.test_ways_in import events
from tests.promise import promise
from tests.surfaces.http.house import House, problem_of

pytestmark = pytest.mark.asyncio(loop_scope="session")
Person = Callable[..., Awaitable[str]]


@pytest.mark.parametrize("token", ["", "0" * 32, "wrong"])
async def test_a_call_without_the_token_against_forgery_is_refused_and_recorded(
    house: House, web: Web, person: Person, token: str
) -> None:
    await web.by_link(await person())

    response = await web.script("/v1/operations/access.whoami", {}, csrf=token)

    problem_of(response, 403, "denied")
    await house.refusal(response)


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Host": "evil.example"},
    ],
    ids=str,
)
async def test_even_the_right_token_does_not_help_a_page_of_elsewhere(
    house: House, web: Web, person: Person, headers: dict[str, str]
) -> None:
    await web.by_link(await person())
    token = await web.token()

    response = await web.script("/v1/operations/access.whoami", {}, csrf=token, **headers)

    problem_of(response, 403, "denied")
    await house.refusal(response)


async def test_other_methods_and_streams_need_the_token_as_well(web: Web, person: Person) -> None:
    await web.by_link(await person())
    for method, path in (("PUT", "/v1/blobs"), ("POST", "/v1/batch"), ("POST", "/v1/stream")):
        response = await web.http.request(method, path, content=b"{}", headers={"Origin": web.origin})
        problem_of(response, 403, "denied")
    assert (await web.http.get("/v1/operations?limit=1")).status_code == 200, "looking needs none"


async def test_a_form_without_the_token_changes_nothing(house: House, web: Web, person: Person) -> None:
    name = await person()
    await web.by_link(name)

    page = await web.post("/sign-in/you/password", {"password": "correct horse battery"})

    assert page.status_code == 403
    assert (await web.done("signin.factors.list"))["password"] is False
    refused = [one for one in await house.records(actor=name) if one["kind"] == "refused"]
    assert [one["operation"] for one in refused] == ["signin.password.set"]


@pytest.mark.parametrize("headers", [{"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}], ids=str)
async def test_nobody_is_signed_in_by_another_sites_page(house: House, headers: dict[str, str]) -> None:
    web = Web(house)

    page = await web.post("/sign-in/password", {"user": "owner", "password": "x" * 12}, **headers)

    assert page.status_code == 403
    assert not web.session


async def test_a_session_that_was_there_before_is_not_gone_on_with(house: House, web: Web, person: Person) -> None:
    victim = await person()
    await web.by_link(await person())
    planted = web.session  # somebody had the victim's browser take this session
    token = await house.installation.desk.link("default", victim)

    response = await Web(house).http.post(
        f"/sign-in/link/{token}",
        data={"go": "1"},
        headers={"Origin": web.origin, "Cookie": f"superagent={planted}"},
    )

    assert response.status_code == 303
    assert planted not in response.headers["set-cookie"]
    problem_of(await web.call("access.whoami"), 401, "unauthenticated")


async def test_the_cookie_is_kept_from_scripts_and_other_sites(web: Web, person: Person) -> None:
    token = await web.house.installation.desk.link("default", await person())

    response = await web.http.post(f"/sign-in/link/{token}", data={"go": "1"}, headers={"Origin": web.origin})

    parts = {part.strip() for part in response.headers["set-cookie"].split(";")[1:]}
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= parts
    assert "Domain" not in response.headers["set-cookie"]


async def test_a_sessions_token_is_no_key_and_a_key_is_no_session(house: House, web: Web, person: Person) -> None:
    await web.by_link(await person())
    for headers in ({"Authorization": f"Bearer {web.session}"}, {"X-API-Key": web.session}):
        response = await house.stranger.post("/v1/operations/access.whoami", json={}, headers=headers)
        problem_of(response, 401, "unauthenticated")
    cookie = {"Cookie": f"superagent={house.owner.key}", "Host": web.http.headers["Host"]}
    problem_of(
        await house.stranger.post("/v1/operations/access.whoami", json={}, headers=cookie), 401, "unauthenticated"
    )
    twice = {"Cookie": f"superagent={web.session}; superagent={web.session}"}
    problem_of(await house.stranger.get("/v1/operations", headers=twice), 401, "unauthenticated")


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Remote-User": "owner"}, {"X-Forwarded-User": "owner"}, {"X-Forwarded-Email": "owner"},
        {"Remote-User": "owner"},
        {"X-User": "owner"}, {"X-Tenant": "system"}, {"X-Original-User": "owner"}, {"X-WEBAUTH-USER": "owner"},
        {"X-Client-Cert": "owner"}, {"X-SSL-Client-S-DN": "CN=owner"}, {"Impersonate-User": "owner"},
    ],
    ids=str,
)  # fmt: skip
async def test_nobody_becomes_somebody_by_a_header(
    house: House, web: Web, person: Person, headers: dict[str, str]
) -> None:
    problem_of(await house.stranger.post("/v1/operations/access.whoami", headers=headers), 401, "unauthenticated")
    name = await person()
    await web.by_link(name)
    response = await web.script("/v1/operations/access.whoami", {}, **headers)
    assert response.json()["output"]["id"] == name


async def test_a_session_ends_when_its_person_is_suspended(house: House, web: Web, person: Person) -> None:
    name = await person()
    await web.by_link(name)
    assert (await web.done("access.whoami"))["id"] == name
    desk = house.installation.desk

    await suspend(house, name)

    problem_of(await web.call("access.whoami"), 401, "unauthenticated")
    token = await desk.link("default", name)
    await web.get(f"/sign-in/link/{token}")
    assert (await web.submit(f"/sign-in/link/{token}")).status_code == 401


async def test_sessions_are_listed_and_ended_by_their_person_only(house: House, web: Web, person: Person) -> None:
    name, other_name = await person(), await person()
    await web.by_link(name)
    second, other = Web(house), Web(house)
    await second.by_link(name)
    await other.by_link(other_name)
    found = (await web.done("access.sessions.list"))["sessions"]
    (theirs,) = [one["id"] for one in found if not one["current"]]

    problem_of(await other.call("access.sessions.end", {"id": theirs}), 404, "not-found")
    response = await other.call("access.sessions.end", {"id": theirs, "user": name})
    problem_of(response, 403, "denied")
    await house.refusal(response)
    assert (await second.done("access.whoami"))["id"] == name
    await web.get("/sign-in/you")
    await web.submit("/sign-in/you/sessions/end")

    problem_of(await second.call("access.whoami"), 401, "unauthenticated")
    listed = await house.owner.done("access.sessions.list", {"user": name})
    assert len(listed["sessions"]) == 1


async def test_signing_out_ends_the_session(web: Web, person: Person) -> None:
    await web.by_link(await person())
    token = web.session
    await web.get("/sign-in/you")
    await web.submit("/sign-in/out")

    assert not web.session
    response = await web.http.get("/v1/operations", headers={"Cookie": f"superagent={token}"})
    problem_of(response, 401, "unauthenticated")


async def test_an_agent_reaches_nothing_of_sign_in(house: House, web: Web, person: Person) -> None:
    await web.by_link(await person())
    agent = await house.agent(grants=[{"effect": "allow", "operations": ["*"]}])
    asked: dict[str, dict[str, str]] = {
        "signin.password": {"user": "owner", "password": "x"},
        "signin.factors.list": {},
        "access.sessions.list": {},
        "signin.passkeys.begin": {"origin": web.origin},
        "signin.step_up": {"code": "000000"},
    }
    for operation, given in asked.items():
        response = await agent.call(operation, given)
        assert response.status_code in (403, 404), response.text
        await house.refusal(response)


async def test_a_key_enrols_nothing_for_its_person(house: House) -> None:
    origin = f"http://localhost:{house.port}"
    for operation, given in (
        ("signin.passkeys.begin", {"origin": origin}), ("signin.totp.begin", {}),
        ("signin.password.set", {"password": "correct horse battery"}), ("signin.codes.renew", {}),
    ):  # fmt: skip
        response = await house.owner.call(operation, given)
        problem_of(response, 403, "denied")


@promise("1.2c")
async def test_what_is_critical_asks_for_a_step_up_and_then_goes_through(
    house: House, web: Web, person: Person
) -> None:
    name = await person("owner")
    await web.by_link(name)
    await web.set_password()
    response = await web.call("probe.critical")
    assert problem_of(response, 428, "step-up-required")["hint"].count("/sign-in/step-up") == 1
    await house.refusal(response)

    totp = await web.enrol_totp()  # which is a proof as well
    await web.done("probe.critical")

    web.http.cookies.clear()
    await web.by_password(name)
    await web.submit("/sign-in/code", code=totp.at(web.now()))
    await web.done("probe.critical")


async def test_a_step_up_turns_the_session_and_a_wrong_code_does_not(house: House, web: Web, person: Person) -> None:
    name = await person()
    await web.by_link(name)
    totp = await web.enrol_totp()
    before = web.session
    await web.get("/sign-in/step-up?next=/sign-in/you")

    page = await web.submit("/sign-in/step-up", code="000000")
    assert page.status_code == 401
    assert web.session == before
    assert (await events(house, name))[0]["detail"]["way"] == "code"
    await web.submit("/sign-in/step-up", code=totp.at(web.now()))

    assert web.session not in ("", before)
    old = {"Cookie": f"superagent={before}", "Host": web.http.headers["Host"]}
    problem_of(await house.stranger.get("/v1/operations", headers=old), 401, "unauthenticated")
    assert await events(house, name, "signin.stepped_up")


async def test_a_step_up_is_never_made_by_another_persons_passkey(house: House, web: Web, person: Person) -> None:
    name = await person()
    await web.by_link(name)
    device = await web.enrol_passkey()
    other = Web(house)
    await other.by_link(await person())
    theirs = await other.enrol_passkey()
    asked = (await web.script("/sign-in/step-up/passkey/ask", {})).json()

    answer = {"next": asked["next"], "response": theirs.get(asked["options"])}
    problem_of(await web.script("/sign-in/step-up/passkey", answer), 401, "unauthenticated")
    asked = (await web.script("/sign-in/step-up/passkey/ask", {})).json()
    answer = {"next": asked["next"], "response": device.get(asked["options"])}
    assert (await web.script("/sign-in/step-up/passkey", answer)).status_code == 200


@pytest.mark.parametrize(
    "after",
    [
        "//evil.example",
        "https://evil.example",
        "/\\evil.example",
        "javascript:alert(1)",
        "/\t/evil.example",
        "",
        "evil",
    ],
)
async def test_signing_in_leads_to_no_other_site(house: House, web: Web, person: Person, after: str) -> None:
    name = await person()
    await web.by_link(name)
    await web.set_password()
    other = Web(house)

    response = await other.http.post(
        "/sign-in/password",
        data={"user": name, "password": "correct horse battery", "next": after},
        headers={"Origin": other.origin},
    )

    assert response.status_code == 303
    assert response.headers["location"] == "/sign-in/you"
    page = await Web(house).get(f"/sign-in?next={quote(after)}")
    assert "evil" not in page.text or "http" not in page.text.split("next")[1][:40]


async def test_a_link_from_elsewhere_finds_the_session_again(web: Web, person: Person) -> None:
    await web.by_link(await person())

    page = await web.http.get("/sign-in?next=/sign-in/you", headers={"Sec-Fetch-Site": "cross-site", "Cookie": ""})

    assert page.status_code in (200, 303)
    stranger = await Web(web.house).http.get("/sign-in?next=/docs", headers={"Sec-Fetch-Site": "cross-site"})
    assert 'http-equiv="refresh"' in stranger.text


async def test_the_pages_load_nothing_from_elsewhere_and_run_no_inline_script(web: Web, person: Person) -> None:
    await web.by_link(await person())
    for path in ("/sign-in", "/sign-in/you", "/sign-in/step-up", "/sign-in/device"):
        page = await web.get(path)
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe-inline" not in policy
        assert "frame-ancestors 'none'" in policy
        assert "<script>" not in page.text
        assert "https://" not in page.text
        assert page.headers["cache-control"] == "no-store"
    for name in ("style.css", "sign-in.js"):
        assert (await web.http.get(f"/sign-in/static/{name}")).status_code == 200
    problem_of(await web.http.get("/sign-in/static/..%2fpages.py"), 404, "not-found")


async def test_what_a_browser_says_of_itself_is_shown_as_text(web: Web, person: Person) -> None:
    web.http.headers["User-Agent"] = "<script>alert(1)</script>"
    await web.by_link(await person())

    assert "<script>alert" not in (await web.get("/sign-in/you")).text
