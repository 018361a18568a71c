"""The plugin's own end of the line: its `Plugin`, the types of connections, and sessions that are judged."""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from functools import lru_cache
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import unquote, urlsplit

import msgspec
from pydantic import Field, field_validator

from superagent.sdk import (
    Conflict,
    Connected,
    Context,
    Deadline,
    Denied,
    Effect,
    Input,
    InvalidInput,
    NotFound,
    Plugin,
    Resource,
    TooLarge,
    Unavailable,
    Way,
    canonical_path,
)

from .engine.lacking import Lacking
from .engine.names import Named, Refused, Statement, TooMuch, folded
from .engine.session import Failed, Lost, Place, Session
from .pool import Held, Pool, Whose

T = TypeVar("T")
Params = dict[str, str | int | float | bool | None]
Sql = Annotated[str, Field(min_length=1, max_length=100_000)]
TIMEOUT_S = 60.0
LASTING_S = 5.0
TYPES = ("postgresql", "mariadb", "sqlite")

sql = Plugin("sql", reaches=("files", "net", "secret", "clients"))
_running: dict[tuple[str, str, str, str], list[Held]] = {}
_pool = Pool()
sql.lifespan(_pool.standing)


class ServerOptions(Input):
    """Who opens it, the schema that is meant where none is named, and TLS: off only within this machine.

    `ca` are authorities (PEM) of your own: then the server's certificate must come from one of them, and from no other.
    """

    user: Annotated[str, Field(max_length=128)] = ""
    default_schema: Annotated[str, Field(max_length=128)] = ""
    tls: Literal["verify", "off"] = "verify"
    ca: Annotated[str, Field(max_length=65_536)] = ""

    @field_validator("ca")
    @classmethod
    def _certificates(cls, given: str) -> str:
        if given:
            try:
                ssl.create_default_context(cadata=given)
            except (ssl.SSLError, ValueError):
                raise ValueError("this holds no certificates in PEM") from None
        return given


@asynccontextmanager
async def opened(
    ctx: Context, name: str, *, most_s: float = TIMEOUT_S, effect: Effect | None = None, kept: bool = False
) -> AsyncGenerator[Session]:
    """Open a session with the database behind a connection; its end is the end of the block.

    `effect` is what a file of SQLite is opened for, if not what the operation does. With `kept`, for what begins by
    reading and does no more, the connection may be one that rests, and rests again when all went well.
    """
    connected = await ctx.secret.connection(name)
    if connected.type not in TYPES:
        raise InvalidInput(f"`{name}` is no database", hint=f"sql works with connections of {', '.join(TYPES)}")
    async with towards(ctx, connected, most_s, effect) as (place, way):
        held = await _taken(ctx, connected, place, way, kept=kept)
        own = (ctx.tenant, ctx.principal.id, name, ctx.invocation.id)
        _running.setdefault(own, []).append(held)
        well = False
        try:
            yield held.session
            well = True
        finally:
            _running[own].remove(held)
            if not _running[own]:
                del _running[own]
            if well and held.whose and held.session.at_rest:
                _pool.give(held, well=True)
            else:
                await ctx.thread(lambda: _pool.give(held, well=well))
            _pool.sweep_later()


async def _taken(ctx: Context, connected: Connected, place: Place, way: Way | None, *, kept: bool) -> Held:
    """Take a session that rests for this, where it may be `kept`, or open one."""
    if way is None:
        return Held(await told(ctx, ctx.thread(open_at, connected, place)), None)
    whose = Whose.of(ctx.tenant, connected, place) if kept else None
    held = _pool.take(whose, place.timeout_s) if whose else None
    if held is not None and held.link is not None:
        way.again(held.link)
        return held
    link = await way.open()
    session = await told(ctx, ctx.thread(open_at, connected, replace(place, address=link.address)))
    # one with little time keeps its bounds for as long as it lives: nobody should inherit them
    link.keep()
    return Held(session, whose if place.timeout_s >= LASTING_S else None, link)


def running(ctx: Context, name: str, invocation: str) -> list[Held]:
    """Give the open sessions of a call that the same caller made, in this process."""
    return list(_running.get((ctx.tenant, ctx.principal.id, name, invocation), ()))


async def working(ctx: Context, session: Session, work: Callable[[], T]) -> T:
    """Do something with a session in a thread; whoever is cancelled meanwhile stops the server's work as well."""
    task = asyncio.ensure_future(ctx.thread(work))
    try:
        return await told(ctx, asyncio.shield(task))
    except asyncio.CancelledError:
        while not task.done():
            with suppress(Exception, asyncio.CancelledError):
                await ctx.thread(session.cancel)
            with suppress(asyncio.CancelledError):
                await asyncio.wait([task], timeout=1.0)
        with suppress(BaseException):
            task.result()
        raise


async def told(ctx: Context, work: Any) -> Any:
    """Let what a driver says be a problem."""
    try:
        return await work
    except TooMuch as much:
        raise TooLarge(much.message, hint=much.hint or None) from None
    except Refused as refused:
        raise Denied(refused.message, hint=refused.hint or None) from None
    except Lacking as lacking:
        raise Unavailable(lacking.message, hint=lacking.cure) from None
    except Failed as failed:
        if not failed.timely:
            raise Deadline(f"the database stopped it: {failed.message}") from None
        raise Conflict(f"the database refuses it: {failed.message}") from None
    except Lost as lost:
        raise Unavailable(f"the connection to the database was lost: {lost}", hint="look, then try again") from None


class Judging:
    """Judges the tables of one statement, each once: first those that it names, then all that it uses.

    A table that is not among those it names, and that the caller may not know of, is not told by its name.
    """

    def __init__(self, ctx: Context, name: str, named: frozenset[Named], effect: Effect = Effect.READ) -> None:
        self._ctx, self._name, self._named, self._effect = ctx, name, named, effect
        self._open: dict[Named, str] = {}

    def __call__(self, tables: Iterable[Named]) -> list[str]:
        """Go on only if each table may be used so, and give their ids. Raises `Denied`, `NotFound`."""
        for table in sorted(one for one in tables if one not in self._open):
            resource = resource_of(self._name, table, self._effect)
            try:
                self._ctx.require(resource)
            except NotFound:
                if folded(table.path) in {folded(one.path) for one in self._named}:
                    raise
                raise NotFound(
                    "it reads more than you may know of", hint="`sql.schema` shows what you may read"
                ) from None
            self._open[table] = resource.id
        return sorted(self._open[one] for one in tables)


def judge(ctx: Context, name: str, tables: frozenset[Named], effect: Effect = Effect.READ) -> list[str]:
    """Go on only if each of these tables, which the caller named, may be used so. Raises `Denied`, `NotFound`."""
    return Judging(ctx, name, tables, effect)(tables)


def judge_change(ctx: Context, name: str, statement: Statement, tables: frozenset[Named]) -> Named:
    """Go on only if a change may be made there and what it reads be read; gives its table as the server spells it.

    Raises `Denied`, `NotFound`.
    """
    target = statement.target
    assert target is not None
    # two tables may differ in case alone: the name itself comes first
    alike = sorted(one for one in tables if one == target or folded(one.path) == folded(target.path))
    spelled = target if target in alike or not alike else alike[0]
    judge(ctx, name, frozenset({spelled}), Effect.CHANGE)
    # which rows are met tells what stands in them: only what is put in unseen needs no leave to read
    Judging(ctx, name, statement.named)(tables - {spelled} if statement.kind == "insert" else tables)
    return spelled


def known(ctx: Context, name: str) -> Callable[[Named], bool]:
    """Give what tells whether the caller may read a table."""
    return lambda table: ctx.may(resource_of(name, table))


def resource_of(name: str, table: Named, effect: Effect = Effect.READ) -> Resource:
    """Name a table of a connection."""
    return Resource("sql", name.replace("/", "%2F"), table.path, effect)


def database_of(name: str, effect: Effect) -> Resource:
    """Name the database of a connection: what people approve when they approve a call on it."""
    return Resource("sql", name.replace("/", "%2F"), "", effect)


@asynccontextmanager
async def places(
    ctx: Context, connected: Connected, most_s: float = TIMEOUT_S, effect: Effect | None = None
) -> AsyncGenerator[Place]:
    """Let the driver of a connection connect within a block: gives where, and the password. Raises as `Way.open`."""
    async with towards(ctx, connected, most_s, effect) as (place, way):
        yield place if way is None else replace(place, address=(await way.open()).address)


@asynccontextmanager
async def towards(
    ctx: Context, connected: Connected, most_s: float = TIMEOUT_S, effect: Effect | None = None
) -> AsyncGenerator[tuple[Place, Way | None]]:
    """Judge where a connection leads; gives that without an address, the password, and the way; None to a file."""
    timeout_s = most_s if ctx.remaining_s is None else max(0.05, min(most_s, ctx.remaining_s))
    if connected.type == "sqlite":
        path = canonical_path(connected.endpoint.partition("://")[2], "")
        wanted = ctx.operation.effect if effect is None else effect
        at = await ctx.thread(lambda: ctx.reach("files").at(path, effect=wanted))
        with at:
            at.found()  # a file that is not there is not made
            yield Place(file=at.real, timeout_s=timeout_s), None
        return
    options = _options(msgspec.json.encode(connected.options))
    host, _, port = connected.host.rpartition(":")
    local = host == "localhost" or _loopback(host)
    if options.tls == "off" and not local:
        raise Denied(f"`{connected.name}` would speak in clear over a network", hint="set `tls` to `verify`")
    async with ctx.net.way(host, int(port)) as way:
        password = (await ctx.secret.resolve(connected.name)).reveal() if connected.secret else ""
        database = unquote(urlsplit(connected.endpoint).path.strip("/"))
        yield Place(
            host.strip("[]"), "", int(port), database, options.user, password,
            options.tls == "verify", way.ca_file, timeout_s=timeout_s, ca=options.ca,
        ), way  # fmt: skip


def open_at(connected: Connected, place: Place) -> Session:
    """Load the driver, which is an extra, and connect. Raises `Unavailable`, `Lost`, `Failed`."""
    try:
        if connected.type == "sqlite":
            from .engine.sqlite import Sqlite

            return Sqlite(place)
        schema = _options(msgspec.json.encode(connected.options)).default_schema
        if connected.type == "postgresql":
            from .engine.postgres import Postgres

            return Postgres(place, schema or "public")
        from .engine.mariadb import MariaDB

        return MariaDB(place, schema or place.database)
    except ImportError as missing:
        raise Unavailable(f"the library `{missing.name}` is not installed", hint="install the extra `sql`") from None


@lru_cache(maxsize=1024)
def _options(text: bytes) -> ServerOptions:
    return ServerOptions.model_validate_json(text)


@lru_cache(maxsize=1024)
def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
