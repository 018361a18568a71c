"""The door: who comes in, how the card is found and checked, and what is refused before anything is asked."""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from a2a.client.card_resolver import A2ACardResolver
from a2a.types.a2a_pb2 import AgentCard, GetExtendedAgentCardRequest
from a2a.utils.signing import InvalidSignaturesError, create_signature_verifier
from google.protobuf.json_format import MessageToDict, ParseDict

from tests.promise import promise
from tests.surfaces.a2a.clients import WAYS, asking, sent, state_of, talking
from tests.surfaces.http.house import PATIENCE_S, Caller, House, house_in, problem_of

pytestmark = pytest.mark.asyncio(loop_scope="session")
ways = pytest.mark.parametrize(("version", "binding"), WAYS)
CARD = "/.well-known/agent-card.json"


def rpc(method: str = "ListTasks", params: Any = None, **more: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": params or {}, **more}


async def post(caller: Caller, body: Any, path: str = "/a2a", **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await caller.http.post(path, json=body, headers={"A2A-Version": "1.0"} | named)


async def verified(house: House, card: AgentCard) -> None:
    """Check a card as a client does: with the keys that its signature names, by the SDK's own verification."""
    (signature,) = card.signatures
    head = json.loads(base64.urlsafe_b64decode(signature.protected + "==="))
    assert (head["alg"], head["typ"]) == ("EdDSA", "JOSE")
    found = (await house.stranger.get(head["jku"].removeprefix(house.address))).json()
    keys = {one["kid"]: one for one in found["keys"]}
    assert not any("d" in one for one in keys.values())
    create_signature_verifier(lambda kid, jku: jwt.PyJWK(keys[str(kid)]), ["EdDSA"])(card)


@promise("2.1b")
async def test_everybody_finds_a_card_that_is_signed(house: House) -> None:
    async with httpx.AsyncClient(timeout=PATIENCE_S) as http:
        card = await A2ACardResolver(http, house.address).get_agent_card()
    await verified(house, card)
    shown = {(one.protocol_version, one.protocol_binding, one.url) for one in card.supported_interfaces}
    assert shown == {(version, binding, f"{house.address}/a2a") for version, binding in WAYS}
    capable = card.capabilities
    assert (capable.streaming, capable.push_notifications, capable.extended_agent_card) == (True, True, True)
    assert {"bearer", "key", "oauth"} <= set(card.security_schemes)
    assert [one.id for one in card.skills] == ["operate"]  # which operations there are is for who has a key
    changed = ParseDict(MessageToDict(card), AgentCard())
    changed.supported_interfaces[0].url = "https://evil.example/a2a"
    with pytest.raises(InvalidSignaturesError):
        await verified(house, changed)


async def test_a_card_is_sent_again_only_when_it_changed(house: House) -> None:
    first = await house.stranger.get(CARD)
    assert "max-age" in first.headers["cache-control"]
    again = await house.stranger.get(CARD, headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    problem_of(await house.stranger.post(CARD, json={}), 404, "not-found")
    problem_of(await house.stranger.get(f"{CARD}/more"), 404, "not-found")


@ways
async def test_the_extended_card_shows_what_its_reader_may_use(house: House, version: str, binding: str) -> None:
    few = await house.agent(role=None, grants=[{"effect": "allow", "operations": ["files.read"]}])
    shown: list[set[str]] = []
    for caller in (few, house.owner):
        async with talking(house, caller, version, binding) as client:
            card = await client.get_extended_agent_card(GetExtendedAgentCardRequest())
            if version == "1.0":
                await verified(house, card)
            shown.append({one.id for one in card.skills} - {"operate"})
    assert "files.read" in shown[0]
    assert "files.write" not in shown[0]
    assert {"files.write", "access.users.create"} <= shown[1]


@promise("2.1b")
async def test_a_stranger_learns_where_tokens_come_from_and_nothing_else(house: House) -> None:
    for headers in ({}, {"Authorization": "Bearer nonsense"}):
        for method, path in (
            ("POST", "/a2a"), ("GET", "/a2a/tasks"), ("GET", "/a2a/extendedAgentCard"), ("POST", "/a2a/v1/message:send")
        ):  # fmt: skip
            response = await house.stranger.request(method, path, json=rpc(), headers=headers)
            problem_of(response, 401, "unauthenticated")
            challenge = response.headers["www-authenticate"]
            assert f'resource_metadata="{house.address}/.well-known/oauth-protected-resource/a2a"' in challenge
    document = await house.stranger.get("/.well-known/oauth-protected-resource/a2a")
    assert document.json()["resource"] == f"{house.address}/a2a"
    found, _ = await house.installation.index.query("system", limit=50)
    assert any(one["kind"] == "refused" and one["channel"] == "a2a" for one in found), found


async def test_cookies_other_pages_and_other_names_open_nothing(house: House, agent: Caller) -> None:
    for token in ("sas_" + "x" * 43, agent.key):
        response = await house.stranger.post("/a2a", json=rpc(), headers={"Cookie": f"superagent={token}"})
        problem_of(response, 401, "unauthenticated")
    for origin in ("https://evil.example", "null", "http://localhost.evil.example"):
        problem_of(await post(agent, rpc(), Origin=origin), 403, "denied")
    problem_of(await post(agent, rpc(), Host="evil.example"), 400, "malformed")
    problem_of(await house.stranger.get(CARD, headers={"Host": "evil.example"}), 400, "malformed")
    assert (await post(agent, rpc(), Origin=house.address)).status_code == 200


@pytest.mark.parametrize(
    "body", [b"{", b"[]", b"\xff\xfe", b"[" * 100_000, b'{"a":' * 100 + b"1" + b"}" * 100, b'{"id":1,"id":2}', b"NaN"]
)
async def test_what_is_no_json_is_told_so_and_recorded(house: House, agent: Caller, body: bytes) -> None:
    before = len(await house.records(operation="a2a.request", limit=500))
    told = await agent.http.post("/a2a", content=body, headers={"A2A-Version": "1.0"})
    assert (told.status_code, told.json()["error"]["code"], told.json()["id"]) == (200, -32700, None)
    rest = await agent.http.post("/a2a/message:send", content=body, headers={"A2A-Version": "1.0"})
    problem_of(rest, 400, "malformed")
    while len(await house.records(operation="a2a.request", limit=500)) < before + 2:
        await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"jsonrpc": "1.0", "id": 1, "method": "GetTask"}, -32600),
        ({"jsonrpc": "2.0", "id": 1}, -32600),
        (rpc("NoSuchMethod"), -32601),
        (rpc("GetTask", {"id": 5}), -32602),
        (rpc("GetTask", {}), -32602),
        (rpc("SendMessage", {"message": {"messageId": "x", "role": "ROLE_USER"}}), -32602),
        (rpc("SendMessage", {"message": {"messageId": "x", "role": "ROLE_AGENT", "parts": [{"text": "x"}]}}), -32602),
        (rpc("SendMessage", {"message": {"messageId": "x", "role": "ROLE_USER", "contextId": "a b",
                                         "parts": [{"text": "x"}]}}), -32602),
        (rpc("GetTask", {"id": "x", "tenant": "system"}), -32602),
        (rpc("GetTask", {"id": "0" * 26}), -32001),
    ],
)  # fmt: skip
async def test_what_is_no_request_is_told_so(agent: Caller, body: Any, code: int) -> None:
    told = await post(agent, body)
    assert told.status_code == 200
    assert told.json()["error"]["code"] == code, told.text


async def test_versions_that_are_not_spoken_are_told_so(agent: Caller) -> None:
    told = await post(agent, rpc(), A2A_Version="2.0")
    assert told.json()["error"]["code"] == -32009
    rest = await agent.http.get("/a2a/tasks", headers={"A2A-Version": "0.5"})
    assert rest.status_code == 400
    assert rest.json()["error"]["details"][0]["reason"] == "VERSION_NOT_SUPPORTED"
    assert (await post(agent, rpc(), A2A_Version="1.7")).status_code == 200


async def test_what_else_lies_below_is_nothing(agent: Caller) -> None:
    for path in ("/a2a/more", "/a2a/system/tasks", "/a2a/v2/tasks"):
        problem_of(await agent.http.get(path, headers={"A2A-Version": "1.0"}), 404, "not-found")


async def test_limits_hold_here_too(tmp_path: Path) -> None:
    async with house_in(
        tmp_path / "data", limits__agent_rate_per_s=0.1, limits__agent_burst=5, server__max_body_bytes=4096
    ) as house:
        agent = await house.agent()
        problem_of(await post(agent, rpc(params={"pad": "x" * 5000})), 413, "too-large")
        told = [await post(agent, rpc()) for _ in range(8)]
        problem_of(told[-1], 429, "rate-limited")
        assert int(told[-1].headers["retry-after"]) > 0
        other = await house.agent()
        async with talking(house, other) as client:
            tasks = [await sent(client, asking("access.whoami")) for _ in range(8)]
        assert {state_of(one) for one in tasks} == {"completed", "rejected"}
        assert "retry_after_s" in json.dumps(MessageToDict(tasks[-1].status.message))


async def test_without_the_extra_the_door_says_what_is_missing(tmp_path: Path) -> None:
    script = """
import sys; sys.modules["a2a"] = None
from superagent.core.problems import Unavailable
from superagent.surfaces.a2a import door
try:
    door._load()
except Unavailable as told:
    print(told.hint)
"""
    ran = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    assert "superagent[a2a]" in ran.stdout
