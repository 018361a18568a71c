"""A platform of its own that connects the suite's server, as a person does, and calls its tools, as an agent does.

The suite runs this with the address of its server; which scenario it plays stands in the environment.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.runtime.mcp_client.connected import assigned, granted, house_of_servers
from tests.surfaces.http.house import Caller, House

_GIVEN: dict[str, Any] = {
    "string": "text", "number": 1.5, "integer": 7, "boolean": True, "object": {}, "array": [], "null": None,
}  # fmt: skip


def given(schema: dict[str, Any]) -> dict[str, Any]:
    """Give a value for each parameter that has to be there, and for those that a header repeats."""
    fields = schema.get("properties", {})
    wanted = {*schema.get("required", ()), *(name for name, one in fields.items() if "x-mcp-header" in one)}
    return {name: _GIVEN[fields[name].get("type", "string")] for name in fields if name in wanted}


def filled(form: dict[str, Any]) -> dict[str, Any]:
    """Fill in a form, and leave to it whatever has a default."""
    return given({**form, "required": [name for name, one in form["properties"].items() if "default" not in one]})


def without_nulls(arguments: dict[str, Any]) -> dict[str, Any]:
    """Leave out what is null: a schema that says `boolean` does not take it, and absent means the same."""
    return {name: one for name, one in arguments.items() if one is not None}


async def play(url: str) -> None:
    """Connect, look, and call every tool once."""
    told = json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT") or "{}").get("toolCalls", [])
    with tempfile.TemporaryDirectory() as folder:
        async with house_of_servers(Path(folder) / "data") as house:
            tools = (await house.owner.done("plugins.connect_mcp", {"name": "suite", "url": url}))["tools"]
            usable = [one for one in tools if one["state"] != "unfit"]
            if not usable:
                return
            await assigned(house, "suite")
            wanted = {one["name"]: without_nulls(one["arguments"]) for one in told}
            schemas = {one["tool"]: one["said"]["inputSchema"] for one in tools}
            wanted["json_schema_echo"] = {"schema": schemas.get("json_schema_2020_12_tool")}
            for one in usable:
                arguments = wanted.get(one["tool"]) or given(schemas[one["tool"]])
                agent = await granted(house, "suite.*")  # who read what one tool gave needs a person for the next
                told = await done(house, agent, one["operation"], arguments)
                sys.stderr.write(f"{one['operation']} {arguments} {str(told)[:300]}\n")


async def done(house: House, agent: Caller, operation: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Call a tool in the background, let the agent's person answer what it asks, and give what came of it."""
    begun = await agent.call(operation, arguments, Prefer="respond-async")
    id = begun.headers.get("x-invocation-id", "")
    if begun.status_code != 202:
        return begun.json()
    async with asyncio.timeout(60):
        while True:
            job = await agent.done("jobs.status", {"id": id})
            if job["state"] == "asking":
                asks = job["outcome"]["problem"]["asks"]
                answers = {ask["name"]: filled(ask["schema"]) for ask in asks}
                await house.owner.done("jobs.answer", {"id": id, "answers": answers})
            elif job["state"] not in ("queued", "running"):
                return job
            await asyncio.sleep(0.05)


if __name__ == "__main__":
    asyncio.run(play(sys.argv[1].replace("127.0.0.1", "localhost")))
