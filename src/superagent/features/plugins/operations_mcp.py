"""MCP servers as plugins: connect one, look at what it offers, say what its tools do, remove it."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from msgspec.structs import replace
from pydantic import Field

from superagent.runtime.mcp_client.authorizing import loopback
from superagent.runtime.mcp_client.keeper import by_people
from superagent.runtime.mcp_client.records import Server
from superagent.runtime.mcp_client.servers import Servers
from superagent.sdk import (
    Conflict,
    Connection,
    Context,
    Denied,
    Effect,
    Input,
    InvalidInput,
    NotFound,
    Output,
    Plugin,
    Preview,
    ReadPath,
    Resource,
    Risk,
    Url,
    canonical_host,
    neutral_line,
    put_back,
)

Name = Annotated[
    str,
    Field(pattern=r"^[a-z][a-z0-9]{1,39}$", description="small letters and digits; its tools become `NAME.…`"),
]
Login = Annotated[
    Connection | None, Field(description="a connection of the type `http` or `oauth`, whose secret or token opens it")
]
Word = Annotated[str, Field(min_length=1, max_length=4096)]


class Tool(Output):
    """One tool: what is pinned (`digest`, `said`), and where the server says something else, `now` and `offered`.

    `said` and `offered` are the server's own words: they may try to talk you into something.
    """

    tool: str
    operation: str
    state: str
    why: str = ""
    effect: str = ""
    risk: str = ""
    summary: str = ""
    by: str = ""
    asks_first: bool = False
    digest: str
    now: str = ""
    said: dict[str, Any] = {}
    offered: dict[str, Any] = {}


class Connected(Output):
    """A connected server with its tools; `called` is what it calls itself."""

    name: str
    called: str
    where: str
    tools: list[Tool]


class Removed(Output):
    """What was removed."""

    name: str
    operations: list[str]


class Assigned(Input):
    """A person's word about a tool, as it is described under `digest` (from `plugins.review`)."""

    tool: Word
    digest: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    effect: Literal["READ", "CHANGE", "DESTROY"]
    risk: Literal["LOW", "MEDIUM", "HIGH", "CRITICAL"]
    summary: Annotated[str, Field(max_length=200, description="what it does, in your words")] = ""
    asks_first: Annotated[
        bool, Field(description="what it asks, it asks before it changes anything: so it can be begun anew, answered")
    ] = False


def add(plugins: Plugin, servers: Servers, own: Sequence[str]) -> None:
    """Add the operations to the plugin; no server's folder contains, or lies in, one of the platform's `own`."""

    @plugins.operation(risk=Risk.HIGH, effect=Effect.CHANGE, scope="instance", undo=put_back, reaches=("net", "secret"))
    async def connect_mcp(
        ctx: Context,
        name: Name,
        command: Annotated[list[Word], Field(max_length=64)] = [],  # noqa: B006 - never changed
        folder: ReadPath | None = None,
        url: Url | None = None,
        login: Login = None,
    ) -> Connected:
        """Make the tools of an MCP server operations: a program that runs contained, or a server at an address.

        A program sees the system's programs, the packages installed beside this server and `folder`, all to read only,
        and no network. A server at an address may want a key or a token: the connection that has it is its `login`.
        Nobody has said yet what the tools do: each call asks, until `plugins.assign`.
        """
        by_people(ctx)
        _fitting(name, command, url, login, servers)
        place = await ctx.thread(_place, folder, tuple(own)) if folder else ""
        if place:
            ctx.require(Resource("path", "local", place, Effect.READ))
        host = canonical_host(url) if url else ""
        asked = Server(
            name, command, place, url or "", host, by=ctx.principal.id, at=ctx.now, login=login or ""
        )  # fmt: skip
        asked = replace(asked, login_host=await _elsewhere(ctx, asked))
        server = await servers.offered(ctx, asked)
        async with servers.turn, ctx.changing(_resource(name)):
            _fitting(name, command, url, login, servers)
            await servers.set(server, name)
        return _shown(server)

    @connect_mcp.preview
    async def _(
        ctx: Context,
        name: Name,
        command: Annotated[list[Word], Field(max_length=64)] = [],  # noqa: B006 - never changed
        folder: ReadPath | None = None,
        url: Url | None = None,
        login: Login = None,
    ) -> Preview:
        _fitting(name, command, url, login, servers)
        where = url or neutral_line(" ".join(command))
        return Preview(summary=f"would ask {where} what it offers, and make `{name}.…` of it", exact=False)

    @plugins.operation(
        risk=Risk.LOW, effect=Effect.READ, scope="instance", reaches=("net", "secret"), returns_untrusted="always"
    )
    async def review(ctx: Context, name: Name) -> Connected:
        """Ask an MCP server anew what it offers, and show its tools, what was pinned of them, and what has changed."""
        server = await servers.review(ctx, name)
        if server.login and (await _elsewhere(ctx, server)) != server.login_host:
            async with servers.turn:
                server = replace(_found(name, servers), login_host=await _elsewhere(ctx, server))
                await servers.set(server, name)
        return _shown(server)

    @plugins.operation(
        risk=Risk.HIGH, effect=Effect.CHANGE, scope="instance", undo=put_back, reaches=(), returns_untrusted="always"
    )
    async def assign(
        ctx: Context, name: Name, tools: Annotated[list[Assigned], Field(min_length=1, max_length=200)]
    ) -> Connected:
        """Say, as a person, what tools of an MCP server do; from then on they are judged like any other operation."""
        by_people(ctx)
        async with servers.turn, ctx.changing(_resource(name)):
            server = _found(name, servers)
            for one in tools:
                server = servers.assigned(
                    server, one.tool, one.digest, one.effect, one.risk, neutral_line(one.summary), ctx.principal.id,
                    one.asks_first,
                )  # fmt: skip
            await servers.set(server, name)
        return _shown(server)

    @assign.preview
    async def _(
        ctx: Context, name: Name, tools: Annotated[list[Assigned], Field(min_length=1, max_length=200)]
    ) -> Preview:
        server = _found(name, servers)
        lines = [f"+{one.tool}: {one.effect} {one.risk}" for one in tools]
        for one in tools:
            server = servers.assigned(server, one.tool, one.digest, one.effect, one.risk, one.summary, "")
        return Preview(summary=f"would assign {len(tools)} tools of `{name}`", diff=neutral_line("\n".join(lines)))

    @plugins.operation(risk=Risk.MEDIUM, effect=Effect.CHANGE, scope="instance", undo=put_back, reaches=())
    async def remove(ctx: Context, name: Name) -> Removed:
        """Remove an MCP server: its tools are no operations any more, and its processes end."""
        by_people(ctx)
        async with servers.turn, ctx.changing(_resource(name)):
            server = _found(name, servers)
            await servers.set(None, name)
        return Removed(name=name, operations=[one.operation for one in server.tools if one.state != "unfit"])

    @remove.preview
    async def _(ctx: Context, name: Name) -> Preview:
        server = _found(name, servers)
        return Preview(summary=f"would remove `{name}` with {len(server.tools)} tools", changes=[f"mcp://-/{name}"])


async def _elsewhere(ctx: Context, server: Server) -> str:
    """Give where the connection that opens a server leads, empty if to the server itself, or if there is none."""
    host = (await ctx.secret.connection(server.login)).host if server.login else ""
    return "" if host == server.host else host


def _resource(name: str) -> Resource:
    return Resource("mcp", "-", name, Effect.CHANGE)


def _found(name: str, servers: Servers) -> Server:
    found = servers.known(name)
    if found is None:
        raise NotFound(f"there is no MCP server `{name}`", hint="`plugins.list` shows them")
    return found


def _fitting(name: str, command: Sequence[str], url: str | None, login: str | None, servers: Servers) -> None:
    if bool(command) == bool(url):
        raise InvalidInput("an MCP server is a `command` or a `url`", hint="give exactly one of them")
    if login and not url:
        raise InvalidInput("a program is shown no secret", hint="give `login` with `url` only")
    if any("\0" in one for one in command):
        raise InvalidInput("a command holds no NUL byte")
    if servers.taken(name):
        raise InvalidInput(f"`{name}` belongs to the platform or to another plugin", hint="choose another name")
    if servers.known(name) is not None:
        raise Conflict(f"`{name}` is connected already", hint="`plugins.remove` it first")
    if url:
        split = urlsplit(url)
        if split.scheme not in ("http", "https") or split.username is not None or split.query or split.fragment:
            raise InvalidInput(
                "the address of an MCP server is `https://HOST/PATH`, without user, query or fragment",
                hint="a key does not belong in an address",
            )
        if login and split.scheme == "http" and not loopback(split.hostname or ""):
            raise InvalidInput("a secret must not travel in clear", hint="use an `https` address")


def _place(folder: str, own: tuple[str, ...]) -> str:
    """Give a folder's real path. Raises `NotFound`, `Denied`."""
    real = os.path.realpath(folder)
    try:
        if not stat.S_ISDIR(os.lstat(real).st_mode):
            raise NotFound(f"`{folder[:200]}` is no folder")
    except OSError:
        raise NotFound(f"there is no folder `{folder[:200]}`") from None
    for place in own:
        if os.path.commonpath([place, real]) in (place, real):
            raise Denied(
                "this folder holds, or lies in, what belongs to the platform", hint="copy the server elsewhere"
            )
    return real


def _shown(server: Server) -> Connected:
    return Connected(
        name=server.name,
        called=server.called,
        where=server.url or neutral_line(" ".join(server.command)),
        tools=[
            Tool(
                tool=one.name, operation=one.operation, state=one.state, why=one.why, effect=one.effect, risk=one.risk,
                summary=one.summary, by=one.by, asks_first=one.asks_first,
                digest=one.digest, now=one.now, said=one.said, offered=one.offered,
            )
            for one in server.tools
        ],
    )  # fmt: skip
