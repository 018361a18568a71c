"""Operations that only read: query, explain, schema, locks."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from superagent.sdk import Connection, Context, Effect, Output, Resource, Risk

from .line import Params, Sql, database_of, opened, resource_of, sql, working
from .pool import rested
from .reading import Judged, judged

MOST_ROWS, MOST_BYTES = 10_000, 8 * 1024 * 1024


class Rows(Output):
    """Rows in the order in which they came; `next` is the `skip` that gives those that follow, None after the last.

    `tables` are all tables that were read, also through views.
    """

    columns: list[str]
    rows: list[list[Any]]
    tables: list[str]
    next: int | None


@sql.operation(risk=Risk.LOW, effect=Effect.READ)
async def query(
    ctx: Context,
    connection: Connection,
    sql: Sql,
    params: Params | None = None,
    max_rows: Annotated[int, Field(ge=1, le=MOST_ROWS)] = 1000,
    max_bytes: Annotated[int, Field(ge=1024, le=MOST_BYTES)] = 1024 * 1024,
    skip: Annotated[int, Field(ge=0, le=10_000_000)] = 0,
) -> Rows:
    """Read with one `SELECT` in a transaction that the server itself holds to reading; values come as `:name`.

    Each table that it reads, also beneath views, is judged by the grants. Order the rows where you mean to page.
    """
    async with opened(ctx, connection, kept=True) as session:

        def fetch(read: Judged) -> Any:
            found = session.fetch(read.statement, read.given, skip, max_rows, max_bytes)
            rested(session)
            return found

        read, found = await judged(
            ctx, session, connection, sql, params, fetch,
            otherwise="a query only reads", hint="`sql.execute` changes rows",
        )  # fmt: skip
    following = skip + len(found.rows) if found.more else None
    return Rows(columns=found.columns, rows=found.rows, tables=read.tables, next=following)


@query.touches
def _(values: dict[str, Any], workspace: str) -> list[Resource]:
    return [database_of(values["connection"], Effect.READ)]


class Plan(Output):
    """What the server would do, in its own words, and the tables it would read."""

    plan: str
    tables: list[str]


@sql.operation(risk=Risk.LOW, effect=Effect.READ)
async def explain(ctx: Context, connection: Connection, sql: Sql, params: Params | None = None) -> Plan:
    """Show how the server would run a statement, without running it."""
    async with opened(ctx, connection, kept=True) as session:
        read, plan = await judged(
            ctx, session, connection, sql, params, lambda read: session.explain(read.statement, read.given)
        )
    return Plan(plan=plan, tables=read.tables)


@explain.touches
def _(values: dict[str, Any], workspace: str) -> list[Resource]:
    return [database_of(values["connection"], Effect.READ)]


class Column(Output):
    """A column and its type, as the server writes it."""

    name: str
    type: str


class Table(Output):
    """A table or view that you may read, by its id."""

    table: str
    columns: list[Column]


class Tables(Output):
    """Tables and views in order of their names, without what you may not read."""

    tables: list[Table]


@sql.operation(risk=Risk.LOW, effect=Effect.READ)
async def schema(ctx: Context, connection: Connection) -> Tables:
    """List the tables and views that you may read, with their columns."""
    async with opened(ctx, connection, kept=True) as session:

        def look() -> Any:
            session.begin(writes=False)
            return session.columns()

        found: dict[str, list[Column]] = {}
        for table, name, type in await working(ctx, session, look):
            resource = resource_of(connection, table)
            if resource.id in found or ctx.may(resource):
                found.setdefault(resource.id, []).append(Column(name=name, type=type))
    return Tables(tables=[Table(table=name, columns=columns) for name, columns in found.items()])


@schema.touches
def _(values: dict[str, Any], workspace: str) -> list[Resource]:
    return [database_of(values["connection"], Effect.READ)]


class Wait(Output):
    """A session that waits for another one, by the server's numbers, and for how long already (seconds)."""

    waits: str
    held_by: str
    seconds: float


class Waits(Output):
    """Who waits for whom; nothing of what they do."""

    locks: list[Wait]


@sql.operation(risk=Risk.LOW, effect=Effect.READ)
async def locks(ctx: Context, connection: Connection) -> Waits:
    """Tell which sessions of the server wait for locks that others hold."""
    async with opened(ctx, connection, kept=True) as session:

        def look() -> Any:
            session.begin(writes=False)
            return session.locks()

        found = await working(ctx, session, look)
    return Waits(locks=[Wait(waits=one, held_by=other, seconds=seconds) for one, other, seconds in found])


@locks.touches
def _(values: dict[str, Any], workspace: str) -> list[Resource]:
    return [database_of(values["connection"], Effect.READ)]
