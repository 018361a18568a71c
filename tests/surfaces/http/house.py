"""A whole installation in a temporary folder behind a real socket, with keys for the owner and for agents."""

from __future__ import annotations

import asyncio
import itertools
import json
import ssl
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from superagent.app import Installation, open_installation
from superagent.asgi import answer, application
from superagent.runtime.net.listening import address_of, listen
from superagent.runtime.net.resolver import Resolve
from superagent.sdk import Plugin
from superagent.settings import load
from superagent.surfaces.http.door import Door
from tests.surfaces.http.probe import probe

PATIENCE_S = 20.0
TLS = ssl.create_default_context()  # reading its authorities takes 20 ms, and each client would
_names = itertools.count(1)


@dataclass
class Caller:
    """Somebody with a key, who asks this server."""

    name: str
    key: str
    http: httpx.AsyncClient
    workspace: Path

    async def call(self, operation: str, input: Mapping[str, Any] | None = None, **headers: str) -> httpx.Response:
        """Run one operation; `_` in a header's name stands for `-`."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.http.post(f"/v1/operations/{operation}", json=dict(input or {}), headers=named)

    async def done(self, operation: str, input: Mapping[str, Any] | None = None, **headers: str) -> Any:
        """Run one operation that has to succeed and give its output."""
        response = await self.call(operation, input, **headers)
        assert response.status_code == 200, response.text
        return response.json()["output"]

    async def get(self, path: str, **headers: str) -> httpx.Response:
        """Ask for something."""
        return await self.http.get(path, headers=headers)


@dataclass
class House:
    """The installation under test."""

    installation: Installation
    door: Door
    address: str
    owner: Caller
    stranger: httpx.AsyncClient
    clients: list[httpx.AsyncClient] = field(default_factory=list[httpx.AsyncClient])

    @property
    def data(self) -> Path:
        """Give the data folder."""
        return self.installation.places.data

    @property
    def port(self) -> int:
        """Give the port it listens on."""
        return int(self.address.rpartition(":")[2])

    def caller(self, name: str, key: str, workspace: str = "") -> Caller:
        """Give somebody who calls with a key."""
        client = httpx.AsyncClient(
            base_url=self.address, headers={"Authorization": f"Bearer {key}"}, timeout=PATIENCE_S, verify=TLS
        )
        self.clients.append(client)
        return Caller(name, key, client, Path(workspace))

    async def agent(self, **input: Any) -> Caller:
        """Make an agent with a fresh name and give it."""
        made = await self.owner.done("access.keys.create", {"name": f"agent{next(_names)}", **input})
        return self.caller(made["agent"], made["key"], made["workspace"])

    async def records(self, **filters: Any) -> list[dict[str, Any]]:
        """Give audit records of the tenant, newest first."""
        return (await self.installation.index.query("default", **filters))[0]

    async def refusal(self, response: httpx.Response) -> dict[str, Any]:
        """Give the one record of a refused call, by the id that its reply carries."""
        found = await self.records(invocation=response.headers["x-invocation-id"])
        assert [one["kind"] for one in found] == ["refused"], found
        return found[0]

    async def waiting_read(self, caller: Caller, path: str = "/etc/hostname") -> str:
        """Let an agent ask for something that needs approval, and give the id of what waits."""
        response = await caller.call("files.read", {"path": path})
        assert response.status_code == 202, response.text
        return response.headers["x-invocation-id"]


@asynccontextmanager
async def house_in(
    data: Path, extra: tuple[Plugin, ...] = (), resolve: Resolve | None = None, port: int = 0, **flags: Any
) -> AsyncGenerator[House]:
    """Open an installation in a folder and serve it; flags as `server__max_body_bytes=…`."""
    named = {name.replace("__", "."): value for name, value in flags.items()}
    loaded = load(data, named, environ={})
    async with open_installation(loaded, extra=(probe, *extra), resolve=resolve) as installation:
        door = application(installation)
        listening = listen("127.0.0.1", port)
        address, stop = address_of(listening), asyncio.Event()
        installation.authorization.site.served_at(address)
        installation.network.guard.declare("127.0.0.1", 0)  # the clients of the tests are in this process as well
        serving = asyncio.create_task(answer(door, listening, stop))
        stranger = httpx.AsyncClient(base_url=address, timeout=PATIENCE_S, verify=TLS)
        key = installation.places.owner_key.read_text().strip()
        owner = Caller("owner", key, stranger, Path())
        house = House(installation, door, address, owner, stranger, [stranger])
        house.owner = house.caller("owner", key)
        try:
            yield house
        finally:
            for client in house.clients:
                await client.aclose()
            stop.set()
            await serving


def problem_of(response: httpx.Response, status: int, slug: str) -> dict[str, Any]:
    """Check that a reply is this problem, complete (RFC 9457), and give it."""
    assert response.status_code == status, f"{response.status_code}: {response.text[:500]}"
    assert response.headers["content-type"] == "application/problem+json"
    found: dict[str, Any] = response.json()
    assert found["type"] == f"/problems/{slug}", found
    assert found["status"] == status
    assert found["title"]
    assert found["detail"]
    assert found["changed"] in ("nothing", "partly", "unknown")
    return found


def events_of(text: str) -> list[tuple[str, str, Any]]:
    """Read server-sent events: (id, kind, data)."""
    found: list[tuple[str, str, Any]] = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if line and not line.startswith(":"))
        if "data" in fields:
            found.append((fields.get("id", ""), fields.get("event", "message"), json.loads(fields["data"])))
    return found
