"""Tools: the official client finds and calls operations in both revisions, and every call is in the audit."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS, Tool

from tests.promise import promise
from tests.surfaces.http.house import Caller, House
from tests.surfaces.mcp.client import NEW, OLD, connected, told

pytestmark = pytest.mark.asyncio(loop_scope="session")
both = pytest.mark.parametrize("revision", [NEW, OLD])


@promise("10.5a")
@both
async def test_a_call_takes_the_line_and_is_recorded_like_any_other(house: House, agent: Caller, revision: str) -> None:
    async with connected(house, agent, revision) as client:
        result = await client.call_tool("access_whoami", {})

    said = told(result)
    assert not result.is_error
    assert said["status"] == "done"
    assert said["output"]["id"] == agent.name
    (record,) = await house.records(invocation=said["invocation"])
    assert (record["operation"], record["who"], record["channel"]) == ("access.whoami", agent.name, "mcp")


@promise("10.5a")
@both
async def test_the_default_list_is_short_and_in_one_order(house: House, agent: Caller, revision: str) -> None:
    async with connected(house, agent, revision) as client:
        first, again = await client.list_tools(), await client.list_tools()

    names = [tool.name for tool in first.tools]
    assert names[:4] == ["search_operations", "describe_operation", "run_operation", "read_result"]
    assert set(names[4:]) == {"access_whoami", "jobs_cancel", "jobs_status", "jobs_wait", "undo_apply"}
    assert first == again
    text = first.model_dump_json(by_alias=True, exclude_none=True)
    assert len(text) / 3 < 6000  # of JSON, a token holds three characters and more


@promise("10.5a")
@both
async def test_a_key_that_was_made_for_little_lists_that_little(house: House, revision: str) -> None:
    def only(*operations: str) -> dict[str, Any]:
        return {"only": [{"effect": "allow", "operations": list(operations)}]}

    narrow, wide = await house.agent(**only("files.read", "files.list")), await house.agent(**only("*"))
    shown: list[set[str]] = []
    own = {"files_read", "files_list", "files_write"}
    for caller, query in ((narrow, ""), (narrow, "?toolsets=files.list"), (wide, "")):
        async with connected(house, caller, revision, query) as client:
            listed = await client.list_tools()
            assert len(listed.model_dump_json(by_alias=True, exclude_none=True)) / 3 < 6000
            shown.append({tool.name for tool in listed.tools})

    assert all("run_operation" in names for names in shown)
    assert [names & own for names in shown] == [{"files_read", "files_list"}, {"files_list"}, set()]


async def test_every_tool_has_a_title_schemas_and_what_its_effect_means(house: House, agent: Caller) -> None:
    async with connected(house, house.owner, NEW, "?toolsets=all") as client:
        tools, cursor = list[Tool](), None
        while True:
            page = await client.list_tools(cursor=cursor)
            tools += page.tools
            cursor = page.next_cursor
            if cursor is None:
                break

    names = [tool.name for tool in tools]
    assert len(names) == len(set(names)) > 150
    by_name = {tool.name: tool for tool in tools}
    for tool in tools:
        most = 63 if tool.name.startswith("test_") else 39  # the conformance suite chose the names of its own tools
        assert re.fullmatch(f"[a-zA-Z_][a-zA-Z0-9_-]{{0,{most}}}", tool.name), tool.name
        assert tool.title
        assert tool.description
        Draft202012Validator.check_schema(tool.input_schema)
        assert tool.output_schema is not None
        Draft202012Validator.check_schema(tool.output_schema)
        assert tool.input_schema["type"] == tool.output_schema["type"] == "object"
    read, delete, write = by_name["files_read"], by_name["files_delete"], by_name["files_write"]
    assert read.annotations is not None
    assert read.annotations.read_only_hint
    assert not read.annotations.destructive_hint
    assert delete.annotations is not None
    assert delete.annotations.destructive_hint
    assert write.annotations is not None
    assert not write.annotations.read_only_hint
    assert not write.annotations.destructive_hint  # it can be undone
    assert read.meta is not None
    assert read.meta["superagent/operation"] == "files.read"


@promise("10.5a")
@both
async def test_toolsets_add_what_their_reader_may_use_and_nothing_else(
    house: House, agent: Caller, revision: str
) -> None:
    async with connected(house, agent, revision, "?toolsets=files,shell.run") as client:
        names = {tool.name for tool in (await client.list_tools()).tools}
    assert {"files_read", "files_write", "shell_run"} <= names
    assert "shell_exec" not in names

    viewer = await house.agent(grants=[{"effect": "allow", "operations": ["files.read"]}])
    async with connected(house, viewer, revision, "?toolsets=all") as client:
        names = {tool.name for tool in (await client.list_tools()).tools}
    assert "files_read" in names
    assert not any(name.startswith(("files_write", "settings_", "access_users")) for name in names)


@both
async def test_a_toolset_that_means_nothing_is_refused_with_those_there_are(
    house: House, agent: Caller, revision: str
) -> None:
    async with connected(house, agent, revision, "?toolsets=fils") as client:
        with pytest.raises(MCPError) as refused:
            await client.list_tools()

    assert "fils" in str(refused.value)
    assert "files" in refused.value.data["toolsets"]


@both
async def test_an_agent_finds_an_operation_reads_it_and_runs_it(house: House, agent: Caller, revision: str) -> None:
    async with connected(house, agent, revision) as client:
        found = told(await client.call_tool("search_operations", {"query": "write text to a file", "limit": 5}))
        assert "files.write" in [one["name"] for one in found["output"]["operations"]]
        full = told(await client.call_tool("describe_operation", {"name": "files.write"}))
        assert "path" in full["output"]["input_schema"]["properties"]
        path = str(agent.workspace / f"{revision}.txt")
        wrote = told(
            await client.call_tool(
                "run_operation", {"operation": "files.write", "input": {"path": path, "content": "hello"}}
            )
        )
        assert wrote["undo"]["possible"]
        assert wrote["effects"]
        read = told(await client.call_tool("files_read", {"path": path}))
        assert read["output"]["content"] == "hello"
        undone = await client.call_tool("undo_apply", {"ids": [wrote["invocation"]]})
        assert not undone.is_error
        gone = await client.call_tool("files_read", {"path": path})

    assert gone.is_error
    assert told(gone)["problem"]["type"] == "/problems/not-found"


@both
async def test_a_wrong_input_comes_back_with_the_path_of_the_fault_and_a_hint(
    house: House, agent: Caller, revision: str
) -> None:
    async with connected(house, agent, revision) as client:
        result = await client.call_tool("files_read", {"path": 3, "nonsense": True})

    assert result.is_error
    problem = told(result)["problem"]
    assert problem["type"] == "/problems/invalid-input"
    assert {one["path"] for one in problem["errors"]} == {"$.path", "$.nonsense"}
    assert problem["hint"] == "see `describe_operation` of `files.read`"
    (record,) = await house.records(invocation=problem["invocation"])
    assert (record["kind"], record["channel"]) == ("refused", "mcp")


@promise("10.5a")
@both
@pytest.mark.parametrize("name", ["no_such_tool", "settings_set", "../run", "x" * 5000])
async def test_a_tool_that_is_hidden_and_one_that_is_not_there_are_refused_alike(
    house: House, agent: Caller, revision: str, name: str
) -> None:
    async with connected(house, agent, revision) as client:
        with pytest.raises(MCPError) as refused:
            await client.call_tool(name, {})

    assert refused.value.code == INVALID_PARAMS
    assert str(refused.value).startswith("Unknown tool: ")
    (record,) = await house.records(invocation=refused.value.data["invocation"])
    assert (record["kind"], record["who"], record["channel"]) == ("refused", agent.name, "mcp")


@both
async def test_a_mistyped_name_is_answered_with_what_it_may_have_meant(
    house: House, agent: Caller, revision: str
) -> None:
    async with connected(house, agent, revision) as client:
        run = await client.call_tool("run_operation", {"operation": "files.raed", "input": {"path": "a"}})
        with pytest.raises(MCPError) as unknown:
            await client.call_tool("files_raed", {"path": "a"})
        hidden = await client.call_tool("run_operation", {"operation": "settings.sat"})

    problem = told(run)["problem"]
    assert "did you mean `files.read`" in problem["hint"]
    assert "`search_operations` finds" in problem["hint"]
    assert "catalogue.search" not in problem["hint"]
    assert "/v1/" not in problem["hint"]
    (record,) = await house.records(invocation=problem["invocation"])
    assert (record["kind"], record["operation"], record["problem"]) == ("refused", "files.raed", "not-found")
    assert "; did you mean `files_read`" in str(unknown.value)
    assert unknown.value.data["hint"] in str(unknown.value)
    assert "settings" not in told(hidden)["problem"]["hint"]  # the agent may not see `settings.set`


@both
@pytest.mark.parametrize(
    "arguments",
    [{}, {"operation": "files.read", "toolset": "x"}, {"operation": 3}, {"operation": "files.read", "input": "x"}],
)
async def test_run_operation_says_what_is_wrong_with_it(
    house: House, agent: Caller, revision: str, arguments: dict[str, Any]
) -> None:
    async with connected(house, agent, revision) as client:
        result = await client.call_tool("run_operation", arguments)

    assert result.is_error
    problem = told(result)["problem"]
    assert problem["type"] == "/problems/invalid-input"
    assert problem["errors"]
    (record,) = await house.records(invocation=problem["invocation"])
    assert record["kind"] == "refused"


@both
async def test_what_needs_approval_waits_and_says_how_to_go_on(house: House, agent: Caller, revision: str) -> None:
    async with connected(house, agent, revision, "?toolsets=files") as client:
        result = await client.call_tool("files_read", {"path": "/etc/hostname"})
        said = told(result)
        assert not result.is_error
        assert said["status"] == "waiting"
        assert "output" not in said
        assert "approve" in said["hint"]
        await house.owner.done("approvals.decide", {"id": said["invocation"], "decision": "approve"})
        waited = told(await client.call_tool("jobs_wait", {"ids": [said["invocation"]], "timeout_s": 10}))

        stands = told(await client.call_tool("jobs_status", {"id": said["invocation"]}))

    assert waited["output"]["done"]
    assert stands["output"]["state"] == "done"
    assert stands["output"]["outcome"]["output"]["content"] == Path("/etc/hostname").read_text()


@both
async def test_a_call_can_be_a_dry_run_and_carry_a_key(house: House, agent: Caller, revision: str) -> None:
    path = str(agent.workspace / f"dry-{revision}.txt")
    ask: dict[str, Any] = {"operation": "files.write", "input": {"path": path, "content": "once"}}
    async with connected(house, agent, revision) as client:
        dry = told(await client.call_tool("run_operation", {**ask, "dry_run": True}))
        assert dry["status"] == "previewed"
        assert dry["preview"]
        assert not (agent.workspace / f"dry-{revision}.txt").exists()
        keyed: Any = {"superagent/call": {"key": f"k-{revision}"}}
        first = told(await client.call_tool("files_write", ask["input"], meta=keyed))
        again = told(await client.call_tool("files_write", ask["input"], meta=keyed))
        assert first["invocation"] == again["invocation"]
        other = await client.call_tool("files_write", {"path": path, "content": "twice"}, meta=keyed)
        assert told(other)["problem"]["type"] == "/problems/idempotency-mismatch"
        wrong: list[Any] = [{"operation": "files.delete"}, {"input": {}}, {"dryrun": True}]
        for steers in wrong:
            meta: Any = {"superagent/call": steers}
            refused = await client.call_tool("files_write", ask["input"], meta=meta)
            assert told(refused)["problem"]["type"] == "/problems/invalid-input"


@both
async def test_a_dry_run_said_with_a_slip_is_refused_and_nothing_is_done(house: House, revision: str) -> None:
    agent = await house.agent()
    new = agent.workspace / "slip"
    write = {"path": "slip", "content": "x"}
    ways: list[tuple[str, dict[str, Any]]] = [
        ("files_write", write),
        ("run_operation", {"operation": "files.write", "input": write}),
    ]
    dry = {"dry_run": True}
    slips: list[Any] = [
        {"superagent/cal": dry}, {"io.superagent/call": dry}, {"x-superagent/call": dry}, {"call": dry},
        {"superagent/dry_run": True}, {"Superagent/Call": dry}, {"superagent.call": dry},
        {"dry_run": True}, {"dryRun": True}, {"superagent/call": json.dumps(dry)}, {"superagent/call": True},
        {"superagent/call": [dry]}, {"superagent/call": {"dryrun": True}}, {"superagent/call": dry, "superagent/x": 1},
    ]  # fmt: skip
    right: Any = {"superagent/call": dry, "other/key": 1}
    async with connected(house, agent, revision) as client:
        for tool, arguments in ways:
            for slip in slips:
                result = await client.call_tool(tool, arguments, meta=slip)
                assert result.is_error, (tool, slip)
                problem = told(result)["problem"]
                assert problem["type"] == "/problems/invalid-input", (tool, slip)
                assert (
                    slip == {"superagent/call": {"dryrun": True}}
                    or '`{"superagent/call": {"dry_run": true}}`' in problem["hint"]
                )
                (record,) = await house.records(invocation=problem["invocation"])
                assert (record["kind"], record["channel"]) == ("refused", "mcp")
                assert not new.exists(), (tool, slip)
            assert told(await client.call_tool(tool, arguments, meta=right))["status"] == "previewed"
            assert not new.exists()
        both_ways = await client.call_tool("run_operation", {**ways[1][1], "dry_run": False}, meta=right)
        assert "say it once" in told(both_ways)["problem"]["hint"]
        assert not new.exists()


@both
async def test_a_name_under_the_other_tools_word_is_told_the_right_one(
    agent: Caller, house: House, revision: str
) -> None:
    async with connected(house, agent, revision) as client:
        run = told(await client.call_tool("run_operation", {"name": "files.read", "input": {"path": "a"}}))["problem"]
        none = told(await client.call_tool("run_operation", {"input": {}}))["problem"]
        described = told(await client.call_tool("describe_operation", {"operation": "files.read"}))["problem"]

    assert (run["errors"][0]["path"], none["errors"][0]["path"]) == ("$.operation", "$.operation")
    assert "is missing" in run["detail"]
    assert "as `name` is called `operation` here" in run["hint"]
    assert described["errors"][0]["path"] == "$.name"
    assert "as `operation` is called `name` here" in described["hint"]


@both
async def test_a_long_output_is_stored_and_read_on(house: House, agent: Caller, revision: str) -> None:
    async with connected(house, house.owner, revision) as client:
        long = told(await client.call_tool("probe_large", {"size": 3_000_000}))
        assert "output" not in long
        page = told(await client.call_tool("read_result", {"handle": long["handle"], "offset": 100, "limit": 50}))

    assert page["output"]["text"] == "x" * 50


@both
async def test_what_breaks_inside_says_nothing_of_the_inside(house: House, agent: Caller, revision: str) -> None:
    async with connected(house, house.owner, revision) as client:
        result = await client.call_tool("probe_broken", {"secret": "hush"})

    assert result.is_error
    assert told(result)["problem"]["type"] == "/problems/internal"
    assert "hush" not in str(result)
    assert "probe broke" not in str(result)
