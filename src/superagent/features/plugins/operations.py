"""Plugins: which are here, what each may use, and how it stands."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Literal, Protocol

from superagent.features.plugins import operations_login, operations_mcp
from superagent.runtime.mcp_client.comparing import told
from superagent.runtime.mcp_client.records import Server
from superagent.runtime.mcp_client.servers import Servers
from superagent.sdk import Context, Effect, Output, Plugin, Risk

State = Literal["trusted", "hosted", "off", "refused", "connected"]


class Manifest(Protocol):
    """What a plugin says of itself."""

    @property
    def version(self) -> str:
        """Give its version."""
        ...

    @property
    def summary(self) -> str:
        """Give what it is for, in a line."""
        ...

    @property
    def reaches(self) -> Sequence[str]:
        """Give what it uses of the platform."""
        ...

    @property
    def calls(self) -> Sequence[str]:
        """Give the operations that it calls."""
        ...

    @property
    def extras(self) -> Sequence[str]:
        """Give the distributions that it needs."""
        ...

    @property
    def quality(self) -> str:
        """Give its author's own word for how good it is."""
        ...


class Standing(Protocol):
    """A plugin and how it stands."""

    @property
    def name(self) -> str:
        """Give its name."""
        ...

    @property
    def state(self) -> State:
        """Give how it stands."""
        ...

    @property
    def manifest(self) -> Manifest | None:
        """Give what it says of itself, None when that cannot be read."""
        ...

    @property
    def why(self) -> str:
        """Give what stands against it, empty for nothing."""
        ...

    @property
    def operations(self) -> Sequence[str]:
        """Give the names of its operations."""
        ...


class Listed(Output):
    """One plugin: `trusted` runs inside the server, `hosted` in a sandbox, `off` not, `refused` cannot; `why` says why.

    `connected` is an MCP server. `reaches` and `calls` are what a manifest asks for; texts are its author's own words.
    """

    name: str
    state: State
    version: str = ""
    summary: str = ""
    reaches: list[str] = []
    calls: list[str] = []
    extras: list[str] = []
    quality: str = ""
    operations: list[str] = []
    why: str = ""


class Plugins(Output):
    """Every plugin that is not the platform's own."""

    plugins: list[Listed]


def plugin(
    listed: Callable[[], Awaitable[Sequence[Standing]]],
    servers: Servers,
    own: Sequence[str],
    address: Callable[[], str],
) -> Plugin:
    """Make the plugin over what was found and loaded, and over MCP servers; `own` are the platform's own folders."""
    plugins = Plugin("plugins", reaches=("net", "secret"))
    operations_mcp.add(plugins, servers, own)
    operations_login.add(plugins, servers.grants, address)

    @plugins.operation(name="plugins.list", risk=Risk.LOW, effect=Effect.READ, scope="instance", reaches=())
    async def list_(ctx: Context) -> Plugins:
        """List the plugins of others: what each asks for, whether it runs contained, and what stands against it."""
        await servers.follow()
        return Plugins(plugins=[_shown(one) for one in await listed()] + [_connected(one) for one in servers.all()])

    return plugins


def _shown(one: Standing) -> Listed:
    says = one.manifest
    if says is None:
        return Listed(name=one.name, state=one.state, why=one.why)
    return Listed(
        name=one.name,
        state=one.state,
        version=says.version,
        summary=says.summary,
        reaches=list(says.reaches),
        calls=list(says.calls),
        extras=list(says.extras),
        quality=says.quality,
        operations=list(one.operations),
        why=one.why,
    )


def _connected(one: Server) -> Listed:
    return Listed(
        name=one.name,
        state="connected",
        summary=f"MCP server ({one.host or 'a contained program'})",
        reaches=["net"] if one.url else [],
        operations=[tool.operation for tool in one.tools if tool.state != "unfit"],
        why=told(one.tools),
    )
