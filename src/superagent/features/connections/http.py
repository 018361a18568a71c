"""The connection type `http`: a base address, and how its secret is shown there."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from superagent.sdk import Conflict, Connected, Context, Denied, Input, Plugin, Secret, Shown, Unavailable

TRY_S = 20.0


class HttpOptions(Input):
    """How the secret is shown: as `Authorization: Bearer …`, or as the whole of a header of its own."""

    auth: Literal["bearer", "header"] = "bearer"
    header: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9-]{0,63}$")] = "X-API-Key"


def provide(plugin: Plugin) -> None:
    """Let a plugin provide the type."""
    plugin.connection("http", schemes=("https", "http"), options=HttpOptions, shows=shown)(answered)


def shown(connected: Connected, secret: Secret) -> Shown:
    """Give the header that shows a secret. Raises `Conflict` for one that no header can hold."""
    value, options = secret.reveal(), HttpOptions.model_validate(connected.options)
    if not (value.isascii() and value.isprintable() and value == value.strip()):
        raise Conflict(
            f"the secret `{connected.secret}` cannot stand in a header",
            hint="a header holds one line of ASCII, without space around it",
        )
    if options.auth == "bearer":
        return Shown(connected.host, "Authorization", Secret(f"Bearer {value}"))
    return Shown(connected.host, options.header, secret)


async def answered(ctx: Context, connected: Connected) -> str:
    """Ask the endpoint for its head with the secret, through the vetted client, and say what came back."""
    try:
        net = ctx.reach("net")  # before the value is fetched: without a way out nobody needs it
    except Unavailable:
        raise Unavailable(
            f"`{connected.name}` cannot be tried: this installation has no way out to the network",
            hint="the connection is kept as it is; `catalogue.capabilities` says what works here",
        ) from None
    header = await ctx.secret.header(connected.name) if connected.secret else None
    headers = [(header.header, header.value.reveal())] if header else []
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
