"""The fixed tools: find an operation, read how it is called, call it, read on in a long result."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mcp_types import Tool, ToolAnnotations

from superagent.core.calls import STEERS, call_from, faulty, refuse_slips, steers_of
from superagent.core.invocation import Call
from superagent.core.problems import Fault, InvalidInput
from superagent.core.registry import Registry
from superagent.surfaces.mcp.naming import BEHIND, DESCRIBE, RUN
from superagent.surfaces.mcp.projection import outcome_schema, tool_of

_SAYS = {
    "search_operations": "Find operations by words: start here. Everything this installation can do for you is an"
    " operation; call what you find with `run_operation`.",
    "describe_operation": "Describe one operation: its input schema, effect, risk, how it is undone, examples."
    " Read this before you run an operation for the first time.",
    "read_result": "Read a piece of a long output by the handle that a call gave, or its lines that match a pattern.",
}

_RUN_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "operation": {"type": "string", "description": "its name, as in `files.read`"},
        "input": {"type": "object", "description": "its input; see `describe_operation`", "additionalProperties": True},
        "dry_run": {"type": "boolean", "description": "show what it would do, and do nothing"},
        "reason": {"type": "string", "description": "why, for the record and for whoever approves"},
        "key": {"type": "string", "description": "a text of yours: the same call with the same key runs once"},
        "answers": {
            "type": "object",
            "description": "what it asked for (`asks` of a problem), by name",
            "additionalProperties": True,
        },
        "deadline_s": {"type": "number", "description": "give up after so many seconds"},
    },
    "required": ["operation"],
    "additionalProperties": False,
}


def fixed_tools(registry: Registry) -> list[Tool]:
    """Give the tools that are always there."""
    tools = [
        tool_of(registry.get(operation)).model_copy(
            update={"name": name, "title": name.replace("_", " ").capitalize(), "description": _SAYS[name]}
        )
        for name, operation in BEHIND.items()
    ]
    run = Tool(
        name=RUN,
        title="Run operation",
        description="Run an operation by name. It is judged, recorded and contained like every call; what it changes"
        " can be undone where the result says so. A call that needs a person's approval waits and says so.",
        input_schema=_RUN_SCHEMA,
        output_schema=outcome_schema(),
        annotations=ToolAnnotations(
            read_only_hint=False, destructive_hint=True, idempotent_hint=False, open_world_hint=True
        ),
    )
    return [*tools[:2], run, *tools[2:]]


_TAKEN = frozenset({"name", "arguments", "_meta"})
_UNFIT = frozenset({"operation", "input", "dry_run", "max_bytes"})


def call_of(
    name: str,
    arguments: dict[str, Any],
    meta: Mapping[str, Any],
    tools: Mapping[str, str],
    beside: Mapping[str, Any] | None = None,
) -> Call:
    """Give the call that a tool means; `meta` may say how to treat it (`core.calls.steers_of`).

    `beside` holds all parameters of the message: what the protocol does not know there is ignored, and steers nothing.

    A name that means nothing is called as it is: the line refuses it, and records that. Raises `InvalidInput`.
    """
    refuse_slips(beside or {}, "$", _TAKEN)
    said = steers_of(meta, "$._meta")
    if name == RUN:
        return _run(arguments, said)
    if "operation" in said or "input" in said:
        raise InvalidInput("how to treat a call does not say what is called", errors=[Fault("$._meta", "unknown")])
    if name == DESCRIBE and "name" not in arguments and "operation" in arguments:
        raise faulty("$.name", "is missing", f"what `{RUN}` takes as `operation` is called `name` here")
    return call_from({**said, "operation": BEHIND.get(name) or tools.get(name, name), "input": arguments}, "$")


def treated(call: Call, meta: Mapping[str, Any], beside: Mapping[str, Any]) -> Call:
    """Give the call behind a resource or a prompt, treated as `meta` says.

    What neither has a place for in its answer is refused, and so is what the protocol does not know `beside`. Raises
    `InvalidInput`.
    """
    refuse_slips(beside, "$", _TAKEN)
    said = steers_of(meta, "$._meta")
    if unfit := said.keys() & _UNFIT:
        hint = f"call the operation by `{RUN}`, or by a tool of its own"
        raise faulty(f"$._meta.{STEERS}.{min(unfit)}", "cannot be said of a resource or a prompt", hint)
    return call_from({**said, "operation": call.operation, "input": call.input}, "$")


def _run(arguments: dict[str, Any], said: dict[str, Any]) -> Call:
    if "operation" not in arguments:
        other = f"what `{DESCRIBE}` takes as `name` is called `operation` here" if "name" in arguments else None
        raise faulty("$.operation", "is missing", other)
    if unknown := arguments.keys() - _RUN_SCHEMA["properties"].keys():
        raise InvalidInput(
            f"`{RUN}` takes no `{min(unknown)[:100]}`",
            errors=[Fault(f"$.{min(unknown)[:100]}", "unknown field")],
            hint="what an operation takes stands inside `input`",
        )
    if twice := said.keys() & arguments.keys():
        raise faulty(f"$._meta.{STEERS}.{min(twice)[:100]}", "is said in the arguments too", "say it once")
    return call_from({**said, **arguments}, "$")
