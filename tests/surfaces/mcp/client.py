"""The official client of the Python SDK, with a key."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, cast

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CallToolResult

from tests.surfaces.http.house import Caller, House

NEW = "2026-07-28"
OLD = "2025-11-25"
MODES: dict[str, Any] = {NEW: NEW, OLD: "legacy"}


@asynccontextmanager
async def connected(
    house: House, caller: Caller, revision: str, query: str = "", **more: Any
) -> AsyncGenerator[Client]:
    """Connect to a house as a caller, in one revision of the protocol."""
    headers = {"Authorization": f"Bearer {caller.key}"}
    async with httpx2.AsyncClient(headers=headers, timeout=20.0) as http:
        transport = streamable_http_client(f"{house.address}/mcp{query}", http_client=http)
        async with Client(transport, mode=MODES[revision], **more) as client:
            assert client.protocol_version == revision
            yield client


def told(result: CallToolResult) -> dict[str, Any]:
    """Give what a result says, after checking that its text says the same."""
    (block,) = result.content
    assert block.type == "text"
    assert json.loads(block.text) == result.structured_content
    return cast("dict[str, Any]", result.structured_content)
