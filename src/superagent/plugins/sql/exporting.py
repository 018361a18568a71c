"""Rows into a file of the caller's, as they come from the server."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager, suppress
from itertools import chain
from typing import Annotated, Any, Literal

from pydantic import Field

from superagent.sdk import (
    Connection,
    Context,
    Effect,
    InvalidInput,
    Output,
    Preview,
    Resource,
    Risk,
    TooLarge,
    WritePath,
    put_back,
)

from .engine.session import Failed, Lost, Session
from .line import Params, Sql, database_of, opened, sql, working
from .reading import Judged, judged

MOST_ROWS, MOST_BYTES = 10_000_000, 1024**3
LONG_S = 3600.0
_NOTHING = "nothing was written"

Form = Annotated[Literal["csv", "jsonl"], Field(description="CSV (RFC 4180, UTF-8) or a JSON object a line")]
Null = Annotated[str, Field(max_length=20, description="what stands for NULL in CSV; no text may equal it")]


class Exported(Output):
    """The file that stands there now, and the tables that its rows came from, also through views."""

    path: str
    rows: int
    bytes: int
    sha256: str
    tables: list[str]


@sql.operation(risk=Risk.MEDIUM, effect=Effect.CHANGE, undo=put_back, timeout_s=LONG_S)
async def export(
    ctx: Context,
    connection: Connection,
    sql: Sql,
    path: WritePath,
    params: Params | None = None,
    format: Form = "csv",
    null: Null = "\\N",
    formulas: Literal["escape", "keep"] = "escape",
    max_rows: Annotated[int, Field(ge=1, le=MOST_ROWS)] = 1_000_000,
    max_bytes: Annotated[int, Field(ge=1024, le=MOST_BYTES)] = 256 * 1024 * 1024,
) -> Exported:
    """Write what one `SELECT` gives into a file as CSV or JSON lines, as it comes; all of it or nothing.

    In CSV, a text that a spreadsheet would run as a formula gets an apostrophe in front, unless `formulas` is `keep`.
    """
    form, escape = format, formulas == "escape"
    async with opened(ctx, connection, most_s=LONG_S, effect=Effect.READ) as session:
        read = await _read(ctx, session, connection, sql, params)
        at = await ctx.thread(lambda: ctx.reach("files").at(path, effect=Effect.CHANGE, follow=False))
        with at:
            if at.exists and at.is_dir:
                raise InvalidInput(f"`{path}` is a folder", hint="name a file in it")

            def work() -> tuple[int, int, str]:
                from .engine.placing import placed
                from .engine.tabular import writer

                count = 0
                with _streamed(session, read) as given:
                    head, line = writer(form, next(given), null, escape=escape)
                    with placed(at.dir_fd, at.name, at.stat, max_bytes) as file:
                        for count, data in enumerate(chain((head,), map(line, given))):
                            if count > max_rows:
                                raise TooLarge(f"it gives more than {max_rows} rows", hint=_NOTHING)
                            file.write(data)
                return count, file.bytes, file.sha256

            async with ctx.changing(at.real):
                count, size, digest = await _fitting(ctx, session, path, max_bytes, work)
    return Exported(path=path, rows=count, bytes=size, sha256=digest, tables=read.tables)


@export.touches
def _(values: dict[str, Any], workspace: str) -> list[Resource]:
    return [database_of(values["connection"], Effect.READ)]


@export.preview
async def _(
    ctx: Context, connection: Connection, sql: Sql, path: WritePath, params: Params | None = None, **_: Any
) -> Preview:
    async with opened(ctx, connection, effect=Effect.READ) as session:
        read = await _read(ctx, session, connection, sql, params)
    return Preview(summary=f"would write rows of {', '.join(read.tables) or 'no table'} to `{path}`", changes=[path])


async def _read(ctx: Context, session: Session, connection: str, text: str, given: Params | None) -> Judged:
    read, _ = await judged(
        ctx, session, connection, text, given, lambda read: None,
        otherwise="what is exported is read by one `SELECT`", hint="`sql.execute` changes rows",
    )  # fmt: skip
    return read


@contextmanager
def _streamed(session: Session, read: Judged) -> Generator[Generator[list[Any]]]:
    rows = session.stream(read.statement, read.given)
    try:
        yield rows
    except BaseException:
        if session.dialect == "mysql":  # which would send all the rest before it hears anything
            session.cancel()
            with suppress(Failed, Lost):
                rows.close()
        raise
    finally:
        rows.close()


async def _fitting(ctx: Context, session: Session, path: str, most: int, work: Any) -> Any:
    """Do the writing, and say what does not fit. Raises `InvalidInput`, `TooLarge`; the file stays as it was then."""
    from .engine.placing import TooMuch
    from .engine.tabular import Unfit

    try:
        with ctx.reach("files").errors_about(path):
            return await working(ctx, session, work)
    except Unfit as unfit:
        raise InvalidInput(str(unfit), hint=_NOTHING) from None
    except TooMuch:
        raise TooLarge(f"it gives more than {most} bytes", hint=_NOTHING) from None
