"""pydantic-ai: the tools of Super-Agent as an MCP toolset."""

import asyncio
import json
import sys
from pathlib import Path

from pydantic_ai.mcp import MCPToolset


async def main(url: str, key: str) -> None:
    headers = {"Authorization": f"Bearer {key}"}

    # an agent gets it as it is: Agent(model, toolsets=[toolset]); a server that has just started takes a while at first
    toolset = MCPToolset(f"{url}/mcp?toolsets=files", headers=headers, init_timeout=60)
    async with toolset:
        tools = await toolset.list_tools()
        await toolset.direct_call_tool("files_write", {"path": "plan.md", "content": "# Plan\n"})
        read = await toolset.direct_call_tool("files_read", {"path": "plan.md"})
    print(json.dumps({"tools": sorted(tool.name for tool in tools), "read": str(read)}))


asyncio.run(main(sys.argv[1], Path(sys.argv[2]).read_text().strip()))
