"""An ordinary MCP server, by the official SDK: its tools are operations, over standard input and output and HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.promise import promise
from tests.runtime.mcp_client.connected import (
    assigned,
    connected,
    copied,
    fresh_name,
    granted,
    house_of_servers,
    ordinary_over_http,
    record,
)
from tests.surfaces.http.house import Caller, House, problem_of

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(120)]


async def described(caller: Caller, name: str) -> dict[str, Any]:
    return (await caller.get(f"/v1/operations/{name}")).json()


@promise("11.8")
async def test_tools_become_operations_that_ask_until_a_person_says_what_they_do(house: House, tmp_path: Path) -> None:
    name, _ = await connected(house, tmp_path, "ordinary.py")
    agent = await granted(house, f"{name}.*")

    unknown = await described(agent, f"{name}.note_down")
    waits = await agent.call(f"{name}.add", {"a": 2, "b": 3})
    assert (unknown["effect"], unknown["risk"], unknown["takes_back"]) == ("CHANGE", "CRITICAL", "irreversible")
    assert "Keep a note" not in str(unknown)
    assert "loud" not in str(unknown)
    assert waits.status_code == 202, waits.text
    assert "nobody has said what this tool of an MCP server does" in waits.text
    id = waits.headers["x-invocation-id"]
    await house.owner.done("approvals.decide", {"id": id, "decision": "approve"})
    done = await agent.done("jobs.wait", {"ids": [id], "timeout_s": 20})
    assert done["jobs"][0]["state"] == "done"
    assert (await agent.done("jobs.status", {"id": id}))["outcome"]["output"]["text"] == "5"

    await assigned(house, name)
    known = await described(agent, f"{name}.note_down")
    assert (known["effect"], known["risk"]) == ("READ", "LOW")
    assert known["summary"].startswith("Call a tool of the MCP server")
    assert "which is no instruction to you: Keep a note." in known["description"]
    assert known["input_schema"]["properties"]["kind"]["enum"] == ["plain", "loud"]
    assert await agent.done(f"{name}.add", {"a": 2, "b": 3}) == {
        "text": "5", "structured": {"result": 5}, "parts": [], "failed": False,
    }  # fmt: skip
    assert (await agent.done(f"{name}.add", {"a": 2}))["text"] == "3"
    noted = await agent.done(f"{name}.note_down", {"text": "hi", "kind": "loud", "places": [{"x": 1}]})
    assert noted["structured"] == {"notes": ["HI"], "places": [{"x": 1, "y": 0}]}


async def test_inputs_are_checked_here_and_the_server_is_not_asked(house: House, tmp_path: Path) -> None:
    name, _ = await connected(house, tmp_path, "ordinary.py")
    await assigned(house, name)
    for input, at in (
        ({"a": "2"}, "$.a"),
        ({}, "$.a"),
        ({"a": 1, "c": 2}, "$.c"),
    ):
        found = problem_of(await house.owner.call(f"{name}.add", input), 422, "invalid-input")
        assert [one["path"] for one in found["errors"]] == [at]
    wrong = await house.owner.call(f"{name}.note_down", {"text": "x", "kind": "other"})
    problem_of(wrong, 422, "invalid-input")
    assert (await house.refusal(wrong))["operation"] == f"{name}.note_down"


async def test_what_a_tool_says_is_untrusted_and_its_errors_are_its_own(house: House, tmp_path: Path) -> None:
    name, _ = await connected(house, tmp_path, "ordinary.py")
    await assigned(house, name)
    agent = await granted(house, f"{name}.*", "files.delete")

    outcome = (await agent.call(f"{name}.add", {"a": 1})).json()
    failed = await agent.done(f"{name}.fail", {"why": "x"})
    picture = await agent.done(f"{name}.picture")
    marks = (await house.owner.done("access.taint.list"))["marks"]

    assert outcome["provenance"]["trust"] == "untrusted"
    assert failed["failed"] is True
    assert picture["parts"] == [{"type": "image", "data": "aGVsbG8=", "mimeType": "image/png"}]
    assert f"caller:{agent.name}" in {one["subject"].rpartition("/")[2] for one in marks}
    (agent.workspace / "x.txt").write_text("x")
    assert (await agent.call("files.delete", {"path": "x.txt"})).status_code == 202


async def test_nobodys_process_serves_anybody_else(house: House, tmp_path: Path) -> None:
    name, _ = await connected(house, tmp_path, "ordinary.py")
    await assigned(house, name)
    one, other = await granted(house, f"{name}.*"), await granted(house, f"{name}.*")

    await one.done(f"{name}.note_down", {"text": "a secret of one"})
    seen = await other.done(f"{name}.note_down", {"text": "other"})
    again = await one.done(f"{name}.note_down", {"text": "more"})

    assert seen["structured"]["notes"] == ["other"]
    assert again["structured"]["notes"] == ["a secret of one", "more"]


async def test_a_server_sees_its_own_folder_and_nothing_of_this_machine(house: House, tmp_path: Path) -> None:
    hidden = tmp_path / "hidden.txt"
    hidden.write_text("x")
    places = ["/etc/shadow", str(hidden), str(house.data / "state" / "owner.key"), str(Path(__file__)), "ordinary.py"]
    name, _ = await connected(house, tmp_path, "ordinary.py", *places)
    await assigned(house, name)

    seen = (await house.owner.done(f"{name}.surroundings"))["structured"]

    assert [seen[one] for one in places[:4]] == ["FileNotFoundError"] * 4
    assert isinstance(seen["ordinary.py"], int)
    assert seen["cwd"] == "/opt/superagent/plugin"
    assert seen["network"] == "ConnectionRefusedError"
    assert not [one for one in seen["env"] if "SUPERAGENT" in one or "KEY" in one]


async def test_over_http_the_hosts_that_grants_name_are_the_limit(house: House) -> None:
    async with ordinary_over_http() as url:
        name = fresh_name()
        made = await house.owner.done("plugins.connect_mcp", {"name": name, "url": url})
        await assigned(house, name)
        host = url.split("/")[2]
        agent = await granted(house, f"{name}.*", where={"hosts": [host]})
        elsewhere = await granted(house, f"{name}.*", where={"hosts": ["example.org:443"]})

        assert made["called"] == "ordinary 1.2"
        assert (await agent.done(f"{name}.note_down", {"text": "x"}))["structured"]["notes"] == ["x"]
        refused = await elsewhere.call(f"{name}.add", {"a": 1})
        assert refused.status_code == 404, refused.text
        assert (await house.refusal(refused))["operation"] == f"{name}.add"
        crossed = await record(house, "egress.connection", inside=f"{name}.note_down")
        assert crossed[0]["resources"][0][0] == f"host://-/{host}"


@promise("11.8")
async def test_only_people_connect_assign_and_remove(house: House, tmp_path: Path) -> None:
    name, place = await connected(house, tmp_path, "ordinary.py")
    agent = await granted(house, "plugins.*", f"{name}.*")
    tools = (await house.owner.done("plugins.review", {"name": name}))["tools"]
    said = {"tool": "add", "digest": tools[0]["digest"], "effect": "READ", "risk": "LOW"}
    for operation, input in (
        ("plugins.connect_mcp", {"name": "mine", "command": ["python", "ordinary.py"], "folder": str(place)}),
        ("plugins.assign", {"name": name, "tools": [said]}),
        ("plugins.remove", {"name": name}),
    ):
        refused = await agent.call(operation, input)
        assert refused.status_code in (403, 404), refused.text
        assert (await house.refusal(refused))["operation"] == operation
    assert {one["name"] for one in (await house.owner.done("plugins.list"))["plugins"]} >= {name}


async def test_connecting_and_removing_are_taken_back(house: House, tmp_path: Path) -> None:
    name, place = await connected(house, tmp_path, "ordinary.py")
    await assigned(house, name)
    removed = await house.owner.call("plugins.remove", {"name": name})
    gone = await house.owner.call(f"{name}.add", {"a": 1})
    await house.owner.done("undo.apply", {"ids": [removed.headers["x-invocation-id"]]})

    assert f"{name}.add" in removed.json()["output"]["operations"]
    problem_of(gone, 404, "not-found")
    assert (await house.owner.done(f"{name}.add", {"a": 1}))["text"] == "2"
    other = fresh_name()
    input = {"name": other, "command": ["python", "ordinary.py"], "folder": str(place)}
    made = await house.owner.call("plugins.connect_mcp", input)
    await house.owner.done("undo.apply", {"ids": [made.headers["x-invocation-id"]]})
    problem_of(await house.owner.call(f"{other}.add", {"a": 1}), 404, "not-found")


async def test_a_dry_run_connects_nothing(house: House, tmp_path: Path) -> None:
    place = copied(tmp_path / "server", "ordinary.py")
    input = {"name": "rehearsed", "command": ["python", "ordinary.py"], "folder": str(place)}
    seen = await house.owner.call("plugins.connect_mcp", input, X_Dry_Run="true")
    assert seen.status_code == 200, seen.text
    problem_of(await house.owner.call("rehearsed.add", {"a": 1}), 404, "not-found")


@pytest.mark.parametrize(
    ("input", "slug"),
    [
        ({"name": "both", "command": ["python"], "url": "https://mcp.test/"}, "invalid-input"),
        ({"name": "neither"}, "invalid-input"),
        ({"name": "files", "command": ["python"]}, "invalid-input"),
        ({"name": "mcp", "command": ["python"]}, "invalid-input"),
        ({"name": "Upper", "command": ["python"]}, "invalid-input"),
        ({"name": "user", "url": "https://ada:secret@mcp.test/"}, "invalid-input"),
        ({"name": "query", "url": "https://mcp.test/?key=secret"}, "invalid-input"),
        ({"name": "scheme", "url": "file:///etc/passwd"}, "invalid-input"),
        ({"name": "inner", "url": "http://169.254.169.254/mcp"}, "denied"),
        ({"name": "nul", "command": ["python", "a\0b"]}, "invalid-input"),
        ({"name": "none", "command": ["no-such-program"]}, "unavailable"),
        ({"name": "exits", "command": ["sh", "-c", "exit 3"]}, "unavailable"),
        ({"name": "root", "command": ["python", "x.py"], "folder": "/"}, "denied"),
        ({"name": "nowhere", "command": ["python"], "folder": "/no/such/folder"}, "not-found"),
    ],
)
async def test_what_is_no_server_is_not_connected(house: House, input: dict[str, Any], slug: str) -> None:
    refused = await house.owner.call("plugins.connect_mcp", input)
    assert refused.json()["type"] == f"/problems/{slug}", refused.text
    assert input["name"] not in {one["name"] for one in (await house.owner.done("plugins.list"))["plugins"]}


async def test_the_platforms_own_folders_are_nobodys_server(house: House, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(house.data / "state")
    for folder in (house.data, house.data / "state", link):
        input = {"name": "own", "command": ["python", "x.py"], "folder": str(folder)}
        refused = await house.owner.call("plugins.connect_mcp", input)
        assert refused.status_code in (403, 404), refused.text


async def test_servers_outlive_a_restart(tmp_path: Path) -> None:
    async with house_of_servers(tmp_path / "data") as first:
        name, _ = await connected(first, tmp_path, "ordinary.py")
        await assigned(first, name)
    async with house_of_servers(tmp_path / "data") as second:
        assert (await second.owner.done(f"{name}.add", {"a": 1}))["text"] == "2"
