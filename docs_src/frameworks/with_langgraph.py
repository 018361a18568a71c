"""LangGraph and LangChain: the tools of Super-Agent by `langchain-mcp-adapters`."""

import asyncio
import json
import sys
from pathlib import Path

from langchain_mcp_adapters.client import MultiServerMCPClient


async def main(url: str, key: str) -> None:
    headers = {"Authorization": f"Bearer {key}"}
    server = {"transport": "streamable_http", "url": f"{url}/mcp?toolsets=files", "headers": headers}
    tools = await MultiServerMCPClient({"superagent": server}).get_tools()

    # an agent gets them as they are: create_react_agent(model, tools)
    by_name = {tool.name: tool for tool in tools}
    await by_name["files_write"].ainvoke({"path": "plan.md", "content": "# Plan\n"})
    read = await by_name["files_read"].ainvoke({"path": "plan.md"})
    print(json.dumps({"tools": sorted(by_name), "read": str(read)}))


asyncio.run(main(sys.argv[1], Path(sys.argv[2]).read_text().strip()))
