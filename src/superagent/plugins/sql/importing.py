"""Rows of a file into a table, all in one transaction."""

from __future__ import annotations

import io
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import Field

from superagent.sdk import (
    Connection,
    Context,
    Effect,
    Fault,
    InvalidInput,
    Output,
    Preview,
    ReadPath,
    Resource,
    Risk,
    TooLarge,
)

from .engine.session import Session
from .executing import commit, take_back
from .exporting import LONG_S, Form, Null
from .line import database_of, judge_change, opened, resource_of, sql, told, working

MOST_FILE = 64 * 1024 * 1024
TableName = Annotated[str, Field(min_length=1, max_length=300, description="`table` or `schema.table`")]
OnReject = Annotated[Literal["stop", "skip"], Field(description="what becomes of the rest when a line does not fit")]
Apostrophes = Annotated[
    Literal["keep", "unescape"], Field(description="`unescape` takes off the apostrophes that `sql.export` put in CSV")
]
MostRows = Annotated[int, Field(ge=1, le=50_000)]


class Rejected(Output):
    """A line of the file that is not in the table, and why."""

    line: int
    why: str


class Imported(Output):
    """How many rows came in; `lines` are the first hundred of those that did not."""

    table: str
    rows: int
    rejected: int
    lines: list[Rejected]


@sql.operation(name="sql.import", risk=Risk.MEDIUM, effect=Effect.CHANGE, timeout_s=LONG_S)
async def import_(
    ctx: Context,
    connection: Connection,
    path: ReadPath,
    table: TableName,
    format: Form = "csv",
    null: Null = "\\N",
    formulas: Apostrophes = "keep",
    on_reject: OnReject = "stop",
    max_rows: MostRows = 10_000,
) -> Imported:
    """Put the rows of a CSV or JSON-lines file into a table in one transaction; undo removes exactly these rows.

    The first line of CSV, or the first object, names the columns; the database reads each value as its column's type.
    A line that does not fit is told with its number: then nothing comes in, or all others with `on_reject` `skip`.
    """
    async with _loaded(ctx) as (session, endpoint, resource, loaded):
        if loaded.change.images:
            await ctx.keep(resource, {"connection": connection, "endpoint": endpoint, **loaded.change.document()})
            await commit(ctx, session)
        return Imported(
            table=resource.id,
            rows=len(loaded.change.images),
            rejected=loaded.rejected,
            lines=[Rejected(line=number, why=why) for number, why in loaded.told],
        )


import_.undo(take_back)


@import_.touches
def _(values: dict[str, Any], workspace: str) -> list[Resource]:
    return [database_of(values["connection"], Effect.CHANGE)]


@import_.preview
async def _(ctx: Context, **given: Any) -> Preview:
    async with _loaded(ctx) as (_, _, resource, loaded):
        return Preview(
            summary=f"would put {len(loaded.change.images)} row(s) into `{resource.id}`; "
            f"{loaded.rejected} line(s) do not fit",
            changes=[resource.id],
            diff=loaded.change.diff() if ctx.may(resource.as_(Effect.READ)) else "",
            conflicts=[f"line {number}: {why}" for number, why in loaded.told[:20]],
            exact=False,
        )


@asynccontextmanager
async def _loaded(ctx: Context) -> AsyncGenerator[tuple[Session, str, Resource, Any]]:
    """Load the file in a transaction that is rolled back at the end of the block, unless the block commits it."""
    from .engine.loading import load
    from .engine.tabular import Unfit, lines

    values = ctx.ticket.values
    connection, path = values["connection"], values["path"]
    endpoint = (await ctx.secret.connection(connection)).endpoint
    text = await ctx.thread(_text, ctx, path)

    def rows() -> Iterator[Any]:
        file = io.StringIO(text, newline="")
        return lines(file, values["format"], values["null"], unescape=values["formulas"] == "unescape")

    try:
        columns = await ctx.thread(_columns, rows())
        async with opened(ctx, connection, most_s=LONG_S, effect=Effect.CHANGE) as session:
            target = await _target(ctx, session, connection, values["table"], columns)
            resource = resource_of(connection, target, Effect.CHANGE)

            def work() -> Any:
                made = load(session, target, session.shape(target), columns, rows(), values["max_rows"])
                session.settle()
                return made

            loaded = await working(ctx, session, work)
            if loaded.rejected and values["on_reject"] == "stop" and not ctx.invocation.call.dry_run:
                raise InvalidInput(
                    f"{loaded.rejected} line(s) do not fit, and nothing was changed",
                    hint="`on_reject` `skip` takes the others",
                    errors=[Fault(f"line {number}", why) for number, why in loaded.told],
                )
            yield session, endpoint, resource, loaded
    except Unfit as unfit:
        raise InvalidInput(f"{unfit}; nothing was changed") from None


async def _target(ctx: Context, session: Session, connection: str, table: str, columns: tuple[str, ...]) -> Any:
    """Begin, and give the table as the server spells it. Raises as `judge` does."""
    from .engine.loading import inserting
    from .engine.names import Named
    from .engine.parsing import parsed

    schema, _, name = table.rpartition(".")
    statement = await told(
        ctx,
        ctx.thread(
            parsed, inserting(session, Named(schema or session.schema, name), columns), session.dialect, session.schema
        ),
    )

    def look() -> Any:
        session.begin(writes=True)
        may = partial(judge_change, ctx, connection, statement)
        relations = session.relations(statement, {f"c{at}": None for at in range(len(columns))}, may)
        spelled = may(relations)
        session.permit(statement, relations)
        return spelled

    return await working(ctx, session, look)


def _text(ctx: Context, path: str) -> str:
    with ctx.reach("files").at(path) as at, ctx.reach("files").errors_about(path), open(at.open(), "rb") as file:
        data = file.read(MOST_FILE + 1)
    if len(data) > MOST_FILE:
        raise TooLarge(f"`{path}` has more than {MOST_FILE} bytes", hint="split the file")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as bad:
        raise InvalidInput(f"`{path}` is no UTF-8: the byte {bad.start + 1} fits nowhere") from None


def _columns(rows: Iterator[Any]) -> tuple[str, ...]:
    from .engine.tabular import Unfit

    first = next((one for one in rows if not one.fault), None)
    if first is None or not first.values:
        raise Unfit("the file has no row that fits")
    return tuple(first.values)
