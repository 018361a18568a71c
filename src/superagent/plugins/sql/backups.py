"""Backups of whole databases, which count only after a restore has shown every row of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from superagent.sdk import (
    Conflict,
    Connected,
    Connection,
    Context,
    Effect,
    InvalidInput,
    Output,
    Preview,
    Resource,
    Risk,
    Unavailable,
    WritePath,
    put_back,
)

from .engine.session import Place, Session
from .line import TYPES, database_of, judge, open_at, places, sql, told

LONG_S = 6 * 3600.0
MOST_BYTES = 1024**4

T = TypeVar("T")


class Backup(Output):
    """The backup that stands there now: proven by a restore, and how many rows each table in it has."""

    path: str
    bytes: int
    sha256: str
    rows: dict[str, int]
    proven: bool


@dataclass(slots=True)
class Ground:
    """What backups, restores and migrations of a connection act through."""

    connected: Connected
    place: Place
    session: Session
    work: Any


@sql.operation(risk=Risk.MEDIUM, effect=Effect.CHANGE, undo=put_back, timeout_s=LONG_S)
async def backup(ctx: Context, connection: Connection, path: WritePath, prove_on: Connection | None = None) -> Backup:
    """Back a whole database up into a file, encrypted; it is kept only if a restore of it shows every row.

    The restore goes into a database of its own on the same server, or on the one of `prove_on`, which is dropped again.
    Whoever makes a backup must be allowed to read every table in it.
    """
    async with grounded(ctx, connection, Effect.READ) as ground:
        head = await _headed(ctx, ground, connection)
        at = await ctx.thread(lambda: ctx.reach("files").at(path, effect=Effect.CHANGE, follow=False))
        with at:
            if at.exists and at.is_dir:
                raise InvalidInput(f"`{path}` is a folder", hint="name a file in it")
            async with _proving(ctx, ground, prove_on or connection) as prove_at:

                def work() -> tuple[int, str, Any]:
                    return _backed_up(ground, head, at, prove_at)

                async with ctx.changing(at.real):
                    size, digest, found = await stoppable(ctx, ground, work, path)
    rows = {name: int(one[0]) for name, one in found.items() if not name.startswith("(")}
    return Backup(path=path, bytes=size, sha256=digest, rows=rows, proven=True)


@backup.touches
def _(values: dict[str, Any], workspace: str) -> list[Resource]:
    found = [database_of(values["connection"], Effect.READ)]
    other = values.get("prove_on")
    return [*found, database_of(other, Effect.CHANGE)] if other else found


@backup.preview
async def _(ctx: Context, connection: Connection, path: WritePath, prove_on: Connection | None = None) -> Preview:
    async with grounded(ctx, connection, Effect.READ) as ground:
        head = await _headed(ctx, ground, connection)
    where = f"`{prove_on}`" if prove_on else "the same server"
    return Preview(
        summary=f"would back up {len(head.tables)} table(s) of `{head.database}` and prove it by a restore on {where}",
        changes=[path],
        exact=False,
    )


@asynccontextmanager
async def grounded(ctx: Context, name: str, effect: Effect, *, runs: bool = True) -> AsyncGenerator[Ground]:
    """Open a connection for a backup or a restore, and see that its programs are there if it `runs` any.

    Raises `Unavailable` with the cure.
    """
    from .engine.proving import Work

    connected = await ctx.secret.connection(name)
    if connected.type not in TYPES:
        raise InvalidInput(f"`{name}` is no database", hint=f"sql works with connections of {', '.join(TYPES)}")
    clients: Any = ctx.reach("clients") if runs else None
    user = await clients.ready(connected.type) if runs and connected.type != "sqlite" else None
    async with places(ctx, connected, LONG_S, effect) as place:
        session = await told(ctx, ctx.thread(open_at, connected, place))
        work = Work(connected.type, clients, user, lambda at: open_at(connected, at))
        ground = Ground(connected, place, session, work)
        try:
            yield ground
        finally:
            await ctx.thread(ground.session.close)


async def stoppable(ctx: Context, ground: Ground, work: Callable[[], T], about: str) -> T:
    """Do something in a thread; whoever is cancelled meanwhile ends its programs and the server's work as well.

    Raises `Conflict` for what was not proven, `InvalidInput` for what is no backup.
    """
    from .engine.archive import NoBackup
    from .engine.proving import NotProven

    async def done() -> T:
        try:
            with ctx.reach("files").errors_about(about):
                return await ctx.thread(work)
        except NotProven as bad:
            raise Conflict(
                f"it is not proven, and so it is not kept: {bad}",
                hint="the account must be allowed to make a database, or `prove_on` names a server where it is",
            ) from None
        except NoBackup as bad:
            raise InvalidInput(f"`{about}`: {bad}") from None

    task = asyncio.ensure_future(told(ctx, done()))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            with suppress(Exception, asyncio.CancelledError):
                ground.work.stop()
                await ctx.thread(ground.session.cancel)
            with suppress(asyncio.CancelledError):
                await asyncio.wait([task], timeout=1.0)
        with suppress(BaseException):
            task.result()
        raise


async def _headed(ctx: Context, ground: Ground, connection: str) -> Any:
    """Begin to read, and judge every table. Raises `Denied` for a backup that its maker could not read."""
    from .engine.archive import Head
    from .engine.sums import tables_of

    def look() -> Any:
        ground.session.begin(writes=False)
        return tables_of(ground.session, ground.place.database)

    tables = await told(ctx, ctx.thread(look))
    judge(ctx, connection, frozenset(tables))
    named = [[one.schema, one.name] for one in tables]
    database = ground.place.database or ground.connected.endpoint.rpartition("/")[2]
    return Head(ground.connected.type, connection, database, ctx.now, {}, named)


@asynccontextmanager
async def _proving(ctx: Context, ground: Ground, name: str) -> AsyncGenerator[tuple[Place, Any]]:
    """Give where a backup is proven, and what opens sessions there."""
    if name == ground.connected.name:
        yield ground.place, ground.work
        return
    from .engine.proving import Work

    other = await ctx.secret.connection(name)
    if other.type != ground.connected.type or other.type == "sqlite":
        raise Unavailable(f"`{name}` is no server of {ground.connected.type}", hint="name one of the same type")
    async with places(ctx, other, LONG_S, Effect.CHANGE) as place:
        yield place, Work(other.type, ground.work.clients, ground.work.user, lambda at: open_at(other, at))


def _backed_up(ground: Ground, head: Any, at: Any, prove_at: tuple[Place, Any]) -> tuple[int, str, Any]:
    from .engine.archive import write
    from .engine.placing import placed
    from .engine.proving import characters_of, dumped, prove

    place, proving = prove_at
    like = characters_of(ground.work, ground.place)
    with placed(at.dir_fd, at.name, at.stat, MOST_BYTES, 0o600) as file:
        with dumped(ground.work, ground.place, ground.session, elsewhere=proving is not ground.work) as (found, chunks):
            write(file.write, ground.work.clients, replace(head, sums=found), chunks)
        with file.reading() as again:
            prove(proving, again, place, like)
        return file.bytes, file.sha256, found
