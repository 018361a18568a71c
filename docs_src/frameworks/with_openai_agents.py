"""OpenAI Agents SDK: the tools of Super-Agent by its own MCP server over Streamable HTTP."""

import asyncio
import json
import sys
from pathlib import Path

from agents.mcp import MCPServerStreamableHttp


async def main(url: str, key: str) -> None:
    headers = {"Authorization": f"Bearer {key}"}
    params = {"url": f"{url}/mcp?toolsets=files", "headers": headers}

    # an agent gets it as it is: Agent(name="builder", mcp_servers=[server])
    async with MCPServerStreamableHttp(params=params, name="superagent", client_session_timeout_seconds=30) as server:
        tools = await server.list_tools()
        await server.call_tool("files_write", {"path": "plan.md", "content": "# Plan\n"})
        read = await server.call_tool("files_read", {"path": "plan.md"})
    print(json.dumps({"tools": sorted(tool.name for tool in tools), "read": str(read)}))


asyncio.run(main(sys.argv[1], Path(sys.argv[2]).read_text().strip()))
