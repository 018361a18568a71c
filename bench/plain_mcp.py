"""The plain server of the MCP SDK, with one tool that says as much as `access_whoami`: no key, no policy, no record."""

from __future__ import annotations

import json
from typing import Any

from mcp.server.lowlevel.server import Server
from mcp_types import (
    CallToolRequestParams,
    CallToolResult,
    ListToolsResult,
    PaginatedRequestParams,
    TextContent,
    Tool,
)

TOLD: dict[str, Any] = {
    "invocation": "01KBBBBBBBBBBBBBBBBBBBBBBB",
    "status": "done",
    "output": {
        "id": "owner", "kind": "human", "tenant": "default", "roles": ["owner"], "on_behalf_of": [],
        "key": "01KAAAAAAAAAAAAAAAAAAAAAAA", "workspace": "",
    },
}  # fmt: skip


async def list_tools(asked: Any, params: PaginatedRequestParams | None) -> ListToolsResult:
    """List the one tool."""
    return ListToolsResult(tools=[Tool(name="access_whoami", input_schema={"type": "object", "properties": {}})])


async def call_tool(asked: Any, params: CallToolRequestParams) -> CallToolResult:
    """Answer the same to everybody, as text and as structured content."""
    return CallToolResult(content=[TextContent(type="text", text=json.dumps(TOLD))], structured_content=TOLD)


server: Server[Any] = Server("plain", version="1", on_list_tools=list_tools, on_call_tool=call_tool)
application = server.streamable_http_app(stateless_http=True)
