"""Agents elsewhere for the tests: the official SDK's as a program of its own, and houses that connect to them."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.runtime.mcp_client.connected import port
from tests.runtime.net.outside import Names
from tests.surfaces.http.house import Caller, House, house_in

NAMES = Names({"localhost": ["127.0.0.1"], "agent.test": ["127.0.0.1"], "other.test": ["127.0.0.1"]})
OFFICIAL = Path(__file__).parent / "servers" / "official.py"


@dataclass
class Elsewhere:
    """An agent that runs: its address, and the file of what reached it."""

    address: str
    file: Path

    def seen(self) -> list[dict[str, Any]]:
        """Give what reached it."""
        return [json.loads(line) for line in self.file.read_text().splitlines()] if self.file.exists() else []


@asynccontextmanager
async def house_of_agents(data: Path) -> AsyncGenerator[House]:
    """Open an installation that may reach agents on loopback, by name."""
    data.mkdir(parents=True, exist_ok=True)
    (data / "superagent.toml").write_text('[net]\nallow_private = ["127.0.0.1/32"]\n')
    async with house_in(data, (), NAMES, limits__agent_rate_per_s=1e6, limits__agent_burst=10**6) as house:
        yield house


@asynccontextmanager
async def official(folder: Path, binding: str = "JSONRPC") -> AsyncGenerator[Elsewhere]:
    """Run an agent on the official SDK."""
    at, file = port(), folder / f"seen-{binding.partition('+')[0]}"
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(OFFICIAL), str(at), env={**os.environ, "SEEN": str(file), "BINDING": binding},
        stdout=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        async with httpx.AsyncClient(timeout=5) as client, asyncio.timeout(90):
            while True:
                try:
                    await client.get(f"http://127.0.0.1:{at}/.well-known/agent-card.json")
                    break
                except httpx.TransportError:
                    await asyncio.sleep(0.05)
        yield Elsewhere(f"http://localhost:{at}", file)
    finally:
        process.kill()
        await process.wait()


async def pinned(house: House, name: str, endpoint: str, **more: Any) -> dict[str, Any]:
    """Connect an agent and pin its card, as the owner does; give the card as it was shown."""
    await house.owner.done("connections.create", {"name": name, "type": "a2a", "endpoint": endpoint, **more})
    card = await house.owner.done("agents.card", {"agent": name})
    options = {"card": card["digest"], "signer": card["signer"]}
    await house.owner.done("connections.update", {"name": name, "options": options})
    return card


async def delegating(house: House, name: str, hosts: list[str] | None = None) -> Caller:
    """Give an agent that may delegate by one connection."""
    agent = await house.agent()
    grant = {"effect": "allow", "subject": f"agent:{agent.name}", "operations": ["agents.*"]}
    where = {"connections": [name], "hosts": hosts or ["*.test:*", "localhost:*"]}
    await house.owner.done("grants.create", {"grant": {**grant, "where": where}})
    return agent


async def begun(caller: Caller, agent: str, task: str = "", **more: Any) -> str:
    """Begin a delegation and give its id."""
    answer = await caller.call("agents.delegate", {"agent": agent, "task": task, **more})
    assert answer.status_code == 202, answer.text
    assert answer.json()["status"] == "queued", answer.text  # whoever has read what an agent said asks a person first
    return answer.json()["invocation"]


async def approved(house: House, caller: Caller, agent: str, task: str = "", **more: Any) -> dict[str, Any]:
    """Delegate once more, as the owner approves it, and give what came of it."""
    answer = await caller.call("agents.delegate", {"agent": agent, "task": task, **more})
    assert answer.json()["status"] == "waiting", answer.text
    id = answer.json()["invocation"]
    await house.owner.done("approvals.decide", {"id": id, "decision": "approve", "reason": "as agreed"})
    return await ended(caller, id)


async def ended(caller: Caller, id: str, patience_s: float = 30.0) -> dict[str, Any]:
    """Wait for the end of an invocation and give what came of it."""
    async with asyncio.timeout(patience_s):
        while True:
            found = (await caller.get(f"/v1/invocations/{id}")).json()
            if found["status"] not in ("queued", "running", "waiting"):
                return found["outcome"]
            await asyncio.sleep(0.05)


async def delegated(caller: Caller, agent: str, task: str = "", **more: Any) -> dict[str, Any]:
    """Delegate and give the output of what has to be done."""
    found = await ended(caller, await begun(caller, agent, task, **more))
    assert found["status"] == "done", found
    return found["output"]
