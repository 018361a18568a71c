"""Operations on connections and on what runs over them: trying one, and stopping one's own statement."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from superagent.sdk import Connection, Context, Effect, NotFound, Output, Resource, Risk

from .line import database_of, opened, places, running, sql, told, working

Id = Annotated[str, Field(min_length=1, max_length=64)]


class Answered(Output):
    """What answered: kind and version of the server as it says them, the account, and whether TLS protects the way.

    `account` is None for a file, and so is `tls`.
    """

    type: str
    version: str
    account: str | None
    tls: bool | None


@sql.operation(risk=Risk.LOW, effect=Effect.READ)
async def connect_test(ctx: Context, connection: Connection) -> Answered:
    """Open a connection to a database, and tell which server and version answered, as whom, and whether by TLS."""
    from .engine.trying import answered

    connected = await ctx.secret.connection(connection)
    async with opened(ctx, connection) as session:

        def look() -> Any:
            session.begin(writes=False)
            return answered(session)

        version, account, tls = await working(ctx, session, look)
    return Answered(type=connected.type, version=version, account=account, tls=tls)


@connect_test.touches
def _(values: dict[str, Any], workspace: str) -> list[Resource]:
    return [database_of(values["connection"], Effect.READ)]


class Stopped(Output):
    """How many of a call's sessions were told to stop; the call itself ends by that, and tells what became of it."""

    sessions: int


@sql.operation(
    risk=Risk.LOW, effect=Effect.CHANGE, ephemeral="what was not committed yet does not happen; call again to have it"
)
async def cancel(ctx: Context, connection: Connection, invocation: Id) -> Stopped:
    """Stop what one of your own calls runs on a server at this moment; only whoever made a call can stop it so.

    For calls of this process: elsewhere, cancel the call itself.
    """
    found = running(ctx, connection, invocation)
    if not found:
        raise NotFound(f"no statement of your call `{invocation}` runs here", hint="cancel the call itself instead")
    connected = await ctx.secret.connection(connection)
    async with places(ctx, connected):  # MariaDB is told by a connection of its own
        for held in found:
            try:
                await told(ctx, ctx.thread(held.cancel))
            except Exception:
                if held in running(ctx, connection, invocation):  # else it has ended meanwhile
                    raise
    return Stopped(sessions=len(found))


@cancel.touches
def _(values: dict[str, Any], workspace: str) -> list[Resource]:
    return [database_of(values["connection"], Effect.READ)]
