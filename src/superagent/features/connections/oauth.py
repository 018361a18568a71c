"""The connection type `oauth`: who gives tokens for servers of others, and as which client we ask there."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from superagent.sdk import Connected, Context, Input, Plugin, Unavailable

TRY_S = 20.0


class OAuthOptions(Input):
    """How tokens are got. The endpoint is where they are given, and the only place that the secret goes to.

    `issuer` is what the authorization server calls itself, if that is not the endpoint. Without a `client_id` we
    register ourselves where that is possible. `client_credentials` needs nobody, `authorization_code` one who agrees.
    The secret is the client's password, or with `client_auth: key` its private key (PEM or JWK) for `algorithm`.
    """

    issuer: Annotated[str, Field(pattern=r"^(https?://[!-~]{1,2000})?$")] = ""
    client_id: Annotated[str, Field(pattern=r"^[!-~]{0,1000}$")] = ""
    grant: Literal["authorization_code", "client_credentials"] = "authorization_code"
    client_auth: Literal["secret", "key"] = "secret"
    algorithm: Literal["ES256", "ES384", "ES512", "RS256", "PS256", "Ed25519"] = "ES256"
    scopes: Annotated[str, Field(pattern=r"^[!-~ ]{0,2000}$", description="with spaces between them")] = ""


def provide(plugin: Plugin) -> None:
    """Let a plugin provide the type."""
    plugin.connection("oauth", schemes=("https", "http"), options=OAuthOptions)(answered)


async def answered(ctx: Context, connected: Connected) -> str:
    """Ask the endpoint for its head, without any secret, and say what came back."""
    answer = await ctx.net.http.request("HEAD", connected.endpoint, follow=0, timeout_s=TRY_S)
    if answer.status >= 500:
        raise Unavailable(f"`{connected.host}` does not work now ({answer.status})", hint="try again later")
    return f"{connected.host} answered {answer.status}; `plugins.authorize` tries the rest"
