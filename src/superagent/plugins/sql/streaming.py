"""Rows as they come: a read of any length, whose cursor lives on the server as long as somebody follows it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Generator
from contextlib import suppress
from functools import partial
from typing import Annotated, Any

from pydantic import Field

from superagent.sdk import Connection, Context, Effect, Output, Resource, Risk, TooLarge

from .engine.session import Failed, Lost, Session, page
from .engine.values import size_of
from .exporting import LONG_S, MOST_BYTES, MOST_ROWS
from .line import Params, Sql, database_of, opened, sql, working
from .reading import judged

PAGE_ROWS, PAGE_BYTES = 500, 256 * 1024


class Page(Output):
    """Some rows, in the order in which they came. The first page has no rows, and tells columns and tables."""

    columns: list[str] | None = None
    tables: list[str] | None = None
    rows: list[list[Any]]


@sql.operation(risk=Risk.LOW, effect=Effect.READ, timeout_s=LONG_S)
async def stream(
    ctx: Context,
    connection: Connection,
    sql: Sql,
    params: Params | None = None,
    max_rows: Annotated[int, Field(ge=1, le=MOST_ROWS)] = 1_000_000,
    max_bytes: Annotated[int, Field(ge=1024, le=MOST_BYTES)] = 256 * 1024 * 1024,
) -> AsyncIterator[Page]:
    """Read with one `SELECT`, as `sql.query` does, and give the rows as they come from a cursor of the server.

    Over HTTP with `Accept: application/x-ndjson` nothing is stored, and whoever goes ends the statement; otherwise the
    pages are events, of which a call keeps 16 MiB.
    """
    async with opened(ctx, connection, most_s=LONG_S) as session:
        read, given = await judged(
            ctx, session, connection, sql, params, lambda read: session.stream(read.statement, read.given),
            otherwise="a stream only reads", hint="`sql.execute` changes rows",
        )  # fmt: skip
        whole = False
        try:
            columns = await working(ctx, session, partial(next, given))
            yield Page(columns=columns, tables=read.tables, rows=[])
            left, rows = max_bytes, 0
            while found := await working(ctx, session, partial(page, given, PAGE_ROWS, PAGE_BYTES, left)):
                left, rows = left - sum(map(size_of, found)), rows + len(found)
                if rows > max_rows or left < 0:
                    raise TooLarge(f"it gives more than {max_rows} rows or {max_bytes} bytes", hint="ask for less")
                yield Page(rows=found)
            whole = True
        finally:
            await ctx.thread(_ended, session, given, whole)


@stream.touches
def _(values: dict[str, Any], workspace: str) -> list[Resource]:
    return [database_of(values["connection"], Effect.READ)]


def _ended(session: Session, given: Generator[list[Any]], whole: bool) -> None:
    if not whole and session.dialect == "mysql":  # which would send all the rest before it hears anything
        with suppress(Failed, Lost):
            session.cancel()
    with suppress(Failed, Lost):
        given.close()
