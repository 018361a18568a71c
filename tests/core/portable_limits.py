"""What the APIs of OpenAI, Anthropic and Google publish as limits of a tool, checked apart from what makes tools.

OpenAI: names of 1 to 64 of `[A-Za-z0-9_-]`, descriptions of at most 1,024 characters; strict schemas: every object
closed with all of its fields required, no open values, at most 5 levels (the strictest that was said), 100 fields.
Anthropic: the same names, an object without `anyOf` at the root. Google (FunctionDeclaration): names and parameters
begin with a letter or `_`, at most 64; types in capitals, choices of texts, nothing outside of its part of OpenAPI.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

_GEMINI = {
    "type", "properties", "required", "items", "enum", "nullable", "description", "anyOf", "format", "minItems",
    "maxItems", "minimum", "maximum",
}  # fmt: skip
_UNSAID = {"$ref", "$defs", "allOf", "oneOf", "not", "if", "default", "const", "title", "format", "patternProperties"}


def faults(provider: str, tool: dict[str, Any]) -> Iterator[str]:
    """Say what of a tool is beyond a provider's limits."""
    name = tool["name"]
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_-]{0,63}", name):
        yield f"name {name}"
    if not 0 < len(tool["description"]) <= 1024:
        yield f"{name}: description of {len(tool['description'])}"
    match provider:
        case "openai":
            yield from _json_schema(name, tool["parameters"])
            if tool["strict"]:
                yield from _strict(name, tool["parameters"])
        case "anthropic":
            yield from _json_schema(name, tool["input_schema"])
        case _:
            if "parameters" in tool:
                yield from _gemini(name, tool["parameters"])


def _json_schema(name: str, schema: dict[str, Any]) -> Iterator[str]:
    if schema.get("type") != "object" or not isinstance(schema.get("properties"), dict):
        yield f"{name}: its root is no object"
    for one in _parts(schema):
        if found := _UNSAID & set(one):
            yield f"{name}: {sorted(found)}"
        if one.get("type") == "array" and "items" not in one:
            yield f"{name}: a list of what?"


def _strict(name: str, schema: dict[str, Any]) -> Iterator[str]:
    fields = 0
    for one in _parts(schema):
        if one.get("type") == "object":
            fields += len(one["properties"])
            if one.get("additionalProperties") is not False or set(one.get("required", ())) != set(one["properties"]):
                yield f"{name}: an object that is not closed, or has fields that are not required"
        if not {"type", "anyOf"} & set(one):
            yield f"{name}: an open value"
    if fields > 100 or _depth(schema) > 5:
        yield f"{name}: {fields} fields, {_depth(schema)} levels"


def _gemini(name: str, schema: dict[str, Any]) -> Iterator[str]:
    for one in _parts(schema):
        if found := set(one) - _GEMINI:
            yield f"{name}: {sorted(found)}"
        if "anyOf" not in one and one.get("type") not in ("STRING", "NUMBER", "INTEGER", "BOOLEAN", "ARRAY", "OBJECT"):
            yield f"{name}: the type {one.get('type')}"
        if one.get("type") == "ARRAY" and "items" not in one:
            yield f"{name}: a list of what?"
        if not all(isinstance(value, str) for value in one.get("enum", ())):
            yield f"{name}: choices that are no texts"
        for field in one.get("properties", ()):
            if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,63}", field):
                yield f"{name}: the parameter {field}"


def _parts(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield schema
    inner = [*schema.get("properties", {}).values(), *schema.get("anyOf", ())]
    inner += [one for one in (schema.get("items"), schema.get("additionalProperties")) if isinstance(one, dict)]
    for one in inner:
        yield from _parts(one)


def _depth(schema: dict[str, Any]) -> int:
    inner = [*schema.get("properties", {}).values()]
    here = 1 if schema.get("type") == "object" else 0
    inner += [*schema.get("anyOf", ()), *([schema["items"]] if "items" in schema else [])]
    return here + max((_depth(one) for one in inner), default=0)
