"""The pages of somebody who is in, what the script is answered, and what a page says when something is wrong."""

from __future__ import annotations

import re

import pytest

from tests.features.sign_in import people
from tests.features.sign_in.browser import Web
from tests.surfaces.http.house import House, problem_of

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_recovery_codes_are_shown_once_on_a_page(house: House, web: Web) -> None:
    await web.by_link(people.make(house))
    await web.enrol_totp()
    await web.get("/sign-in/you")
    page = await web.submit("/sign-in/you/codes")

    codes = re.findall("[a-z2-7]{4}(?:-[a-z2-7]{4}){3}", page.text)
    assert len(set(codes)) == 10
    page = await web.get("/sign-in/you")
    assert "10 recovery codes left" in page.text
    assert codes[0] not in page.text


async def test_a_factor_is_removed_on_the_page_and_the_last_one_stays(house: House, web: Web) -> None:
    await web.by_link(people.make(house))
    await web.enrol_totp()
    await web.enrol_passkey()
    other = Web(house)
    await web.get("/sign-in/you")
    await web.submit("/sign-in/you/remove")
    have = (await web.done("signin.factors.list"))["factors"]
    assert [one["kind"] for one in have] == ["passkey"]

    page = await web.submit("/sign-in/you/remove")

    assert page.status_code == 409
    assert "last second factor" in page.text
    rehearsed = await web.script("/v1/operations/signin.factors.remove", {"id": have[0]["id"]}, **{"X-Dry-Run": "1"})
    assert rehearsed.json()["status"] == "previewed"
    missing = await web.script("/v1/operations/signin.factors.remove", {"id": "fac_x"}, **{"X-Dry-Run": "1"})
    problem_of(missing, 404, "not-found")
    assert not other.session


async def test_a_proof_that_is_old_is_asked_for_again_before_factors_change(house: House, web: Web) -> None:
    name = people.make(house)
    await web.by_link(name)
    totp = await web.enrol_totp()
    people.age(house, name, 1000)
    for operation, given in (
        ("signin.password.set", {"password": "correct horse battery"}), ("signin.totp.begin", {}),
        ("signin.codes.renew", {}), ("signin.passkeys.begin", {"origin": web.origin}),
    ):  # fmt: skip
        problem_of(await web.call(operation, given), 428, "step-up-required")
    await web.get("/sign-in/you")
    page = await web.submit("/sign-in/you/password", password="correct horse battery")
    assert "Confirm that it is you" in page.text

    await web.submit("/sign-in/step-up", code=totp.at(web.now()))

    await web.done("signin.totp.begin")


async def test_a_session_without_a_factor_that_is_old_changes_nothing(house: House, web: Web) -> None:
    name = people.make(house)
    await web.by_link(name)
    problem_of(await web.call("signin.codes.renew"), 428, "step-up-required")  # there is nothing to stand in for
    people.age(house, name, 1000)

    problem_of(await web.call("signin.totp.begin"), 428, "step-up-required")
    assert "no second factor yet" in (await web.get("/sign-in/step-up")).text


async def test_a_code_that_does_not_fit_is_asked_for_again_with_the_same_secret(house: House, web: Web) -> None:
    await web.by_link(people.make(house))
    await web.get("/sign-in/you")
    page = await web.submit("/sign-in/you/totp")
    secret = re.search(r'name="secret" value="([^"]+)"', page.text)
    assert secret

    page = await web.submit("/sign-in/you/totp/add", code="000000")

    assert secret[1] in page.text
    assert "does not fit" in page.text


async def test_a_password_that_is_too_easy_is_said_on_the_page(house: House, web: Web) -> None:
    await web.by_link(people.make(house))
    await web.get("/sign-in/you")
    page = await web.submit("/sign-in/you/password", password="short")
    assert page.status_code == 422
    assert "12 to 1024 characters" in page.text


async def test_who_is_in_nowhere_signs_in_first_and_goes_on(house: House) -> None:
    web = Web(house)
    for path, after in (
        ("/sign-in/you", "/sign-in/you"), ("/sign-in/step-up", "/sign-in/step-up"),
        ("/device?user_code=ABCD-EFGH", "/sign-in/device?user_code=ABCD-EFGH"),
        ("/sign-in/device?user_code=%22%3E", "/sign-in/device"), ("/device", "/sign-in/device"),
    ):  # fmt: skip
        page = await web.get(path)
        assert f'name="next" value="{after}"' in page.text, path
    name = people.make(house)
    await web.by_link(name)
    assert (await web.http.get("/sign-in?next=/docs")).headers["location"] == "/docs", "who is in already goes on"
    problem_of(await web.http.post("/device"), 404, "not-found")


async def test_a_device_with_a_code_that_is_none_is_refused(house: House, web: Web) -> None:
    await web.by_link(people.make(house))
    page = await web.get("/sign-in/device?user_code=AAAA-AAAA")
    assert page.status_code == 404
    page = await web.post("/sign-in/device", {"user_code": "AAAA-AAAA", "decision": "allow", "csrf": await web.token()})
    assert page.status_code == 404
    assert "device wants to sign in" in (await web.get("/sign-in/device")).text


async def test_the_script_is_answered_strictly(house: House, web: Web) -> None:
    problem_of(await web.http.get("/sign-in/session"), 401, "unauthenticated")
    problem_of(await web.http.get("/sign-in/passkey/ask"), 404, "not-found")
    problem_of(await web.script("/sign-in/you/passkey/ask", {}), 404, "not-found")  # a stranger has no such operation
    await web.by_link(people.make(house))
    for body in (b"", b"[]", b"{", b"[" * 100_000, b'{"next": 1, "response": 2}'):
        response = await web.http.post(
            "/sign-in/you/passkey", content=body, headers={"Origin": web.origin, "X-CSRF-Token": await web.token()}
        )
        assert response.status_code in (400, 422), body


async def test_a_passkey_needs_a_name_to_belong_to(house: House) -> None:
    web = Web(house)
    web.http.headers["Host"] = f"127.0.0.1:{house.port}"
    web.origin = house.address

    found = problem_of(await web.script("/sign-in/passkey/ask", {}), 503, "unavailable")

    assert found["hint"] == f"http://localhost:{house.port}"


async def test_what_is_not_there_is_a_page_too(house: House, web: Web) -> None:
    page = await web.get("/sign-in/nothing")
    assert page.status_code == 404
    assert "text/html" in page.headers["content-type"]


async def test_ending_a_session_can_be_looked_at_first(house: House, web: Web) -> None:
    await web.by_link(people.make(house))
    (one,) = (await web.done("access.sessions.list"))["sessions"]
    path = "/v1/operations/access.sessions.end"
    assert (await web.script(path, {"id": one["id"]}, **{"X-Dry-Run": "1"})).json()["status"] == "previewed"
    problem_of(await web.script(path, {"id": "ses_x"}, **{"X-Dry-Run": "1"}), 404, "not-found")
    assert (await web.done("access.whoami"))["key"] == one["id"]
