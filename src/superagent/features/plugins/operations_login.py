"""Opening MCP servers: a person lets this installation be given tokens for one; nobody ever sees any of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal

from pydantic import Field

from superagent.core.mounts import Receive, Scope, Send, answer, not_here, visit_of
from superagent.runtime.mcp_client import agreeing
from superagent.runtime.mcp_client.granted import Grants
from superagent.runtime.mcp_client.keeper import by_people
from superagent.runtime.mcp_client.opened_by import TYPE
from superagent.sdk import Connected, Connection, Context, Effect, InvalidInput, Output, Plugin, Preview, Risk, Url

BACK = "/plugins/authorized"
"""Where browsers are sent back to."""

_PAGE = b"""<!doctype html><html lang="en"><meta charset="utf-8"><title>Superagent</title>
<h1>Nearly done</h1>
<p>Copy the whole address of this page, and give it to the command that sent you here:</p>
<pre>superagent plugins authorize LOGIN URL --answer 'THE ADDRESS OF THIS PAGE'</pre>
<p>It is good once, for ten minutes, and of use to nobody else.</p></html>
"""
_HEADERS = [
    (b"content-type", b"text/html; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
]

Answer = Annotated[str, Field(max_length=8192, description="the address at which the browser ended, after the link")]


class Authorized(Output):
    """How it stands: `authorized`, or `agree`, where a person follows the `link` and comes back with the address.

    `scopes` is what was given, or is asked for; `until` when a token has to be renewed (epoch seconds), if it was said.
    """

    state: Literal["authorized", "agree"]
    link: str = ""
    scopes: list[str] = []
    until: float | None = None


def add(plugins: Plugin, grants: Grants, address: Callable[[], str]) -> None:
    """Add operation and page; `address` gives that of this server, to which browsers are sent back."""

    @plugins.operation(
        risk=Risk.HIGH,
        effect=Effect.CHANGE,
        scope="instance",
        sends=True,
        reaches=("net", "secret"),
        irreversible="what was given can only be taken back where it was given",
    )
    async def authorize(ctx: Context, login: Connection, url: Url, answer: Answer = "") -> Authorized:
        """Let this installation be given a token for the MCP server at an address, by a connection of the type `oauth`.

        Where a person has to agree, the first call gives a link; the address at which the browser then ends is the
        `answer` of the second. The token is held here, renewed while that is possible, and shown to the server only.
        """
        by_people(ctx)
        connected = await _connected(ctx, login)
        if answer:
            held = await agreeing.ended(ctx, grants, connected, url, answer)
            return Authorized(state="authorized", scopes=held.scopes, until=held.until or None)
        link, held = await agreeing.begun(ctx, grants, connected, url, address() + BACK)
        if link:
            return Authorized(state="agree", link=link, scopes=held.scopes)
        return Authorized(state="authorized", scopes=held.scopes, until=held.until or None)

    @authorize.preview
    async def _(ctx: Context, login: Connection, url: Url, answer: Answer = "") -> Preview:
        connected = await _connected(ctx, login)
        return Preview(summary=f"would ask `{connected.host}` for a token for {url}", exact=False)

    plugins.mount(BACK, _page, public=True)


async def _connected(ctx: Context, name: str) -> Connected:
    connected = await ctx.secret.connection(name)
    if connected.type != TYPE:
        raise InvalidInput(f"`{name}` gives no tokens", hint=f"`connections.create` one of the type `{TYPE}`")
    return connected


async def _page(scope: Scope, receive: Receive, send: Send) -> None:
    """Show what to do with the address; it is read by nobody here."""
    visit = visit_of(scope)
    if visit.method != "GET" or visit.path:
        raise not_here(visit.method, visit.path)
    await answer(send, 200, _PAGE, _HEADERS)
