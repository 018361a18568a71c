"""Connections: remote things by name, with the secret that opens them; whoever uses one never sees its value."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Annotated, Any, Protocol

from pydantic import Field

from superagent.features.connections import a2a, http, oauth
from superagent.features.connections.definitions import check_name, endpoint_of, host_of, options_of, type_of
from superagent.sdk import (
    Conflict,
    Connected,
    Connection,
    ConnectionType,
    Context,
    Effect,
    Example,
    InvalidInput,
    Nothing,
    Output,
    Plugin,
    Preview,
    Resource,
    Risk,
    SecretName,
    Touches,
    place_of,
    put_back,
)

Changed = Annotated[str, Touches("connection", Effect.CHANGE)]
Dropped = Annotated[str, Touches("connection", Effect.DESTROY)]
Options = dict[str, Any]
Chosen = Callable[[str, str], Awaitable[str]]
PAGE = 200


class Kept(Protocol):
    """A connection as it is kept."""

    @property
    def name(self) -> str:
        """Give its name."""
        ...

    @property
    def secret_entry(self) -> str:
        """Say which secret of that name was meant."""
        ...

    def connected(self) -> Connected:
        """Give it without what only the store needs."""
        ...


class Store(Protocol):
    """Where connections are kept (`runtime.connections.SqlConnections`)."""

    def get(self, tenant: str, name: str) -> Awaitable[Kept]:
        """Give a connection. Raises `NotFound`."""
        ...

    def find(self, tenant: str, name: str) -> Awaitable[Kept | None]:
        """Give a connection, None when there is none."""
        ...

    def listed(self, tenant: str, prefix: str = "", after: str = "", limit: int = 100) -> Awaitable[Sequence[Kept]]:
        """Give connections in order of their names."""
        ...

    def write(self, tenant: str, connected: Connected, secret_entry: str, by: str) -> Awaitable[Any]:
        """Make or replace a connection."""
        ...

    def restore(self, tenant: str, name: str, to: None) -> Awaitable[None]:
        """Let a name stand for nothing."""
        ...


class Shown(Output):
    """A connection; `secret` is a name, `host` what is judged when it is used."""

    name: str
    type: str
    endpoint: str
    host: str
    secret: str | None
    options: Options


class Listed(Output):
    """The connections that you may use or change; `cursor` asks for the next page, None on the last."""

    connections: list[Shown]
    cursor: str | None


class Tested(Output):
    """What answered."""

    name: str
    said: str


def plugin(store: Store, types: Mapping[str, ConnectionType], chosen: Chosen) -> Plugin:
    """Make the plugin over the store; `chosen` names the secret that bears a name in a tenant, or raises `NotFound`."""
    connections = Plugin("connections", reaches=("secret", "net", "files"))
    http.provide(connections)
    a2a.provide(connections)
    oauth.provide(connections)

    async def keep(ctx: Context, connected: Connected, secret_entry: str) -> Shown:
        """Keep a connection; whoever joins a secret and a host needs leave to use both."""
        if connected.secret:
            ctx.require(Resource("secret", "-", connected.secret))
        ctx.require(place_of(connected.endpoint, connected.host))
        await store.write(ctx.tenant, connected, secret_entry, ctx.principal.id)
        return _shown(connected)

    def made(name: str, type: str, endpoint: str, secret: str, options: Options) -> Connected:
        check_name(name)
        kind = type_of(types, type)
        whole = endpoint_of(kind, endpoint, secret)
        return Connected(name, type, whole, host_of(whole), secret, options_of(kind, options))

    @connections.operation(
        risk=Risk.MEDIUM,
        undo=put_back,
        reaches=(),
        examples=(
            Example(
                "Let agents use an API by the name `github`",
                {"name": "github", "type": "http", "endpoint": "https://api.github.com", "secret": "github-token"},
            ),
        ),
        returns_untrusted="never",
    )
    async def create(
        ctx: Context,
        name: Changed,
        type: str,
        endpoint: str,
        secret: SecretName | None = None,
        options: Options | None = None,
    ) -> Shown:
        """Name a remote thing and the secret that opens it; needs leave to use that secret and that host."""
        connected = made(name, type, endpoint, secret or "", options or {})
        async with ctx.changing(Resource("connection", "-", name, Effect.CHANGE)):
            if await store.find(ctx.tenant, name):
                raise Conflict(f"there is a connection `{name}` already", hint="change it with `connections.update`")
            return await keep(ctx, connected, await chosen(ctx.tenant, secret) if secret else "")

    @create.touches
    def _(values: dict[str, Any], workspace: str) -> list[Resource]:
        return [named_place(values["endpoint"])]

    @create.preview
    async def _(
        ctx: Context,
        name: Changed,
        type: str,
        endpoint: str,
        secret: SecretName | None = None,
        options: Options | None = None,
    ) -> Preview:
        connected = made(name, type, endpoint, secret or "", options or {})
        return Preview(
            summary=f"would let `{name}` stand for {connected.endpoint}" + (f" with `{secret}`" if secret else ""),
            changes=[Resource("connection", "-", name).id],
        )

    def changed(
        was: Connected, endpoint: str | None, secret: str | None, without_secret: bool, options: Options | None
    ) -> Connected:
        if secret and without_secret:
            raise InvalidInput("say `secret` or `without_secret`, not both")
        return made(
            was.name,
            was.type,
            was.endpoint if endpoint is None else endpoint,
            "" if without_secret else was.secret if secret is None else secret,
            was.options if options is None else options,
        )

    @connections.operation(risk=Risk.MEDIUM, undo=put_back, reaches=(), returns_untrusted="never")
    async def update(
        ctx: Context,
        name: Changed,
        endpoint: str | None = None,
        secret: SecretName | None = None,
        without_secret: bool = False,
        options: Options | None = None,
    ) -> Shown:
        """Change where a connection leads, its secret or its options; needs leave to use the secret that it then has.

        What is not given stays; `options` replaces all options.
        """
        async with ctx.changing(Resource("connection", "-", name, Effect.CHANGE)):
            kept = await store.get(ctx.tenant, name)
            connected = changed(kept.connected(), endpoint, secret, without_secret, options)
            entry = await chosen(ctx.tenant, secret) if secret else kept.secret_entry if connected.secret else ""
            return await keep(ctx, connected, entry)

    @update.touches
    def _(values: dict[str, Any], workspace: str) -> list[Resource]:
        return [] if values["endpoint"] is None else [named_place(values["endpoint"])]

    @update.preview
    async def _(
        ctx: Context,
        name: Changed,
        endpoint: str | None = None,
        secret: SecretName | None = None,
        without_secret: bool = False,
        options: Options | None = None,
    ) -> Preview:
        was = (await store.get(ctx.tenant, name)).connected()
        now = changed(was, endpoint, secret, without_secret, options)
        told = [(f"{one.endpoint} secret={one.secret or 'none'} {one.options}") for one in (was, now)]
        return Preview(
            summary=f"would change the connection `{name}`",
            changes=[Resource("connection", "-", name).id],
            diff=f"--- {name}\n+++ {name}\n-{told[0]}\n+{told[1]}\n",
        )

    @connections.operation(risk=Risk.HIGH, undo=put_back, reaches=(), returns_untrusted="never")
    async def delete(ctx: Context, name: Dropped) -> Nothing:
        """Delete a connection; its secret stays. It can be put back for a week."""
        async with ctx.changing(Resource("connection", "-", name, Effect.DESTROY), Effect.DESTROY):
            await store.get(ctx.tenant, name)
            await store.restore(ctx.tenant, name, None)
            return Nothing()

    @delete.preview
    async def _(ctx: Context, name: Dropped) -> Preview:
        await store.get(ctx.tenant, name)
        return Preview(summary=f"would delete the connection `{name}`", changes=[Resource("connection", "-", name).id])

    @connections.operation(
        name="connections.list", risk=Risk.LOW, effect=Effect.READ, reaches=(), returns_untrusted="never"
    )
    async def list_(
        ctx: Context, prefix: str = "", limit: Annotated[int, Field(ge=1, le=200)] = 100, cursor: str | None = None
    ) -> Listed:
        """List the connections that you may use or change."""
        mine: list[Kept] = []
        after, more = cursor or "", True
        while more and len(mine) <= limit:
            found = await store.listed(ctx.tenant, prefix, after, PAGE)
            mine += [one for one in found if ctx.sees(Resource("connection", "-", one.name))]
            more = len(found) == PAGE
            after = found[-1].name if more else ""
        following = mine[limit - 1].name if len(mine) > limit else None
        return Listed(connections=[_shown(one.connected()) for one in mine[:limit]], cursor=following)

    @connections.operation(risk=Risk.MEDIUM, effect=Effect.READ)
    async def test(ctx: Context, name: Connection) -> Tested:
        """Try a connection with its secret, and say what answered."""
        connected = (await store.get(ctx.tenant, name)).connected()
        ctx.require(place_of(connected.endpoint, connected.host))
        return Tested(name=name, said=await type_of(types, connected.type).test(ctx, connected))

    return connections


def named_place(endpoint: str) -> Resource:
    """Give the host or file that an endpoint names. Raises `InvalidInput`."""
    return place_of(endpoint, host_of(endpoint))


def _shown(one: Connected) -> Shown:
    return Shown(
        name=one.name,
        type=one.type,
        endpoint=one.endpoint,
        host=one.host,
        secret=one.secret or None,
        options=one.options,
    )
