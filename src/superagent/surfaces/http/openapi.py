"""OpenAPI 3.1 of what one caller may see, made from the registry."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

from superagent.core.grants import ISOLATION
from superagent.core.operation import Operation
from superagent.core.problems import every_problem

_HEADERS: list[tuple[str, dict[str, Any], str]] = [
    (
        "Idempotency-Key",
        {"type": "string", "maxLength": 200},
        "the same key and input give the first outcome for 24 hours",
    ),
    ("X-Dry-Run", {"type": "string", "enum": ["true", "false"]}, "show what would happen, change nothing"),
    ("Superagent-Deadline", {"type": "number", "exclusiveMinimum": 0, "maximum": 86400}, "seconds the call may take"),
    ("Superagent-Reason", {"type": "string", "maxLength": 2000}, "why; shown to approvers as unverified"),
    ("Superagent-Max-Bytes", {"type": "integer", "minimum": 0}, "a longer output comes as a handle"),
    (
        "Superagent-Isolation",
        {"type": "string", "enum": list(ISOLATION)},
        "a command runs at this level at least, or not",
    ),
    ("Superagent-Session", {"type": "string", "maxLength": 200}, "groups calls, so that they can be undone together"),
]
_STEERING: list[dict[str, Any]] = [
    *({"name": name, "in": "header", "schema": schema, "description": text} for name, schema, text in _HEADERS),
    {"name": "dry_run", "in": "query", "schema": {"type": "boolean"}, "description": "the same as `X-Dry-Run`"},
]
"""How a call is treated: what every address takes that runs an operation."""


def document(operations: Iterable[Operation], version: str, public_url: str) -> dict[str, Any]:
    """Give the OpenAPI document."""
    schemas: dict[str, Any] = {"Problem": problem_schema(), "Outcome": outcome_schema(), "Call": call_schema()}
    paths: dict[str, Any] = dict(_fixed_paths())
    for operation in operations:
        paths[f"/v1/operations/{operation.name}"] = {"post": _operation(operation, schemas)}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Super-Agent",
            "version": version,
            "description": "One API through which AI agents safely operate computers.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": public_url}],
        "security": [{"bearer": []}, {"key": []}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            },
        },
    }


def _operation(operation: Operation, schemas: dict[str, Any]) -> dict[str, Any]:
    name = operation.name.replace(".", "_")
    schemas[f"{name}_input"] = _lifted(operation.input_schema, name, schemas)
    schemas[f"{name}_output"] = _lifted(operation.output_schema, name, schemas)
    output = {"anyOf": [{"$ref": f"#/components/schemas/{name}_output"}, {"type": "object"}, {"type": "null"}]}
    done = {"allOf": [_ref("Outcome"), {"type": "object", "properties": {"output": output}}]}
    return {
        "operationId": name,
        "summary": operation.summary,
        "description": operation.description,
        "tags": [operation.domain],
        "x-effect": operation.effect.name,
        "x-risk": operation.risk.name,
        "x-takes-back": operation.takes_back,
        "parameters": _STEERING,
        "requestBody": {"content": {"application/json": {"schema": _ref(f"{name}_input")}}},
        "responses": {
            "200": {"description": "done or previewed", "content": {"application/json": {"schema": done}}},
            "202": {
                "description": "waiting for approval, or queued",
                "content": {"application/json": {"schema": done}},
            },
            "default": _problem_response(),
        },
    }


def _lifted(schema: dict[str, Any], prefix: str, schemas: dict[str, Any]) -> dict[str, Any]:
    """Move a schema's own definitions to the components, and point to them there."""
    own = dict(schema)
    for inner, definition in own.pop("$defs", {}).items():
        schemas[f"{prefix}_{inner}"] = _pointing(definition, prefix)
    return _pointing(own, prefix)


def _pointing(value: Any, prefix: str) -> Any:
    if isinstance(value, list):
        return [_pointing(one, prefix) for one in cast("list[Any]", value)]
    if not isinstance(value, dict):
        return value
    out: dict[str, Any] = {}
    for key, one in cast("dict[str, Any]", value).items():
        if key == "$ref" and isinstance(one, str) and one.startswith("#/$defs/"):
            out[key] = f"#/components/schemas/{prefix}_{one.removeprefix('#/$defs/')}"
        else:
            out[key] = _pointing(one, prefix)
    return out


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _problem_response() -> dict[str, Any]:
    return {"description": "a problem", "content": {"application/problem+json": {"schema": _ref("Problem")}}}


def _json(schema: dict[str, Any], text: str) -> dict[str, Any]:
    return {"description": text, "content": {"application/json": {"schema": schema}}}


def _text(name: str, where: str = "path") -> dict[str, Any]:
    return {"name": name, "in": where, "required": where == "path", "schema": {"type": "string"}}


def _number(name: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "schema": {"type": "integer", "minimum": 0}}


def _fixed_paths() -> dict[str, Any]:
    anything: dict[str, Any] = {"type": "object"}
    problem = _problem_response()

    def get(summary: str, parameters: list[dict[str, Any]], schema: dict[str, Any] = anything) -> dict[str, Any]:
        return {
            "summary": summary,
            "parameters": parameters,
            "responses": {"200": _json(schema, "found"), "default": problem},
        }

    def events(summary: str, parameters: list[dict[str, Any]]) -> dict[str, Any]:
        found = {"description": "server-sent events", "content": {"text/event-stream": {"schema": {"type": "string"}}}}
        resume = {"name": "Last-Event-ID", "in": "header", "schema": {"type": "integer", "minimum": 0}}
        return {
            "summary": summary,
            "parameters": [*parameters, resume],
            "responses": {"200": found, "default": problem},
        }

    def post(summary: str, parameters: list[dict[str, Any]]) -> dict[str, Any]:
        done = {"200": _json(_ref("Outcome"), "done"), "202": _json(_ref("Outcome"), "waiting or queued")}
        return {"summary": summary, "parameters": parameters, "responses": {**done, "default": problem}}

    batch = {
        "type": "object",
        "additionalProperties": False,
        "required": ["calls"],
        "properties": {
            "mode": {"enum": ["sequential", "parallel", "atomic"], "default": "sequential"},
            "stop_on_error": {"type": "boolean", "default": True},
            "calls": {"type": "array", "items": _ref("Call"), "maxItems": 1000},
        },
    }
    ran = {
        "type": "object",
        "properties": {"ok": {"type": "boolean"}, "outcomes": {"type": "array", "items": _ref("Outcome")}},
    }
    lines = {"application/x-ndjson": {"schema": {"type": "string"}}}
    blob = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
    return {
        "/v1/operations": {
            "get": get(
                "Find operations",
                [*(_text(name, "query") for name in ("q", "domain", "max_risk", "cursor")), _number("limit")],
            )
        },
        "/v1/operations/{name}": {"get": get("Describe an operation", [_text("name")])},
        "/v1/batch": {
            "post": {
                "summary": "Run many calls",
                "requestBody": {"required": True, "content": {"application/json": {"schema": batch}}},
                "responses": {"200": _json(ran, "ran"), "default": problem},
            }
        },
        "/v1/stream": {
            "post": {
                "summary": "A call a line in, an outcome a line out",
                "requestBody": {"required": True, "content": lines},
                "responses": {"200": {"description": "outcomes as they end", "content": lines}, "default": problem},
            }
        },
        "/v1/invocations/{id}": {"get": get("What became of a call", [_text("id")])},
        "/v1/invocations/{id}/events": {"get": events("A call's own events", [_text("id")])},
        "/v1/invocations/{id}/logs": {
            "get": events("What a job writes, as it does", [_text("id"), _text("stream", "query"), _number("since")])
        },
        "/v1/invocations/{id}/undo": {"post": post("Take a call back", [_text("id"), *_STEERING])},
        "/v1/invocations/{id}/cancel": {"post": post("Stop a call", [_text("id")])},
        "/v1/results/{handle}": {
            "get": get(
                "Page or search a large result",
                [_text("handle"), _number("offset"), _number("limit"), _text("grep", "query")],
            )
        },
        "/v1/results/{handle}/raw": {
            "get": {
                "summary": "Download a result, whole or a range",
                "parameters": [_text("handle"), {"name": "Range", "in": "header", "schema": {"type": "string"}}],
                "responses": {
                    "200": {"description": "all of it", "content": blob},
                    "206": {"description": "the range", "content": blob},
                    "default": problem,
                },
            }
        },
        "/v1/blobs": {
            "put": {
                "summary": "Upload a large input",
                "requestBody": {"required": True, "content": blob},
                "responses": {
                    "201": _json({"type": "object", "properties": {"handle": {"type": "string"}}}, "kept"),
                    "default": problem,
                },
            }
        },
        "/v1/events": {"get": events("What happens, as far as you may see it", [])},
    }


def call_schema() -> dict[str, Any]:
    """Give the schema of a call in a batch or stream (rules.md 4)."""
    return {
        "type": "object",
        "additionalProperties": False,
        "required": ["operation"],
        "properties": {
            "operation": {"type": "string"},
            "input": {"type": "object"},
            "key": {"type": "string", "maxLength": 200},
            "dry_run": {"type": "boolean"},
            "deadline_s": {"type": ["number", "null"], "exclusiveMinimum": 0, "maximum": 86400},
            "reason": {"type": "string", "maxLength": 2000},
            "max_bytes": {"type": ["integer", "null"], "minimum": 0},
            "isolation": {"enum": list(ISOLATION)},
            "session": {"type": "string", "maxLength": 200},
            "answers": {"type": "object"},
        },
    }


def outcome_schema() -> dict[str, Any]:
    """Give the schema of an outcome."""
    states = [
        "waiting",
        "queued",
        "running",
        "done",
        "failed",
        "cancelled",
        "expired",
        "previewed",
        "undone",
        "unknown",
    ]
    return {
        "type": "object",
        "required": ["invocation", "operation", "status", "output", "effects", "seconds"],
        "properties": {
            "invocation": {"type": "string"},
            "operation": {"type": "string"},
            "status": {"enum": states},
            "effects": {"type": "array", "items": {"type": "object"}},
            "undo": {"type": "object", "required": ["possible"]},
            "decision": {"type": "object", "required": ["verdict", "reason", "grants", "policy_version"]},
            "provenance": {
                "type": "object",
                "required": ["trust", "source"],
                "properties": {"trust": {"enum": ["trusted", "untrusted"]}, "source": {"type": "string"}},
            },
            "handle": {"type": "string"},
            "hint": {"type": "string", "description": "how to go on with a call that waits or is under way"},
            "problem": _ref("Problem"),
            "seconds": {"type": "number"},
        },
    }


def problem_schema() -> dict[str, Any]:
    """Give the schema of a problem (RFC 9457)."""
    return {
        "type": "object",
        "required": ["type", "title", "status", "detail", "retryable", "changed"],
        "properties": {
            "type": {"enum": [f"/problems/{kind.slug}" for kind in every_problem()]},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string"},
            "instance": {"type": "string"},
            "invocation": {"type": "string"},
            "retryable": {"type": "boolean"},
            "changed": {"enum": ["nothing", "partly", "unknown"]},
            "partly": {"type": "array", "items": {"type": "string"}},
            "hint": {"type": "string"},
            "fix": {"type": "object", "required": ["operation", "input"]},
            "errors": {"type": "array", "items": {"type": "object", "required": ["path", "message"]}},
        },
    }
