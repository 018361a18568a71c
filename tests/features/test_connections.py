"""`connections.*`: naming a remote thing with its secret, who may join the two, trying it, and taking changes back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from superagent.app import install
from superagent.core.grants import Grant
from superagent.features.connections.definitions import host_of
from superagent.sdk import Connected, Context, Input, Outcome, Plugin
from superagent.testing import agent, person
from tests.runtime.secret_world import SecretWorld
from tests.runtime.stores import Stores, stores
from tests.surfaces.http.house import House, house_in, problem_of

pytestmark = pytest.mark.usefixtures("each_database")

VALUE = "hunter22-in-the-vault"
GITHUB = {"name": "github", "type": "http", "endpoint": "https://api.github.com", "secret": "token"}
BUILDER = agent("builder", of=person("ada"))


@pytest_asyncio.fixture
async def made(tmp_path: Path) -> AsyncGenerator[Stores]:
    async with stores(tmp_path) as one:
        yield one


@pytest_asyncio.fixture
async def here(made: Stores) -> SecretWorld:
    world = SecretWorld(made)
    await world.put("token", VALUE)
    return world


def slug(outcome: Outcome) -> str | None:
    return outcome.problem and outcome.problem.slug


async def listed(here: SecretWorld, **wanted: Any) -> list[dict[str, Any]]:
    return (await here.run("connections.list", wanted)).result()["connections"]


# ---- making and changing


async def test_a_connection_is_kept_in_one_spelling_and_listed_without_a_value(here: SecretWorld) -> None:
    seen = await here.run("connections.create", GITHUB, dry_run=True)
    made = await here.run("connections.create", GITHUB | {"endpoint": "HTTPS://API.GitHub.com:443/"})
    shown = {
        "name": "github", "type": "http", "endpoint": "https://api.github.com:443", "host": "api.github.com:443",
        "secret": "token", "options": {"auth": "bearer", "header": "X-API-Key"},
    }  # fmt: skip
    assert seen.result()["summary"] == "would let `github` stand for https://api.github.com:443 with `token`"
    assert made.result() == shown
    assert await listed(here) == [shown]


async def test_a_change_touches_what_it_says_and_is_taken_back(here: SecretWorld) -> None:
    await here.put("other", VALUE)
    await here.run("connections.create", GITHUB | {"options": {"auth": "header", "header": "X-Key"}})
    before = await listed(here)
    change = {"name": "github", "endpoint": "https://ghe.example.org/api/v3/", "secret": "other"}

    seen = await here.run("connections.update", change, dry_run=True)
    assert await listed(here) == before
    changed = await here.run("connections.update", change)

    assert seen.result()["diff"].splitlines()[2:] == [
        "-https://api.github.com:443 secret=token {'auth': 'header', 'header': 'X-Key'}",
        "+https://ghe.example.org:443/api/v3 secret=other {'auth': 'header', 'header': 'X-Key'}",
    ]
    assert changed.result()["host"] == "ghe.example.org:443"
    back = await here.run("undo.apply", {"ids": [changed.invocation]})
    assert (back.problem, await listed(here)) == (None, before)


async def test_a_secret_or_the_options_alone_can_be_changed(here: SecretWorld) -> None:
    await here.run("connections.create", GITHUB)
    without = await here.run("connections.update", {"name": "github", "without_secret": True})
    options = await here.run("connections.update", {"name": "github", "options": {"auth": "header"}})
    again = await here.run("connections.update", {"name": "github", "secret": "token"})
    assert [one.result()["secret"] for one in (without, options, again)] == [None, None, "token"]
    assert again.result()["options"]["auth"] == "header"
    both = await here.run("connections.update", {"name": "github", "secret": "token", "without_secret": True})
    assert slug(both) == "invalid-input"


async def test_a_deleted_connection_comes_back(here: SecretWorld) -> None:
    await here.run("connections.create", GITHUB)
    before = await listed(here)
    seen = await here.run("connections.delete", {"name": "github"}, dry_run=True)
    gone = await here.run("connections.delete", {"name": "github"})
    assert (seen.result()["summary"], gone.problem, await listed(here)) == (
        "would delete the connection `github`", None, [],
    )  # fmt: skip
    plan = (await here.run("undo.plan", {"ids": [gone.invocation]})).result()
    assert plan["steps"][0]["diff"].startswith('--- github\n+++ github\n-nothing\n+{"type":"http"')
    await here.run("undo.apply", {"ids": [gone.invocation]})
    assert await listed(here) == before


async def test_one_name_is_one_connection(here: SecretWorld) -> None:
    await here.run("connections.create", GITHUB)
    again = await here.run("connections.create", GITHUB | {"endpoint": "https://other.example"})
    assert slug(again) == "conflict"
    assert again.problem is not None
    assert "connections.update" in str(again.problem.hint)


async def test_there_is_a_limit_of_names(here: SecretWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("superagent.runtime.connections.MOST_NAMES", 1)
    await here.run("connections.create", GITHUB)
    assert slug(await here.run("connections.create", GITHUB | {"name": "second"})) == "too-large"
    assert slug(await here.run("connections.update", {"name": "github", "without_secret": True})) is None


@pytest.mark.parametrize("operation", ["update", "delete", "test"])
async def test_what_is_not_there_can_be_neither_changed_nor_tried(here: SecretWorld, operation: str) -> None:
    for dry_run in (False, True) if operation != "test" else (False,):
        outcome = await here.run(f"connections.{operation}", {"name": "nothing"}, dry_run=dry_run)
        assert slug(outcome) == "not-found"


async def test_a_long_list_comes_in_pages(here: SecretWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("superagent.features.connections.operations.PAGE", 2)
    for number in range(5):
        await here.connect(f"c{number}")
    first = (await here.run("connections.list", {"limit": 3})).result()
    second = (await here.run("connections.list", {"limit": 3, "cursor": first["cursor"]})).result()
    assert [one["name"] for one in first["connections"] + second["connections"]] == [
        f"c{number}" for number in range(5)
    ]
    assert second["cursor"] is None
    assert [one["name"] for one in await listed(here, prefix="c3")] == ["c3"]


# ---- what is refused


@pytest.mark.parametrize(
    "endpoint",
    [
        "https://user:hunter22@api.github.com", "https://hunter22@api.github.com", "https://api.github.com?key=hunter22",
        "https://api.github.com#hunter22", "https:///hunter22", "api.github.com", "", "https://", "ftp://hunter22",
        "https://0x7f.1/", "https://a b/", "https://a:0", "https://a:99999", "https://a/\n", "https://" + "a" * 3000,
        "http://api.github.com", "postgres://db.example:5432",
    ],
)  # fmt: skip
async def test_an_endpoint_that_makes_no_sense_or_is_unsafe_is_refused_without_being_repeated(
    here: SecretWorld, endpoint: str
) -> None:
    await here.run("connections.create", GITHUB)
    for dry_run in (True, False):
        made = await here.run("connections.create", GITHUB | {"name": "x", "endpoint": endpoint}, dry_run=dry_run)
        changed = await here.run("connections.update", {"name": "github", "endpoint": endpoint}, dry_run=dry_run)
        for outcome in (made, changed):
            assert slug(outcome) == "invalid-input", endpoint
            assert "hunter22" not in json.dumps(outcome.document(), default=str)
    assert "hunter22" not in repr(here.world.audit.records)
    assert [one["name"] for one in await listed(here)] == ["github"]


@pytest.mark.parametrize("host", ["localhost:8080", "127.0.0.1", "[::1]:80"])
async def test_in_clear_a_secret_travels_within_this_machine_only(here: SecretWorld, host: str) -> None:
    assert slug(await here.run("connections.create", GITHUB | {"endpoint": f"http://{host}"})) is None
    away = GITHUB | {"name": "away", "endpoint": "http://127.0.0.1.example.org"}
    assert slug(await here.run("connections.create", away)) == "invalid-input"
    without = {"name": "away", "type": "http", "endpoint": "http://a.example"}
    assert slug(await here.run("connections.create", without)) is None
    assert slug(await here.run("connections.update", {"name": "away", "secret": "token"})) == "invalid-input"


@pytest.mark.parametrize("name", ["", " x", "a:b", "secret:token", "x" * 129, "-"])
async def test_a_name_that_makes_no_sense_is_refused(here: SecretWorld, name: str) -> None:
    assert slug(await here.run("connections.create", GITHUB | {"name": name})) == "invalid-input"


@pytest.mark.parametrize(
    ("options", "path"),
    [
        ({"auth": "basic"}, "$.options.auth"), ({"header": "a b"}, "$.options.header"), ({"more": 1}, "$.options.more"),
        ({"header": ["X"]}, "$.options.header"),
    ],
)  # fmt: skip
async def test_options_are_checked_against_the_type(here: SecretWorld, options: dict[str, Any], path: str) -> None:
    outcome = await here.run("connections.create", GITHUB | {"options": options})
    assert outcome.problem is not None
    assert [one.path for one in outcome.problem.errors] == [path]


async def test_a_type_that_nobody_provides_is_unavailable_and_says_which_there_are(here: SecretWorld) -> None:
    outcome = await here.run("connections.create", GITHUB | {"type": "oracle"})
    assert slug(outcome) == "unavailable"
    assert outcome.problem is not None
    assert outcome.problem.hint == "there are: a2a, http, oauth"


async def test_a_secret_that_is_not_there_cannot_be_chosen(here: SecretWorld) -> None:
    await here.run("connections.create", GITHUB)
    assert slug(await here.run("connections.create", GITHUB | {"name": "x", "secret": "nothing"})) == "not-found"
    assert slug(await here.run("connections.update", {"name": "github", "secret": "nothing"})) == "not-found"


# ---- who may join a secret and a host

MALLORY = agent("mallory", of=person("ada"))


def world(made: Stores, *where: dict[str, Any]) -> SecretWorld:
    """Give a world in which mallory may do anything with connections, as far as `where` reaches."""
    ada = Grant(id="ada", effect="allow", subject="user:ada", operations=["*"])
    back = Grant(id="back", effect="allow", subject="*", operations=["undo.*"])
    return SecretWorld(
        made, ada, back,
        *(Grant.model_validate({"id": f"m{n}", "effect": "allow", "subject": "agent:mallory",
                                "operations": ["connections.*", "use.*"], "where": one})
          for n, one in enumerate(where)),
    )  # fmt: skip


ANY_CONNECTION = {"connections": ["*"], "hosts": ["*"]}


async def test_leave_to_make_connections_is_none_to_send_secrets_anywhere(made: Stores) -> None:
    here = world(made, ANY_CONNECTION)
    await here.put("token", VALUE)
    evil = GITHUB | {"name": "evil", "endpoint": "https://evil.example"}

    refused = await here.run("connections.create", evil, by=MALLORY)

    assert slug(refused) == "not-found"
    assert here.world.audit.records[-1].kind == "refused"
    assert slug(await here.run("connections.create", evil | {"secret": None}, by=MALLORY)) is None
    assert slug(await here.run("connections.update", {"name": "evil", "secret": "token"}, by=MALLORY)) == "not-found"


async def test_a_connection_with_a_secret_cannot_be_led_elsewhere_by_who_may_not_use_the_secret(made: Stores) -> None:
    here = world(made, ANY_CONNECTION)
    await here.put("token", VALUE)
    await here.run("connections.create", GITHUB)
    before = await listed(here)

    led = await here.run("connections.update", {"name": "github", "endpoint": "https://evil.example"}, by=MALLORY)
    options = await here.run("connections.update", {"name": "github", "options": {"header": "X"}}, by=MALLORY)

    assert {slug(led), slug(options)} == {"not-found"}
    assert [one.kind for one in here.world.audit.records if one.problem == "not-found"] == ["outcome", "outcome"]
    assert await listed(here) == before
    dropped = await here.run("connections.update", {"name": "github", "without_secret": True}, by=MALLORY)
    assert slug(dropped) is None
    # nor by taking back what took the secret away
    back = await here.run("undo.apply", {"ids": [dropped.invocation]}, by=MALLORY)
    assert back.problem is not None
    assert back.problem.detail == "there is no `token`"
    assert (await listed(here))[0]["secret"] is None
    assert slug(await here.run("undo.apply", {"ids": [dropped.invocation]})) is None
    assert await listed(here) == before


async def test_undo_leads_no_connection_back_to_a_host_that_may_not_be_used(made: Stores) -> None:
    here = world(made, {"connections": ["*", "secret:token"], "hosts": ["*.github.com"]})
    await here.put("token", VALUE)
    await here.run("connections.create", GITHUB | {"endpoint": "https://old.example"})
    led = await here.run("connections.update", {"name": "github", "endpoint": "https://api.github.com"})
    before = await listed(here)

    back = await here.run("undo.apply", {"ids": [led.invocation]}, by=MALLORY)

    assert slug(back) == "not-found"
    assert await listed(here) == before
    assert slug(await here.run("undo.apply", {"ids": [led.invocation]})) is None


async def test_leave_to_use_a_secret_is_none_for_every_host(made: Stores) -> None:
    here = world(made, {"connections": ["*", "secret:token"], "hosts": ["*.github.com"]})
    await here.put("token", VALUE)
    evil = GITHUB | {"name": "evil", "endpoint": "https://evil.example"}

    assert slug(await here.run("connections.create", evil, by=MALLORY)) == "not-found"
    assert slug(await here.run("connections.create", GITHUB, by=MALLORY)) is None
    for dry_run in (True, False):
        seen = await here.run("connections.create", evil, by=MALLORY, dry_run=dry_run)
        change = {"name": "github", "endpoint": "https://evil.example"}
        led = await here.run("connections.update", change, by=MALLORY, dry_run=dry_run)
        assert [slug(seen), slug(led)] == ["not-found", "not-found"]
    await here.connect("theirs", host="evil.example:443")
    assert slug(await here.run("connections.update", {"name": "theirs", "secret": "token"}, by=MALLORY)) == "not-found"


async def test_a_grant_for_one_connection_is_none_for_another(made: Stores) -> None:
    here = world(made, {"connections": ["mine-*", "secret:token"], "hosts": ["*"]})
    await here.put("token", VALUE)
    assert slug(await here.run("connections.create", GITHUB, by=MALLORY)) == "not-found"
    assert slug(await here.run("connections.create", GITHUB | {"name": "mine-1"}, by=MALLORY)) is None


# ---- types and trying


@dataclass
class Answer:
    status: int


class PlainNet:
    """A way out that vets nothing, to a server of the test."""

    def __init__(self) -> None:
        self.http = self

    async def request(self, method: str, url: str, *, headers: Any, follow: int, timeout_s: float) -> Answer:
        async with httpx.AsyncClient(follow_redirects=follow > 0, timeout=timeout_s) as client:
            return Answer((await client.request(method, url, headers=list(headers))).status_code)


@asynccontextmanager
async def server(good: str) -> AsyncGenerator[tuple[str, list[bytes]]]:
    """Serve on a free port: 204 to whoever shows a header line, 401 to others, 503 below /broken."""
    asked: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        asked.append(head)
        status = (
            b"503 no" if b" /broken " in head else b"204 fine" if good.lower().encode() in head.lower() else b"401 no"
        )
        writer.write(b"HTTP/1.1 " + status + b"\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    listening = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with listening:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}", asked


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({}, f"\r\nAuthorization: Bearer {VALUE}\r\n"),
        ({"auth": "header", "header": "X-Key"}, f"\r\nX-Key: {VALUE}\r\n"),
    ],
)
async def test_a_connection_is_tried_with_its_secret(made: Stores, options: dict[str, Any], line: str) -> None:
    here = SecretWorld(made, net=lambda ctx: PlainNet())  # pyright: ignore[reportUnknownLambdaType]
    await here.put("token", VALUE)
    async with server(line) as (address, asked):
        local = {"name": "local", "type": "http", "endpoint": address, "secret": "token", "options": options}
        await here.run("connections.create", local)
        good = await here.run("connections.test", {"name": "local"})
        await here.put("token", "another-value-of-it")
        bad = await here.run("connections.test", {"name": "local"})
        await here.run("connections.update", {"name": "local", "endpoint": f"{address}/broken"})
        broken = await here.run("connections.test", {"name": "local"})
        await here.run("connections.update", {"name": "local", "without_secret": True, "endpoint": address})
        bare = await here.run("connections.test", {"name": "local"})

    assert good.result() == {"name": "local", "said": f"{address.removeprefix('http://')} answered 204"}
    assert [slug(one) for one in (bad, broken, bare)] == ["denied", "unavailable", "denied"]
    assert [head.split()[0] for head in asked] == [b"HEAD"] * 4
    assert line.encode() in asked[0]
    assert VALUE.encode() not in asked[3]
    assert [kind for kind, _, _ in here.told("secrets.resolve")] == ["event"] * 3


@pytest.mark.parametrize("value", ["two\r\nX-Evil: 1", "pässword-of-it", "a\0b-and-more", " space-around-it "])
async def test_a_secret_that_cannot_stand_in_a_header_is_not_sent(made: Stores, value: str) -> None:
    here = SecretWorld(made, net=lambda ctx: PlainNet())  # pyright: ignore[reportUnknownLambdaType]
    await here.put("token", value)
    async with server("x") as (address, asked):
        await here.run("connections.create", {"name": "c", "type": "http", "endpoint": address, "secret": "token"})
        outcome = await here.run("connections.test", {"name": "c"})
    assert (slug(outcome), asked) == ("conflict", [])


async def test_without_a_way_out_trying_is_unavailable_and_the_secret_stays_where_it_is(here: SecretWorld) -> None:
    await here.run("connections.create", GITHUB)
    outcome = await here.run("connections.test", {"name": "github"})
    assert slug(outcome) == "unavailable"
    assert outcome.problem is not None
    assert "no way out to the network" in outcome.problem.detail
    assert here.told("secrets.resolve") == []


class QueueOptions(Input):
    password: str = ""
    vhost: str = "/"


def queues() -> Plugin:
    plugin = Plugin("queues", reaches=("secret",))

    @plugin.connection("amqp", schemes=("amqps", "amqp"), options=QueueOptions)
    async def answers(ctx: Context, connected: Connected) -> str:
        """Say what would be sent."""
        value = await ctx.secret.resolve(connected.name)
        return f"{connected.options['vhost']} with {value.reveal()}"

    return plugin


async def test_a_plugin_provides_a_type_with_its_own_test(made: Stores) -> None:
    here = SecretWorld(made, extra=(queues(),))
    await here.put("token", VALUE)
    broker = {"name": "broker", "type": "amqp", "endpoint": "amqps://mq.example:5671", "secret": "token"}
    assert slug(await here.run("connections.create", broker | {"options": {"vhost": "/jobs"}})) is None
    assert (await here.run("connections.test", {"name": "broker"})).result()["said"] == "/jobs with [secret token]"
    # and no option can hold what should be a secret
    hidden = await here.run("connections.create", broker | {"name": "x", "options": {"password": "hunter22"}})
    assert slug(hidden) == "invalid-input"
    assert hidden.problem is not None
    assert "secrets.put" in str(hidden.problem.hint)


async def test_a_connection_whose_type_is_gone_says_so(here: SecretWorld) -> None:
    made = Connected("old", "oracle", "oracle://db.example:1521", "db.example:1521", "", {})
    await here.connections.write("default", made, "", "ada")
    assert slug(await here.run("connections.test", {"name": "old"})) == "unavailable"
    assert slug(await here.run("connections.update", {"name": "old", "without_secret": True})) == "unavailable"
    assert slug(await here.run("connections.delete", {"name": "old"})) is None


def test_the_host_of_an_endpoint_is_the_canonical_one() -> None:
    assert host_of("https://API.Example.org/x") == "api.example.org:443"
    assert host_of("ssh://[::FFFF:10.0.0.1]") == "10.0.0.1:22"


# ---- the installation


@pytest.mark.asyncio(loop_scope="session")
async def test_an_installation_collects_types_and_refuses_two_of_one_name(house: House) -> None:
    kernel = house.installation.kernel
    assert list(kernel.hands.connections) == ["http", "a2a", "oauth", "postgresql", "mariadb", "sqlite"]
    before = kernel.registry
    double = Plugin("double")
    double.connection("http", schemes=("https",))(_never)
    with pytest.raises(TypeError, match="two plugins provide connections of the type `http`"):
        install(kernel, (), (double,))
    kernel.registry = before


async def _never(ctx: Context, connected: Connected) -> str:
    raise AssertionError


@pytest.mark.asyncio(loop_scope="session")
async def test_over_http_a_connection_is_made_seen_and_tried(tmp_path_factory: pytest.TempPathFactory) -> None:
    data = tmp_path_factory.mktemp("connected") / "data"
    data.mkdir(mode=0o700)
    (data / "superagent.toml").write_text('[net]\nallow_private = ["127.0.0.1/32", "::1/128"]\n')
    good = f"authorization: bearer {VALUE}"
    async with house_in(data) as house, server(good) as (address, asked):
        await house.owner.done("secrets.put", {"name": "token", "value": VALUE})
        local = GITHUB | {"endpoint": address.replace("127.0.0.1", "localhost")}
        made = await house.owner.call("connections.create", local)
        assert made.status_code == 200, made.text
        tried = await house.owner.done("connections.test", {"name": "github"})
        assert tried["said"].endswith(" answered 204")
        await house.owner.done("secrets.put", {"name": "token", "value": "another-value-of-it"})
        problem_of(await house.owner.call("connections.test", {"name": "github"}), 403, "denied")
        assert len(asked) == 2
        undone = await house.owner.http.post(f"/v1/invocations/{made.headers['x-invocation-id']}/undo")
        assert undone.status_code == 200, undone.text
        assert (await house.owner.done("connections.list"))["connections"] == []
