"""The connection type `http`: a base address, and how its secret is shown there."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from superagent.sdk import Connected, Context, Input, Plugin, Unavailable


class HttpOptions(Input):
    """How the secret is shown: as `Authorization: Bearer …`, or as the whole of a header of its own."""

    auth: Literal["bearer", "header"] = "bearer"
    header: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9-]{0,63}$")] = "X-API-Key"


def provide(plugin: Plugin) -> None:
    """Let a plugin provide the type."""
    plugin.connection("http", schemes=("https", "http"), options=HttpOptions)(_try)


async def _try(ctx: Context, connected: Connected) -> str:
    """Ask the endpoint for its head with the secret, through the vetted client."""
    raise Unavailable(
        f"`{connected.name}` cannot be tried: this version has no way out to the network",
        hint="the connection is kept as it is; try it again when `catalogue.capabilities` lists `net`",
    )
