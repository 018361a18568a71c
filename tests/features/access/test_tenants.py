"""Tenants: two of them side by side, and nothing of one is there for the other."""

from __future__ import annotations

import json
import random
import re
import time
from collections.abc import AsyncGenerator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from superagent.core.operation import Operation
from superagent.core.resources import Effect
from tests.features.access.people import name_of, tenant, undo
from tests.promise import promise
from tests.surfaces.http.house import Caller, House, problem_of
from tests.telling import told_apart

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_tenant_begins_with_an_owner_who_owns_nothing_else(house: House) -> None:
    boss = await tenant(house)

    me = await boss.done("access.whoami")

    assert (me["tenant"], me["id"], me["roles"]) == (boss.name, "boss", ["owner"])
    problem_of(await boss.call("access.tenants.list"), 404, "not-found")
    problem_of(await boss.call("access.tenants.create", {"id": name_of("t")}), 404, "not-found")
    problem_of(await boss.call("settings.list"), 404, "not-found")
    listed = await house.owner.done("access.tenants.list")
    assert {"system", "default", boss.name} <= {one["id"] for one in listed["tenants"]}


async def test_a_suspended_tenant_stands_still_until_resumed(house: House) -> None:
    boss = await tenant(house)
    made = await boss.done("access.keys.create", {"name": "bot"})
    bot = house.caller("bot", made["key"])
    await bot.done("access.whoami")

    suspended = await house.owner.call("access.tenants.suspend", {"id": boss.name})

    for caller in (boss, bot):
        problem_of(await caller.call("access.whoami"), 401, "unauthenticated")
    await undo(house.owner, suspended)
    await bot.done("access.whoami")
    await house.owner.done("access.tenants.remove", {"id": boss.name})
    problem_of(await bot.call("access.whoami"), 401, "unauthenticated")
    problem_of(await house.owner.call("access.tenants.create", {"id": boss.name}), 409, "conflict")


async def test_an_owner_of_a_later_tenant_sees_nothing_of_the_machine_but_its_own_workspaces(house: House) -> None:
    boss = await tenant(house)
    made = await boss.done("access.keys.create", {"name": "bot"})
    bot = house.caller("bot", made["key"])
    await bot.done("files.write", {"path": "mine", "content": "x"})
    theirs = (await house.agent()).workspace

    assert (await boss.done("files.read", {"path": f"{made['workspace']}/mine"}))["content"] == "x"
    for path in ("/etc/hostname", "/", "/tmp", str(theirs), f"{made['workspace']}/../../default/owner", "/proc/self"):
        for operation in ("files.stat", "files.list", "files.read"):
            response = await boss.call(operation, {"path": path})
            assert response.status_code == 404, (operation, path, response.text)
    # and neither does the owner of the machine look into a workspace of another tenant by name
    problem_of(await house.owner.call("files.read", {"path": f"{made['workspace']}/mine"}), 404, "not-found")


async def test_the_system_tenant_and_ones_own_stay(house: House) -> None:
    for operation in ("suspend", "remove"):
        for id in ("system", "default"):
            problem_of(await house.owner.call(f"access.tenants.{operation}", {"id": id}), 403, "denied")
    problem_of(await house.owner.call("access.tenants.suspend", {"id": "nobody"}), 404, "not-found")


async def test_nobody_of_another_tenant_is_in_a_chain_or_a_group(house: House) -> None:
    boss = await tenant(house)
    bot = await house.agent()
    await boss.done("access.groups.create", {"id": "team"})

    problem_of(
        await boss.call("access.groups.add_member", {"id": "team", "member": f"agent:{bot.name}"}), 404, "not-found"
    )
    problem_of(await boss.call("access.keys.create", {"name": "x", "agent": bot.name}), 404, "not-found")
    problem_of(await boss.call("access.stop_all", {"scope": f"agent:{bot.name}"}), 404, "not-found")
    await boss.done("access.stop_all")
    await bot.done("access.whoami")


# ---- the property: whatever lists, gets, counts, searches or streams gives nothing of another tenant

MARK = "zq7neighbour"


class Full:
    """A tenant with something of every kind; `ids` are what could be guessed, by the kind of thing."""

    def __init__(self, boss: Caller) -> None:
        self.boss = boss
        self.ids: dict[str, str] = {}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def full(house: House) -> Full:
    boss = await tenant(house)
    made = Full(boss)
    name = f"{MARK}-bot"
    made.ids["agent"] = name
    key = await boss.done("access.keys.create", {"name": name})
    made.ids["key"] = key["id"]
    bot = house.caller(name, key["key"])
    wrote = await bot.call("files.write", {"path": f"{MARK}.txt", "content": MARK})
    made.ids["invocation"] = wrote.headers["x-invocation-id"]
    made.ids["path"] = f"{key['workspace']}/{MARK}.txt"
    asked = await bot.call("files.read", {"path": "/etc/hostname"}, Superagent_Reason=MARK)
    made.ids["waiting"] = asked.headers["x-invocation-id"]
    await boss.done("secrets.put", {"name": f"{MARK}-secret", "value": f"{MARK}-value"})
    made.ids["secret"] = f"{MARK}-secret"
    await boss.done("access.users.create", {"id": f"{MARK}-ada", "roles": ["viewer"]})
    made.ids["user"] = f"{MARK}-ada"
    await boss.done("access.groups.create", {"id": f"{MARK}-group"})
    made.ids["group"] = f"{MARK}-group"
    role = [{"effect": "allow", "operations": ["files.read"], "where": {"paths": [f"/{MARK}/**"]}}]
    await boss.done(
        "access.roles.create", {"id": f"{MARK}-role", "grants": [role[0] | {"effect": "ask"}], "summary": MARK}
    )
    made.ids["role"] = f"{MARK}-role"
    forbids = {**role[0], "effect": "deny", "subject": f"agent:{name}"}  # needs no second factor
    granted = await boss.done("grants.create", {"grant": forbids})
    made.ids["grant"] = granted["id"]
    await boss.done("access.stop_all", {"scope": f"user:{MARK}-ada", "reason": MARK})
    job = await bot.call("probe.wait", {"seconds": 0.0, "mark": MARK}, Prefer="respond-async")
    made.ids["job"] = job.headers["x-invocation-id"]
    large = await bot.http.put("/v1/blobs", content=MARK.encode())
    made.ids["handle"] = large.json()["handle"]
    return made


def guesses(operation: Operation, full: Full) -> list[dict[str, Any]]:
    """Give inputs by which somebody would look for the other's things: everything, and each id in each text."""
    properties: dict[str, Any] = operation.input_schema.get("properties", {})
    required: list[str] = operation.input_schema.get("required", [])
    texts = [name for name, schema in properties.items() if '"string"' in json.dumps(schema)]
    base = {name: _some(properties[name]) for name in required}
    inputs = [base]
    for name in texts:
        for id in full.ids.values():
            inputs.append({**base, name: [id] if '"array"' in json.dumps(properties[name]) else id})
    return inputs


def _some(schema: dict[str, Any]) -> Any:
    if "enum" in schema:
        return schema["enum"][0]
    kinds: dict[str, Any] = {"string": "x", "integer": 1, "number": 1.0, "boolean": True, "array": [], "object": {}}
    return kinds.get(schema.get("type", "string"), "x")


def shown(text: str, full: Full, asked: dict[str, Any]) -> str:
    """Give a reply without the one thing that the caller named itself."""
    said = json.dumps(asked)
    for id in sorted(full.ids.values(), key=len, reverse=True):
        if id in said:
            for whole_or_cut in (
                id,
                id[:200],
                id[:100],
                id.rpartition("/")[2],
            ):  # long ones are told by their beginning
                text = text.replace(whole_or_cut, "")
    return text


def same(response: httpx.Response, id: str) -> dict[str, Any]:
    """Give a problem without the id that was asked for and the one of the asking."""
    document = json.loads(response.text.replace(id, "ID"))
    return {name: value for name, value in document.items() if name not in ("instance", "invocation")}


@pytest.mark.slow
@promise("1.1a")
async def test_whatever_only_reads_gives_nothing_of_another_tenant(house: House, full: Full) -> None:
    other = await tenant(house)
    tried = 0
    # the audit first: later it has records of these very guesses
    for operation in sorted(house.installation.kernel.registry, key=lambda one: not one.name.startswith("audit.")):
        if operation.effect != Effect.READ or operation.stream or operation.name.startswith("probe."):
            continue
        for input in guesses(operation, full):
            response = await other.call(operation.name, input, Superagent_Deadline="5")
            assert MARK not in shown(response.text, full, input), (operation.name, input, response.text[:500])
            for kind, id in full.ids.items():
                assert id not in shown(response.text, full, input), (operation.name, kind, response.text[:500])
            tried += 1
    assert tried > 200


ULID = "01M8JS1GJJWPJ19KA1J4F4FWDS"
NEVER = {
    "user": f"{MARK}-bob", "agent": f"{MARK}-non", "role": f"{MARK}-none", "group": f"{MARK}-none", "job": ULID,
    "key": "key_" + "a" * 24, "waiting": ULID, "invocation": ULID, "grant": f"grant_{ULID}",
    "secret": f"{MARK}-nothing",
}  # fmt: skip
LOOKED_UP = {
    "access.users.show": "user", "access.users.suspend": "user", "access.agents.show": "agent",
    "access.agents.pause": "agent", "access.keys.show": "key", "access.keys.revoke": "key", "access.keys.rotate": "key",
    "access.roles.show": "role", "access.roles.delete": "role", "access.groups.delete": "group",
    "approvals.show": "waiting", "approvals.decide": "waiting", "jobs.status": "job", "jobs.logs": "job",
    "jobs.cancel": "job", "undo.apply": "invocation", "grants.revoke": "grant", "secrets.delete": "secret",
}  # fmt: skip


@promise("1.1a")
async def test_an_id_of_another_tenant_reads_like_one_that_never_was(house: House, full: Full) -> None:
    other = await tenant(house)
    for operation, kind in LOOKED_UP.items():
        field = {"undo.apply": "ids", "secrets.delete": "name"}.get(operation, "id")
        more = {"decision": "approve"} if operation == "approvals.decide" else {}
        theirs, nobodys = full.ids[kind], NEVER[kind]
        told: list[dict[str, Any]] = []
        for id in (theirs, nobodys):
            response = await other.call(operation, {field: [id] if field == "ids" else id, **more})
            assert response.status_code == 404, (operation, response.text)
            told.append(same(response, id))
        assert told[0] == told[1], operation


@promise("1.1a")
async def test_paths_of_the_api_give_nothing_of_another_tenant(house: House, full: Full) -> None:
    other = await tenant(house)
    for path, kind in (
        ("/v1/invocations/{}", "job"), ("/v1/invocations/{}", "waiting"), ("/v1/invocations/{}", "invocation"),
        ("/v1/invocations/{}/events", "job"), ("/v1/results/{}", "handle"), ("/v1/results/{}/raw", "handle"),
    ):  # fmt: skip
        theirs, nobodys = [await other.get(path.format(id)) for id in (full.ids[kind], ULID)]
        assert theirs.status_code == nobodys.status_code == 404, (path, theirs.text)
        assert same(theirs, full.ids[kind]) == same(nobodys, ULID), path


async def test_undo_of_another_tenants_change_is_not_there(house: House, full: Full) -> None:
    other = await tenant(house)
    response = await other.http.post(f"/v1/invocations/{full.ids['invocation']}/undo")
    assert response.status_code == 404
    listed = await other.done("undo.list")
    assert listed["entries"] == []


@promise("1.1a")
async def test_the_live_feed_tells_nothing_of_another_tenant(house: House, full: Full) -> None:
    other = await tenant(house)
    heard: list[str] = []
    async with other.http.stream("GET", "/v1/events") as feed:
        assert feed.status_code == 200
        await full.boss.done("access.whoami")
        await full.boss.done("secrets.put", {"name": f"{MARK}-again", "value": "x-another-value"})
        await other.done("secrets.put", {"name": "my-own", "value": "x-another-value"})
        async for line in feed.aiter_lines():
            heard.append(line)
            if "my-own" in line or "secrets.put" in line:
                break
    text = "\n".join(heard)
    assert "secrets.put" in text
    assert MARK not in text
    assert full.boss.name not in text


@promise("1.1a")
async def test_no_place_among_records_tells_how_many_others_made(house: House) -> None:
    """The index counts the records of all tenants on: two such numbers would say what happened in between."""
    other = await tenant(house)
    await other.done("access.whoami")
    await other.done("access.whoami")
    async with other.http.stream("GET", "/v1/events", headers={"Last-Event-ID": "0"}) as feed:
        found = [line async for line in until_ids(feed, 2)]
    page = await other.done("audit.query", {"limit": 1})
    for one in (*found, page["cursor"]):
        assert not re.fullmatch("[0-9.e+-]+", one), one
    assert (await other.done("audit.query", {"limit": 1, "cursor": page["cursor"]}))["records"] != page["records"]
    problem_of(await house.owner.get("/v1/events", **{"Last-Event-ID": found[0]}), 422, "invalid-input")
    problem_of(await house.owner.call("audit.query", {"cursor": page["cursor"]}), 422, "invalid-input")


async def until_ids(feed: httpx.Response, count: int) -> AsyncGenerator[str]:
    """Give the ids of the first events of a stream."""
    async for line in feed.aiter_lines():
        if line.startswith("id: "):
            yield line.removeprefix("id: ")
            count -= 1
            if not count:
                return


ROUNDS = 300
GUESSED = {
    "jobs.status": ("id", "job"),
    "jobs.cancel": ("id", "job"),
    "jobs.logs": ("id", "job"),
    "undo.plan": ("ids", "invocation"),
    "result.read": ("handle", "handle"),
    "approvals.show": ("id", "waiting"),
    "access.agents.show": ("id", "agent"),
    "secrets.remove": ("name", "secret"),
}
TOLD = 0.65
"""0.5 is a coin, 1.0 is certain: the share of pairs (another tenant's id, one of nobody) that times put in order."""


@pytest.mark.soak
@pytest.mark.timeout(1800)
async def test_the_time_of_a_refusal_does_not_tell_what_another_tenant_has(house: House, full: Full) -> None:
    other = await tenant(house)
    for operation, (field, kind) in GUESSED.items():
        theirs = full.ids[kind]
        nobodys = theirs[:-1] + ("0" if theirs[-1] != "0" else "1")
        times: dict[str, list[float]] = {theirs: [], nobodys: []}
        for _ in range(ROUNDS):
            for id in random.sample([theirs, nobodys], 2):
                began = time.process_time()  # the server is in this very process
                response = await other.call(operation, {field: [id] if field == "ids" else id})
                times[id].append(time.process_time() - began)
                assert response.status_code == 404, response.text
        area = told_apart(times[theirs], times[nobodys])
        print(f"{operation}: told apart in {area:.3f} of pairs")  # noqa: T201 - the figure is what this is for
        assert area <= TOLD, operation
