"""The agent: the official MCP client of the Python SDK as it is, with a key and nothing else of ours."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from film.reel import Reel


class Agent:
    """Somebody who calls tools, and tells the reel."""

    def __init__(self, client: Client, reel: Reel) -> None:
        self._client = client
        self._reel = reel

    async def tools(self) -> list[str]:
        """List what this key can be used for."""
        return sorted(one.name for one in (await self._client.list_tools()).tools)

    async def call(self, tool: str, reason: str = "", **arguments: Any) -> dict[str, Any]:
        """Call a tool, for a reason that the person reads, and give its outcome; the call is shown."""
        shown = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
        self._reel.code(f"{tool}({shown})" + (f"\nreason: {reason}" if reason else ""))
        meta: Any = {"superagent/call": {"reason": reason}} if reason else None
        found = await self._client.call_tool(tool, arguments, meta=meta)
        return found.structured_content or {}


@asynccontextmanager
async def agent(address: str, key: str, reel: Reel) -> AsyncGenerator[Agent]:
    """Connect over HTTP."""
    async with httpx2.AsyncClient(headers={"Authorization": f"Bearer {key}"}, timeout=180.0) as http:
        transport = streamable_http_client(f"{address}/mcp?toolsets=files,code,sql", http_client=http)
        async with Client(transport) as client:
            yield Agent(client, reel)
