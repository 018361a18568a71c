"""Shapes: input and output of operations, as classes and as JSON Schema."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Collection, Mapping
from functools import cached_property
from typing import Any, cast

import msgspec
from pydantic import BaseModel, ValidationError, create_model
from pydantic_core import SchemaValidator

from superagent.core.grants import Strict
from superagent.core.problems import Fault
from superagent.core.resources import Effect

MOST_FAULTS = 100
MOST_COMPARED, LONGEST_COMPARED = 5, 80  # comparing names takes time, and no name is like a longer one

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

    @property
    def known(self) -> Collection[str]:
        """Give the names of the input's fields."""
        return self.input_schema.get("properties", {}).keys()

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


def faults_of(bad: ValidationError, known: Collection[str] = ()) -> list[Fault]:
    """Give pydantic's complaints as (JSON path, message); never the refused value, which may be a secret.

    Of the first fields that nobody knows, those among `known` are named that are meant by them, or else all there are.
    """
    out: list[Fault] = []
    found = bad.errors(include_url=False, include_context=False, include_input=False)[:MOST_FAULTS]
    missing = [str(one["loc"][0]) for one in found if one["type"] == "missing" and len(one["loc"]) == 1]
    for one in found:
        path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in one["loc"])
        message = one["msg"]
        if one["type"] == "extra_forbidden" and len(out) < MOST_COMPARED:
            message = _unknown(one["loc"], known, missing)
        out.append(Fault(f"${path}", message))
    return out


def _unknown(place: tuple[int | str, ...], known: Collection[str], missing: Collection[str]) -> str:
    name, said = str(place[-1]), "there is no such field"
    if len(place) > 1 or not known:
        return said
    for names in (missing, known):  # what has to be given is likelier meant than what may be left out
        near = difflib.get_close_matches(name, names, n=1) if len(name) <= LONGEST_COMPARED else []
        if near:
            return f"{said}; did you mean `{near[0]}`?"
    return f"{said}; there are {', '.join(f'`{one}`' for one in known)}"


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
