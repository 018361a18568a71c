"""Restores of proven backups: into a database of their own, or in the place of the one that is there."""

from __future__ import annotations

import os
from contextlib import closing, suppress
from dataclasses import replace
from typing import Annotated, Any, BinaryIO

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
    ReadPath,
    Resource,
    Risk,
    Unavailable,
    canonical_path,
)

from .backups import LONG_S, MOST_BYTES, Ground, grounded, stoppable
from .line import database_of, judge, sql, told

Into = Annotated[str, Field(max_length=4096, description="the new database's name; for SQLite the path of a new file")]


class Restored(Output):
    """Where the rows are now; `before` is the name that the database has now in whose place they came."""

    database: str
    before: str
    rows: dict[str, int]


@sql.operation(risk=Risk.HIGH, effect=Effect.DESTROY, timeout_s=LONG_S)
async def restore(
    ctx: Context, connection: Connection, path: ReadPath, into: Into = "", over: bool = False
) -> Restored:
    """Restore a backup into a new database, or with `over` in the place of the present one, and compare every row.

    It is read under the names that its tables had: whoever restores it must be allowed to read each. With `over`,
    the present database stays under another name until somebody drops it; of SQLite, the file is kept for undo.
    """
    if over == bool(into):
        raise InvalidInput("say where it is to be restored", hint="give either a new name as `into`, or `over`")
    async with grounded(ctx, connection, Effect.CHANGE if over else Effect.READ) as ground:
        file = await ctx.thread(_opened, ctx, path)
        with file:
            head = await stoppable(ctx, ground, lambda: _head(ground, file), path)
            _judge(ctx, connection, head, ground)
            if ground.connected.type == "sqlite":
                return await _into_file(ctx, ground, file, path, into, head)
            return await _into_server(ctx, ground, file, path, into, head)


@restore.touches
def _(values: dict[str, Any], workspace: str) -> list[Resource]:
    into = str(values["into"])
    effect = Effect.DESTROY if values["over"] else Effect.CHANGE
    found = [database_of(values["connection"], effect)]
    if into.startswith("/"):
        found.append(Resource("path", "local", canonical_path(into, workspace), Effect.CHANGE))
    return found


@restore.preview
async def _(ctx: Context, connection: Connection, path: ReadPath, into: Into = "", over: bool = False) -> Preview:
    async with grounded(ctx, connection, Effect.READ) as ground:
        with await ctx.thread(_opened, ctx, path) as file:
            head = await stoppable(ctx, ground, lambda: _head(ground, file), path)
            _judge(ctx, connection, head, ground)
    rows = sum(int(one[0]) for name, one in head.sums.items() if not name.startswith("("))
    where = f"in the place of `{ground.place.database or ground.place.file}`" if over else f"into `{into}`"
    return Preview(
        summary=f"would restore {len(head.tables)} table(s) with {rows} row(s) of `{head.database}` {where}",
        changes=[database_of(connection, Effect.CHANGE).id],
        exact=False,
    )


@restore.undo
async def _(ctx: Context, kept: Kept) -> None:
    if kept.resource.startswith("path://"):
        await ctx.put_back(kept)
        return
    data = kept.data
    async with grounded(ctx, str(data["connection"]), Effect.CHANGE, runs=False) as ground:
        if ground.connected.endpoint != data["endpoint"]:
            raise Conflict(f"`{data['connection']}` leads elsewhere since", hint="let it lead there again, then undo")
        await told(ctx, ctx.thread(_taken_back, ground, data))


def _taken_back(ground: Ground, data: dict[str, Any]) -> None:
    """Drop what was restored, if it is as it was left, and let the one before have its name again."""
    from .engine.shadows import beside, drop, exchange, exists, fresh
    from .engine.sums import differing, sums

    made, before, place = str(data["made"]), str(data["before"]), ground.place
    ground.session.close()  # it may be in the database that goes
    with closing(ground.work.open(beside(place) if before else place)) as session:
        if not exists(session, made) or (before and not exists(session, before)):
            return  # it did not come so far
        with closing(ground.work.open(replace(place, database=made))) as looking:
            looking.begin(writes=False)
            if differing(sums(looking, made), data["sums"]):
                raise Conflict(f"`{made}` was changed since", hint="nothing was taken back; look at it first")
        if not before:
            drop(session, made)
            return
        aside = fresh("gone")
        exchange(session, before, made, aside)
        drop(session, aside)


def _opened(ctx: Context, path: str) -> BinaryIO:
    reach = ctx.reach("files")
    with reach.at(path) as at, reach.errors_about(path):
        return open(at.open(), "rb")


def _head(ground: Ground, file: BinaryIO) -> Any:
    from .engine.archive import read

    file.seek(0)
    return read(file, ground.work.clients)[0]


def _judge(ctx: Context, connection: str, head: Any, ground: Ground) -> None:
    """Go on only if the caller may read every table of the backup, where it came from and where it goes."""
    from .engine.names import Named

    if head.type != ground.connected.type:
        raise InvalidInput(f"it is a backup of {head.type}, and `{connection}` is {ground.connected.type}")
    tables = frozenset(Named(*one) for one in head.tables)
    for name in {head.connection, connection}:
        judge(ctx, name, tables)


async def _into_server(ctx: Context, ground: Ground, file: BinaryIO, path: str, into: str, head: Any) -> Restored:
    from .engine.shadows import fresh

    current = ground.place.database
    if not into and ground.connected.type != "postgresql":
        raise Unavailable(
            "MariaDB cannot give a database another name",
            hint="restore `into` a new one, and let a connection lead there",
        )
    made, before = into or current, "" if into else fresh("before")
    data = {"connection": ground.connected.name, "endpoint": ground.connected.endpoint, "made": made, "before": before}
    effect = Effect.CHANGE if into else Effect.DESTROY

    exchanging: list[str] = []

    def work() -> None:
        _restored(ground, file, into, before, head, exchanging)

    resource = database_of(ground.connected.name, effect)
    await told(ctx, ctx.thread(_require_new, ground, into))
    await ctx.keep(resource, {**data, "sums": head.sums})
    try:
        await stoppable(ctx, ground, work, path)
    except BaseException:
        if not exchanging:
            ctx.effects.clear()  # what was made for it is gone again, and nothing else was touched
        raise
    return Restored(database=made, before=before, rows=_rows(head))


def _require_new(ground: Ground, into: str) -> None:
    from .engine.shadows import exists

    if into and exists(ground.session, into):
        raise Conflict(f"there is a database `{into}` already", hint="name a new one")


def _restored(ground: Ground, file: BinaryIO, into: str, before: str, head: Any, exchanging: list[str]) -> None:
    """Restore into a new database, compare, and only then let it take the other one's place."""
    from .engine.archive import read
    from .engine.proving import load
    from .engine.shadows import beside, characters, create, drop, exchange, fresh

    work, place = ground.work, ground.place
    name = into or fresh("restored")
    session = ground.session
    create(session, name, characters(session, place.database))
    try:
        file.seek(0)
        load(work, read(file, work.clients)[1], replace(place, database=name), head.sums)
        if before:
            session.close()
            exchanging.append(name)
            with closing(work.open(beside(place))) as other:
                exchange(other, name, place.database, before)
    except BaseException:
        with closing(work.open(place)) as other:
            drop(other, name)
        raise


async def _into_file(ctx: Context, ground: Ground, file: BinaryIO, path: str, into: str, head: Any) -> Restored:
    from .engine.archive import read
    from .engine.placing import placed
    from .engine.proving import check_bytes

    ground.session.close()
    if into and not into.startswith("/"):
        raise InvalidInput("a new file is named by its whole path", hint="let `into` begin with `/`")
    target = canonical_path(into or _path_of(ground), ctx.principal.workspace)
    at = await ctx.thread(lambda: ctx.reach("files").at(target, effect=Effect.CHANGE, follow=False))
    with at:
        if into and at.exists:
            raise Conflict(f"`{into}` is there already", hint="name a new file")

        def work() -> None:
            _require_quiet(at)
            file.seek(0)
            data = b"".join(read(file, ground.work.clients)[1])
            check_bytes(data, head)
            with placed(at.dir_fd, at.name, at.stat, MOST_BYTES, 0o600) as fresh:
                fresh.write(data)

        async with ctx.changing(at.real):
            await stoppable(ctx, ground, work, path)
    return Restored(database=target, before="", rows=_rows(head))


def _require_quiet(at: Any) -> None:
    """Go on only if nothing of the present file lies beside it: neither would fit the other afterwards."""
    for end in ("-wal", "-journal"):
        with suppress(FileNotFoundError):
            if os.stat(at.name + end, dir_fd=at.dir_fd, follow_symlinks=False).st_size:
                raise Conflict(
                    f"`{at.name}{end}` says that the file is in use", hint="end the programs that have it open"
                )


def _path_of(ground: Ground) -> str:
    return ground.connected.endpoint.partition("://")[2]


def _rows(head: Any) -> dict[str, int]:
    return {name: int(one[0]) for name, one in head.sums.items() if not name.startswith("(")}
