"""Ways in: link, password with a code, passkey; and what each refuses, and records."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.features.sign_in.browser import PASSWORD, Web
from tests.promise import promise
from tests.surfaces.http.house import House, problem_of
from tests.webauthn import Authenticator

pytestmark = pytest.mark.asyncio(loop_scope="session")
Person = Callable[..., Awaitable[str]]


async def events(house: House, who: str, what: str = "signin.refused") -> list[dict[str, Any]]:
    """Give the records of one sort about a person, newest first."""
    await house.installation.audit.flush()
    found = await house.records(text=what, limit=500)
    return [one for one in found if one["operation"] == what and one["who"] == who]


async def of_nobody(house: House, what: str = "signin.refused") -> list[dict[str, Any]]:
    """Give the records of strangers' tries, newest first."""
    found = await house.owner.done("audit.installation", {"text": what, "limit": 500})
    return [one for one in found["records"] if one["operation"] == what]


async def test_the_owner_comes_in_by_a_link_enrols_a_passkey_and_uses_it(house: House, web: Web) -> None:
    await web.by_link()
    before = web.session
    device = await web.enrol_passkey()

    assert web.session != before, "a proof turns the session"
    me = await web.done("access.whoami")
    assert (me["id"], me["kind"]) == ("owner", "human")
    other = Web(house)
    response = await other.by_passkey(device)
    assert response.status_code == 200, response.text
    assert "session" not in response.json(), "the token stands in the cookie and nowhere else"
    assert (await other.done("access.whoami"))["id"] == "owner"
    assert await events(house, "owner", "signin.done")


async def test_a_password_alone_is_enough_until_there_is_a_second_factor(
    house: House, web: Web, person: Person
) -> None:
    name = await person()
    await web.by_link(name)
    await web.set_password()
    other = Web(house)
    await other.by_password(name)
    assert (await other.done("access.whoami"))["id"] == name
    totp = await web.enrol_totp()

    third = Web(house)
    page = await third.by_password(name)
    assert "Second factor" in page.text
    assert not third.session
    await third.submit("/sign-in/code", code=totp.at(third.now()))

    assert (await third.done("access.whoami"))["id"] == name
    problem_of(await other.call("access.whoami"), 401, "unauthenticated")  # from before the first factor


@promise("1.2c")
async def test_a_one_time_code_is_taken_once(house: House, web: Web, person: Person) -> None:
    name = await person()
    await web.by_link(name)
    await web.set_password()
    totp = await web.enrol_totp()
    code = totp.at(web.now())
    first, second = Web(house), Web(house)
    for one in (first, second):
        await one.by_password(name)

    await first.submit("/sign-in/code", code=code)
    page = await second.submit("/sign-in/code", code=code)

    assert first.session
    assert page.status_code == 401
    assert not second.session
    assert (await events(house, name))[0]["detail"]["way"] == "code"


@promise("1.2c")
async def test_a_recovery_code_stands_in_once(house: House, web: Web, person: Person) -> None:
    name = await person()
    await web.by_link(name)
    await web.set_password()
    await web.enrol_totp()
    codes = (await web.done("signin.codes.renew"))["codes"]
    assert len(set(codes)) == 10

    for again, status in ((False, 200), (True, 401)):
        other = Web(house)
        await other.by_password(name)
        page = await other.submit("/sign-in/code", code=codes[0])
        assert page.status_code == status, page.text
        assert bool(other.session) is not again

    await web.done("signin.codes.renew")
    other = Web(house)
    await other.by_password(name)
    assert (await other.submit("/sign-in/code", code=codes[1])).status_code == 401, "all earlier codes are void"


async def test_the_words_for_a_wrong_password_and_for_nobody_are_the_same(
    house: House, web: Web, person: Person
) -> None:
    name = await person()
    await web.by_link(name)
    await web.set_password()

    wrong = await Web(house).by_password(name, "not the password")
    nobody = await Web(house).by_password("nobody-at-all", "not the password")

    assert wrong.status_code == nobody.status_code == 401
    assert wrong.text == nobody.text
    assert (await events(house, name))[0]["detail"]["way"] == "password"
    assert await of_nobody(house)


async def test_a_link_is_taken_once_and_looking_at_it_does_not_take_it(house: House, web: Web, person: Person) -> None:
    name = await person()
    token = await house.installation.desk.link("default", name)
    for _ in range(2):
        assert "Go on" in (await web.get(f"/sign-in/link/{token}")).text
    await web.submit(f"/sign-in/link/{token}")
    assert web.session

    other = Web(house)
    await other.get(f"/sign-in/link/{token}")
    page = await other.submit(f"/sign-in/link/{token}")

    assert page.status_code == 401
    assert not other.session
    assert (await of_nobody(house))[0]["detail"]["way"] == "link"


async def test_a_link_from_before_the_first_factor_is_void(house: House, web: Web, person: Person) -> None:
    name = await person()
    await web.by_link(name)
    late = await house.installation.desk.link("default", name)
    await web.enrol_passkey()

    other = Web(house)
    await other.get(f"/sign-in/link/{late}")
    page = await other.submit(f"/sign-in/link/{late}")

    assert page.status_code == 401
    assert (await events(house, name))[0]["detail"]["way"] == "link"


@promise("1.2c")
@pytest.mark.parametrize("why", ["origin", "unverified", "copied", "unknown", "signature", "challenge"])
async def test_a_passkey_that_does_not_answer_rightly_is_refused(
    house: House, web: Web, person: Person, why: str
) -> None:
    name = await person()
    await web.by_link(name)
    device = await web.enrol_passkey()
    await Web(house).by_passkey(device)
    match why:
        case "origin":
            device.origin = "https://evil.example"
        case "unverified":
            device.verifies = False
        case "copied":
            device.counts = False
        case "unknown":
            device = Authenticator(web.origin)
        case "signature":
            device.key = Authenticator(web.origin).key
        case _:
            pass
    other = Web(house)
    asked = (await other.script("/sign-in/passkey/ask", {})).json()
    if why == "challenge":
        asked["options"]["publicKey"]["challenge"] = "AAAA"

    response = await other.script("/sign-in/passkey", {"next": asked["next"], "response": device.get(asked["options"])})

    problem_of(response, 401, "unauthenticated")
    assert not other.session
    found = await (of_nobody(house) if why == "unknown" else events(house, name))
    assert found[0]["detail"]["way"] == "passkey"


async def test_an_answer_of_a_passkey_is_taken_once(house: House, web: Web, person: Person) -> None:
    await web.by_link(await person())
    device = await web.enrol_passkey()
    other = Web(house)
    asked = (await other.script("/sign-in/passkey/ask", {})).json()
    answer = {"next": asked["next"], "response": device.get(asked["options"])}
    assert (await other.script("/sign-in/passkey", answer)).status_code == 200

    problem_of(await Web(house).script("/sign-in/passkey", answer), 401, "unauthenticated")


async def test_a_passkey_is_enrolled_only_by_an_honest_device(house: House, web: Web, person: Person) -> None:
    await web.by_link(await person())
    for device in (Authenticator("https://evil.example"), Authenticator(web.origin, verifies=False)):
        asked = (await web.script("/sign-in/you/passkey/ask", {})).json()
        answer = {"next": asked["next"], "response": device.create(asked["options"])}
        problem_of(await web.script("/sign-in/you/passkey", answer), 401, "unauthenticated")
    asked = (await web.script("/sign-in/you/passkey/ask", {})).json()
    problem_of(
        await web.script("/sign-in/you/passkey", {"next": asked["next"], "response": "nonsense"}),
        401,
        "unauthenticated",
    )


async def test_what_begins_for_one_person_ends_for_nobody_else(house: House, web: Web, person: Person) -> None:
    await web.by_link(await person())
    other = Web(house)
    await other.by_link(await person())
    asked = (await web.script("/sign-in/you/passkey/ask", {})).json()

    answer = {"next": asked["next"], "response": Authenticator(web.origin).create(asked["options"])}
    problem_of(await other.script("/sign-in/you/passkey", answer), 401, "unauthenticated")


@pytest.mark.parametrize("bad", ["short", "aaaaaaaaaaaaaaaa", "x" * 1025])
async def test_a_password_that_is_too_easy_is_refused(web: Web, person: Person, bad: str) -> None:
    await web.by_link(await person())

    problem_of(await web.call("signin.password.set", {"password": bad}), 422, "invalid-input")


async def test_no_secret_of_a_sign_in_lies_in_the_data_folder(house: House, web: Web, person: Person) -> None:
    name = await person()
    await web.by_link(name)
    await web.set_password("a very special password")
    totp = await web.enrol_totp()
    codes = (await web.done("signin.codes.renew"))["codes"]
    await web.get("/sign-in/you")
    await house.installation.audit.flush()

    secrets = {web.session, "a very special password", totp.secret, codes[0], codes[0].replace("-", "")}
    found = [
        (path, secret)
        for path in house.data.rglob("*")
        if path.is_file()
        for secret in secrets
        if secret.encode() in path.read_bytes()
    ]
    assert found == []


async def test_a_password_is_stored_as_argon2id_with_the_floor_of_owasp(house: House, web: Web, person: Person) -> None:
    await web.by_link(await person())
    await web.set_password(PASSWORD)

    assert b"$argon2id$v=19$m=19456,t=2,p=1$" in b"".join(
        path.read_bytes() for path in (house.data / "state").glob("superagent.db*")
    )
