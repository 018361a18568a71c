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

import httpx

from tests.runtime.mcp_client.connected import assigned, granted, house_of_servers
from tests.surfaces.http.house import Caller, House

DOCUMENT = "https://conformance-test.local/client-metadata.json"
MOST_AGREED = 2
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
    context: dict[str, Any] = json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT") or "{}")
    told = context.get("toolCalls", [])
    with tempfile.TemporaryDirectory() as folder:
        async with house_of_servers(Path(folder) / "data") as house:
            tools = await connected(house, url, context)
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
                for _ in range(MOST_AGREED):
                    if (fix := cure(told)).get("operation") != "plugins.authorize":
                        break
                    await agreed(house, **fix["input"])
                    told = await done(house, agent, one["operation"], arguments)
                sys.stderr.write(f"{one['operation']} {arguments} {str(told)[:300]}\n")


async def connected(house: House, url: str, context: dict[str, Any]) -> list[dict[str, Any]]:
    """Connect the server; where it wants a token, name who gives it and agree, as the problem says. Give its tools."""
    asked = {"name": "suite", "url": url}
    first = await house.owner.call("plugins.connect_mcp", asked)
    if (fix := cure(first.json())).get("operation") == "connections.create":
        wanted = fix["input"]
        options = {**wanted["options"], **ours(context)}
        more: dict[str, Any] = {"options": options}
        if secret := context.get("client_secret") or context.get("private_key_pem"):
            await house.owner.done("secrets.put", {"name": "suite-secret", "value": secret})
            more["secret"] = "suite-secret"
        await house.owner.done("connections.create", {**wanted, **more})
        await agreed(house, wanted["name"], url)
        asked["login"] = wanted["name"]
        first = await house.owner.call("plugins.connect_mcp", asked)
        if (again := cure(first.json())).get("operation") == "plugins.authorize":
            await agreed(house, **again["input"])
            first = await house.owner.call("plugins.connect_mcp", asked)
    sys.stderr.write(f"{first.text[:500]}\n")
    return first.json()["output"]["tools"]


def ours(context: dict[str, Any]) -> dict[str, Any]:
    """Give what a person writes into the connection."""
    scenario = os.environ.get("MCP_CONFORMANCE_SCENARIO", "")
    found: dict[str, Any] = {"client_id": context.get("client_id", "")}
    if "cimd" in scenario:
        found["client_id"] = DOCUMENT
    if "client-credentials" in scenario:
        found["grant"] = "client_credentials"
    if "private_key_pem" in context:
        found |= {"client_auth": "key", "algorithm": context["signing_algorithm"]}
    return found


async def agreed(house: House, login: str, url: str) -> None:
    """Agree as a person does: follow the link, and bring back where the browser ends."""
    asked = {"login": login, "url": url}
    first = await house.owner.call("plugins.authorize", asked)
    if (fix := cure(first.json())).get("operation") == "connections.update":
        await house.owner.done("connections.update", fix["input"])
        first = await house.owner.call("plugins.authorize", asked)
    said = first.json()["output"]
    if said["state"] == "agree":
        async with httpx.AsyncClient(follow_redirects=False) as browser:
            ended = (await browser.get(said["link"])).headers["location"]
        await house.owner.done("plugins.authorize", {**asked, "answer": ended})


def cure(told: dict[str, Any]) -> dict[str, Any]:
    """Give the operation that a problem names as its cure."""
    outcome: dict[str, Any] = told.get("outcome") or told
    problem: dict[str, Any] = outcome.get("problem") or outcome
    return problem.get("fix") or {}


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
