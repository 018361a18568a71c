"""An input for every operation, made from its schema, that names resources at a given place."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from superagent.core.operation import Operation

_GRANT = {"effect": "deny", "subject": "agent:nobody-at-all", "operations": ["files.read"]}
_PLACES = ("cwd", "folder", "root", "workspace", "path")

_SPELLINGS = (
    "0" * 32,
    "0" * 64,
    "01ARZ3NDEKTSV4RRFFQ69G5FAV",
    "1",
    "https://nowhere.example",
    "nothing@nowhere.example",
)

# what a schema cannot say: which texts mean something
_KNOWN: dict[str, dict[str, Any]] = {
    "grants.create": {"grant": _GRANT},
    "policy.propose": {"add": [_GRANT]},
    "policy.apply": {"add": [_GRANT]},
    "policy.simulate": {"add": [_GRANT], "until": 1.0},
    "policy.import": {"text": '[[grants]]\neffect = "deny"\nsubject = "agent:nobody"\noperations = ["files.read"]\n'},
    "policy.explain": {"operation": "access.whoami", "input": {}},
    "jobs.answer": {"id": "01ARZ3NDEKTSV4RRFFQ69G5FAV", "answers": {"name": "ada"}},
    "jobs.schedule": {"operation": "access.whoami", "input": {}, "cron": "0 3 1 1 *"},
    "connections.create": {"name": "nowhere", "type": "http", "endpoint": "https://nowhere.example"},
    "connections.update": {"name": "nowhere", "endpoint": "https://nowhere.example"},
    "agents.delegate": {"agent": "nowhere", "task": "sing"},
    "plugins.connect_mcp": {"name": "nowhere", "url": "https://nowhere.example/mcp"},
    "plugins.authorize": {"login": "nowhere", "url": "https://nowhere.example/mcp"},
    "plugins.review": {"name": "nowhere"},
    "plugins.remove": {"name": "nowhere"},
    "plugins.assign": {
        "name": "nowhere",
        "tools": [{"tool": "x", "digest": "0" * 64, "effect": "READ", "risk": "LOW"}],
    },
    "files.patch": {"patch": "--- a/file.txt\n+++ b/file.txt\n@@ -1 +1 @@\n-standing\n+changed\n"},
    "settings.set": {"name": "limits.agent_burst", "value": 7},
    "shell.exec": {"argv": ["true"]},
    "shell.start": {"argv": ["true"]},
    "shell.run": {"command": "true"},
    "shell.script": {"language": "bash", "content": "true"},
    **{name: {"table": "public.orders"} for name in ("sql.index_build", "sql.user_grant", "sql.user_revoke")},
    "undo.apply": {"ids": ["01ARZ3NDEKTSV4RRFFQ69G5FAV"]},
}


def input_for(operation: Operation, folder: Path) -> dict[str, Any]:
    """Make an input that parses and whose paths lie in a folder."""
    schema = operation.input_schema
    made = dict(_KNOWN.get(operation.name, {}))
    for name in schema.get("required", []):
        if name not in made:
            made[name] = _value(name, schema["properties"][name], schema)
    for touch in operation.touched:
        name = touch.argument.rstrip("_")
        if touch.kind == "path":
            target = touch.effect and name == "target"
            path = str(folder / ("new.txt" if target else "file.txt"))
            made[name] = [path] if touch.many else path
    if operation.more is not None:
        for name in _PLACES:
            if name in schema.get("properties", {}) and name not in made:
                made[name] = str(folder)
                break
    return made


def _value(name: str, schema: dict[str, Any], whole: dict[str, Any]) -> Any:
    if "$ref" in schema:
        schema = whole["$defs"][schema["$ref"].rpartition("/")[2]]
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][0]
    for several in ("anyOf", "oneOf", "allOf"):
        if several in schema:
            return _value(name, schema[several][0], whole)
    if schema.get("examples"):
        return schema["examples"][0]
    kind = schema.get("type")
    if kind == "array":
        return [_value(name, schema.get("items", {}), whole)]
    if kind == "object":
        needed = schema.get("required", [])
        return {one: _value(one, schema["properties"][one], whole) for one in needed}
    if kind in ("integer", "number"):
        return max(1, schema.get("minimum", schema.get("exclusiveMinimum", 0) + 1))
    if kind == "boolean":
        return False
    text = "nothing".ljust(schema.get("minLength", 1), "x")
    fitting = [one for one in (text, *_SPELLINGS) if re.search(schema.get("pattern", ""), one)]
    return fitting[0] if fitting else text
