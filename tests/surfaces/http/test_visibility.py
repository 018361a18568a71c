"""What a caller may not see answers 404, and stands in no list, search, document, feed, result or count."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.promise import promise
from tests.surfaces.http.house import Caller, House, events_of, problem_of

pytestmark = pytest.mark.asyncio(loop_scope="session")


@dataclass
class Two:
    """Two agents with narrow keys, each with a folder, a file, an invocation, a blob, and a call that waits."""

    one: Caller
    other: Caller
    hidden: list[str]
    ids: dict[str, str]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def two(house: House, tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Two]:
    folder = tmp_path_factory.mktemp("narrow")
    callers: list[Caller] = []
    for name in ("azure", "crimson"):
        (folder / name).mkdir()
        (folder / name / f"{name}-file").write_text(f"{name}-content")
        paths = {"paths": [f"{folder}/{name}/**"]}
        grants = [
            {"effect": "allow", "operations": ["files.read", "files.list"], "where": paths},
            {"effect": "ask", "operations": ["files.write"], "where": paths},
        ]
        if name == "crimson":
            grants.append({"effect": "allow", "operations": ["probe.count", "files.hash"]})
        callers.append(await house.agent(name=name, grants=grants))
    one, other = callers
    read = await other.call("files.read", {"path": f"{folder}/crimson/crimson-file"})
    waits = await other.call("files.write", {"path": f"{folder}/crimson/new", "content": "crimson-new"})
    runs = await other.call("probe.count", {"to": 3, "pause_s": 0.01})
    blob = (await other.http.put("/v1/blobs", content=b"crimson-blob")).json()["handle"]
    ids = {
        "read": read.headers["x-invocation-id"],
        "waits": waits.headers["x-invocation-id"],
        "runs": runs.headers["x-invocation-id"],
        "blob": blob,
        "path": f"{folder}/crimson/crimson-file",
        "key": (await other.done("access.whoami"))["key"],
    }
    yield Two(one, other, ["crimson", "probe.count", "files.hash", *ids.values()], ids)


def shows(text: str, hidden: list[str], asked: str = "") -> list[str]:
    """Give what of the hidden stands in a reply, beside what the caller had said itself."""
    return [word for word in hidden if word in text and word not in asked]


GET_ROUTES = [
    "/v1/operations", "/v1/operations?q=count", "/v1/operations?q=hash+crimson", "/v1/operations?domain=probe",
    "/v1/operations/probe.count", "/v1/operations/files.hash", "/v1/invocations/{read}", "/v1/invocations/{waits}",
    "/v1/invocations/{runs}", "/v1/invocations/{runs}/events", "/v1/invocations/{read}/events", "/v1/results/{blob}",
    "/v1/results/{blob}/raw", "/v1/results/{blob}?grep=crimson", "/openapi.json", "/llms.txt", "/metrics",
]  # fmt: skip


@promise("6.1")
@pytest.mark.parametrize("route", GET_ROUTES)
async def test_no_get_shows_an_agent_what_only_another_may_see(two: Two, route: str) -> None:
    path = route.format(**two.ids)

    response = await two.one.get(path)

    assert shows(response.text, two.hidden, asked=path) == []
    if "{" in route or route.endswith((".count", ".hash")):
        problem_of(response, 404, "not-found")


@promise("6.1")
@pytest.mark.parametrize(
    ("operation", "input"),
    [
        ("jobs.status", {"id": "{read}"}), ("jobs.status", {"id": "{waits}"}), ("jobs.cancel", {"id": "{waits}"}),
        ("jobs.cancel", {"id": "{runs}"}), ("undo.plan", {"ids": ["{waits}"]}), ("undo.apply", {"ids": ["{read}"]}),
        ("result.read", {"handle": "{blob}"}), ("result.delete", {"handle": "{blob}"}), ("probe.count", {"to": 1}),
        ("files.hash", {"path": "{path}"}), ("files.read", {"path": "{path}"}), ("files.list", {"path": "/"}),
        ("catalogue.describe", {"name": "probe.count"}), ("access.keys.revoke", {"id": "{key}"}),
        ("approvals.decide", {"id": "{waits}", "decision": "approve"}), ("audit.query", {}), ("settings.list", {}),
        ("audit.installation", {}),
        ("audit.proof", {}),
    ],
)  # fmt: skip
async def test_no_operation_does_either_and_says_the_same_as_for_nothing(
    two: Two, operation: str, input: dict[str, Any]
) -> None:
    said = json.dumps(input)
    for name, value in two.ids.items():
        said = said.replace(f"{{{name}}}", value)

    response = await two.one.call(operation, json.loads(said))

    problem_of(response, 404, "not-found")
    assert shows(response.text, two.hidden, asked=said + operation) == []


@promise("6.1")
@pytest.mark.parametrize(
    "operation", ["approvals.list", "undo.list", "grants.list", "catalogue.search", "access.whoami"]
)
async def test_no_list_names_what_is_anothers(two: Two, operation: str) -> None:
    response = await two.one.call(operation)

    assert response.status_code == 200
    assert shows(response.text, two.hidden) == []


@promise("6.1")
async def test_a_search_in_folders_counts_only_what_may_be_read(house: House, tmp_path: Path) -> None:
    for name in ("open", "closed"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "needle").write_text("needle")
    grants = [
        {"effect": "allow", "operations": ["files.*"], "effects": ["READ"], "where": {"paths": [f"{tmp_path}/**"]}},
        {"effect": "deny", "operations": ["files.*"], "where": {"paths": [f"{tmp_path}/closed/**"]}},
    ]
    agent = await house.agent(grants=grants)

    listed = await agent.done("files.list", {"path": str(tmp_path), "depth": 3})
    found = await agent.done("files.grep", {"pattern": "needle", "root": str(tmp_path)})

    assert "closed" not in json.dumps(listed)
    assert "closed" not in json.dumps(found)
    assert len(found["matches"]) == 1


@promise("6.1")
@pytest.mark.slow
async def test_every_view_of_the_catalogue_agrees_with_the_policy(house: House, two: Two) -> None:
    registry, policies = house.installation.kernel.registry, house.installation.kernel.hands.policies
    for caller in (two.one, two.other, house.owner):
        me = await caller.done("access.whoami")
        principal = await house.door.gate.identify(
            {"client": ("127.0.0.1", 1), "headers": []}, {b"x-api-key": caller.key.encode()}
        )
        assert principal.id == me["id"]
        visible = {one.name for one in registry if policies.of("default").may_try(principal, one)}

        listed = (await caller.get("/v1/operations?limit=500")).json()
        openapi = (await caller.get("/openapi.json")).json()
        llms = (await caller.get("/llms.txt")).text

        assert {one["name"] for one in listed["operations"]} == visible
        assert listed["total"] == len(visible)
        paths = {path.removeprefix("/v1/operations/") for path in openapi["paths"] if "/operations/" in path}
        assert paths - {"{name}"} == visible
        assert set(re.findall(r"^- ([a-z._]+):", llms, re.MULTILINE)) == visible
        tags = {tag for path in openapi["paths"].values() for tag in path.get("post", {}).get("tags", [])}
        assert tags == {name.partition(".")[0] for name in visible}
        for operation in registry:
            described = await caller.get(f"/v1/operations/{operation.name}")
            assert described.status_code == (200 if operation.name in visible else 404), operation.name


async def test_a_hint_names_only_what_may_be_seen(two: Two) -> None:
    async def asked(name: str) -> list[dict[str, Any]]:
        return [
            problem_of(await two.one.get(f"/v1/operations/{name}"), 404, "not-found"),
            problem_of(await two.one.call(name, {}), 404, "not-found"),
        ]

    for near in await asked("files.reed"):
        assert "did you mean `files.read`" in near["hint"]
    for hidden in [*await asked("files.hush"), *await asked("files.hash")]:
        assert "files.hash" not in hidden["hint"]


@promise("6.1")
async def test_an_agent_has_no_counts_of_others(house: House, two: Two) -> None:
    agents, owners = (await two.one.get("/metrics")).text, (await house.owner.get("/metrics")).text

    assert agents == "superagent_up 1\n"
    assert 'operation="probe.count"' in owners


@promise("6.1")
async def test_the_feed_from_the_beginning_shows_an_agent_only_its_own(two: Two) -> None:
    mine = (await two.one.call("access.whoami")).headers["x-invocation-id"]
    text = ""
    async with two.one.http.stream("GET", "/v1/events", headers={"Last-Event-ID": "0"}) as response:
        async for part in response.aiter_text():
            text += part
            if mine in text and text.endswith("\n\n"):
                break

    # other tests asked as this agent for what is hidden from it: its refusals repeat its words, nothing else may
    naming = [data for _, _, data in events_of(text) if shows(json.dumps(data), two.hidden)]
    assert {(data["kind"], data["who"]) for data in naming} <= {("refused", "azure")}
    assert events_of(text)
    assert all(data["who"] == "azure" for _, _, data in events_of(text))


@promise("6.1")
async def test_whoever_owns_the_tenant_sees_all_of_it(house: House, two: Two) -> None:
    state = (await house.owner.get(f"/v1/invocations/{two.ids['runs']}")).json()
    waiting = (await house.owner.done("approvals.list"))["waiting"]

    assert state["operation"] == "probe.count"
    assert two.ids["waits"] in [one["id"] for one in waiting]
    problem_of(await house.owner.get(f"/v1/results/{two.ids['blob']}"), 404, "not-found")


async def test_whoever_may_read_the_audit_sees_anothers_call_and_may_not_stop_it(house: House, two: Two) -> None:
    grants = [{"effect": "allow", "operations": ["audit.query"]}]
    auditor = await house.agent(grants=grants)

    seen = await auditor.get(f"/v1/invocations/{two.ids['waits']}")
    stopped = await auditor.http.post(f"/v1/invocations/{two.ids['waits']}/cancel")

    assert seen.json()["status"] == "waiting"
    problem_of(stopped, 403, "denied")
