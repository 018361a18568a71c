"""The first start in full: the printed link, set-up only on other addresses, and recovery of a lost factor."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest

from superagent.core.problems import Unavailable
from superagent.runtime.net.listening import listen, local
from superagent.surfaces.cli.recovering import by_name
from tests.features.sign_in import people
from tests.features.sign_in.browser import Web
from tests.features.sign_in.test_ways_in import events
from tests.surfaces.cli.command_line import ENTRY, PATIENCE_S, environment, serving
from tests.surfaces.http.house import House, house_in, problem_of

pytestmark = pytest.mark.asyncio(loop_scope="session")

PUBLIC = "https://agents.example"


class Elsewhere(Web):
    """A browser that reaches an installation by a TLS proxy, under its public name."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.origin = PUBLIC
        self.http.headers["Host"] = "agents.example"

    @property
    def session(self) -> str:
        return self.http.cookies.get("__Host-superagent") or ""


async def test_on_another_address_only_set_up_is_served_until_an_owner_has_a_second_factor(tmp_path: Path) -> None:
    flags: dict[str, Any] = {"server.host": "0.0.0.0", "server.public_url": PUBLIC}  # noqa: S104
    named = {name.replace(".", "__"): value for name, value in flags.items()}
    async with house_in(tmp_path / "data", extra=(), resolve=None, **named) as house:
        problem_of(await house.owner.call("access.whoami"), 503, "unavailable")
        problem_of(await house.owner.get("/v1/operations"), 503, "unavailable")
        problem_of(await house.owner.get("/openapi.json"), 503, "unavailable")
        assert (await house.stranger.get("/health/live")).status_code == 200
        web = Elsewhere(house)
        # the client keeps secure cookies to itself on plain HTTP: this test stands in for the proxy and carries them
        token = await house.installation.desk.link("default", "owner")
        response = await web.http.post(f"/sign-in/link/{token}", data={"go": "1"}, headers={"Origin": PUBLIC})
        cookie = response.headers["set-cookie"]
        assert cookie.startswith("__Host-superagent=sas_")
        assert "; Secure" in cookie
        web.http.headers["Cookie"] = cookie.split(";")[0]
        problem_of(await web.http.get("/v1/operations"), 503, "unavailable")
        csrf = (await web.http.get("/sign-in/session")).json()["csrf"]
        from tests.webauthn import Authenticator

        own = {"Origin": PUBLIC, "X-CSRF-Token": csrf}
        asked = (await web.http.post("/sign-in/you/passkey/ask", json={}, headers=own)).json()
        device = Authenticator(PUBLIC)
        assert asked["options"]["publicKey"]["rp"]["id"] == "agents.example"
        answer = {"next": asked["next"], "response": device.create(asked["options"])}
        assert (await web.http.post("/sign-in/you/passkey", json=answer, headers=own)).status_code == 200

        assert (await house.owner.call("access.whoami")).status_code == 200


async def test_a_visitor_by_another_name_gets_no_page(house: House) -> None:
    for host in ("evil.example", f"evil.example:{house.port}", "localhost.evil.example", ""):
        response = await house.stranger.get("/sign-in", headers={"Host": host})
        assert response.status_code in (400, 403), host


async def test_once_a_second_factor_is_enrolled_the_owners_key_asks_for_it(tmp_path: Path) -> None:
    async with house_in(tmp_path / "data") as house:
        assert (await house.owner.call("probe.critical")).status_code == 200
        web = Web(house)
        await web.by_link()
        await web.enrol_passkey()

        response = await house.owner.call("probe.critical")

        problem_of(response, 428, "step-up-required")
        await house.refusal(response)
        await web.done("probe.critical")


async def test_the_link_of_a_later_start_ends_the_earlier_one_and_no_session(tmp_path: Path) -> None:
    async with house_in(tmp_path / "data") as house:
        desk = house.installation.desk
        used = Web(house)
        await used.by_link()
        earlier = await desk.link("default", "owner")
        of_another = await desk.link("default", people.make(house, "viewer"))
        newest = await desk.link("default", "owner")

        async def opened(token: str) -> int:
            web, path = Web(house), f"/sign-in/link/{token}"
            await web.get(path)
            return (await web.submit(path)).status_code

        assert [await opened(one) for one in (earlier, of_another, newest)] == [401, 200, 200]
        assert (await used.done("access.whoami"))["id"] == "owner"


async def test_a_lost_factor_is_recovered_by_who_owns_the_folder(tmp_path: Path) -> None:
    async with house_in(tmp_path / "data") as house:
        web = Web(house)
        await web.by_link()
        await web.enrol_passkey()
        said = subprocess.run(
            [*ENTRY, "--data", str(house.data), "--json", "recover"],
            capture_output=True, text=True, env=environment(), timeout=PATIENCE_S, check=True,
        )  # fmt: skip
        path = json.loads(said.stdout)["link"].partition("8750")[2]
        assert path.startswith("/sign-in/link/")

        other = Web(house)
        await other.get(path)
        await other.submit(path)
        await other.enrol_passkey()

        assert len((await other.done("signin.factors.list"))["factors"]) == 2
        done = await events(house, "owner", "signin.done")
        assert done[0]["detail"]["way"] == "recover"
        third = Web(house)
        await third.get(path)
        assert (await third.submit(path)).status_code == 401


@pytest.mark.slow
async def test_the_first_start_prints_a_link_for_a_browser_and_recover_finds_the_server(tmp_path: Path) -> None:
    with serving(tmp_path / "data") as server:
        assert server.process.stdout is not None
        lines = (re.search(r"http://localhost:[0-9]+(/sign-in/link/\S+)", line) for line in server.process.stdout)
        found = next(one for one in lines if one)
        page = httpx.get(server.address + found[1], timeout=PATIENCE_S)
        assert "Go on" in page.text
        said = subprocess.run(
            [*ENTRY, "--data", str(tmp_path / "data"), "recover", "owner"],
            capture_output=True, text=True, env=environment(), timeout=PATIENCE_S, check=True,
        )  # fmt: skip
        assert said.stdout.startswith(f"http://localhost:{server.address.rpartition(':')[2]}/sign-in/link/")


async def test_it_listens_elsewhere_only_behind_tls() -> None:
    with listen("0.0.0.0", 0, PUBLIC) as listening:  # noqa: S104
        assert listening.getsockname()[0] == "0.0.0.0"  # noqa: S104
    with pytest.raises(Unavailable):
        listen("0.0.0.0", 0, "http://agents.example")  # noqa: S104
    assert local("127.0.0.1")
    assert local("::1")
    assert local("localhost")
    assert not local("0.0.0.0")  # noqa: S104
    assert not local("agents.example")
    assert by_name("") == ""
    assert by_name("http://[::1]:80") == "http://localhost:80"


async def test_a_new_user_is_invited_once_and_by_nobody_with_less_roles(house: House) -> None:
    name, chief = people.make(house, "viewer"), people.make(house, "owner", "instance-owner")
    admin = Web(house)
    helper = people.make(house, "admin", "viewer")
    await admin.by_link(helper)
    path = (await admin.done("access.users.invite", {"user": name}))["path"]
    for target, status, slug in ((chief, 403, "denied"), ("nobody", 404, "not-found")):
        problem_of(await admin.call("access.users.invite", {"user": target}), status, slug)
    agent = await house.agent(grants=[{"effect": "allow", "operations": ["*"]}])
    response = await agent.call("access.users.invite", {"user": name})
    problem_of(response, response.status_code, "denied")
    await house.refusal(response)

    web = Web(house)
    await web.get(path)
    await web.submit(path)
    await web.set_password()

    assert (await web.done("access.whoami"))["id"] == name
    problem_of(await admin.call("access.users.invite", {"user": name}), 409, "conflict")
