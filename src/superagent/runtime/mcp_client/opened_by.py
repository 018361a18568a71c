"""Opened by: what is shown to a server at an address, by a connection that this installation holds for it.

Nobody who calls a tool sees any of it: it is taken out of whatever the call gives.
"""

from __future__ import annotations

from typing import Any, Protocol

from msgspec.structs import replace

from superagent.core.carried import Answer
from superagent.core.connections import Connected
from superagent.core.context import Context
from superagent.core.principal import Secret
from superagent.core.problems import Conflict, Fix, Internal, Problem, Unavailable
from superagent.runtime.mcp_client import authorizing, challenged
from superagent.runtime.mcp_client.authorizing import Login, Rejected
from superagent.runtime.mcp_client.challenged import Challenge, challenge_of
from superagent.runtime.mcp_client.granted import Granted, Grants, Key
from superagent.runtime.mcp_client.records import Server

TYPE = "oauth"
EARLY_S = 30.0
"""How long before its end a token is not used any more."""


class Opens(Protocol):
    """What opens a server for one call."""

    async def headers(self) -> list[tuple[str, str]]:
        """Give what is shown with each request. Raises problems."""
        ...

    async def again(self, answer: Answer) -> bool:
        """Tell, for an answer that refuses what was shown, whether there is something better to show now."""
        ...

    async def refused(self, answer: Answer) -> Problem:
        """Give the problem of a server that stays closed, with its cure."""
        ...


class OpenedBy:
    """The `Opens` of a server for one call: nothing, a secret in a header, or a token that is got and renewed."""

    def __init__(self, ctx: Context, server: Server, grants: Grants) -> None:
        self._ctx = ctx
        self._server = server
        self._grants = grants
        self._shown: list[tuple[str, str]] | None = None
        self._token = ""
        self._renewed = False

    async def headers(self) -> list[tuple[str, str]]:
        """Give what is shown with each request."""
        if self._shown is None:
            self._shown = await self._showing()
        return self._shown

    async def again(self, answer: Answer) -> bool:
        """Get another token for one that is refused, once in a call."""
        said = challenge_of(answer)
        if not self._server.login or self._renewed:
            return False
        if answer.status == 403 and said.error != "insufficient_scope":
            return False
        connected = await self._ctx.secret.connection(self._server.login)
        if connected.type != TYPE:
            return False
        self._renewed = True
        login = await login_of(self._ctx, connected)
        async with self._grants.turn(self._key):
            found = await self._held(login)
            if found is not None and found.access and found.access != self._token and answer.status == 401:
                self._shown = self._bearer(found.access)  # another call has renewed it meanwhile
                return True
            if answer.status == 403 and not login.alone:  # to more than they agreed to, a person has to agree
                if found is not None:
                    await self._grants.write(self._key, replace(found, wanted=list(said.scopes)))
                return False
            fresh = await self._got(login, found, said)
        self._shown = self._bearer(fresh.access)
        return True

    async def refused(self, answer: Answer) -> Problem:
        """Give the problem of a server that stays closed, with its cure."""
        server, said = self._server, challenge_of(answer)
        if server.login:
            why = f"does not take what `{server.login}` shows ({' '.join((str(answer.status), said.error)).strip()})"
            connected = await self._ctx.secret.connection(server.login)
            if connected.type == TYPE:
                return self._closed(why)
            return Unavailable(
                f"the MCP server `{server.name}` {why}",
                hint="see whether the secret is still good; `secrets.put` gives it a new value",
            )
        try:
            found = await challenged.protected(self._ctx.net.http, server.url, said)
        except Problem as problem:
            return Unavailable(
                f"the MCP server `{server.name}` is not open to everybody ({answer.status}), and {problem.detail}",
                hint="make a connection of the type `http` with its key, and name it in `login`",
            )
        issuer = found.issuers[0]
        made: dict[str, Any] = {
            "name": f"{server.name}-login", "type": TYPE, "endpoint": issuer, "options": {"issuer": issuer}
        }  # fmt: skip
        return Unavailable(
            f"the MCP server `{server.name}` wants a token of `{issuer}`",
            hint="if you know that one, make a connection of the type `oauth` to it, and name it in `login`",
            fix=Fix("connections.create", made),
        )

    # ---- inside

    @property
    def _key(self) -> Key:
        return self._ctx.tenant, self._server.login, self._server.url

    async def _showing(self) -> list[tuple[str, str]]:
        if not self._server.login:
            return []
        connected = await self._ctx.secret.connection(self._server.login)
        if connected.type != TYPE:
            header = await self._ctx.secret.header(self._server.login)
            if header.host != self._server.host:
                raise Conflict(
                    f"`{self._server.login}` leads to `{header.host}`, and this server is at `{self._server.host}`",
                    hint="name a connection to the server itself, or one of the type `oauth`",
                )
            return [(header.header, header.value.reveal())]
        login = await login_of(self._ctx, connected)
        found = await self._held(login)
        if found is None or not found.access:
            return []  # the server says first what it wants
        if not self._old(found):
            return self._bearer(found.access)
        async with self._grants.turn(self._key):
            found = await self._held(login) or found
            if self._old(found):
                self._renewed = True
                found = await self._got(login, found, Challenge())
        return self._bearer(found.access)

    def _old(self, found: Granted) -> bool:
        return found.until > 0 and found.until - EARLY_S < self._ctx.now

    async def _held(self, login: Login) -> Granted | None:
        found = await self._grants.read(self._key)
        return found if found is not None and found.login == login.digest else None

    async def _got(self, login: Login, found: Granted | None, said: Challenge) -> Granted:
        """Get a token without any person, and hold it. Raises `Unavailable` where only a person can."""
        http, now = self._ctx.net.http, self._ctx.now
        if login.alone:
            if found is None or said.metadata or said.scopes:
                found = await self._met(login, found, said)
            scope = {"scope": " ".join(found.scopes)} if found.scopes else {}
            fields = {"grant_type": "client_credentials", **scope}
        elif found is not None and found.refresh:
            fields = {"grant_type": "refresh_token", "refresh_token": found.refresh}
        else:
            raise self._closed("wants a person to agree")
        try:
            fresh = await authorizing.redeem(http, found, login, fields, now)
        except Rejected as why:
            if not login.alone:  # it is no good any more, and never will be again
                await self._grants.write(self._key, replace(found, access="", refresh="", until=0.0))
            raise self._closed(f"stays closed: `{login.issuer}` gives no token ({why})") from None
        await self._grants.given(self._ctx, self._key, fresh, fields["grant_type"])
        return fresh

    async def _met(self, login: Login, before: Granted | None, said: Challenge) -> Granted:
        http = self._ctx.net.http
        protected = await challenged.protected(http, self._server.url, said)
        authorizing.chosen(protected, login)
        giver = await challenged.giver(http, login.issuer)
        made = await authorizing.client_of(http, login, giver, protected.resource, "", before)
        return replace(made, scopes=authorizing.wanted(login, protected, said.scopes, before.scopes if before else []))

    def _bearer(self, token: str) -> list[tuple[str, str]]:
        redactor = self._ctx.redactor
        if redactor is None:
            raise Internal("a token can only be had while its call runs")
        redactor.add(self._server.login, Secret(token))
        self._token = token
        return [("Authorization", f"Bearer {token}")]

    def _closed(self, why: str) -> Unavailable:
        return Unavailable(
            f"the MCP server `{self._server.name}` {why}",
            hint="a person opens it anew with `plugins.authorize`",
            fix=Fix("plugins.authorize", {"login": self._server.login, "url": self._server.url}),
        )


async def login_of(ctx: Context, connected: Connected) -> Login:
    """Give a connection with its secret, if it has one. Raises what the secret's keeper does."""
    return Login(connected, await ctx.secret.resolve(connected.name) if connected.secret else None)
