"""Actions: a slice of the operations as an OpenAPI document for GPT Actions, within the limits that it publishes.

Production notes on GPT Actions: 300 characters for a summary or description, 700 for that of a parameter, no headers of
one's own, one way to sign in. That an action has at most 30 operations is widely said, and not on that page.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from superagent.core.operation import Operation
from superagent.core.portable import cut, node_of, plain
from superagent.core.problems import InvalidInput
from superagent.core.resources import Effect

MOST_OPERATIONS = 30
LONGEST_TEXT = 300
LONGEST_PARAMETER = 700
RUN = "run_operation"
FIXED = ("catalogue.search", "catalogue.describe", "result.read", "access.whoami", "jobs.status", "undo.apply")
DEFAULT = ("files.read", "files.write", "files.list", "files.search", "shell.run")


def actions(operations: Iterable[Operation], toolsets: Sequence[str], version: str, public_url: str) -> dict[str, Any]:
    """Give the document: what an agent always needs, then what `toolsets` (domains, operations) name.

    Raises `InvalidInput` for more than fit.
    """
    seen = {one.name: one for one in operations}
    wanted = toolsets or DEFAULT
    chosen = [seen[name] for name in FIXED if name in seen]
    chosen += [one for name, one in seen.items() if name not in FIXED and (name in wanted or one.domain in wanted)]
    if len(chosen) + 1 > MOST_OPERATIONS:
        raise InvalidInput(
            f"these are {len(chosen) + 1} operations, and an action takes {MOST_OPERATIONS}",
            hint="name single operations: `?toolsets=files.read,files.write`; `run_operation` calls all others",
        )
    paths: dict[str, Any] = {f"/v1/operations/{one.name}": {"post": _operation(one)} for one in chosen}
    paths["/v1/operations/{name}"] = {"post": _any()}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Super-Agent",
            "version": version,
            "description": "Safely operate a computer: every call is judged, recorded and, where possible, undoable.",
        },
        "servers": [{"url": public_url}],
        "security": [{"bearer": []}],
        "paths": paths,
        "components": {"schemas": {}, "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}}},
    }


def _operation(operation: Operation) -> dict[str, Any]:
    schema = plain(node_of(operation.input_schema), LONGEST_PARAMETER)
    return {
        "operationId": operation.name.replace(".", "_"),
        "summary": cut(operation.summary, LONGEST_TEXT),
        "description": cut(operation.description, LONGEST_TEXT),
        "x-openai-isConsequential": operation.effect is not Effect.READ,
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}},
        "responses": _responses(),
    }


def _any() -> dict[str, Any]:
    name = {
        "name": "name", "in": "path", "required": True, "schema": {"type": "string"},
        "description": "the operation, such as files.read; catalogue_search finds it, catalogue_describe its input",
    }  # fmt: skip
    return {
        "operationId": RUN,
        "summary": "Call any operation by its name",
        "x-openai-isConsequential": True,
        "parameters": [name],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"type": "object", "additionalProperties": True}}},
        },
        "responses": _responses(),
    }


def _responses() -> dict[str, Any]:
    outcome = {
        "type": "object",
        "properties": {
            "status": {"type": "string", "description": "done, waiting for a person's approval, or failed"},
            "invocation": {"type": "string"},
            "output": {},
            "handle": {"type": "string", "description": "the output was long: result_read gives it in parts"},
        },
    }
    return {
        code: {"description": text, "content": {"application/json": {"schema": outcome}}}
        for code, text in (("200", "done"), ("202", "a person must approve it first, or it runs in the background"))
    }
