"""Agreeing: a person lets this installation be authorized for a server: at once, or by a link and what came of it."""

from __future__ import annotations

from superagent.core.connections import Connected
from superagent.core.context import Context
from superagent.core.problems import Conflict, Unavailable
from superagent.runtime.mcp_client import authorizing, challenged, messages
from superagent.runtime.mcp_client.authorizing import Login, Rejected
from superagent.runtime.mcp_client.challenged import Challenge, challenge_of
from superagent.runtime.mcp_client.granted import Granted, Grants, Key
from superagent.runtime.mcp_client.opened_by import login_of
from superagent.runtime.mcp_client.session import NEWEST
from superagent.runtime.mcp_client.stdio import meta_of


async def begun(ctx: Context, grants: Grants, connected: Connected, url: str, back: str) -> tuple[str, Granted]:
    """Give (link that a person has to follow, what is held until then); the link is empty where nobody has to.

    Raises `Unavailable`, `Conflict`, problems of the network.
    """
    http, login, key = ctx.net.http, await login_of(ctx, connected), (ctx.tenant, connected.name, url)
    said = await _asked(ctx, url)
    protected = await challenged.protected(http, url, said)
    authorizing.chosen(protected, login)
    giver = await challenged.giver(http, login.issuer)
    async with grants.turn(key):
        before = await _held(grants, key, login)
        made = await authorizing.client_of(http, login, giver, protected.resource, back, before)
        had = [*before.scopes, *before.wanted] if before is not None else []
        scopes = authorizing.wanted(login, protected, said.scopes, had)
        if not login.alone:
            link, held = authorizing.link_of(made, giver, back, scopes, ctx.now)
            await grants.write(key, held)
            return link, held
        fields = {"grant_type": "client_credentials"} | ({"scope": " ".join(scopes)} if scopes else {})
        return "", await _redeemed(ctx, grants, key, login, made, fields)


async def ended(ctx: Context, grants: Grants, connected: Connected, url: str, answer: str) -> Granted:
    """Take the address at which a person's browser ended, and give what is held now.

    Raises `Conflict`, `InvalidInput`, `Unavailable`, problems of the network.
    """
    login, key = await login_of(ctx, connected), (ctx.tenant, connected.name, url)
    async with grants.turn(key):
        held = await _held(grants, key, login)
        if held is None or held.begun is None:
            raise Conflict("nobody was sent to agree", hint="`plugins.authorize` without an answer gives a link")
        fields = {
            "grant_type": "authorization_code", "code": authorizing.code_of(held, answer, ctx.now),
            "redirect_uri": held.begun.back, "code_verifier": held.begun.verifier,
        }  # fmt: skip
        return await _redeemed(ctx, grants, key, login, held, fields)


async def _redeemed(
    ctx: Context, grants: Grants, key: Key, login: Login, granted: Granted, fields: dict[str, str]
) -> Granted:
    try:
        fresh = await authorizing.redeem(ctx.net.http, granted, login, fields, ctx.now)
    except Rejected as why:
        raise Unavailable(
            f"`{login.issuer}` gives no token ({why})", hint="see what the connection says of the client"
        ) from None
    await grants.given(ctx, key, fresh, fields["grant_type"])
    return fresh


async def _held(grants: Grants, key: Key, login: Login) -> Granted | None:
    found = await grants.read(key)
    return found if found is not None and found.login == login.digest else None


async def _asked(ctx: Context, url: str) -> Challenge:
    """Ask a server without showing anything, to hear what it wants."""
    body = messages.write(0, "server/discover", meta_of(NEWEST))
    headers = [
        ("Content-Type", "application/json"), ("Accept", "application/json, text/event-stream"),
        ("MCP-Protocol-Version", NEWEST), ("Mcp-Method", "server/discover"),
    ]  # fmt: skip
    async with ctx.net.http.stream(
        "POST", url, headers=headers, content=body, follow=0, max_bytes=challenged.MOST_BYTES,
        timeout_s=challenged.TIMEOUT_S,
    ) as stream:  # fmt: skip
        return challenge_of(stream.answer)
