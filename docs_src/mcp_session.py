"""An agent's session by the official MCP client: find an operation, call it, take it back."""

from __future__ import annotations

import asyncio
import json
import os
from typing import Any

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client


async def session(base: str, key: str) -> list[Any]:
    """Do a little work over Streamable HTTP; an agent's program does the same by itself."""
    async with httpx2.AsyncClient(headers={"Authorization": f"Bearer {key}"}, timeout=60) as http:
        transport = streamable_http_client(f"{base}/mcp?toolsets=files", http_client=http)
        async with Client(transport) as client:
            found = await client.call_tool("search_operations", {"query": "write a file", "limit": 3})
            wrote = await client.call_tool("files_write", {"path": "notes.txt", "content": "by MCP\n"})
            read = await client.call_tool("files_read", {"path": "notes.txt"})
            back = await client.call_tool("undo_apply", {"ids": [wrote.structured_content["invocation"]]})
            return [one.structured_content for one in (found, wrote, read, back)]


if __name__ == "__main__":
    url = os.environ.get("SUPERAGENT_URL", "http://127.0.0.1:8750")
    for answer in asyncio.run(session(url, os.environ["SUPERAGENT_API_KEY"])):
        print(json.dumps(answer))
