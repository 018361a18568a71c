"""Shapes: input and output of operations, as classes and as JSON Schema."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cached_property
from typing import Any, cast

import msgspec
from pydantic import BaseModel, create_model
from pydantic_core import SchemaValidator

from superagent.core.grants import Strict
from superagent.core.resources import Effect

_MANY = frozenset({"list", "set", "frozenset", "tuple", "dict"})
_PLAIN = frozenset({"default", "expected", "metadata", "serialization"})  # these hold values, and no schemas of inputs


class Shape:
    """Input and output of an operation as classes and schemas, each made when it is first looked at.

    A command line that runs one call has no time to build fifty models; a server calls `prepare` before it listens.
    """

    def __init__(
        self,
        about: tuple[str, int, Effect],
        fields: dict[str, Any],
        names: tuple[tuple[str, str], ...],
        result: type[BaseModel],
        rules: Mapping[str, Any],
    ) -> None:
        self.names = names
        self.direct = all(argument == attribute for argument, attribute in names)  # what is checked, bears these names
        self.result = result
        self._about = about
        self._fields = fields
        self._rules = rules

    @cached_property
    def model(self) -> type[BaseModel]:
        """Give the class that checks an input."""
        return create_model(f"{self._about[0]}.input", __base__=Strict, **self._fields)

    @cached_property
    def hurried(self) -> SchemaValidator:
        """Give what checks the same and ends at the first fault of each list: half a million of them take seconds."""
        hurried = _hurried(self.model.__pydantic_core_schema__)
        # what is built already is not to be used: it is what goes through each list to its end
        return SchemaValidator(hurried, _use_prebuilt=False)

    @cached_property
    def input_schema(self) -> dict[str, Any]:
        """Give the schema of the input."""
        return {**_schema(self.model), **self._rules}

    @cached_property
    def output_schema(self) -> dict[str, Any]:
        """Give the schema of the output."""
        return _schema(self.result)

    @cached_property
    def digest(self) -> str:
        """Give the SHA-256 (hex) over what callers rely on."""
        shape = msgspec.json.encode([*self._about, self.input_schema, self.output_schema], order="deterministic")
        return hashlib.sha256(shape).hexdigest()

    def prepare(self) -> None:
        """Make the input class now. Raises what pydantic says of a parameter it cannot check."""
        assert self.hurried is not None


def _hurried(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_hurried(one) for one in cast("list[Any]", schema)]
    if isinstance(schema, tuple):  # of choices, with what they are called
        return tuple(_hurried(one) for one in cast("tuple[Any, ...]", schema))
    if not isinstance(schema, dict):
        return schema
    named = cast("dict[str, Any]", schema)
    out = {name: value if name in _PLAIN else _hurried(value) for name, value in named.items()}
    kind = named.get("type")  # of a choice by a tag it is that choice
    return out | {"fail_fast": True} if isinstance(kind, str) and kind in _MANY else out


def _schema(model: type[BaseModel]) -> dict[str, Any]:
    return {name: value for name, value in model.model_json_schema().items() if name != "title"}
