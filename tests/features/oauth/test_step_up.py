"""Step-up: at the door of agents a token that lacks a scope is told which, and only of what its person may use."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.features.oauth.parties import application
from tests.promise import promise
from tests.surfaces.http.house import House, problem_of

pytestmark = pytest.mark.asyncio(loop_scope="session")
NEW = "2026-07-28"


async def asked(house: House, token: str, method: str, params: dict[str, Any], name: str) -> httpx.Response:
    """Send a message of the newer revision to the door of agents."""
    meta = {
        "io.modelcontextprotocol/protocolVersion": NEW,
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
    }
    return await house.stranger.post(
        "/mcp",
        json={"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, "_meta": meta}},
        headers={
            "Authorization": f"Bearer {token}",
            "Accept": "application/json, text/event-stream",
            "MCP-Protocol-Version": NEW,
            "Mcp-Method": method,
            "Mcp-Name": name,
        },
    )


@promise("10.5a")
async def test_a_token_that_lacks_a_scope_is_told_which_and_one_that_has_it_is_not(house: House) -> None:
    app = await application(house)
    tokens = await app.tokens(house.owner, scope="*:read", resource=f"{house.address}/mcp")
    token = tokens["access_token"]
    write: dict[str, Any] = {"name": "files_write", "arguments": {"path": "/x", "content": "x"}}
    named: dict[str, Any] = {
        "name": "run_operation",
        "arguments": {"operation": "files.delete", "input": {"path": "/x"}},
    }

    for params, scope in ((write, "files.write:change"), (named, "files.delete")):
        response = await asked(house, token, "tools/call", params, params["name"])
        document = problem_of(response, 403, "denied")
        metadata = f"{house.address}/.well-known/oauth-protected-resource/mcp"
        challenge = f'Bearer error="insufficient_scope", scope="{scope}", resource_metadata="{metadata}"'
        assert response.headers["www-authenticate"] == challenge
        (record,) = await house.records(invocation=document["invocation"])
        assert (record["kind"], record["channel"]) == ("refused", "mcp")
        assert record["operation"] == scope.removesuffix(":change")

    whoami = await asked(house, token, "tools/call", {"name": "access_whoami", "arguments": {}}, "access_whoami")
    assert whoami.json()["result"]["structuredContent"]["status"] == "done"
    unknown = await asked(house, token, "tools/call", {"name": "no_such", "arguments": {}}, "no_such")
    assert unknown.json()["error"]["code"] == -32602  # of what is not there nothing is told
    assert "www-authenticate" not in unknown.headers


async def test_a_body_that_is_no_message_is_refused_as_for_everybody(house: House) -> None:
    app = await application(house)
    token = (await app.tokens(house.owner, scope="*:read", resource=f"{house.address}/mcp"))["access_token"]
    for body in (b"", b"[" * 50_000, b"[]", b'{"method":1,"params":[]}'):
        response = await house.stranger.post(
            "/mcp",
            content=body,
            headers={
                "Authorization": f"Bearer {token}",
                "Accept": "application/json, text/event-stream",
                "Content-Type": "application/json",
                "MCP-Protocol-Version": NEW,
            },
        )
        assert response.status_code == 400, response.text
