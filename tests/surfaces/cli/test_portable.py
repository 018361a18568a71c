"""`superagent describe … --for`: operations as tools for the models of three providers, within their limits."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from superagent.core.portable import PROVIDERS, Provider, tool_for
from tests.core.portable_limits import faults
from tests.promise import promise
from tests.surfaces.cli.command_line import Ran, Server

Cli = Callable[..., Ran]
EVERY = ("files", "shell", "jobs", "access", "sql", "code", "sandbox", "policy", "plugins", "oauth", "signin", "audit")


@promise("10.5")
@pytest.mark.parametrize(("provider", "strict"), [*((one, False) for one in PROVIDERS), ("openai", True)])
def test_every_operation_is_a_tool_within_the_providers_limits(
    run_here: Cli, server: Server, provider: Provider, strict: bool
) -> None:
    flags = ["--strict"] if strict else []
    ran = run_here("--data", str(server.data), "describe", *EVERY, "--for", provider, *flags)
    assert ran.code == 0, ran.err
    tools: list[dict[str, Any]] = json.loads(ran.out)
    assert len(tools) > 120
    assert [fault for tool in tools for fault in faults(provider, tool)] == []
    if strict:
        assert sum(tool["strict"] for tool in tools) > 0.7 * len(tools)


def test_one_operation_is_given_as_each_api_takes_it(run_here: Cli, server: Server) -> None:
    found = {
        one: json.loads(run_here("--data", str(server.data), "describe", "files.write", "--for", one).out)[0]
        for one in PROVIDERS
    }
    assert found["openai"]["parameters"] == found["anthropic"]["input_schema"]
    assert found["openai"]["parameters"]["required"] == ["path"]
    assert found["gemini"]["parameters"]["properties"]["path"]["type"] == "STRING"
    assert {one["name"] for one in found.values()} == {"files_write"}


def test_what_is_not_there_is_said(run_here: Cli, server: Server) -> None:
    assert run_here("--data", str(server.data), "describe", "no.such", "--for", "openai").code == 1
    assert run_here("--data", str(server.data), "describe", "files.read", "files.write").code == 2


SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "a": {"type": "string", "default": "x", "title": "A"},
        "b": {"anyOf": [{"$ref": "#/$defs/B"}, {"type": "null"}]},
        "c": {"type": ["integer", "null"]},
        "d": {"const": 3},
        "e": {"type": "array"},
        "f": {"type": "object", "additionalProperties": {"type": "string"}},
    },
    "required": ["a"],
    "additionalProperties": False,
    "$defs": {"B": {"type": "object", "properties": {"b": {"$ref": "#/$defs/B"}}, "additionalProperties": False}},
}


@pytest.mark.parametrize("provider", PROVIDERS)
def test_references_and_what_holds_itself_come_to_an_end(provider: Provider) -> None:
    tool = tool_for(provider, "a.b", "x" * 5000, SCHEMA, strict=True)
    assert list(faults(provider, tool)) == []
    assert len(tool["description"]) == 1024


@pytest.mark.parametrize(
    ("provider", "change"),
    [
        ("openai", {"name": "a.b"}),
        ("openai", {"description": "x" * 1025}),
        ("openai", {"parameters": {"type": "object", "properties": {"a": {"$ref": "#/x"}}}}),
        ("openai", {"strict": True, "parameters": {"type": "object", "properties": {"a": {"type": "string"}}}}),
        ("anthropic", {"input_schema": {"anyOf": []}}),
        ("gemini", {"parameters": {"type": "object"}}),
        ("gemini", {"parameters": {"type": "OBJECT", "additionalProperties": False}}),
        ("gemini", {"parameters": {"type": "OBJECT", "properties": {"a-b": {"type": "STRING"}}}}),
    ],
)
def test_the_linter_sees_what_is_beyond_a_limit(provider: Provider, change: dict[str, Any]) -> None:
    good = tool_for(provider, "a.b", "text", {"type": "object", "properties": {"a": {"type": "string"}}})
    assert list(faults(provider, good)) == []
    assert list(faults(provider, {**good, **change})) != []
