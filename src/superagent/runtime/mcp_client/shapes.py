"""Shapes: a tool's JSON Schema, from wherever it comes, as types that check inputs; the rest is not checked.

The server behind a tool checks its own inputs; what is checked here is for whoever calls. So what is not understood
becomes "any value" and never an error, but for schemas that are bombs. Words of the server's appear only if `words`
says that a person has read them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Union, cast

import msgspec
from pydantic import BaseModel, ConfigDict, Field, create_model

from superagent.core.grants import Strict
from superagent.core.neutral import neutral

DEEPEST = 8
MOST_FIELDS = 64
MOST_NODES = 500
MOST_BYTES = 64 * 1024
MOST_CHOICES = 200
LONGEST_NOTE = 500

_PLAIN: Mapping[str, Any] = {"string": str, "integer": int, "number": float, "boolean": bool, "null": None}
_BOUNDS = {
    "string": {"minLength": "min_length", "maxLength": "max_length"},
    "integer": {"minimum": "ge", "maximum": "le"},
    "number": {"minimum": "ge", "maximum": "le"},
    "array": {"minItems": "min_length", "maxItems": "max_length"},
}
_FIELD = re.compile(r"[A-Za-z0-9_$@][A-Za-z0-9_.$@-]{0,63}")  # a name, and nothing that could be a sentence

Schema = dict[str, Any]
Fields = dict[str, Any]


class Loose(BaseModel):
    """An object of a tool's that may hold more than is listed."""

    model_config = ConfigDict(strict=True, extra="allow", frozen=True)


class Unfit(Exception):
    """This schema is none that a tool can have here; the text says why."""


def fields_of(schema: Any, *, words: bool) -> tuple[Fields, dict[str, str], bool]:
    """Give the fields of a tool's input for `create_model`, and the name of each in the tool's own words.

    The last value tells whether the tool takes further ones. Raises `Unfit`.
    """
    found = _mapping(schema)
    if len(msgspec.json.encode(found)) > MOST_BYTES:
        raise Unfit(f"its schema is longer than {MOST_BYTES} bytes")
    if found.get("type", "object") != "object":
        raise Unfit("its input is no object")
    reader = _Reader(found, words)
    fields, names = reader.fields(found, 0, "a")
    return fields, names, bool(found.get("additionalProperties", False)) or "patternProperties" in found


class _Reader:
    """One schema document; each of its nodes counts, so that references cannot make a small one large."""

    def __init__(self, document: Schema, words: bool) -> None:
        self._document = document
        self._words = words
        self._nodes = 0
        self._under_way: set[int] = set()

    def fields(self, schema: Schema, depth: int, prefix: str) -> tuple[Fields, dict[str, str]]:
        """Give the fields of an object's schema, and the own name of each. Raises `Unfit`."""
        properties = _mapping(schema.get("properties", {}))
        if len(properties) > MOST_FIELDS:
            raise Unfit(f"an object in its schema has more than {MOST_FIELDS} fields")
        required = {one for one in _list(schema.get("required", [])) if isinstance(one, str)}
        fields: Fields = {}
        names: dict[str, str] = {}
        for at, (name, one) in enumerate(properties.items()):
            if not _FIELD.fullmatch(name):
                raise Unfit("a field of its schema has a name that is none")
            inner = self._resolved(one)
            about: dict[str, Any] = {"alias": name}
            if self._words and isinstance(inner.get("description"), str):
                about["description"] = neutral(inner["description"][:LONGEST_NOTE])
            kind = self.type_of(inner, depth + 1)
            if name not in required:  # left out is left out: the server knows its own defaults
                about["default_factory"] = _nothing
            fields[f"{prefix}{at}"] = (kind, Field(**about))
            names[f"{prefix}{at}"] = name
        return fields, names

    def type_of(self, schema: Schema, depth: int) -> Any:
        """Give the type of a schema; `Any` for what types cannot say. Raises `Unfit` for bombs."""
        self._nodes += 1
        if self._nodes > MOST_NODES:
            raise Unfit(f"its schema comes to more than {MOST_NODES} parts")
        if depth > DEEPEST or id(schema) in self._under_way:  # what holds itself is any value there
            return Any
        self._under_way.add(id(schema))
        try:
            return self._kind(schema, depth)
        finally:
            self._under_way.discard(id(schema))

    def _kind(self, schema: Schema, depth: int) -> Any:
        if "allOf" in schema or "not" in schema or "if" in schema:
            return Any
        for several in ("anyOf", "oneOf"):
            if several in schema:
                return self._one_of(_list(schema[several]), depth)
        if "const" in schema or "enum" in schema:
            values = _list(schema["enum"]) if "enum" in schema else [schema["const"]]
            return _choice(values) if self._words else _kind_of(values)
        kind = schema.get("type")
        if isinstance(kind, list):
            return self._one_of([{**schema, "type": one} for one in cast("list[Any]", kind)], depth)
        if not isinstance(kind, str):
            return Any
        return self._bounded(kind, schema, self._plain(kind, schema, depth))

    def _one_of(self, several: list[Any], depth: int) -> Any:
        if not 0 < len(several) <= 20:
            return Any
        kinds = [self.type_of(self._resolved(one), depth + 1) for one in several]
        return Any if Any in kinds else cast(Any, Union)[tuple(kinds)]

    def _plain(self, kind: str, schema: Schema, depth: int) -> Any:
        if kind == "array":
            items = schema.get("items", {})
            return cast(Any, list)[self.type_of(self._resolved(items), depth + 1) if isinstance(items, dict) else Any]
        if kind == "object":
            if "properties" not in schema or "patternProperties" in schema:
                return dict[str, Any]
            name = f"Part{self._nodes}"
            fields, _ = self.fields(schema, depth, "b")
            closed = schema.get("additionalProperties") is False
            return create_model(name, __base__=Strict if closed else Loose, **fields)
        return _PLAIN.get(kind, Any)

    def _bounded(self, kind: str, schema: Schema, made: Any) -> Any:
        limits: dict[str, Any] = {}
        for theirs, ours in _BOUNDS.get(kind, {}).items():
            value = schema.get(theirs)
            if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 2**53:
                limits[ours] = int(value) if ours.endswith("length") else value
        return Annotated[made, Field(**limits)] if limits else made

    def _resolved(self, value: Any) -> Schema:
        """Follow references within the document; nothing is ever fetched, and what leads to itself is any value."""
        found = value
        for _ in range(DEEPEST):
            if found is True:
                return {}
            if not isinstance(found, dict) or "$ref" not in found:
                return cast(Schema, found) if isinstance(found, dict) else {}
            ref = cast(Any, found)["$ref"]
            if not isinstance(ref, str) or not ref.startswith("#/"):
                return {}
            found = self._at(ref[2:])
        return {}

    def _at(self, pointer: str) -> Any:
        """Give what lies at a JSON pointer (RFC 6901) in the document, None for nothing."""
        found: Any = self._document
        for part in pointer.split("/"):
            key = part.replace("~1", "/").replace("~0", "~")
            found = cast(Schema, found).get(key) if isinstance(found, dict) else None
        return found


def _choice(values: list[Any]) -> Any:
    if not 0 < len(values) <= MOST_CHOICES or not all(isinstance(one, str | int) for one in values):
        return Any
    return cast(Any, Literal)[tuple(values)]


def _kind_of(values: list[Any]) -> Any:
    """Give the type of choices without the choices: they are words, too."""
    return str if values and all(isinstance(one, str) for one in values) else Any


def _nothing() -> None:
    return None


def _mapping(value: Any) -> Schema:
    if not isinstance(value, dict):
        raise Unfit("its schema is none")
    return cast(Schema, value)


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise Unfit("its schema is none")
    return cast("list[Any]", value)
