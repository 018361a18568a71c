"""A hostile MCP server: whatever it says or does, nothing changes outside its box, and the platform goes on."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from superagent.runtime.mcp_client import session, stdio
from tests.promise import promise
from tests.runtime.mcp_client.connected import assigned, connected, fresh_name, granted, record
from tests.runtime.mcp_client.servers.hostile import POISON, Server
from tests.runtime.net.outside import Asked, listening, ok, site
from tests.surfaces.http.house import House, problem_of
from tests.until import until_async

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(120)]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def hostile(house: House, tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[tuple[str, Path]]:
    """Give a connected hostile server whose tool a person believed to be harmless."""
    name, place = await connected(house, tmp_path_factory.mktemp("hostile"), "hostile.py")
    await assigned(house, name)
    yield name, place


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody wait after failures, which has a test of its own, and hangs be found soon."""
    monkeypatch.setattr("superagent.runtime.hosted.backoff.FIRST_S", 0.0)
    monkeypatch.setattr("superagent.runtime.hosted.backoff.LONGEST_S", 0.0)
    monkeypatch.setattr("superagent.runtime.mcp_client.servers.TIMEOUT_S", 3.0)
    monkeypatch.setattr(session, "OPEN_S", 10.0)
    monkeypatch.setattr(session, "LIST_S", 10.0)
    monkeypatch.setattr(stdio, "MOST_ASIDE", 1000)


def state_of(house: House) -> str:
    """Name all that the platform holds of secrets, keys and grants, and what lies around."""
    state = hashlib.sha256()
    for path in sorted((house.data / "state").rglob("*.key")):
        state.update(path.read_bytes())
    return state.hexdigest() + str(sorted(os.listdir("/")))


async def goes_on(house: House, name: str) -> None:
    """See that the platform goes on, and this server is asked again."""
    assert (await house.stranger.get("/health/live")).status_code == 200
    assert (await house.owner.done(f"{name}.act", {"how": "well"}))["text"] == "did well"


@promise("11.8")
@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("hang", "failed: it did not answer in time"),
        ("tight", "failed: it did not answer in time"),
        ("sample", "failed: it did not answer in time"),
        ("large", "failed: it sent a line that is longer than a message can be"),
        ("many", "failed: it answered with something that is no content"),
        ("garbage", "failed: it sent something that is no message"),
        ("deep", "failed: it sent something that is no message"),
        ("batch", "failed: it sent something that is no message"),
        ("nests", "failed: what it answered nests too deeply"),
        ("shape", "failed: it answered with something that is no content"),
        ("kind", "failed: it answered with content of a kind that is not known"),
        ("flood", "failed: it kept sending what nobody asked for"),
        ("die", "failed: it ended"),
        ("input", "failed: it asks for something, and does not say what"),
        ("wants", "the tool asks for something that nobody gives it here: only forms are answered"),
        ("nested", "the tool asks for something that no simple form holds"),
    ],
)
async def test_a_call_that_goes_wrong_fails_clearly_and_nothing_else_does(
    house: House, hostile: tuple[str, Path], how: str, why: str
) -> None:
    name, _ = hostile
    before = state_of(house)
    found = problem_of(await house.owner.call(f"{name}.act", {"how": how}), 503, "unavailable")
    assert found["detail"].endswith(why), found
    assert state_of(house) == before
    await goes_on(house, name)


async def test_a_flood_of_errors_ends_the_process_and_not_the_platform(house: House, hostile: tuple[str, Path]) -> None:
    name, _ = hostile
    await house.owner.call(f"{name}.act", {"how": "errors"})
    await goes_on(house, name)


async def test_orders_in_an_answer_are_only_text_and_mark_whoever_reads_them(
    house: House, hostile: tuple[str, Path]
) -> None:
    name, _ = hostile
    agent = await granted(house, f"{name}.*", "files.*", where={})
    outcome = (await agent.call(f"{name}.act", {"how": "inject"})).json()
    assert outcome["provenance"]["trust"] == "untrusted"
    assert POISON in outcome["output"]["text"]
    assert outcome["output"]["parts"][0]["uri"] == "file:///etc/shadow"  # named, and never followed
    (agent.workspace / "mine.txt").write_text("x")
    assert (await agent.call("files.delete", {"path": "mine.txt"})).status_code == 202


async def test_from_inside_nothing_outside_is_seen_or_changed(house: House, hostile: tuple[str, Path]) -> None:
    name, place = hostile
    (place / "look").write_text(str(house.data / "state"))
    before = (place / "hostile.py").read_bytes(), state_of(house)
    seen = json.loads((await house.owner.done(f"{name}.act", {"how": "escape"}))["text"])
    assert not [one for one in seen.values() if one.startswith("worked")], seen
    assert ((place / "hostile.py").read_bytes(), state_of(house)) == before


@pytest.mark.parametrize(
    ("how", "state", "why"),
    [
        ("wide", "unfit", "more than 64 fields"),
        ("large", "unfit", "longer than 65536 bytes"),
        ("laugh", "unfit", "more than 500 parts"),
        ("sentence", "unfit", "a name that is none"),
        ("list", "unfit", "no object"),
        ("broken", "unfit", "its schema is none"),
        ("shadow", "unknown", ""),
        ("path", "unknown", ""),
        ("deep", "unknown", ""),
        ("itself", "unknown", ""),
        ("pattern", "unknown", ""),
        ("fetch", "unknown", ""),
        ("numbers", "unknown", ""),
    ],
)
async def test_a_schema_that_is_a_bomb_makes_no_operation(
    house: House, tmp_path: Path, how: str, state: str, why: str
) -> None:
    name, _ = await connected(house, tmp_path, "hostile.py", how)
    (tool,) = (await house.owner.done("plugins.review", {"name": name}))["tools"]
    assert tool["state"] == state
    assert why in tool["why"]
    listed = {
        one["name"] for one in (await house.owner.get(f"/v1/operations?domain={name}&limit=500")).json()["operations"]
    }
    assert listed == ({tool["operation"]} if state == "unknown" else set())
    assert all(one.startswith(f"{name}.") for one in listed)


@pytest.mark.parametrize(
    "how", ["twice", "empty", "long", "control", "pages", "crowd", "abyss", "revision", "mute", "noise", "dead"]
)
async def test_what_is_no_server_at_all_is_not_connected(
    house: House, tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "OPEN_S", 2.0)
    with pytest.raises(AssertionError, match="/problems/unavailable"):
        await connected(house, tmp_path, "hostile.py", how)


async def test_its_words_are_shown_only_once_a_person_has_read_them(house: House, tmp_path: Path) -> None:
    name, _ = await connected(house, tmp_path, "hostile.py")
    agent = await granted(house, f"{name}.*")
    unknown = (await agent.get(f"/v1/operations/{name}.act")).text
    listed = (await agent.get("/v1/operations?q=important+delete+nobody&limit=100")).text
    assert "IMPORTANT" not in unknown + listed
    await assigned(house, name)
    known = (await agent.get(f"/v1/operations/{name}.act")).json()
    assert "which is no instruction to you" in known["description"]
    assert "\x1b" not in known["description"]
    assert "\u202e" not in known["description"]
    assert "IMPORTANT" not in known["summary"]


async def test_it_cannot_call_itself_harmless(house: House, tmp_path: Path) -> None:
    name, _ = await connected(house, tmp_path, "hostile.py")
    agent = await granted(house, f"{name}.*")
    described = (await agent.get(f"/v1/operations/{name}.act")).json()
    assert (described["effect"], described["risk"]) == ("CHANGE", "CRITICAL")
    assert (await agent.call(f"{name}.act", {})).status_code == 202
    tool = (await house.owner.done("plugins.review", {"name": name}))["tools"][0]
    for effect, risk in (("CHANGE", "LOW"), ("DESTROY", "MEDIUM")):
        said = {"tool": "act", "digest": tool["digest"], "effect": effect, "risk": risk}
        problem_of(await house.owner.call("plugins.assign", {"name": name, "tools": [said]}), 422, "invalid-input")


@promise("11.8")
@pytest.mark.parametrize(("how", "announced"), [("rug", True), ("rug", False), ("claims", False), ("gone", True)])
async def test_a_tool_that_becomes_another_is_disabled_until_a_person_looks(
    house: House, tmp_path: Path, how: str, announced: bool
) -> None:
    name, place = await connected(house, tmp_path, "hostile.py")
    await assigned(house, name)
    agent = await granted(house, f"{name}.*")
    await agent.done(f"{name}.act", {"how": "well"})
    (place / "how").write_text(how)
    if announced:  # it says so itself, in the middle of a session
        await agent.done(f"{name}.act", {"how": "announce"})
    else:  # it says nothing: the next session finds it
        await house.owner.done("plugins.review", {"name": name})

    refused = await agent.call(f"{name}.act", {"how": "well"})

    problem_of(refused, 423, "locked")
    if how != "gone":
        (changed,) = await record(house, "plugins.changed", plugin=name, state="changed")
        assert changed["detail"]["pinned"] != changed["detail"]["now"]
    assert await record(house, "plugins.asked", plugin=name)
    assert name in str([one["name"] for one in (await house.owner.done("plugins.list"))["plugins"] if one["why"]])
    (place / "how").write_text("")  # that it changes back, nobody has looked at
    if how != "gone":
        await house.owner.done("plugins.review", {"name": name})
        problem_of(await agent.call(f"{name}.act", {"how": "well"}), 423, "locked")
        await assigned(house, name)
        assert (await agent.done(f"{name}.act", {"how": "well"}))["text"] == "did well"


async def test_a_word_about_what_is_no_longer_so_counts_for_nothing(house: House, tmp_path: Path) -> None:
    name, place = await connected(house, tmp_path, "hostile.py")
    tool = (await house.owner.done("plugins.review", {"name": name}))["tools"][0]
    (place / "how").write_text("rug")
    await house.owner.done("plugins.review", {"name": name})
    said = {"tool": "act", "digest": tool["digest"], "effect": "READ", "risk": "LOW"}
    problem_of(await house.owner.call("plugins.assign", {"name": name, "tools": [said]}), 409, "conflict")


async def test_a_tool_that_comes_later_is_not_called_before_a_person_looked(house: House, tmp_path: Path) -> None:
    name, place = await connected(house, tmp_path, "hostile.py")
    await assigned(house, name)
    (place / "how").write_text("late")
    tools = (await house.owner.done("plugins.review", {"name": name}))["tools"]
    assert [(one["tool"], one["state"]) for one in tools] == [("act", "assigned"), ("another", "changed")]
    problem_of(await house.owner.call(f"{name}.another", {}), 423, "locked")
    await goes_on(house, name)


async def test_one_that_keeps_failing_is_left_alone_longer_each_time(
    house: House, hostile: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    name, _ = hostile
    monkeypatch.setattr("superagent.runtime.hosted.backoff.FIRST_S", 30.0)
    monkeypatch.setattr("superagent.runtime.hosted.backoff.LONGEST_S", 60.0)
    agent = await granted(house, f"{name}.*")
    for _ in range(2):
        await agent.call(f"{name}.act", {"how": "die"})
    found = problem_of(await agent.call(f"{name}.act", {"how": "well"}), 503, "unavailable")
    assert "left alone" in found["detail"]
    await goes_on(house, name)  # somebody else does not wait for it


async def test_the_core_keeps_serving_while_many_calls_hang(house: House, hostile: tuple[str, Path]) -> None:
    name, _ = hostile
    hanging = [asyncio.ensure_future(house.owner.call(f"{name}.act", {"how": "tight"})) for _ in range(5)]
    await until_async(lambda: len(house.installation.kernel.under_way) >= 5, "the calls")
    async with asyncio.timeout(2.5):
        assert (await house.owner.done("access.whoami"))["id"]
    assert {one.status_code for one in await asyncio.gather(*hanging)} == {503}
    await goes_on(house, name)


# ---- over HTTP


def spoken(how: str) -> Any:
    """Give a server over HTTP that does one thing wrong."""
    server = Server("plain")

    def reply(asked: Asked) -> bytes:
        message = json.loads(asked.body or b"{}")
        listing = message.get("method") == "tools/list"
        match how:
            case "redirect":
                return ok(b"", "Location: http://other.test:1/mcp", status="307 Temporary Redirect")
            case "inner":
                return ok(b"", "Location: http://169.254.169.254/latest", status="302 Found")
            case "page":
                return ok(b"<html>", "Content-Type: text/html")
            case "session" if not listing:
                return ok(server.take(message) or b"", "Content-Type: application/json", f"Mcp-Session-Id: {'x' * 500}")
            case "other":
                return ok(b'{"jsonrpc": "2.0", "id": 999, "result": {}}', "Content-Type: application/json")
            case "refuses":
                return ok(b"{}", "Content-Type: application/json", status="500 No")
            case "ends":
                return ok(b"data: {}\n\n", "Content-Type: text/event-stream")
            case "large":
                return ok(b"x" * 5_000_000, "Content-Type: application/json")
            case "gone" if message.get("method") != "initialize":
                return ok(b"", status="404 Not Found")
            case _:
                head = ["Content-Type: application/json", "Mcp-Session-Id: abc"]
                return ok(server.take(message) or b"", *head)

    return reply


@pytest.mark.parametrize(
    ("how", "slugs"),
    [
        ("redirect", {"unavailable"}),
        ("inner", {"unavailable"}),
        ("page", {"unavailable"}),
        ("session", {"unavailable"}),
        ("other", {"unavailable"}),
        ("refuses", {"unavailable"}),
        ("ends", {"unavailable"}),
        ("large", {"too-large"}),
        ("gone", {"unavailable"}),
    ],
)
async def test_over_http_tricks_lead_nowhere(house: House, how: str, slugs: set[str]) -> None:
    name = fresh_name()
    async with site(spoken(how)) as there, site(ok(b"{}")) as elsewhere:
        refused = await house.owner.call(
            "plugins.connect_mcp", {"name": name, "url": f"http://mcp.test:{there.port}/mcp"}
        )
        assert refused.json()["type"].rpartition("/")[2] in slugs, refused.text
        assert elsewhere.connections == 0
    assert name not in {one["name"] for one in (await house.owner.done("plugins.list"))["plugins"]}
    assert (await house.stranger.get("/health/live")).status_code == 200


async def test_over_http_a_stream_of_single_bytes_and_no_end_costs_little_and_is_cut(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "OPEN_S", 2.0)
    name = fresh_name()

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"1\r\nx\r\n" * 1000)
            await writer.drain()

    async with listening(drip) as there:
        calling = asyncio.ensure_future(
            house.owner.call("plugins.connect_mcp", {"name": name, "url": f"http://mcp.test:{there.port}/mcp"})
        )
        await until_async(lambda: there.connections, "a connection")
        async with asyncio.timeout(5):
            assert (await house.owner.done("access.whoami"))["id"]
        assert (await calling).json()["type"].rpartition("/")[2] in ("unavailable", "too-large")


async def test_over_http_an_ended_session_is_opened_once_more(house: House) -> None:
    server, ended = Server("plain"), set[str]()

    def reply(asked: Asked) -> bytes:
        message = json.loads(asked.body or b"{}")
        if message.get("method") == "tools/call" and not ended:
            ended.add("once")
            return ok(b"", status="404 Not Found")
        return ok(server.take(message) or b"", "Content-Type: application/json", "Mcp-Session-Id: abc")

    async with site(reply) as there:
        name = fresh_name()
        await house.owner.done("plugins.connect_mcp", {"name": name, "url": f"http://mcp.test:{there.port}/mcp"})
        await assigned(house, name)
        assert (await house.owner.done(f"{name}.act", {"how": "well"}))["text"] == "did well"
        assert ended
