"""The short way of a plain call: it says what the usual way says, byte for byte of the protocol's JSON."""

from __future__ import annotations

import json
import re
from typing import Any

import httpx
import pytest

from superagent.surfaces.mcp import quick
from tests.promise import promise
from tests.surfaces.http.house import Caller, House, problem_of
from tests.surfaces.mcp.client import NEW, connected, told

pytestmark = pytest.mark.asyncio(loop_scope="session")
PREFIX = "io.modelcontextprotocol/"
ABLE: dict[str, Any] = {"elicitation": {}, "extensions": {PREFIX + "tasks": {}}}
# what the SDK reads as the same, and the short way leaves to it
USUAL = {"Accept": "application/json,  text/event-stream"}
CHANGES = re.compile(r"01[0-9A-HJKMNP-TV-Z]{24}|ask\.[^\"\\]+|20\d\d-\d\d-\d\dT[0-9:.]+Z")


def message(name: str, arguments: Any = None, able: Any = None, id: Any = 1, meta: Any = None, **more: Any) -> Any:
    """Make a call of a tool."""
    empty: dict[str, Any] = {}
    meta = {f"{PREFIX}protocolVersion": NEW, f"{PREFIX}clientCapabilities": able or empty, **(meta or empty)}
    params: dict[str, Any] = {
        "name": name,
        "arguments": empty if arguments is None else arguments,
        "_meta": meta,
        **more,
    }
    return {"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params}


async def post(caller: Caller, body: Any, **headers: str) -> httpx.Response:
    text = body if isinstance(body, str) else json.dumps(body)
    name = json.loads(text)["params"]["name"]
    given = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
    given |= {"MCP-Protocol-Version": NEW, "Mcp-Method": "tools/call", "Mcp-Name": name}
    return await caller.http.post("/mcp", content=text.encode(), headers=given | headers)


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Give the tools whose calls took the short way."""
    found: list[str] = []
    answers = quick.Quick.__call__

    async def noting(self: Any, caller: Any, plain: Any, visit: Any, send: Any) -> None:
        found.append(plain[1].name)
        await answers(self, caller, plain, visit, send)

    monkeypatch.setattr(quick.Quick, "__call__", noting)
    return found


TESTS = [{"effect": "allow", "operations": ["test.*"]}]
STEERED = {quick.STEERS: {"dry_run": True, "reason": "to see"}}
PLAIN = [
    message("access_whoami"),
    message("access_whoami", id='a " text, é and \u2028', able=ABLE),
    message("access_whoami", id=2**60, meta={f"{PREFIX}clientInfo": {"name": "t", "version": "1"}}),
    message("access_whoami", {"nothing": 1}),
    message("access_whoami", meta=STEERED),
    message("access_whoami", meta={quick.STEERS: {"operation": "files.read"}}),
    message("access_whoami", meta={quick.STEERS: 7}),
    message("run_operation", {"operation": "access.whoami"}, meta=STEERED),
    message("run_operation", {"operation": "access.whoami", "dry_run": False}, meta=STEERED),
    message("run_operation", {"operation": "catalogue.describe", "input": {"name": "files.read"}}),
    message("run_operation", {"operation": "no.such"}),
    message("run_operation", {"nothing": 1}),
    message("search_operations", {"query": "read a file \u00fc \U0001f600"}),
    message("no_such_tool"),
    message("files_read", {"path": "/etc/hostname"}),  # waits for a person
    message("files_read", {"path": "/etc/hostname"}, able={"elicitation": {}}),
    message("files_read", {"path": "/etc/hostname"}, able={"extensions": {PREFIX + "tasks": {}}}),
    message("test_image_content"),
    message("test_multiple_content_types"),
    message("test_error_handling"),
    message("test_input_required_result_elicitation"),
    message("test_input_required_result_elicitation", able=ABLE),
    message("test_missing_capability"),
    message("test_tool_with_progress"),
]
_OTHERS = [
    message("access_whoami", meta={"progressToken": 1}),
    message("access_whoami", meta={"more": 1}),
    message("access_whoami", meta={"superagent/cal": {"dry_run": True}}),
    message("access_whoami", [1]),
    message("access_whoami", id=1.5),
    message("access_whoami", id=None),
    message("access_whoami", able=[1]),
    message("access_whoami", meta={f"{PREFIX}clientInfo": 7}),
    message("access_whoami", meta={f"{PREFIX}protocolVersion": "2025-11-25"}),
    message("access_whoami", more=1),
    message("access_whoami", requestState="ask.x.y"),
    message("test_header_tool", {"region": "x"}),
    message("access_whoami") | {"jsonrpc": "1.0"},
    message("access_whoami") | {"method": "tools/list"},
    json.dumps(message("access_whoami")).replace('"arguments": {}', '"arguments": {"n": NaN}'),
    json.dumps(message("access_whoami")).replace('"arguments": {}', '"arguments": {"n": "\\ud800"}'),
]


@promise("10.5a")
async def test_both_ways_say_the_same(house: House, taken: list[str]) -> None:
    agent, tester = await house.agent(), await house.agent(grants=TESTS)
    for number, body in enumerate(PLAIN):
        caller = tester if body["params"]["name"].startswith("test_") else agent
        short, usual = await post(caller, body), await post(caller, body, **USUAL)

        assert len(taken) == number + 1, (body, short.text)
        same(short, usual, body)


async def test_what_is_not_plain_is_left_to_the_usual_way(house: House, agent: Caller, taken: list[str]) -> None:
    for body in _OTHERS:
        same(await post(agent, body), await post(agent, body, **USUAL), body)
    for headers in ({"Mcp-Param-Region": "x"}, {"Mcp-Name": "files_read"}, {"Mcp-Method": "x"}, {"Content-Type": "x"}):
        same(await post(agent, PLAIN[0], **headers), await post(agent, PLAIN[0], **(USUAL | headers)), headers)
    doubled = [("MCP-Protocol-Version", NEW), ("Mcp-Name", "access_whoami"), ("Mcp-Name", "access_whoami")]
    doubled += [("Mcp-Method", "tools/call"), ("Accept", "application/json, text/event-stream")]
    refused = await agent.http.post("/mcp", json=PLAIN[0], headers=doubled)
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, -32020)
    assert not taken


SLIPS: list[tuple[str, Any]] = [("dry_run", True), ("dryRun", "true"), ("dry", True), (quick.STEERS, {"dry_run": True})]


@pytest.mark.parametrize(("key", "value"), SLIPS, ids=[key for key, _ in SLIPS])
async def test_a_dry_run_said_beside_the_arguments_is_refused(house: House, key: str, value: Any) -> None:
    """The SDK leaves aside what the protocol does not know, and the call would act."""
    agent = await house.agent()
    write = {"path": "beside", "content": "x"}
    for call in (message("files_write", write), message("run_operation", {"operation": "files.write", "input": write})):
        call["params"][key] = value
        problem = (await post(agent, call)).json()["result"]["structuredContent"]["problem"]

        assert (problem["type"], problem["errors"][0]["path"]) == ("/problems/invalid-input", f"$.{key}")
        assert '`{"superagent/call": {"dry_run": true}}`' in problem["hint"]
        (record,) = await house.records(invocation=problem["invocation"])
        assert (record["kind"], record["channel"]) == ("refused", "mcp")
        assert not (agent.workspace / "beside").exists()


@pytest.mark.parametrize(("key", "value"), SLIPS, ids=[key for key, _ in SLIPS])
async def test_a_dry_run_said_of_a_whole_message_is_refused(house: House, key: str, value: Any) -> None:
    agent = await house.agent()
    response = await post(agent, message("files_write", {"path": "whole", "content": "x"}) | {key: value})

    assert '`{"superagent/call": {"dry_run": true}}`' in problem_of(response, 422, "invalid-input")["hint"]
    (record,) = await house.records(actor=agent.name, operation="tools/call")
    assert (record["kind"], record["problem"]) == ("refused", "invalid-input")
    assert not (agent.workspace / "whole").exists()


async def test_what_others_say_beside_the_arguments_is_nobodys_slip(agent: Caller) -> None:
    write = {"path": "dry_run", "content": "dry_run"}
    response = await post(agent, message("files_write", write, laundry={"dryad": 1}) | {"x": 1})

    assert response.json()["result"]["structuredContent"]["status"] == "done"


async def test_numbers_come_as_they_were_sent(agent: Caller, taken: list[str]) -> None:
    for number in ("12345678901234567890123", "1e400", "1.0", "-0"):
        body = json.dumps(message("files_read")).replace('"arguments": {}', f'"arguments": {{"path": {number}}}')
        same(await post(agent, body), await post(agent, body, **USUAL), body)


async def test_a_silent_call_begins_a_stream_and_pings(
    house: House, taken: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = await house.agent(grants=TESTS)
    monkeypatch.setattr(quick, "PING_S", 0.02)
    response = await post(agent, message("test_tool_with_progress"))

    assert response.headers["content-type"] == "text/event-stream"
    pings, _, last = response.text.partition("event: message\r\ndata: ")
    assert set(pings.split("\r\n\r\n")) == {": ping", ""}
    assert json.loads(last)["result"]["structuredContent"]["output"] == {"text": "done"}
    assert taken == ["test_tool_with_progress"]


async def test_the_official_client_comes_by_it(house: House, agent: Caller, taken: list[str]) -> None:
    async with connected(house, agent, NEW) as client:
        said = told(await client.call_tool("access_whoami", {}))

    assert taken == ["access_whoami"]
    (record,) = await house.records(invocation=said["invocation"])
    assert (record["operation"], record["channel"], record["who"]) == ("access.whoami", "mcp", agent.name)


def same(one: httpx.Response, other: httpx.Response, what: Any) -> None:
    """Compare two answers, without what is made anew for each call."""
    assert one.status_code == other.status_code, (what, one.text, other.text)
    assert one.headers.get("content-type") == other.headers.get("content-type"), what
    assert _steady(one) == _steady(other), what


def _steady(response: httpx.Response) -> Any:
    text = CHANGES.sub("*", response.text)
    return json.loads(text) if text.startswith("{") else text
