"""An ordinary MCP server, by the official SDK: standard input and output, or HTTP with `PORT`."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from typing import Any, Literal

from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp_types import ImageContent
from pydantic import BaseModel

server = MCPServer("ordinary", version="1.2")
notes: list[str] = []
calls: list[str] = []
waiting: list[int] = []


class Place(BaseModel):
    x: int
    y: int = 0


@server.tool()
def add(a: int, b: int = 1) -> int:
    """Add two numbers."""
    return a + b


@server.tool()
def noteDown(text: str, kind: Literal["plain", "loud"] = "plain", places: list[Place] | None = None) -> dict[str, Any]:  # noqa: N802
    """Keep a note."""
    notes.append(text.upper() if kind == "loud" else text)
    return {"notes": notes, "places": [one.model_dump() for one in places or []]}


class Colour(BaseModel):
    sure: bool
    colour: Literal["red", "blue"] = "blue"


@server.tool()
async def paint(what: str, ctx: Context) -> str:
    """Paint something, in a colour that the user says."""
    calls.append(what)
    while what == "fence" and not waiting:
        await asyncio.sleep(0.02)
    said = await ctx.elicit(f"Which colour for the {what}?", Colour)
    waiting.clear()
    if said.action != "accept":
        return f"{said.action} after {len(calls)}"
    return f"{what}: {said.data.colour}, {'sure' if said.data.sure else 'unsure'}, after {len(calls)}"


@server.tool()
async def wait_beside() -> str:
    """Wait until a fence is painted."""
    waiting.append(1)
    while waiting:
        await asyncio.sleep(0.02)
    return "seen"


@server.tool()
def fail(why: str) -> str:
    """Fail for a reason."""
    raise ValueError(why)


@server.tool()
def picture() -> ImageContent:
    """Give a picture."""
    return ImageContent(type="image", data="aGVsbG8=", mime_type="image/png")


@server.tool()
def surroundings() -> dict[str, Any]:
    """Say what is seen from here."""
    seen: dict[str, Any] = {"pid": os.getpid(), "env": sorted(os.environ), "cwd": os.getcwd()}
    for path in sys.argv[1:]:
        try:
            with open(path, "rb") as file:
                seen[path] = len(file.read())
        except OSError as bad:
            seen[path] = type(bad).__name__
    try:
        socket.create_connection(("127.0.0.1", 9), timeout=1).close()
    except OSError as bad:
        seen["network"] = type(bad).__name__
    return seen


if __name__ == "__main__":
    if port := os.environ.get("PORT"):
        server.run("streamable-http", host="127.0.0.1", port=int(port))
    else:
        server.run("stdio")
