"""The operation that names the statements that take most of a server's time."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from superagent.sdk import Connection, Context, Effect, Output, Resource, Risk

from .engine.names import Named
from .line import database_of, opened, resource_of, sql, working

_AT_ONCE = 40


class Slow(Output):
    """A kind of statement with `?` for every value; times in milliseconds, None for what the server does not count."""

    statement: str
    tables: list[str]
    calls: int
    total_ms: float
    mean_ms: float
    longest_ms: float | None
    rows: int | None


class SlowQueries(Output):
    """Statements that took most time altogether, the worst first; `source` is where the server counts them.

    `pg_stat_activity` knows only what runs at this moment. `since` is when counting began, None where it is not told.
    """

    source: str
    since: str | None
    statements: list[Slow]


@sql.operation(risk=Risk.LOW, effect=Effect.READ)
async def slow_queries(
    ctx: Context, connection: Connection, limit: Annotated[int, Field(ge=1, le=100)] = 20
) -> SlowQueries:
    """Name the statements that take most of the server's time, without their values, as the server itself counts.

    Only statements of which every table, also beneath views, may be read by the caller: others are neither shown nor
    counted, and nor is what cannot be told for sure.
    """
    from .engine.slow import Counted, counted, examined

    async with opened(ctx, connection) as session:

        def look() -> Counted:
            session.begin(writes=False)
            return counted(session)

        found = await working(ctx, session, look)
        shown: list[Slow] = []
        for at in range(0, len(found.statements), _AT_ONCE):
            some = found.statements[at : at + _AT_ONCE]
            known = await working(ctx, session, lambda some=some: [examined(session, one) for one in some])
            shown += [_shown(connection, *one) for one in known if one and _open(ctx, connection, one[1])]
            if len(shown) >= limit:
                break
    return SlowQueries(source=found.source, since=found.since, statements=shown[:limit])


@slow_queries.touches
def _(values: dict[str, Any], workspace: str) -> list[Resource]:
    return [database_of(values["connection"], Effect.READ)]


def _open(ctx: Context, connection: str, tables: frozenset[Named]) -> bool:
    return all(ctx.may(resource_of(connection, one)) for one in tables)


def _shown(connection: str, one: Any, tables: frozenset[Named]) -> Slow:
    return Slow(
        statement=one.text,
        tables=sorted(resource_of(connection, table).id for table in tables),
        calls=one.calls,
        total_ms=round(one.total_ms, 3),
        mean_ms=round(one.total_ms / max(1, one.calls), 3),
        longest_ms=None if one.longest_ms is None else round(one.longest_ms, 3),
        rows=one.rows,
    )
