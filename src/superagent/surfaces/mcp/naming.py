"""Naming: which operation a message means, as far as its names tell it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from superagent.core.registry import Registry

RUN = "run_operation"
BEHIND = {
    "search_operations": "catalogue.search",
    "describe_operation": "catalogue.describe",
    "read_result": "result.read",
}


def operation_of(registry: Registry, method: str, params: Mapping[str, Any]) -> str:
    """Give the operation that a tool, prompt or resource means; empty for what means none."""
    if method == "resources/read":
        uri = params.get("uri")
        found = (one.name for one in registry if isinstance(uri, str) and one.face.read(uri) is not None)
        return next(found, "")
    name = params.get("name")
    if method not in ("tools/call", "prompts/get") or not isinstance(name, str):
        return ""
    if name == RUN and method == "tools/call":
        arguments = params.get("arguments")
        named = cast("dict[str, Any]", arguments).get("operation") if isinstance(arguments, dict) else None
        return named if isinstance(named, str) else ""
    return BEHIND.get(name) or registry.tools.get(name, "")
