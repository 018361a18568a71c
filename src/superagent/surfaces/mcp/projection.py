"""Projection: an operation as a tool. What the registry says is all that is said; nothing is written twice."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, cast

from mcp_types import Tool, ToolAnnotations

from superagent.core.media import Media
from superagent.core.operation import Operation
from superagent.core.resources import Effect

_OUTSIDE = frozenset({"net", "connect"})
LONGEST_DESCRIPTION = 1024
_DATA = frozenset({"const", "default", "enum", "examples"})


@lru_cache(4096)
def tool_of(operation: Operation) -> Tool:
    """Give the tool of an operation: title, both schemas, and what its effect and risk mean for whoever asks."""
    return Tool(
        name=operation.tool,
        title=title_of(operation.name),
        description=_description(operation),
        input_schema=_portable(operation.input_schema),
        output_schema=outcome_schema(operation),
        annotations=ToolAnnotations(
            read_only_hint=operation.effect is Effect.READ,
            destructive_hint=operation.effect is Effect.DESTROY or operation.takes_back == "irreversible",
            idempotent_hint=operation.idempotent,
            open_world_hint=bool(_OUTSIDE & operation.reaches),
        ),
        _meta={
            "superagent/operation": operation.name,
            "superagent/version": operation.version,
            "superagent/effect": operation.effect.name,
            "superagent/risk": operation.risk.name,
            "superagent/takes_back": operation.takes_back,
        },
    )


@lru_cache(4096)
def length_of(operation: Operation) -> int:
    """Give how long the tool of an operation is in a list, in characters of JSON; three make a token, or more."""
    return len(tool_of(operation).model_dump_json(by_alias=True, exclude_none=True))


def outcome_schema(operation: Operation | None = None) -> dict[str, Any]:
    """Give the schema of what a call gives: the outcome, whose `output` is the operation's own once it is done."""
    output: dict[str, Any] = {"type": "object"}
    definitions: dict[str, Any] = {}
    if operation is not None and not (operation.stream or operation.background):
        output = {"type": "object"} if issubclass(operation.shape.result, Media) else _brief(operation.output_schema)
        definitions = output.pop("$defs", {})
    properties: dict[str, Any] = {
        "invocation": {"type": "string"},
        "status": {"type": "string"},
        "output": output,
        "preview": {"type": "object"},
        "handle": {"type": "string"},
        "effects": {"type": "array"},
        "undo": {"type": "object"},
        "problem": {"type": "object"},
        "hint": {"type": "string"},
    }
    schema = {"type": "object", "properties": properties, "required": ["status"]}
    return schema | ({"$defs": definitions} if definitions else {})


def _portable(schema: dict[str, Any]) -> dict[str, Any]:
    """Give an input schema whose root is what every client takes for an object with parameters."""
    return {"type": "object", "properties": {}, **_brief(schema)}


def _brief(schema: Any) -> Any:
    """Leave out titles that only repeat names: each costs its readers tokens. A parameter may be called `title`."""
    if isinstance(schema, dict):
        fields = cast("dict[str, Any]", schema)
        kept = {name: one for name, one in fields.items() if not (name == "title" and isinstance(one, str))}
        return {name: one if name in _DATA else _brief(one) for name, one in kept.items()}
    return [_brief(one) for one in cast("list[Any]", schema)] if isinstance(schema, list) else schema


def title_of(name: str) -> str:
    """Give the title of an operation: its name in words."""
    words = name.replace("_", " ").split(".")
    return f"{words[0].capitalize()}: {' '.join(words[1:])}"


def _description(operation: Operation) -> str:
    text = operation.description
    if operation.effect is not Effect.READ:
        back = {"undo": "can be undone", "compensate": "can be compensated", "ephemeral": "leaves nothing that lasts"}
        text += f"\n\n{operation.risk.name} risk; {back.get(operation.takes_back, 'CANNOT be undone')}."
    if operation.stream or operation.background:
        text += "\n\nRuns in the background: ask `jobs.wait` with the invocation that this gives."
    return text if len(text) <= LONGEST_DESCRIPTION else text[: LONGEST_DESCRIPTION - 1] + "…"
