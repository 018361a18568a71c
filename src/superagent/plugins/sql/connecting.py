"""The types of connections to databases, and how one is tried."""

from __future__ import annotations

from superagent.sdk import Connected, Context, Input

from .line import ServerOptions, opened, sql, working


async def _answered(ctx: Context, connected: Connected) -> str:
    async with opened(ctx, connected.name) as session:
        await working(ctx, session, lambda: session.begin(writes=False))
    return f"{connected.type} answered at {connected.host or connected.endpoint}"


sql.connection("postgresql", schemes=("postgresql",), options=ServerOptions)(_answered)
sql.connection("mariadb", schemes=("mysql",), options=ServerOptions)(_answered)
sql.connection("sqlite", schemes=("sqlite",), options=Input)(_answered)
