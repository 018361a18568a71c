"""Portable: an operation as a tool for the models of OpenAI, Anthropic and Google, each in what its API takes.

A schema is first read into nodes, references and all; what a provider cannot say is left out there, never wrong: the
server checks every input anyway.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, cast

Provider = Literal["openai", "anthropic", "gemini"]
PROVIDERS: tuple[Provider, ...] = ("openai", "anthropic", "gemini")
LONGEST_NAME = 64
LONGEST_DESCRIPTION = 1024
DEEPEST = 8

Schema = dict[str, Any]
_BOUNDS = ("minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "pattern")


@dataclass(frozen=True, slots=True)
class Node:
    """One place in a schema. `kind` is a JSON type, `any`, or `union` of `options`; a map has `values`.

    `closed` says that an object holds its `fields` and nothing else.
    """

    kind: str
    description: str = ""
    nullable: bool = False
    enum: tuple[Any, ...] = ()
    fields: Mapping[str, Node] = field(default_factory=dict[str, "Node"])
    required: frozenset[str] = frozenset()
    closed: bool = False
    values: Node | None = None
    items: Node | None = None
    options: tuple[Node, ...] = ()
    bounds: Mapping[str, Any] = field(default_factory=dict[str, Any])


def tool_for(provider: Provider, name: str, description: str, input_schema: Schema, *, strict: bool = False) -> Schema:
    """Give a tool as a provider's API takes it.

    With `strict` (OpenAI) every argument is required and what may be left out may be null: whoever calls the operation
    drops the nulls. A tool that strictness cannot say is given without it.
    """
    called = name.replace(".", "_")[:LONGEST_NAME]
    text = cut(description, LONGEST_DESCRIPTION)
    root = node_of(input_schema)
    match provider:
        case "openai":
            if strict and _can_be_strict(root):
                return {
                    "type": "function", "name": called, "description": text, "strict": True,
                    "parameters": _strict(root),
                }  # fmt: skip
            return {
                "type": "function", "name": called, "description": text, "strict": False, "parameters": plain(root),
            }  # fmt: skip
        case "anthropic":
            return {"name": called, "description": text, "input_schema": plain(root)}
        case "gemini":
            made: Schema = {"name": called, "description": text}
            return {**made, "parameters": _gemini(root)} if root.fields else made


def cut(text: str, most: int) -> str:
    """Give a text of at most so many characters."""
    return text if len(text) <= most else text[: most - 1] + "…"


def node_of(schema: Schema) -> Node:
    """Read a schema whose root is an object."""
    return _node(schema, schema.get("$defs", {}), 0)


def _node(schema: Schema, defs: Mapping[str, Schema], depth: int) -> Node:
    text = str(schema.get("description", ""))
    if depth > DEEPEST:
        return Node("any", text)
    if "$ref" in schema:
        found = _node(defs.get(str(schema["$ref"]).rpartition("/")[2], {}), defs, depth + 1)
        return replace(found, description=text or found.description)
    if len(schema.get("allOf", ())) == 1:
        return _node({**schema["allOf"][0], **({"description": text} if text else {})}, defs, depth)
    for several in ("anyOf", "oneOf"):
        if several in schema:
            return _union([_node(one, defs, depth + 1) for one in schema[several]], text)
    if "const" in schema or "enum" in schema:
        values = tuple(schema["enum"]) if "enum" in schema else (schema["const"],)
        kinds = {"string" if isinstance(one, str) else "integer" for one in values}
        return Node(kinds.pop() if len(kinds) == 1 else "any", text, enum=values)
    kind = schema.get("type", "any")
    if isinstance(kind, list):
        kinds = [_node({**schema, "type": one}, defs, depth + 1) for one in cast("list[str]", kind)]
        return _union(kinds, text)
    bounds = {one: schema[one] for one in _BOUNDS if one in schema}
    match kind:
        case "array":
            return Node("array", text, items=_node(schema.get("items", {}), defs, depth + 1), bounds=bounds)
        case "object":
            return _object(schema, defs, depth, text)
        case _:
            return Node(kind, text, bounds=bounds)


def _object(schema: Schema, defs: Mapping[str, Schema], depth: int, text: str) -> Node:
    fields = {name: _node(one, defs, depth + 1) for name, one in schema.get("properties", {}).items()}
    more = schema.get("additionalProperties", True)
    values = _node(cast(Schema, more), defs, depth + 1) if isinstance(more, dict) else None
    required = frozenset(cast("list[str]", schema.get("required", [])))
    return Node("object", text, fields=fields, required=required, closed=more is False, values=values)


def _union(options: list[Node], text: str) -> Node:
    left = [one for one in options if one.kind != "null"]
    nullable = len(left) < len(options) or any(one.nullable for one in left)
    if len(left) == 1:
        return replace(left[0], description=text or left[0].description, nullable=nullable)
    return Node("union", text, nullable=nullable, options=tuple(left)) if left else Node("null", text)


# ---- JSON Schema, without references


def plain(node: Node, longest: int = 0) -> Schema:
    """Give a node as JSON Schema that refers to nothing; `longest` cuts its descriptions."""
    out = _plain(node, longest)
    text = cut(node.description, longest) if longest else node.description
    return {**out, "description": text} if text else out


def _plain(node: Node, longest: int) -> Schema:
    made: Schema = {}
    match node.kind:
        case "any":
            made = {"enum": list(node.enum)} if node.enum else {}
        case "union":
            made = {"anyOf": [plain(one, longest) for one in node.options]}
        case "object":
            made = {"type": "object", "properties": {name: plain(one, longest) for name, one in node.fields.items()}}
            if node.required:
                made["required"] = [name for name in node.fields if name in node.required]
            if node.closed or node.values is not None:
                made["additionalProperties"] = False if node.values is None else plain(node.values, longest)
        case "array":
            made = {"type": "array", "items": plain(node.items or Node("any"), longest), **node.bounds}
        case kind:
            made = {"type": kind, **node.bounds, **({"enum": list(node.enum)} if node.enum else {})}
    if node.nullable and made:
        return {"anyOf": [made, {"type": "null"}]}
    return made


# ---- OpenAI, strict


def _can_be_strict(node: Node) -> bool:
    match node.kind:
        case "any":
            return False
        case "object":
            return node.closed and node.values is None and all(_can_be_strict(one) for one in node.fields.values())
        case "array":
            return node.items is not None and _can_be_strict(node.items)
        case _:
            return all(_can_be_strict(one) for one in node.options)


def _strict(node: Node, optional: bool = False) -> Schema:
    made: Schema = {}
    match node.kind:
        case "object":
            fields = {name: _strict(one, name not in node.required) for name, one in node.fields.items()}
            made = {
                "type": "object", "properties": fields, "required": list(fields), "additionalProperties": False,
            }  # fmt: skip
        case "array":
            made = {"type": "array", "items": _strict(node.items or Node("string"))}
        case "union":
            made = {"anyOf": [_strict(one) for one in node.options]}
        case kind:
            made = {"type": kind, **({"enum": list(node.enum)} if node.enum else {})}
    if optional or node.nullable:
        options = made.get("anyOf", [made])
        made = {"anyOf": [*options, {"type": "null"}]}
    return {**made, "description": node.description} if node.description else made


# ---- Gemini: a part of OpenAPI 3.0


def _gemini(node: Node) -> Schema:
    made: Schema = {}
    match node.kind:
        case "object":
            made = {"type": "OBJECT"}
            if node.fields:
                made["properties"] = {name: _gemini(one) for name, one in node.fields.items()}
            if node.required:
                made["required"] = [name for name in node.fields if name in node.required]
        case "array":
            made = {"type": "ARRAY", "items": _gemini(node.items or Node("any"))}
        case "union":
            made = {"anyOf": [_gemini(one) for one in node.options]}
        case "any":
            made = {"anyOf": [{"type": one} for one in ("STRING", "NUMBER", "BOOLEAN", "OBJECT")]}
        case kind:
            made = {"type": kind.upper()}
            if node.enum and kind == "string":
                made["enum"] = list(node.enum)
    if node.nullable:
        made["nullable"] = True
    return {**made, "description": node.description} if node.description else made
