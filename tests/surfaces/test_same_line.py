"""A call leaves the same record whichever door it came through."""

from __future__ import annotations

import json
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.promise import promise
from tests.surfaces.cli.command_line import Server, serving, superagent
from tests.until import until

CALL: dict[str, Any] = {"path": "notes/../notes/./same.txt", "content": "same", "create_only": False}
BOUND = (
    "operation",
    "version",
    "input_digest",
    "resources",
    "decision",
    "decision_digest",
    "grants",
    "who",
    "tenant",
    "status",
)
# the key of the first start counts as a second factor at the local doors only, so one grant less allows it there
APART = {"a2a": {"decision_digest", "grants"}}


def ask(server: Server, path: str, body: bytes, headers: dict[str, str] | None = None) -> dict[str, Any]:
    parts = urlsplit(server.address)
    connection = HTTPConnection(str(parts.hostname), parts.port, timeout=30)
    try:
        connection.request("POST", path, body, {"Authorization": f"Bearer {server.owner_key}"} | (headers or {}))
        response = connection.getresponse()
        answer: dict[str, Any] = json.loads(response.read())
        assert response.status == 200, answer
        return answer
    finally:
        connection.close()


def by_http(server: Server) -> str:
    return str(ask(server, "/v1/operations/files.write", json.dumps(CALL).encode())["invocation"])


def by_batch(server: Server) -> str:
    calls = {"calls": [{"operation": "files.write", "input": CALL}]}
    return str(ask(server, "/v1/batch", json.dumps(calls).encode())["outcomes"][0]["invocation"])


def by_stream(server: Server) -> str:
    line = {"id": 1, "operation": "files.write", "input": CALL}
    return str(ask(server, "/v1/stream", json.dumps(line).encode() + b"\n")["invocation"])


def by_a2a(server: Server) -> str:
    """Send a message by JSON-RPC, as the protocol writes it; `tests/surfaces/a2a` does so by the official client."""
    part = {"data": {"operation": "files.write", "input": CALL}}
    message = {"messageId": "1", "role": "ROLE_USER", "parts": [part]}
    body = {"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": {"message": message}}
    answer = ask(server, "/a2a", json.dumps(body).encode(), {"A2A-Version": "1.0"})
    return str(answer["result"]["task"]["id"])


def by_command(data: Path) -> str:
    return str(
        superagent("call", "files.write", "--input", json.dumps(CALL), "--json", data=data).document["invocation"]
    )


def by_flags(data: Path) -> str:
    flags = ["--content", CALL["content"], "--no-create-only"]
    return str(superagent("files", "write", CALL["path"], *flags, "--json", data=data).document["invocation"])


def everything_bound(data: Path, made: dict[str, str]) -> dict[tuple[str, str], dict[str, Any]] | None:
    """Give what the audit holds of each door's call, by door and kind of record; None while any is missing."""
    found = superagent("audit", "query", "--operation", "files.write", "--limit", "100", "--json", data=data)
    doors = {id: name for name, id in made.items()}
    bound = {
        (doors[one["invocation"]], one["kind"]): {field: one.get(field) for field in BOUND}
        for one in found.document["output"]["records"]
        if one["invocation"] in doors
    }
    return bound if bound.keys() == {(name, kind) for name in made for kind in ("intent", "outcome")} else None


@pytest.mark.timeout(180)
@promise("1.4a")
@pytest.mark.slow
def test_one_call_by_http_batch_stream_a2a_and_command_line_leaves_the_same_record(tmp_path: Path) -> None:
    data = tmp_path / "data"
    made: dict[str, str] = {}
    with serving(data) as server:
        superagent("files", "mkdir", "notes", data=data)
        doors: list[Callable[[], str]] = [
            lambda: by_http(server),
            lambda: by_batch(server),
            lambda: by_stream(server),
            lambda: by_a2a(server),
            lambda: by_command(data),
            lambda: by_flags(data),
        ]
        for name, door in zip(("http", "batch", "stream", "a2a", "remote", "remote flags"), doors, strict=True):
            made[name] = door()
    made["embedded"], made["embedded flags"] = by_command(data), by_flags(data)
    bound = until(lambda: everything_bound(data, made), "both records of every door in the index", 60) or {}
    for kind in ("intent", "outcome"):
        of_kind = [bound[name, kind] for name in made]
        different = {
            field: {name: bound[name, kind][field] for name in made}
            for field in BOUND
            if len({json.dumps(bound[name, kind][field]) for name in made if field not in APART.get(name, ())}) > 1
        }
        assert not different
        assert all(of_kind[0][field] for field in ("input_digest", "resources", "decision_digest", "grants"))
