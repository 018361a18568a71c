"""The connection type `http`: a base address, and how its secret is shown there."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from superagent.sdk import Conflict, Connected, Context, Denied, Input, Plugin, Unavailable

TRY_S = 20.0


class HttpOptions(Input):
    """How the secret is shown: as `Authorization: Bearer …`, or as the whole of a header of its own."""

    auth: Literal["bearer", "header"] = "bearer"
    header: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9-]{0,63}$")] = "X-API-Key"


def provide(plugin: Plugin) -> None:
    """Let a plugin provide the type."""
    plugin.connection("http", schemes=("https", "http"), options=HttpOptions)(answered)


async def answered(ctx: Context, connected: Connected) -> str:
    """Ask the endpoint for its head with the secret, through the vetted client, and say what came back."""
    try:
        net = ctx.reach("net")  # before the value is fetched: without a way out nobody needs it
    except Unavailable:
        raise Unavailable(
            f"`{connected.name}` cannot be tried: this installation has no way out to the network",
            hint="the connection is kept as it is; `catalogue.capabilities` says what works here",
        ) from None
    headers = await _headers(ctx, connected)
    answer = await net.http.request("HEAD", connected.endpoint, headers=headers, follow=0, timeout_s=TRY_S)
    status: int = answer.status
    if status in (401, 403, 407):
        raise Denied(
            f"`{connected.host}` refuses what `{connected.name}` shows ({status})",
            hint="see whether the secret is still good; `secrets.put` gives it a new value",
        )
    if status >= 500:
        raise Unavailable(f"`{connected.host}` does not work now ({status})", hint="try again later")
    return f"{connected.host} answered {status}"


async def _headers(ctx: Context, connected: Connected) -> list[tuple[str, str]]:
    if not connected.secret:
        return []
    value = (await ctx.secret.resolve(connected.name)).reveal()
    if not (value.isascii() and value.isprintable()):
        raise Conflict(
            f"the secret `{connected.secret}` cannot stand in a header", hint="a header holds one line of ASCII"
        )
    options = HttpOptions.model_validate(connected.options)
    return [("Authorization", f"Bearer {value}") if options.auth == "bearer" else (options.header, value)]
