"""Operations on indexes: which would help a statement, and building one that has to prove it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Annotated, Any

from pydantic import Field

from superagent.sdk import (
    Conflict,
    Connection,
    Context,
    Effect,
    Input,
    InvalidInput,
    Kept,
    Output,
    Preview,
    Resource,
    Risk,
)

from .engine.names import Named
from .engine.session import Session
from .line import Judging, Params, Sql, database_of, judge, opened, resource_of, sql, told, working
from .reading import fits, judged

TableName = Annotated[str, Field(min_length=3, max_length=600, description="schema.table, as `sql.schema` shows it")]
ColumnNames = Annotated[list[Annotated[str, Field(min_length=1, max_length=128)]], Field(min_length=1, max_length=8)]


class Times(Output):
    """How a statement ran: times in milliseconds by the clock, and the work of one run in the server's own unit."""

    runs: int
    p50_ms: float
    p95_ms: float
    work: float
    unit: str


class Suggested(Output):
    """An index that would help; costs of the statement without and with it, `bytes` its estimated size where known.

    Every write to the table pays for it as well: `writes` are the rows that were put in, changed or removed since the
    server counts, None where it does not.
    """

    table: str
    columns: list[str]
    create: str
    cost_before: float
    cost_after: float
    bytes: int | None
    writes: int | None


class Unused(Output):
    """An index that no read on this server has used since it counts; writes pay for it. One built just now is new."""

    index: str
    table: str
    bytes: int


class Suggestions(Output):
    """Indexes that help, each on top of those before it; none where nothing would by a fifth or more.

    `unit` says what costs are counted in; `now` is how the statement runs at present, None where it was not run.
    `unused` are indexes of the same tables that keep nothing unique and that nobody reads, as PostgreSQL counts since
    `since` (None: ever); reads on its replicas are not among what it counts.
    """

    unit: str
    cost: float
    now: Times | None
    indexes: list[Suggested]
    unused: list[Unused]
    since: str | None


@sql.operation(risk=Risk.LOW, effect=Effect.READ)
async def index_suggest(ctx: Context, connection: Connection, sql: Sql, params: Params | None = None) -> Suggestions:
    """Propose indexes for a statement, each tried on the server's own planner before it is named.

    PostgreSQL supposes them by its extension hypopg; SQLite builds them in a copy in memory. Nothing is changed.
    """
    from .engine.trials import tried

    async with opened(ctx, connection) as session:
        _, found = await judged(
            ctx, session, connection, sql, params,
            lambda read: tried(session, read.statement, read.given, read.relations),
        )  # fmt: skip
        return Suggestions(
            unit=found.unit,
            cost=found.cost,
            now=None if found.now is None else _times(found.now),
            indexes=[
                Suggested(
                    table=resource_of(connection, one.wanted.table).id,
                    columns=list(one.wanted.columns),
                    create=f"CREATE INDEX {one.wanted.text(session.dialect)}",
                    cost_before=one.before,
                    cost_after=one.after,
                    bytes=one.size,
                    writes=one.writes,
                )
                for one in found.tried
            ],
            unused=[
                Unused(index=one.name, table=resource_of(connection, one.table).id, bytes=one.size)
                for one in found.idle
            ],
            since=found.since,
        )


@index_suggest.touches
def _(values: dict[str, Any], workspace: str) -> list[Resource]:
    return [database_of(values["connection"], Effect.READ)]


class Read(Input):
    """A `SELECT` that must not become slower."""

    sql: Sql
    params: Params = {}


Beside = Annotated[list[Read], Field(max_length=5)]
Gain = Annotated[float, Field(ge=1.0, le=1000.0)]


class Built(Output):
    """What came of it: `stands` is False when the index was withdrawn, and `why` says so.

    `before` and `after` are the statement that it was built for, then those beside it, in their order.
    """

    index: str
    table: str
    columns: list[str]
    stands: bool
    why: str
    before: list[Times]
    after: list[Times]


@sql.operation(risk=Risk.MEDIUM, effect=Effect.CHANGE, timeout_s=900.0)
async def index_build(
    ctx: Context,
    connection: Connection,
    table: TableName,
    columns: ColumnNames,
    sql: Sql,
    params: Params | None = None,
    beside: Beside | None = None,
    least_gain: Gain = 1.2,
) -> Built:
    """Build an index without blocking writers, measure a `SELECT` before and after, and withdraw it unless it helps.

    It stands if the statement uses it, does less work, and its 95th percentile is `least_gain` times better, and no
    statement `beside` it becomes slower. Undo drops it.
    """
    from .engine import building

    wanted = table_named(table)
    async with opened(ctx, connection) as session:
        reads = await _judged(ctx, connection, session, wanted, [Read(sql=sql, params=params or {}), *(beside or [])])

        def before() -> Any:
            return building.checked(session, wanted, tuple(columns), ctx.invocation.id), building.timed(session, reads)

        name, first = await working(ctx, session, before)
        resource = resource_of(connection, wanted, Effect.CHANGE)
        endpoint = (await ctx.secret.connection(connection)).endpoint
        await ctx.keep(
            resource,
            {
                "connection": connection,
                "endpoint": endpoint,
                "table": [wanted.schema, wanted.name],
                "index": name,
                "columns": columns,
            },
        )

        left_s = ctx.remaining_s or 600.0

        def build() -> Any:
            building.build(session, wanted, tuple(columns), name, left_s)
            after = building.timed(session, reads)
            why = building.against(name, first, after, least_gain)
            if why:
                building.drop(session, wanted, name)
            else:
                building.keep(session)
            return after, why

        try:
            second, why = await working(ctx, session, build)
        except BaseException:
            await _cleaned(ctx, lambda: building.clean(session, wanted, name, tuple(columns)))
            raise
    if why:
        ctx.effects.clear()  # it is gone again: an undo finds nothing to do
    return Built(
        index=name,
        table=resource.id,
        columns=columns,
        stands=not why,
        why=why,
        before=[_times(one) for one in first],
        after=[_times(one) for one in second],
    )


@index_build.touches
def _(values: dict[str, Any], workspace: str) -> list[Resource]:
    wanted = table_named(values["table"])
    return [resource_of(values["connection"], wanted, Effect.CHANGE)]


@index_build.preview
async def _(
    ctx: Context,
    connection: Connection,
    table: TableName,
    columns: ColumnNames,
    sql: Sql,
    params: Params | None = None,
    beside: Beside | None = None,
    least_gain: Gain = 1.2,
) -> Preview:
    from .engine import building

    wanted = table_named(table)
    async with opened(ctx, connection) as session:
        await _judged(ctx, connection, session, wanted, [Read(sql=sql, params=params or {}), *(beside or [])])
        name = await working(ctx, session, lambda: building.checked(session, wanted, tuple(columns), ctx.invocation.id))
    id = resource_of(connection, wanted, Effect.CHANGE).id
    return Preview(
        summary=f"would build the index `{name}` on `{id}`, and withdraw it unless it helps",
        changes=[id],
        diff=f"+index {name} ({', '.join(columns)})\n",
        exact=False,
    )


@index_build.undo
async def _(ctx: Context, kept: Kept) -> None:
    from .engine import building

    name, wanted = str(kept.data["connection"]), Named(*kept.data["table"])
    if (await ctx.secret.connection(name)).endpoint != kept.data["endpoint"]:
        raise Conflict(f"`{name}` leads elsewhere since", hint="let it lead there again, then undo")
    async with opened(ctx, name) as session:

        def work() -> bool:
            return building.withdraw(session, wanted, str(kept.data["index"]), tuple(kept.data["columns"]))

        if not await working(ctx, session, work):
            raise Conflict(
                f"`{kept.resource}`: somebody made another index of that name since", hint="nothing was changed"
            )


async def _judged(ctx: Context, connection: str, session: Session, table: Named, texts: list[Read]) -> list[Any]:
    """Begin, and give the reads that measure, each judged by the tables that it reads."""
    from .engine.parsing import parsed

    reads: list[Any] = []
    await working(ctx, session, _beginning(session))
    for one in texts:
        statement = await told(ctx, ctx.thread(parsed, one.sql, session.dialect, session.schema))
        if statement.kind != "select":
            raise InvalidInput("an index is measured by reads", hint="give the `SELECT` with the same `WHERE`")
        fits(statement.names, one.params)
        may = Judging(ctx, connection, statement.named)
        relations = await working(ctx, session, partial(session.relations, statement, one.params, may))
        may(relations)
        reads.append((statement, one.params, relations))
    if table not in reads[0][2]:
        raise InvalidInput("the statement does not read that table", hint="`sql.index_suggest` names table and columns")
    judge(ctx, connection, frozenset({table}), Effect.CHANGE)
    return reads


async def _cleaned(ctx: Context, clean: Callable[[], bool]) -> None:
    """Take away what was begun, also when the call is cancelled; what cannot be taken away now, undo drops later."""
    task = asyncio.ensure_future(ctx.thread(clean))
    while not task.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait([task])
    if task.result():
        ctx.effects.clear()


def _beginning(session: Session) -> Callable[[], None]:
    return lambda: session.begin(writes=session.dialect == "sqlite")


def table_named(table: str) -> Named:
    """Read `schema.table` as resources spell it: one spelling for what is judged and what is used."""
    from urllib.parse import unquote

    schema, _, name = table.partition(".")
    named = Named(unquote(schema), unquote(name))
    if not schema or not name or named.path != table:
        raise InvalidInput(f"`{table}` names no table", hint="write `schema.table` as `sql.schema` shows it")
    return named


def _times(one: Any) -> Times:
    return Times(runs=one.runs, p50_ms=round(one.p50_ms, 3), p95_ms=round(one.p95_ms, 3), work=one.work, unit=one.unit)
