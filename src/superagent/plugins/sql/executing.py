"""The operation that changes rows, with the images that take it back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

from pydantic import Field

from superagent.sdk import (
    Conflict,
    Connection,
    Context,
    Effect,
    InvalidInput,
    Kept,
    Output,
    Preview,
    Resource,
    Risk,
    Unavailable,
)

from .engine.session import Lost, Session
from .line import Params, Sql, database_of, judge_change, known, opened, resource_of, sql, told, working
from .reading import fits

Count = Annotated[int, Field(ge=0, le=10_000)]
MOST = 1000


class Changed(Output):
    """What was changed: the table, how many rows, and what went and came, where the table may also be read."""

    table: str
    rows: int
    diff: str


@dataclass(slots=True)
class _Made:
    """A change that stands in an open transaction."""

    session: Session
    endpoint: str
    resource: Resource
    change: Any


@sql.operation(risk=Risk.MEDIUM, effect=Effect.CHANGE, sends=True)  # the rows go to a server, where others read them
async def execute(
    ctx: Context,
    connection: Connection,
    sql: Sql,
    params: Params | None = None,
    expected_rows: Count | None = None,
    max_rows: Count = MOST,
) -> Changed:
    """Change rows with one `INSERT`, `UPDATE` or `DELETE` in a transaction of its own; values come as `:name`.

    What stood there is kept row by row, so that undo restores exactly these rows; what could not be taken back exactly
    (triggers, tables without a key, a changed key) is refused. With `expected_rows`, it stands only if it met as many.
    """
    async with _changed(ctx, connection, sql, params or {}, expected_rows, max_rows) as made:
        if made.change.images:
            await ctx.keep(
                made.resource,
                {"connection": connection, "endpoint": made.endpoint, **made.change.document()},
            )
            await commit(ctx, made.session)
        return Changed(table=made.resource.id, rows=len(made.change.images), diff=_shown(ctx, made))


@execute.touches
def _(values: dict[str, Any], workspace: str) -> list[Resource]:
    return [database_of(values["connection"], Effect.CHANGE)]


@execute.preview
async def _(
    ctx: Context,
    connection: Connection,
    sql: Sql,
    params: Params | None = None,
    expected_rows: Count | None = None,
    max_rows: Count = MOST,
) -> Preview:
    async with _changed(ctx, connection, sql, params or {}, expected_rows, max_rows) as made:
        return Preview(
            summary=f"would change {len(made.change.images)} row(s) of `{made.resource.id}`",
            changes=[made.resource.id],
            diff=_shown(ctx, made),
            exact=False,  # rehearsed and rolled back: others may change rows until then
        )


@execute.undo
async def take_back(ctx: Context, kept: Kept) -> None:
    """Put back the rows that a change kept, all or none."""
    from .engine.changing import Change, Otherwise, put_back

    name, change = str(kept.data["connection"]), Change.of(kept.data)
    if (await ctx.secret.connection(name)).endpoint != kept.data["endpoint"]:
        raise Conflict(f"`{name}` leads elsewhere since", hint="let it lead there again, then undo")
    async with opened(ctx, name) as session:

        def work() -> None:
            session.begin(writes=True)
            put_back(session, change, known(ctx, name))
            session.settle()

        try:
            await working(ctx, session, work)
        except Otherwise as otherwise:
            raise Conflict(
                f"`{kept.resource}`: {otherwise}; nothing was put back", hint="look with `sql.query`"
            ) from None
        await commit(ctx, session)


@asynccontextmanager
async def _changed(
    ctx: Context, connection: str, text: str, params: Params, expected: int | None, most: int
) -> AsyncGenerator[_Made]:
    """Make the change in a transaction that is rolled back at the end of the block, unless the block commits it."""
    from .engine.changing import change, examine
    from .engine.parsing import parsed

    endpoint = (await ctx.secret.connection(connection)).endpoint
    async with opened(ctx, connection) as session:
        statement = await told(ctx, ctx.thread(parsed, text, session.dialect, session.schema))
        if statement.target is None:
            raise InvalidInput("this changes nothing", hint="`sql.query` reads")
        fits(statement.names, params)

        def look() -> Any:
            session.begin(writes=True)
            may = partial(judge_change, ctx, connection, statement)
            relations = session.relations(statement, params, may)
            spelled = may(relations)
            shape = examine(session, statement)
            session.permit(statement, relations)
            return spelled, shape

        spelled, shape = await working(ctx, session, look)

        def work() -> Any:
            made = change(session, statement, params, shape, most, known(ctx, connection))
            session.settle()
            return made

        made = await working(ctx, session, work)
        if expected is not None and len(made.images) != expected:
            raise Conflict(
                f"it meets {len(made.images)} rows and not {expected}", hint="nothing was changed; look with `dry_run`"
            )
        yield _Made(session, endpoint, resource_of(connection, spelled, Effect.CHANGE), made)


async def commit(ctx: Context, session: Session) -> None:
    """Let the change stand; what was begun is waited for. Raises with `changed: unknown` when nobody can tell."""

    def work() -> None:
        try:
            session.commit()
        except Lost as lost:
            raise Unavailable(
                f"the connection was lost while the change was made to stand: {lost}",
                hint="look whether it stands before you do it again; undo takes it back if it does",
                changed="unknown",
            ) from None

    task = asyncio.ensure_future(told(ctx, ctx.thread(work)))
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise
    finally:
        if task.done() and not task.cancelled() and task.exception() is not None:
            ctx.effects.clear()  # what was kept stays kept: undo finds out by looking


def _shown(ctx: Context, made: _Made) -> str:
    return made.change.diff() if ctx.may(made.resource.as_(Effect.READ)) else ""
