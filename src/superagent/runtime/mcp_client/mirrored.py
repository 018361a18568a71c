"""Mirrored: arguments that a server over HTTP wants to see in headers, too (MCP 2026-07-28, custom headers)."""

from __future__ import annotations

import base64
import re
from collections.abc import Generator
from typing import Any, cast

from superagent.runtime.mcp_client.messages import Document

PREFIX = "Mcp-Param-"
_ASKS = "x-mcp-header"
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,100}")  # RFC 9110, 5.6.2
_PLAIN = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?|")
_CODED = re.compile(r"=\?base64\?.*\?=")
_TYPES = frozenset({"string", "integer", "boolean"})
_DATA = frozenset({"const", "default", "enum", "examples"})

Path = tuple[str, ...] | None
"""The fields that lead to a place in a schema; None where more than fields do, so that no value can be found."""


def fault_of(schema: Any) -> str:
    """Give why a tool with this input schema must not be used; empty when its headers, if any, are in order."""
    seen: set[str] = set()
    for path, one in _places(schema, ()):
        if _ASKS not in one:
            continue
        name: Any = one[_ASKS]
        if not path:
            return "its schema asks for a header where no argument can be told"
        if not isinstance(name, str) or not _TOKEN.fullmatch(name):
            return "its schema asks for a header with a name that is none"
        if one.get("type") not in _TYPES:
            return "its schema asks for a header of what is no text, whole number or boolean"
        if name.lower() in seen:
            return "its schema asks for one header twice"
        seen.add(name.lower())
    return ""


def headers_of(schema: Any, arguments: Document) -> list[tuple[str, str]]:
    """Give the headers that repeat arguments, for a schema that has no fault."""
    found: list[tuple[str, str]] = []
    for path, one in _places(schema, ()):
        if path and _ASKS in one:
            value = _at(arguments, path)
            if isinstance(value, bool):
                found.append((PREFIX + one[_ASKS], "true" if value else "false"))
            elif isinstance(value, str | int):
                found.append((PREFIX + one[_ASKS], header_value(str(value))))
    return found


def header_value(text: str) -> str:
    """Give a text as the value of a header, in base64 where it would not arrive as it is."""
    if _PLAIN.fullmatch(text) and not _CODED.fullmatch(text):
        return text
    return f"=?base64?{base64.b64encode(text.encode()).decode()}?="


def _places(schema: Any, path: Path) -> Generator[tuple[Path, Document]]:
    """Give every place of a schema at which something could ask for a header; it is as deep as a message can be."""
    waiting: list[tuple[Any, Path]] = [(schema, path)]
    while waiting:
        value, path = waiting.pop()
        if isinstance(value, list):
            waiting += [(one, None) for one in cast("list[Any]", value)]
        elif isinstance(value, dict):
            one = cast(Document, value)
            yield path, one
            for key, inner in one.items():
                if key == "properties" and isinstance(inner, dict):
                    fields = cast(Document, inner)
                    waiting += [(field, None if path is None else (*path, name)) for name, field in fields.items()]
                elif key not in _DATA:
                    waiting.append((inner, None))


def _at(arguments: Document, path: tuple[str, ...]) -> Any:
    value: Any = arguments
    for name in path:
        value = cast(Document, value).get(name) if isinstance(value, dict) else None
    return value
