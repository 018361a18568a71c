"""A house with MCP servers: what connects them, and who calls their tools."""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import socket
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.runtime.net.outside import Names
from tests.surfaces.http.house import Caller, House, house_in

SERVERS = Path(__file__).parent / "servers"
NAMES = Names({"localhost": ["127.0.0.1"], "mcp.test": ["127.0.0.1"], "other.test": ["127.0.0.1"]})
_numbers = itertools.count(1)


@asynccontextmanager
async def house_of_servers(data: Path) -> AsyncGenerator[House]:
    """Open an installation that may reach servers on loopback, by name."""
    data.mkdir(parents=True, exist_ok=True)
    (data / "superagent.toml").write_text('[net]\nallow_private = ["127.0.0.1/32"]\n')
    async with house_in(data, (), NAMES, limits__agent_rate_per_s=1e6, limits__agent_burst=10**6) as house:
        yield house


def fresh_name() -> str:
    """Give a name that no server of these tests has."""
    return f"server{next(_numbers)}"


def copied(folder: Path, file: str, **files: str) -> Path:
    """Give a folder of its own to a server, as it lies on a machine where somebody installed it."""
    folder.mkdir()
    shutil.copy(SERVERS / file, folder)
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder


async def connected(house: House, folder: Path, file: str, *arguments: str, **files: str) -> tuple[str, Path]:
    """Connect a program, and give its name here and its folder."""
    name = fresh_name()
    place = copied(folder / name, file, **files)
    command = ["python", file, *arguments]
    await house.owner.done("plugins.connect_mcp", {"name": name, "command": command, "folder": str(place)})
    return name, place


async def assigned(house: House, name: str, effect: str = "READ", risk: str = "LOW") -> None:
    """Let the owner say of every tool what it does."""
    tools = (await house.owner.done("plugins.review", {"name": name}))["tools"]
    said = [
        {"tool": one["tool"], "digest": one["now"] or one["digest"], "effect": effect, "risk": risk}
        for one in tools
        if one["state"] not in ("unfit", "gone")
    ]
    await house.owner.done("plugins.assign", {"name": name, "tools": said})


async def granted(house: House, *operations: str, **where: Any) -> Caller:
    """Give an agent that may call these operations."""
    agent = await house.agent()
    grant = {"effect": "allow", "subject": f"agent:{agent.name}", "operations": list(operations), **where}
    await house.owner.done("grants.create", {"grant": grant})
    return agent


async def record(house: House, operation: str, **wanted: Any) -> list[dict[str, Any]]:
    """Give records of an operation, newest first."""
    await house.installation.audit.flush()
    found = await house.records(operation=operation)
    return [one for one in found if all(one["detail"].get(name) == value for name, value in wanted.items())]


def port() -> int:
    """Give a port that is free now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@asynccontextmanager
async def ordinary_over_http() -> AsyncGenerator[str]:
    """Run the ordinary server as a program of its own over Streamable HTTP, and give its address."""
    at = port()
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(SERVERS / "ordinary.py"), env={**os.environ, "PORT": str(at)},
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        async with httpx.AsyncClient(timeout=5) as client, asyncio.timeout(90):
            while True:
                try:
                    await client.get(f"http://127.0.0.1:{at}/mcp")
                    break
                except httpx.TransportError:
                    await asyncio.sleep(0.05)
        yield f"http://localhost:{at}/mcp"
    finally:
        process.kill()
        await process.wait()
