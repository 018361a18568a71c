"""Schemas: the types that a hosted plugin's JSON Schemas stand for, so that its calls are checked as any other.

Only what the same types would say themselves is understood; whoever makes an operation of it compares the two.
"""

from __future__ import annotations

import keyword
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal, Union, cast

from pydantic import BaseModel, ConfigDict, Field, create_model

from superagent.core.operation import Output
from superagent.core.resources import Touches
from superagent.core.secret_inputs import SecretText

DEEPEST = 16
MOST_MODELS = 64
MOST_FIELDS = 64

_PLAIN: Mapping[str, Any] = {"string": str, "integer": int, "number": float, "boolean": bool, "null": None}
_LIMITS = {
    "minLength": "min_length", "maxLength": "max_length", "pattern": "pattern", "minimum": "ge", "maximum": "le",
    "exclusiveMinimum": "gt", "exclusiveMaximum": "lt", "minItems": "min_length", "maxItems": "max_length",
    "minProperties": "min_length", "maxProperties": "max_length", "multipleOf": "multiple_of",
}  # fmt: skip
_NOTES = {"title", "description", "default"}
_KNOWN = {*_LIMITS, *_NOTES, "type", "enum", "const", "anyOf", "$ref", "items", "additionalProperties"}

Schema = Mapping[str, Any]


class Types:
    """The types of one schema document; its models are made when they are first met. Raises `TypeError`."""

    def __init__(self, document: Schema, base: type[BaseModel]) -> None:
        self._defs = _mapping(document.get("$defs", {}), "$defs")
        self._base = base
        self._made: dict[str, type[BaseModel]] = {}
        self._under_way: set[str] = set()
        if len(self._defs) > MOST_MODELS:
            raise TypeError(f"more than {MOST_MODELS} classes in one schema")

    def of(self, schema: Any, marks: Sequence[Touches] = (), depth: int = 0) -> Any:
        """Give the type of a schema; `marks` say which resources its texts name."""
        found = _mapping(schema, "a schema")
        if depth > DEEPEST:
            raise TypeError(f"a schema nests deeper than {DEEPEST} levels")
        if found.get("format") == "password":
            return SecretText
        if beyond := found.keys() - _KNOWN:
            raise TypeError(f"nobody here understands `{min(map(str, beyond))}` in a schema")
        kind = self._kind(found, marks, depth)
        limits: dict[str, Any] = {ours: found[theirs] for theirs, ours in _LIMITS.items() if theirs in found}
        if depth and "description" in found:
            limits["description"] = _text(found["description"], "description")
        return Annotated[kind, Field(**limits)] if limits else kind

    def _kind(self, schema: Schema, marks: Sequence[Touches], depth: int) -> Any:
        if "$ref" in schema:
            return self._model(_text(schema["$ref"], "$ref"))
        if "anyOf" in schema:
            return cast(Any, Union)[tuple(self.of(one, marks, depth + 1) for one in _list(schema["anyOf"], "anyOf"))]
        if "const" in schema or "enum" in schema:
            values = _list(schema["enum"], "enum") if "enum" in schema else [schema["const"]]
            if not all(isinstance(one, str | int) for one in values):
                raise TypeError("only texts and whole numbers can be listed as choices")
            return cast(Any, Literal)[tuple(values)]
        match schema.get("type"):
            case "array":
                return cast(Any, list)[self.of(schema.get("items", {}), marks, depth + 1)]
            case "object":
                inner = schema.get("additionalProperties", False)
                if inner is False:
                    raise TypeError("an object inside of a schema needs a class of its own, or values of one type")
                return cast(Any, dict)[str, Any if inner is True else self.of(inner, (), depth + 1)]
            case None:
                return Any
            case str() as name if name in _PLAIN:
                kind = _PLAIN[name]
                return cast(Any, Annotated)[(kind, *marks)] if marks and kind is str else kind
            case other:
                raise TypeError(f"nobody here understands the type {str(other)[:40]!r}")

    def _model(self, ref: str) -> type[BaseModel]:
        name = ref.removeprefix("#/$defs/")
        if name not in self._made:
            if name not in self._defs or name in self._under_way:
                raise TypeError(f"`{ref[:80]}` leads to nothing, or to itself")
            self._under_way.add(name)
            self._made[name] = self.model(name, self._defs[name])
            self._under_way.discard(name)
        return self._made[name]

    def model(self, name: str, schema: Any) -> type[BaseModel]:
        """Give the class of an object's schema."""
        found = _mapping(schema, name)
        if found.get("type") != "object" or found.keys() - {
            "type", "title", "description", "properties", "required", "additionalProperties", "$defs",
        }:  # fmt: skip
            raise TypeError(f"`{name[:80]}` is no plain object")
        if not _name(name):
            raise TypeError(f"`{name[:80]}` is no name of a class")
        fields: dict[str, Any] = {
            _field(at): (self.of(one), field_of(one, required=at in _list(found.get("required", []), "required")))
            for at, one in properties(found).items()
        }
        base = self._base if found.get("additionalProperties") is False else _loose(self._base)
        made = create_model(name, __base__=base, **fields)
        made.__doc__ = _text(found["description"], "description") if "description" in found else None
        return made


def properties(schema: Schema) -> Mapping[str, Any]:
    """Give the properties of an object's schema."""
    found = _mapping(schema.get("properties", {}), "properties")
    if len(found) > MOST_FIELDS:
        raise TypeError(f"more than {MOST_FIELDS} fields in one class")
    return found


def field_of(schema: Any, *, required: bool) -> Any:
    """Give the field of a property, without its type: its default and its description."""
    found = _mapping(schema, "a property")
    notes: dict[str, Any] = {}
    if "description" in found:
        notes["description"] = _text(found["description"], "description")
    return Field(**notes) if required else Field(default=found.get("default"), **notes)


def output_of(name: str, schema: Schema) -> type[BaseModel]:
    """Give the class of an operation's output. Raises `TypeError`."""
    return Types(schema, Output).model(name, schema)


def _loose(base: type[BaseModel]) -> type[BaseModel]:
    return type("Loose", (base,), {"model_config": ConfigDict(extra="ignore"), "__module__": __name__})


def _field(name: str) -> str:
    if not _name(name) or name.startswith(("_", "model_")) or hasattr(BaseModel, name):
        raise TypeError(f"`{name[:80]}` cannot be a field's name")
    return name


def _name(text: str) -> bool:
    return text.isascii() and text.isidentifier() and not keyword.iskeyword(text) and len(text) <= 80


def _mapping(value: Any, what: str) -> Mapping[str, Any]:
    return _checked(value, dict, what)


def _list(value: Any, what: str) -> list[Any]:
    return _checked(value, list, what)


def _text(value: Any, what: str) -> str:
    return _checked(value, str, what)


def _checked(value: Any, kind: Callable[..., Any], what: str) -> Any:
    if not isinstance(value, cast(type, kind)):
        raise TypeError(f"`{what[:80]}` has the wrong shape")
    return value
