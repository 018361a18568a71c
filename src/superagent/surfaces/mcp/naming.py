"""Naming: which operation a message means, as far as its names tell it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, cast

from superagent.core.problems import Problem
from superagent.core.registry import Registry

RUN, DESCRIBE = "run_operation", "describe_operation"
BEHIND = {
    "search_operations": "catalogue.search",
    DESCRIBE: "catalogue.describe",
    "read_result": "result.read",
}
LASTING = frozenset({"access.whoami", "jobs.wait", "jobs.status", "jobs.cancel", "undo.apply"})
"""What is always listed beside the fixed tools, where the caller may: who am I, wait, stop, take back."""

_TOOLS = {one: tool for tool, one in BEHIND.items()} | {one: one.replace(".", "_") for one in LASTING}
_LISTED = re.compile("`(" + "|".join(map(re.escape, sorted(_TOOLS))) + ")`")
_DESCRIBED = re.compile(r"`superagent describe ([a-z0-9_.]+)`")


def document_of(problem: Problem, invocation: str = "") -> dict[str, Any]:
    """Give the object of a problem; its hint names the tools that are always listed, not operations or commands."""
    document = problem.document(invocation or None)
    if hint := document.get("hint"):
        hint = _DESCRIBED.sub(rf"`{DESCRIBE}` of `\1`", hint)
        document["hint"] = _LISTED.sub(lambda found: f"`{_TOOLS[found[1]]}`", hint)
    return document


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
