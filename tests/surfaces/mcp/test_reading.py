"""Resources: operations, calls and results can be read by whoever may, and by nobody else."""

from __future__ import annotations

import json
from typing import Any

import pytest
from mcp.shared.exceptions import MCPError
from mcp_types import ResourceTemplateReference

from tests.surfaces.http.house import Caller, House
from tests.surfaces.mcp.client import NEW, OLD, connected, told

pytestmark = pytest.mark.asyncio(loop_scope="session")
both = pytest.mark.parametrize("revision", [NEW, OLD])


def text_of(result: Any) -> Any:
    (contents,) = result.contents
    assert contents.mime_type == "application/json"
    return json.loads(contents.text)


@both
async def test_operations_can_be_listed_and_read(house: House, agent: Caller, revision: str) -> None:
    async with connected(house, agent, revision) as client:
        listed = await client.list_resources()
        uris = [one.uri for one in listed.resources]
        assert uris == sorted(uris)
        assert "op://files.read" in uris
        assert "op://settings.set" not in uris
        described = text_of(await client.read_resource("op://files.read"))
        assert described["name"] == "files.read"
        templates = await client.list_resource_templates()
        assert {one.uri_template for one in templates.resource_templates} == {
            "op://{name}", "invocation://{id}", "result://{handle}",
        }  # fmt: skip


@both
async def test_calls_and_results_belong_to_who_made_them(house: House, agent: Caller, revision: str) -> None:
    id = await house.waiting_read(agent)
    async with connected(house, house.owner, revision) as client:
        handle = told(await client.call_tool("probe_large", {"size": 3_000_000}))["handle"]
        assert text_of(await client.read_resource(f"result://{handle}"))["text"].startswith('{"text":"xxx')
    async with connected(house, agent, revision) as client:
        assert text_of(await client.read_resource(f"invocation://{id}"))["status"] == "waiting"
        with pytest.raises(MCPError):
            await client.read_resource(f"result://{handle}")
    async with connected(house, await house.agent(), revision) as client:
        with pytest.raises(MCPError):
            await client.read_resource(f"invocation://{id}")


@both
@pytest.mark.parametrize("uri", ["op://no.such", "op://settings.set", "file:///etc/passwd", "op://", "x" * 3000])
async def test_what_is_not_there_or_hidden_is_refused_alike_and_recorded(
    house: House, agent: Caller, revision: str, uri: str
) -> None:
    async with connected(house, agent, revision) as client:
        with pytest.raises(MCPError) as refused:
            await client.read_resource(uri)

    assert refused.value.code == {NEW: -32602, OLD: -32002}[revision]
    assert refused.value.data["uri"] == uri[:1000]
    records = await house.records(invocation=refused.value.data["invocation"])
    assert records
    assert {one["channel"] for one in records} == {"mcp"}


@both
async def test_names_of_operations_are_completed_from_those_that_may_be_used(
    house: House, agent: Caller, revision: str
) -> None:
    async with connected(house, agent, revision) as client:
        template = ResourceTemplateReference(uri="op://{name}")
        found = await client.complete(template, {"name": "name", "value": "files.re"})
        none = await client.complete(template, {"name": "name", "value": "settings.s"})

    assert found.completion.values == ["files.read", "files.restore"]
    assert none.completion.values == []


GRANTS = [{"effect": "allow", "operations": ["test.*", "catalogue.*"]}]


@both
async def test_a_resource_and_a_prompt_are_treated_as_their_message_says(house: House, revision: str) -> None:
    agent = await house.agent(grants=GRANTS)
    meta: Any = {"superagent/call": {"session": f"s-{revision}", "deadline_s": 5}}
    async with connected(house, agent, revision) as client:
        await client.read_resource("op://catalogue.search", meta=meta)
        await client.get_prompt("test_simple_prompt", meta=meta)

    records = [one for one in await house.records(actor=agent.name) if one.get("session") == f"s-{revision}"]
    assert {one["operation"] for one in records} == {"catalogue.describe", "test.simple_prompt"}


UNFIT: list[Any] = [
    {"superagent/call": {"dry_run": True}}, {"superagent/call": {"max_bytes": 1}}, {"superagent/call": {"nothing": 1}},
    {"superagent/call": {"operation": "files.delete"}}, {"superagent/call": {"deadline_s": 0}}, {"dry_run": True},
    {"superagent/call": {"isolation": "none at all"}}, {"superagent/cal": {}}, {"superagent/call": True},
]  # fmt: skip


@both
@pytest.mark.parametrize("meta", UNFIT, ids=str)
async def test_what_a_resource_or_a_prompt_cannot_be_told_is_refused(house: House, revision: str, meta: Any) -> None:
    agent = await house.agent(grants=GRANTS)
    async with connected(house, agent, revision) as client:
        for ask in (
            client.read_resource("op://catalogue.search", meta=meta),
            client.get_prompt("test_simple_prompt", meta=meta),
        ):
            with pytest.raises(MCPError) as refused:
                await ask

            assert refused.value.code == -32602
            assert refused.value.data["type"] == "/problems/invalid-input"
            (record,) = await house.records(invocation=refused.value.data["invocation"])
            assert (record["kind"], record["channel"]) == ("refused", "mcp")
