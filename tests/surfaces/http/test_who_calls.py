"""Who calls: every way of not having a valid key, and what is answered without one."""

from __future__ import annotations

import asyncio
import logging
import time
from pathlib import Path

import pytest

from superagent.core.principal import Facts
from superagent.runtime.log import JsonLines
from superagent.surfaces.http.request import remote_of
from tests.promise import promise
from tests.surfaces.http.house import House, problem_of

pytestmark = pytest.mark.asyncio(loop_scope="session")

UNKNOWN = "sak_" + "A" * 43


async def strangers(house: House) -> list[dict[str, object]]:
    """Give the records of strangers, newest first."""
    found = await house.owner.done("audit.installation", {"text": "anonymous", "limit": 1000})
    return [one for one in found["records"] if one["who"] == "anonymous"]


@pytest.mark.parametrize(
    "headers",
    [
        {}, {"Authorization": "Bearer nonsense"}, {"Authorization": "Basic b3duZXI6eA=="},
        {"Authorization": f"Bearer {UNKNOWN}"}, {"X-API-Key": ""}, {"X-API-Key": "x" * 5000}, {"X-API-Key": UNKNOWN},
        {"Authorization": "Bearer"}, {"Cookie": "session=1"},
    ],
    ids=str,
)  # fmt: skip
async def test_whoever_shows_no_valid_key_is_refused_and_recorded(house: House, headers: dict[str, str]) -> None:
    before = len(await strangers(house))

    response = await house.stranger.post("/v1/operations/access.whoami", json={}, headers=headers)

    problem_of(response, 401, "unauthenticated")
    metadata = f'resource_metadata="{house.address}/.well-known/oauth-protected-resource"'
    assert response.headers["www-authenticate"].startswith("Bearer ")
    assert metadata in response.headers["www-authenticate"]
    found = await strangers(house)
    assert len(found) > before or len(found) >= 20  # the first twenty in ten seconds are listed, then they are counted


async def test_a_key_is_taken_from_either_header(house: House) -> None:
    for headers in ({"Authorization": f"bearer {house.owner.key}"}, {"X-API-Key": house.owner.key}):
        response = await house.stranger.post("/v1/operations/access.whoami", json={}, headers=headers)
        assert response.json()["output"]["id"] == "owner"


async def test_two_keys_are_refused_even_when_both_are_good(house: House) -> None:
    headers = {"Authorization": f"Bearer {house.owner.key}", "X-API-Key": house.owner.key}

    response = await house.stranger.post("/v1/operations/access.whoami", json={}, headers=headers)

    problem_of(response, 401, "unauthenticated")


@pytest.mark.parametrize("name", [b"authorization", b"x-api-key"])
async def test_a_key_that_is_said_twice_is_refused(house: House, name: bytes) -> None:
    value = (b"Bearer " if name == b"authorization" else b"") + house.owner.key.encode()
    request = house.stranger.build_request("POST", "/v1/operations/access.whoami", json={})
    request.headers = type(request.headers)([*request.headers.raw, (name, value), (name, value)])

    problem_of(await house.stranger.send(request), 401, "unauthenticated")


async def test_a_revoked_key_is_refused_at_once(house: House) -> None:
    agent = await house.agent()
    me = await agent.done("access.whoami")

    await house.owner.done("access.keys.revoke", {"id": me["key"]})

    problem_of(await agent.call("access.whoami"), 401, "unauthenticated")
    problem_of(await agent.get("/openapi.json"), 401, "unauthenticated")


async def test_a_key_is_refused_once_it_has_expired(house: House) -> None:
    agent = await house.agent(expires_s=1)
    end = time.monotonic() + 10
    while (response := await agent.call("access.whoami")).status_code == 200:
        assert time.monotonic() < end
        await asyncio.sleep(0.05)

    problem_of(response, 401, "unauthenticated")


async def test_only_who_holds_a_key_is_told_that_it_is_dead(house: House) -> None:
    agent = await house.agent()
    me = await agent.done("access.whoami")
    await house.owner.done("access.keys.revoke", {"id": me["key"]})

    revoked = await agent.call("access.whoami")
    unknown = await house.stranger.post("/v1/operations/x", headers={"X-API-Key": UNKNOWN})

    assert "revoked" in problem_of(revoked, 401, "unauthenticated")["detail"]
    assert "revoked" not in problem_of(unknown, 401, "unauthenticated")["detail"]


PUBLIC = [
    "/health/live",
    "/health/ready",
    "/docs",
    "/problems/denied",
    "/",
    "/ui/",
    "/sign-in",
    "/sign-in/static/sign-in.js",
    "/.well-known/jwks.json",
    "/.well-known/oauth-authorization-server",
]
CLOSED = [
    "/openapi.json", "/metrics", "/llms.txt", "/openapi/actions.json", "/mcp", "/a2a", "/compat/shell", "/nothing",
    "/v1", "/v1/", "/v1/operations", "/v1/operations/access.whoami", "/v1/invocations/x", "/v1/invocations/x/events",
    "/v1/results/x", "/v1/results/x/raw", "/v1/events", "/v1/nothing", "/docs/", "/health", "/redoc", "/v1/batch",
]  # fmt: skip


@promise("6.1")
@pytest.mark.parametrize("path", CLOSED)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
async def test_nothing_else_answers_without_a_key(house: House, method: str, path: str) -> None:
    response = await house.stranger.request(method, path, content=b"{}" if method != "GET" else None)

    problem_of(response, 401, "unauthenticated")


@pytest.mark.parametrize("path", PUBLIC)
async def test_what_is_public_answers_without_a_key(house: House, path: str) -> None:
    response = await house.stranger.get(path)

    assert response.status_code in (200, 307, 503)
    assert house.owner.key not in response.text


@promise("6.1")
@pytest.mark.parametrize(
    "header",
    ["X-Forwarded-For", "Forwarded", "X-Real-IP", "Via", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Server"],
)
async def test_a_caller_behind_a_proxy_is_never_taken_for_one_on_this_machine(house: House, header: str) -> None:
    scope = {"client": ("127.0.0.1", 1)}

    assert Facts(remote_of(scope, {}), "", "http").loopback
    assert not Facts(remote_of(scope, {header.lower().encode(): b"127.0.0.1"}), "", "http").loopback
    response = await house.owner.call("access.whoami", {}, **{header: "127.0.0.1"})
    (record,) = await house.records(invocation=response.headers["x-invocation-id"])
    assert record["personal"].startswith("forwarded:127.0.0.1")


async def test_a_connection_over_a_unix_socket_is_on_this_machine() -> None:
    assert Facts(remote_of({"client": None}, {}), "", "http").loopback


@promise("6.1")
async def test_a_flood_of_strangers_is_counted_and_not_listed(house: House) -> None:
    earlier = {one["seq"] for one in await strangers(house)}
    for _ in range(60):
        response = await house.stranger.post("/v1/operations/x", headers={"X-API-Key": UNKNOWN, "X-Real-IP": "9.9.9.9"})
        assert response.status_code == 401

    house.installation.kernel.pipeline.record_floods(every=True)

    found = [one for one in await strangers(house) if one["seq"] not in earlier]
    mine = [one for one in found if "forwarded:127.0.0.1" in str(one["detail"])]
    counted = [one for one in mine if one.get("operation") == "refusals.counted"]
    assert sum(int(str(one.get("count", 1))) for one in mine) >= 60
    assert len(counted) >= 1
    assert len(mine) <= 25


@promise("6.1")
async def test_no_key_lies_anywhere_but_in_its_file(house: House, caplog: pytest.LogCaptureFixture) -> None:
    for client in ("httpx", "httpcore"):  # the caller's own end, which the platform does not use: it logs what it asks
        caplog.set_level(logging.CRITICAL, client)
    caplog.set_level(logging.DEBUG)
    agent = await house.agent()
    await agent.done("files.write", {"path": "x", "content": "y"}, Idempotency_Key="1")
    made = await house.owner.call("access.keys.create", {"name": "queued-one"}, Prefer="respond-async, wait=20")
    queued_key = made.json()["output"]["key"]
    for bad in (agent.key[:-1], f"{agent.key}x", agent.key.swapcase()):
        await house.stranger.post(f"/v1/operations/{bad}", headers={"X-API-Key": bad})
        await agent.call(f"probe.{bad}")
    await house.owner.call("probe.broken", {"secret": agent.key})
    await house.installation.audit.flush()

    secrets = {agent.key, house.owner.key, queued_key, agent.key[4:36]}
    found: list[tuple[Path, str]] = []
    for path in house.data.rglob("*"):
        if path.is_file() and path.name != "owner.key":
            content = path.read_bytes()
            found += [(path, secret) for secret in secrets if secret.encode() in content]
    assert found == []
    lines = JsonLines()
    said = [f"{lines.format(record)} {vars(record)}" for record in caplog.records]
    assert any("the probe broke" in line for line in said), "nothing was logged: this shows nothing"
    assert [line for line in said if any(secret in line for secret in secrets)] == []
