"""Servers that want a key or a token: the platform holds it, and nobody who calls a tool sees any of it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.promise import promise
from tests.runtime.mcp_client.connected import assigned, fresh_name, granted, house_of_servers, record
from tests.runtime.mcp_client.guarded import SECRET, Guarded, agreed, guarded, login
from tests.surfaces.http.house import Caller, House, problem_of

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(120)]


async def opened(house: House, one: Guarded, by: str) -> str:
    """Connect the server by a connection, say that its tool is harmless, and give its name."""
    name = fresh_name()
    await house.owner.done("plugins.connect_mcp", {"name": name, "url": one.url, "login": by})
    await assigned(house, name)
    return name


async def act(caller: Caller, name: str, how: str = "well") -> dict[str, Any]:
    """Call the tool."""
    return (await caller.call(f"{name}.act", {"how": how})).json()


@promise("11.8")
async def test_a_client_with_credentials_of_its_own_needs_no_person(house: House) -> None:
    async with guarded() as one:
        first = await house.owner.call("plugins.connect_mcp", {"name": fresh_name(), "url": one.url})
        told = problem_of(first, 503, "unavailable")
        by = await login(house, one)
        name = await opened(house, one, by)
        agent = await granted(house, f"{name}.*")

        assert (await act(agent, name))["output"]["text"] == "did well"
        shown = await act(await granted(house, f"{name}.*"), name, "tell")

        assert f"wants a token of `{one.issuer}`" in told["detail"]
        assert told["fix"]["operation"] == "connections.create"
        assert told["fix"]["input"]["type"] == "oauth"
        assert [(said["grant_type"], said["client"], said["secret"], said["resource"]) for said in one.given] == [
            ("client_credentials", "superagent", SECRET, one.url)
        ]
        assert one.token_of() not in str(shown)
        assert "you showed Bearer [secret" in shown["output"]["text"]
        assert (await record(house, "plugins.authorized", login=by))[0]["detail"]["by"] == "client_credentials"


async def test_a_token_that_is_old_or_no_longer_taken_is_got_anew(house: House) -> None:
    async with guarded() as one:
        name = await opened(house, one, await login(house, one))
        one.good = set()  # the server forgets what was given
        assert (await act(house.owner, name))["output"]["text"] == "did well"
        assert len(one.given) == 2
        one.for_s = 5  # as good as over: from now on each call gets one
        one.good = set()
        await act(house.owner, name)
        await act(house.owner, name)
        assert len(one.given) == 4


@promise("11.8")
async def test_a_person_agrees_by_a_link_and_the_token_is_renewed_from_then_on(house: House) -> None:
    async with guarded(for_s=5) as one:
        by = await login(house, one, "authorization_code")
        asked = {"name": fresh_name(), "url": one.url, "login": by}
        told = problem_of(await house.owner.call("plugins.connect_mcp", asked), 503, "unavailable")
        await agreed(house, one, by)
        name = await opened(house, one, by)
        agent = await granted(house, f"{name}.*")

        done = await asyncio.gather(*(act(house.owner, name) for _ in range(4)), act(agent, name))

        assert told["fix"] == {"operation": "plugins.authorize", "input": {"login": by, "url": one.url}}
        assert [said["output"]["text"] if "output" in said else said for said in done] == ["did well"] * 5
        used = [said["refresh_token"] for said in one.given if said["grant_type"] == "refresh_token"]
        assert len(used) == len(set(used)) >= 5  # each was shown once: an old one shown again would end them all
        whole = b"".join(file.read_bytes() for file in house.data.rglob("*") if file.is_file())
        for secret in (one.token_of(), one.refresh, SECRET):
            assert secret.encode() not in whole


async def test_where_only_a_person_can_go_on_the_problem_says_so(house: House) -> None:
    async with guarded(for_s=5) as one:
        by = await login(house, one, "authorization_code")
        await agreed(house, one, by)
        name = await opened(house, one, by)
        one.refresh = "what was given before is ended there"
        for _ in range(2):
            told = problem_of(await house.owner.call(f"{name}.act"), 503, "unavailable")
            assert told["fix"] == {"operation": "plugins.authorize", "input": {"login": by, "url": one.url}}
        refused = [said for said in one.given if said["grant_type"] == "refresh_token"][-1]["refresh_token"]
        assert sum(said.get("refresh_token") == refused for said in one.given) == 1  # it is not tried again
        await agreed(house, one, by)
        assert (await act(house.owner, name))["output"]["text"] == "did well"


async def test_who_gives_tokens_cannot_tell_a_caller_what_was_sent(house: House) -> None:
    async with guarded(for_s=5) as one:
        by = await login(house, one, "authorization_code")
        await agreed(house, one, by)
        name = await opened(house, one, by)
        sent, one.how = one.refresh, "tells"
        told = await house.owner.call(f"{name}.act")
        assert problem_of(told, 503, "unavailable")["detail"].endswith("gives no token (status 400)")
        assert sent not in told.text
        assert SECRET not in told.text


async def test_who_may_not_use_the_login_or_reach_who_gives_tokens_finds_no_tool(house: House) -> None:
    async with guarded() as one:
        by = await login(house, one)
        name = await opened(house, one, by)
        there, giver = (f"localhost:{at}" for at in (one.server.port, one.giver.port))
        fits = await granted(house, f"{name}.*", where={"hosts": [there, giver], "connections": [by]})
        without = await granted(house, f"{name}.*", where={"hosts": [there, giver], "connections": ["other"]})
        narrow = await granted(house, f"{name}.*", where={"hosts": [there], "connections": [by]})

        assert (await act(fits, name))["output"]["text"] == "did well"
        for one_of in (without, narrow):
            refused = await one_of.call(f"{name}.act")
            assert refused.status_code == 404, refused.text
            assert (await house.refusal(refused))["operation"] == f"{name}.act"


async def test_only_people_let_a_token_be_given(house: House) -> None:
    async with guarded() as one:
        by = await login(house, one)
        agent = await granted(house, "plugins.*")
        refused = await agent.call("plugins.authorize", {"login": by, "url": one.url})
        assert refused.status_code in (403, 404), refused.text
        assert (await house.refusal(refused))["operation"] == "plugins.authorize"
        assert not one.given


@pytest.mark.parametrize(
    "how",
    ["metadata elsewhere", "other resource", "other issuer", "another name", "token elsewhere", "redirects", "no PKCE"],
)
async def test_a_secret_or_token_is_led_nowhere_else(house: House, how: str) -> None:
    async with guarded(how) as one:
        grant = "authorization_code" if how == "no PKCE" else "client_credentials"
        by = await login(house, one, grant)
        for operation, input in (
            ("plugins.authorize", {"login": by, "url": one.url}),
            ("plugins.connect_mcp", {"name": fresh_name(), "url": one.url, "login": by}),
        ):
            refused = await house.owner.call(operation, input)
            assert refused.json()["type"] == "/problems/unavailable", refused.text
        assert one.elsewhere.connections == 0
        assert not one.shown
        assert SECRET not in str(one.server.asked)


async def test_an_answer_is_good_once_and_only_for_what_was_asked(house: House) -> None:
    async with guarded() as one:
        by = await login(house, one, "authorization_code")
        asked = {"login": by, "url": one.url}
        early = await house.owner.call("plugins.authorize", {**asked, "answer": "http://localhost/?code=a&state=b"})
        problem_of(early, 409, "conflict")
        link = (await house.owner.done("plugins.authorize", asked))["link"]
        async with httpx.AsyncClient(follow_redirects=False) as browser:
            ended = (await browser.get(link)).headers["location"]
            page = await browser.get(ended)
        for wrong in (
            ended.replace("state=", "state=x"),
            ended.replace("iss=", "iss=http://other.test&x="),
            ended.partition("&iss=")[0],
        ):
            refused = await house.owner.call("plugins.authorize", {**asked, "answer": wrong})
            problem_of(refused, 422, "invalid-input")
        assert not one.given
        assert (await house.owner.done("plugins.authorize", {**asked, "answer": ended}))["state"] == "authorized"
        problem_of(await house.owner.call("plugins.authorize", {**asked, "answer": ended}), 409, "conflict")

        assert page.status_code == 200
        assert "a-code-of-theirs" not in page.text
        assert page.headers["referrer-policy"] == "no-referrer"


async def test_tokens_of_a_connection_that_was_changed_are_not_used(house: House) -> None:
    async with guarded() as one:
        by = await login(house, one)
        name = await opened(house, one, by)
        options = {"issuer": one.issuer, "client_id": "another", "grant": "client_credentials"}
        await house.owner.done("connections.update", {"name": by, "options": options})
        assert (await act(house.owner, name))["output"]["text"] == "did well"
        assert [said["client"] for said in one.given] == ["superagent", "another"]


async def test_a_key_is_shown_in_a_header_to_the_server_of_its_connection_only(house: House) -> None:
    async with guarded() as one, guarded() as other:
        one.good = {"a-key-which-nobody-may-see"}
        await house.owner.done("secrets.put", {"name": "plain-key", "value": one.token_of()})
        made = {"name": "plain", "type": "http", "endpoint": one.url, "secret": "plain-key"}
        await house.owner.done("connections.create", made)
        name = await opened(house, one, "plain")
        said = await act(house.owner, name, "tell")
        assert one.token_of() not in str(said)
        elsewhere = {"name": fresh_name(), "url": other.url, "login": "plain"}
        problem_of(await house.owner.call("plugins.connect_mcp", elsewhere), 409, "conflict")
        assert one.token_of() not in str(other.server.asked)
        one.good = {"another"}
        told = problem_of(await house.owner.call(f"{name}.act"), 503, "unavailable")
        assert "secrets.put" in told["hint"]


@pytest.mark.parametrize(
    ("input", "why"),
    [
        ({"command": ["python"], "login": "any"}, "a program is shown no secret"),
        ({"url": "http://mcp.test:1/mcp", "login": "any"}, "a secret must not travel in clear"),
    ],
)
async def test_what_would_show_a_secret_to_others_is_refused(house: House, input: dict[str, Any], why: str) -> None:
    async with guarded() as one:
        made = await login(house, one)
        refused = await house.owner.call("plugins.connect_mcp", {"name": fresh_name(), **input, "login": made})
        assert why in problem_of(refused, 422, "invalid-input")["detail"]


async def test_tokens_outlive_a_restart(tmp_path: Path) -> None:
    async with guarded() as one:
        async with house_of_servers(tmp_path / "data") as first:
            by = await login(first, one)
            name = await opened(first, one, by)
        async with house_of_servers(tmp_path / "data") as second:
            assert (await act(second.owner, name))["output"]["text"] == "did well"
        assert len(one.given) == 1
