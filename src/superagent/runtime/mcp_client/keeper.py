"""The keeper of connected servers: a change keeps the whole record before it, and undo puts that back."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from superagent.core.context import Context
from superagent.core.problems import Denied
from superagent.core.resources import Resource
from superagent.runtime.mcp_client.records import Server
from superagent.runtime.mcp_client.servers import Servers


class ServerKeeper:
    """Keeps how a server is reached, its pinned tools, and what people said of them."""

    def __init__(self, servers: Servers) -> None:
        self._servers = servers

    async def keep(self, ctx: Context, resource: Resource) -> tuple[dict[str, Any], str, int]:
        """Keep the record: (data, digest, bytes kept)."""
        found = self._servers.known(resource.path)
        data = {"was": msgspec.to_builtins(found)}
        return data, _digest(found), len(msgspec.json.encode(data))

    async def digest(self, ctx: Context, resource: Resource) -> str:
        """Name the record as it is now."""
        return _digest(self._servers.known(resource.path))

    async def settle(
        self, ctx: Context, resource: Resource, data: dict[str, Any], after: str | None
    ) -> tuple[str, dict[str, Any]]:
        """Name the state that was left; all else is known before the change."""
        return after or await self.digest(ctx, resource), data

    async def put_back(self, ctx: Context, resource: Resource, data: dict[str, Any]) -> None:
        """Make the record again what it was. Raises `Denied` for anybody but people."""
        by_people(ctx)
        async with self._servers.turn:
            was = None if data["was"] is None else msgspec.convert(data["was"], Server)
            await self._servers.set(was, resource.path)

    async def preview(self, ctx: Context, resource: Resource, data: dict[str, Any]) -> str:
        """Show what is connected now and what would be."""
        now = msgspec.to_builtins(self._servers.known(resource.path))
        return f"--- {resource.path}\n+++ {resource.path}\n-{_shown(now)}\n+{_shown(data['was'])}\n"


def by_people(ctx: Context) -> None:
    """Go on only for people acting themselves. Raises `Denied`."""
    if any(hop.kind != "human" for hop in ctx.principal.chain()):
        raise Denied("only a person can do this, with nobody acting in between", hint="ask one of them")


def _shown(data: Any) -> str:
    if data is None:
        return "nothing"
    said = {one["name"]: f"{one['state']} {one['effect']} {one['risk']}".strip() for one in data["tools"]}
    return msgspec.json.encode({"command": data["command"], "url": data["url"], "tools": said}).decode()


def _digest(found: Server | None) -> str:
    return hashlib.sha256(msgspec.json.encode(found, order="deterministic")).hexdigest()
