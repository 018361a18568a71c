"""`secrets.*`: putting, rotating, deleting, listing and taking back; and that no door gives a value to anybody."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from superagent.core.grants import Grant
from superagent.core.invocation import digest_of
from superagent.data.database import open_database
from superagent.runtime.clock import SystemClock
from superagent.runtime.keys import FileKeys
from superagent.runtime.log import JsonLines
from superagent.runtime.secrets import SqlSecrets
from superagent.runtime.stores import AREAS
from superagent.sdk import Outcome
from superagent.testing import agent, person
from tests.promise import promise
from tests.runtime.secret_world import SecretWorld, users
from tests.runtime.stores import Stores, stores
from tests.surfaces.http.house import Caller, House, house_in, problem_of

VALUE = "hunter22-in-the-vault"
OTHER = "correct-horse-battery"
BUILDER = agent("builder", of=person("ada"))


@pytest_asyncio.fixture
async def made(tmp_path: Path) -> AsyncGenerator[Stores]:
    async with stores(tmp_path) as one:
        yield one


@pytest.fixture
def here(made: Stores) -> SecretWorld:
    return SecretWorld(made)


def slug(outcome: Outcome) -> str | None:
    return outcome.problem and outcome.problem.slug


async def names(here: SecretWorld, **wanted: Any) -> list[str]:
    return [one["name"] for one in (await here.run("secrets.list", wanted)).result()["secrets"]]


# ---- putting and taking back


async def test_a_secret_is_put_replaced_and_each_taken_back(here: SecretWorld) -> None:
    first = await here.run("secrets.put", {"name": "ci/token", "value": VALUE})
    second = await here.run("secrets.put", {"name": "ci/token", "value": OTHER})
    assert (first.result(), second.result()) == (
        {"name": "ci/token", "version": 1}, {"name": "ci/token", "version": 2},
    )  # fmt: skip
    assert await here.values("ci/token") == [OTHER]

    back = await here.run("undo.apply", {"ids": [second.invocation]})
    assert (back.problem, await here.values("ci/token")) == (None, [VALUE])
    again = await here.run("undo.apply", {"ids": [back.invocation]})
    assert (again.problem, await here.values("ci/token")) == (None, [OTHER])
    await here.run("undo.apply", {"ids": [again.invocation]})
    gone = await here.run("undo.apply", {"ids": [first.invocation]})
    assert (gone.problem, await names(here)) == (None, [])


async def test_what_somebody_changed_since_is_not_taken_back(here: SecretWorld) -> None:
    first = await here.run("secrets.put", {"name": "token", "value": VALUE})
    await here.run("secrets.put", {"name": "token", "value": OTHER})
    refused = await here.run("undo.apply", {"ids": [first.invocation]})
    assert slug(refused) == "conflict"
    assert await here.values("token") == [OTHER]


async def test_a_deleted_secret_is_gone_and_comes_back(here: SecretWorld) -> None:
    await here.run("secrets.put", {"name": "token", "value": VALUE})
    seen = await here.run("secrets.delete", {"name": "token"}, dry_run=True)
    assert (seen.result()["summary"], await names(here)) == ("would delete the secret `token`", ["token"])

    deleted = await here.run("secrets.delete", {"name": "token"})
    assert (deleted.problem, await names(here)) == (None, [])
    plan = (await here.run("undo.plan", {"ids": [deleted.invocation]})).result()
    assert plan["steps"][0]["diff"] == "--- token\n+++ token\n-nothing\n+version 1\n"
    await here.run("undo.apply", {"ids": [deleted.invocation]})
    assert await here.values("token") == [VALUE]


async def test_a_rotated_secret_overlaps_and_comes_back(here: SecretWorld) -> None:
    await here.run("secrets.put", {"name": "token", "value": VALUE, "policy": {"hosts": ["*.example.org"]}})
    seen = await here.run("secrets.rotate", {"name": "token", "value": OTHER}, dry_run=True)
    assert seen.result()["summary"].endswith("the one before stays good for 3600 s")

    rotated = await here.run("secrets.rotate", {"name": "token", "value": OTHER, "overlap_s": 60})
    (listed,) = (await here.run("secrets.list", {})).result()["secrets"]
    assert await here.values("token") == [OTHER, VALUE]
    assert (listed["version"], listed["overlap_until"]) == (2, here.world.clock.now() + 60)
    assert (await here.secrets.open("default", "token"))[0].use.hosts == ("*.example.org",)
    await here.run("undo.apply", {"ids": [rotated.invocation]})
    assert await here.values("token") == [VALUE]


async def test_a_preview_says_what_is_there_and_changes_nothing(here: SecretWorld) -> None:
    new = await here.run("secrets.put", {"name": "token", "value": VALUE}, dry_run=True)
    await here.run("secrets.put", {"name": "token", "value": VALUE})
    old = await here.run("secrets.put", {"name": "token", "value": OTHER}, dry_run=True)
    assert [one.result()["summary"] for one in (new, old)] == [
        "would put a secret away as `token`", "would give the secret `token` a new value",
    ]  # fmt: skip
    assert await here.values("token") == [VALUE]


@pytest.mark.parametrize("name", ["", " x", "-x", "/x", "a b", "a:b", "secret:x", "ä", "x" * 129, "a\nb"])
async def test_a_name_that_makes_no_sense_is_refused(here: SecretWorld, name: str) -> None:
    for operation in ("secrets.put", "secrets.rotate"):
        outcome = await here.run(operation, {"name": name, "value": VALUE})
        assert slug(outcome) in ("invalid-input", "not-found")
    assert slug(await here.run("secrets.put", {"name": name, "value": VALUE}, dry_run=True)) == "invalid-input"
    assert await names(here) == []


@pytest.mark.parametrize(
    ("operation", "input"),
    [("secrets.delete", {}), ("secrets.rotate", {"value": VALUE})],
)
async def test_what_is_not_there_can_be_neither_rotated_nor_deleted(
    here: SecretWorld, operation: str, input: dict[str, Any]
) -> None:
    for dry_run in (True, False):
        assert slug(await here.run(operation, {"name": "nothing", **input}, dry_run=dry_run)) == "not-found"


@pytest.mark.parametrize(
    "policy", [{"hosts": ["no host"]}, {"hosts": ["a/b"]}, {"hosts": "x"}, {"runs": 1}, {"more": True}]
)
async def test_a_policy_that_makes_no_sense_is_refused(here: SecretWorld, policy: dict[str, Any]) -> None:
    outcome = await here.run("secrets.put", {"name": "token", "value": VALUE, "policy": policy})
    assert slug(outcome) == "invalid-input"
    assert VALUE not in json.dumps(outcome.document(), default=str)


@pytest.mark.parametrize("overlap_s", [-1, 31 * 86_400, "1h"])
async def test_an_overlap_that_makes_no_sense_is_refused(here: SecretWorld, overlap_s: Any) -> None:
    await here.put("token", VALUE)
    outcome = await here.run("secrets.rotate", {"name": "token", "value": OTHER, "overlap_s": overlap_s})
    assert slug(outcome) == "invalid-input"


# ---- lists


def granted(*grants: dict[str, Any]) -> list[Grant]:
    everybody = {"effect": "allow", "operations": ["secrets.list", "connections.list"]}
    return [
        Grant.model_validate({"id": str(number), "subject": "*", **one})
        for number, one in enumerate([everybody, *grants])
    ]


async def test_a_list_holds_what_its_reader_may_use_or_change_and_no_more(made: Stores) -> None:
    narrow = {"effect": "allow", "subject": "agent:builder", "operations": ["use.run", "use.ask"]}
    here = SecretWorld(
        made, *granted({**narrow, "where": {"connections": ["secret:ci/*", "github"]}},
                       {"effect": "allow", "subject": "user:ada", "operations": ["*"]})
    )  # fmt: skip
    for name in ("ci/one", "ci/two", "prod/db"):
        await here.put(name, VALUE)
    await here.connect("github", "prod/db")
    await here.connect("gitlab", "ci/one")

    mine = (await here.run("secrets.list", {}, by=BUILDER)).result()["secrets"]
    theirs = (await here.run("connections.list", {}, by=BUILDER)).result()["connections"]
    nobodys = (await here.run("secrets.list", {}, by=person("eve"))).result()

    assert [one["name"] for one in mine] == ["ci/one", "ci/two"]
    assert [one["name"] for one in theirs] == ["github"]
    assert nobodys == {"secrets": [], "cursor": None}
    assert set(mine[0]) == {"name", "version", "changed_at", "changed_by", "overlap_until"}


async def test_a_long_list_comes_in_pages_that_tell_nothing_of_what_is_hidden(
    made: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("superagent.features.secrets.operations.PAGE", 2)
    one = {"effect": "allow", "operations": ["use.run"], "where": {"connections": ["secret:mine-*"]}}
    here = SecretWorld(made, *granted(one))
    for number in range(7):
        await here.put(f"mine-{number}", VALUE)
        await here.put(f"hers-{number}", VALUE)

    seen: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = (await here.run("secrets.list", {"limit": 3, "cursor": cursor or None})).result()
        seen += [one["name"] for one in page["secrets"]]
        cursor = page["cursor"]
        assert cursor is None or cursor.startswith("mine-")
    assert seen == [f"mine-{number}" for number in range(7)]
    assert await names(here, prefix="mine-3") == ["mine-3"]


# ---- no door


class Lines(logging.Handler):
    """Collect what is logged, as the server would write it."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(JsonLines())
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


def shows(data: bytes) -> bool:
    """Tell whether a value stands somewhere, plainly or in a usual encoding."""
    values = [one.encode() for one in (VALUE, OTHER)]
    return any(one in data or base64.b64encode(one)[:-4] in data or one.hex().encode() in data for one in values)


ROUTES = (
    "/v1/operations", "/v1/operations?q=secret", "/v1/operations/secrets.put", "/v1/invocations/{id}",
    "/v1/invocations/{id}/events", "/v1/results/{id}", "/openapi.json", "/llms.txt", "/metrics",
)  # fmt: skip
TRUSTED = ["secrets.*", "connections.*", "undo.*", "approvals.list", "audit.*", "jobs.*", "use.*"]


class Doors:
    """Ask at every door, and keep every reply."""

    def __init__(self) -> None:
        self.replies: list[httpx.Response] = []
        self.ids: list[str] = []

    async def ask(self, who: Caller, operation: str, input: dict[str, Any], **headers: str) -> httpx.Response:
        reply = await who.call(operation, input, **headers)
        self.replies.append(reply)
        if "x-invocation-id" in reply.headers:
            self.ids.append(reply.headers["x-invocation-id"])
        return reply

    async def put_in_every_way(self, who: Caller, name: str) -> None:
        good = {"name": name, "value": VALUE}
        for headers in ({}, {"Idempotency_Key": "k"}, {"Idempotency_Key": "k"}, {"X_Dry_Run": "true"},
                        {"Prefer": "respond-async"}, {"Superagent_Max_Bytes": "0"}):  # fmt: skip
            assert (await self.ask(who, "secrets.put", good, **headers)).status_code in (200, 202)
        for bad in ({"value": {"in": VALUE}}, {"valeu": VALUE}, {"value": VALUE, "policy": VALUE}, {"value": [VALUE]}):
            problem_of(await self.ask(who, "secrets.put", {"name": name, **bad}), 422, "invalid-input")
        await self.ask(who, "secrets.put", {"name": "no name", "value": VALUE})
        await self.ask(who, "secrets.rotate", {"name": name, "value": OTHER, "overlap_s": VALUE})
        await self.ask(who, "secrets.rotate", {"name": name, "value": OTHER})

    async def look_everywhere(self, who: Caller, name: str) -> None:
        where = {"name": name, "type": "http", "endpoint": "https://a.example", "secret": name}
        for operation, input in (
            ("connections.create", where), ("connections.list", {}), ("connections.test", {"name": name}),
            ("secrets.list", {}), ("undo.list", {}), ("undo.plan", {"ids": [self.ids[-2]]}), ("approvals.list", {}),
            ("catalogue.describe", {"name": "secrets.put"}), ("audit.query", {"text": name}),
            ("use.ask", {"connection": name}), ("use.run", {"secret": name}), ("use.run", {"secret": "nothing"}),
        ):  # fmt: skip
            await self.ask(who, operation, input)
        await self.ask(who, "undo.apply", {"ids": [self.ids[-2]]}, X_Dry_Run="true")
        exported = await self.ask(who, "audit.export", {})
        handle = exported.json()["output"]["handle"]
        self.replies.append(await who.get(f"/v1/results/{handle}/raw"))
        assert b"secrets.put" in self.replies[-1].content


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def used(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[House]:
    """Open an installation with operations that use secrets."""
    async with house_in(
        tmp_path_factory.mktemp("used") / "data", extra=(users(),), limits__agent_rate_per_s=1e6,
        limits__agent_burst=10**6,
    ) as house:  # fmt: skip
        yield house


@promise("1.4b")
@pytest.mark.slow
@pytest.mark.asyncio(loop_scope="session")
async def test_neither_agent_nor_owner_reads_a_value_by_any_door(used: House) -> None:
    lines, doors = Lines(), Doors()
    logging.getLogger().addHandler(lines)
    trusted = await used.agent(grants=[{"effect": "allow", "operations": TRUSTED}])
    asking = await used.agent(
        grants=[{"effect": "ask", "operations": ["secrets.*"]}, {"effect": "allow", "operations": ["undo.*"]}]
    )
    for who in (used.owner, trusted):
        await doors.put_in_every_way(who, f"door-{who.name}")
        await doors.look_everywhere(who, f"door-{who.name}")
    waits = (await doors.ask(asking, "secrets.put", {"name": "asked", "value": VALUE})).headers["x-invocation-id"]
    for who in (used.owner, asking, trusted):
        await doors.ask(who, "approvals.list", {"limit": 200})
    batch = {"calls": [{"operation": "secrets.put", "input": {"name": "batched", "value": VALUE}}] * 2}
    doors.replies.append(await used.owner.http.post("/v1/batch", json=batch))
    doors.replies.append(await used.owner.http.post("/v1/stream", content=json.dumps(batch["calls"][0]) + "\n"))
    decided = await doors.ask(used.owner, "approvals.decide", {"id": waits, "decision": "approve"})
    assert decided.json()["output"]["state"] == "running", decided.text
    doors.replies.append(await asking.get(f"/v1/invocations/{waits}/events"))
    assert '"version":1' in doors.replies[-1].text
    for who in (used.owner, trusted, asking):
        for route in ROUTES:
            wanted = doors.ids[:: len(doors.ids) // 5] if "{id}" in route else [""]
            doors.replies += [await who.get(route.format(id=id)) for id in wanted]
    logging.getLogger().removeHandler(lines)

    assert len(doors.replies) > 100
    assert [one.json()["output"]["text"] for one in doors.replies if "TOKEN=" in one.text and "door" in one.text]
    assert not [one.text[:300] for one in doors.replies if shows(one.content)]
    assert not shows("\n".join(lines.lines).encode())
    await used.installation.audit.flush()
    kept = [file for file in used.installation.places.state.rglob("*") if file.is_file()]
    assert not [file for file in kept if shows(file.read_bytes())]
    assert await opened(used, "asked") == VALUE


async def opened(house: House, name: str) -> str:
    """Open a secret as the platform itself can, with its keys."""
    state = house.installation.places.state
    database = await open_database(state / "superagent.db", AREAS)
    try:
        found = await SqlSecrets(database, FileKeys(state / "keys"), SystemClock()).open("default", name)
    finally:
        await database.close()
    return found[0].value.reveal()


@pytest.mark.asyncio(loop_scope="session")
async def test_the_record_of_a_secret_that_can_be_guessed_does_not_confirm_a_guess(used: House) -> None:
    """Somebody who reads the audit, and may put secrets, tries each value and compares the digests."""
    spy = await used.agent(grants=[{"effect": "allow", "operations": ["secrets.put", "audit.query"]}])
    await used.owner.done("secrets.put", {"name": "pin", "value": "481516"})
    for guess in ("481515", "481516", "481517"):
        await spy.done("secrets.put", {"name": "pin", "value": guess}, X_Dry_Run="true")

    found = (await spy.done("audit.query", {"operation": "secrets.put", "resource": "secret://-/pin"}))["records"]
    digests = {one["input_digest"] for one in found}

    assert len({one["input_digest"] for one in found if one["who"] == "owner"}) == 1
    assert len(digests) == 4
    for guess in ("481515", "481516", "481517"):
        assert digest_of({"name": "pin", "value": guess}) not in digests


@pytest.mark.asyncio(loop_scope="session")
async def test_a_fresh_agent_sees_no_secret_and_may_put_none(used: House) -> None:
    agent = await used.agent()
    await used.owner.done("secrets.put", {"name": "hidden", "value": VALUE})
    assert await agent.done("secrets.list") == {"secrets": [], "cursor": None}
    assert await agent.done("connections.list") == {"connections": [], "cursor": None}
    for operation, input in (
        ("secrets.put", {"name": "hidden", "value": OTHER}), ("secrets.delete", {"name": "hidden"}),
        ("secrets.rotate", {"name": "hidden", "value": OTHER}), ("connections.test", {"name": "hidden"}),
    ):  # fmt: skip
        response = await agent.call(operation, input)
        problem_of(response, 404, "not-found")
        assert (await used.refusal(response))["operation"] == operation
    assert await opened(used, "hidden") == VALUE
