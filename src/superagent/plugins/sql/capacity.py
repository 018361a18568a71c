"""Operations that tell how large tables are, record that, and say where it leads."""

from __future__ import annotations

import datetime
import math
from typing import Annotated, Any

import msgspec
from pydantic import Field

from superagent.sdk import (
    Connection,
    Context,
    Effect,
    InvalidInput,
    NotFound,
    Output,
    ReadPath,
    ReadWritePath,
    Resource,
    Risk,
    TooLarge,
    put_back,
)

from .engine import growth
from .line import database_of, opened, resource_of, sql, working

DAY_S = 86_400.0
LARGEST = 2 * 1024 * 1024
METHOD = "a straight line by least squares over the recorded samples, with its 95 % prediction interval"


class Sample(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Sizes as they were at a time (epoch seconds): bytes by the id of a table; `endpoint` says of which database."""

    at: float
    endpoint: str
    tables: dict[str, int]


class Size(Output):
    """A table with its indexes; `bytes_per_day` is its growth, None where samples do not tell."""

    table: str
    bytes: int
    bytes_per_day: float | None


class Forecast(Output):
    """Where it leads, in bytes: the value at the end of the horizon, with the bounds within which it lies in 95 %.

    `full_on` is the day on which the line reaches `room_bytes`, None when none were given or it never does.
    """

    method: str
    samples: int
    bytes_per_day: float
    bytes: int
    at_least: int
    at_most: int
    full_on: str | None


class Capacity(Output):
    """The tables that you may read, the largest first, and a forecast; None where `unavailable` says why not.

    What is foretold is the sum of the tables that every sample names.
    """

    bytes: int
    tables: list[Size]
    forecast: Forecast | None
    unavailable: str


class Recorded(Output):
    """What was recorded: how many tables, and how many samples there are now."""

    tables: int
    samples: int


@sql.operation(risk=Risk.LOW, effect=Effect.READ)
async def capacity(
    ctx: Context,
    connection: Connection,
    samples: ReadPath | None = None,
    horizon_days: Annotated[float, Field(gt=0, le=3650)] = 30.0,
    room_bytes: Annotated[int, Field(ge=1)] | None = None,
) -> Capacity:
    """Tell how large the tables are that you may read, and where their growth leads by samples recorded before."""
    endpoint = (await ctx.secret.connection(connection)).endpoint
    now = await _sizes(ctx, connection)
    known = await _samples(ctx, samples) if samples else []
    mine = [one for one in known if one.endpoint == endpoint and one.at <= ctx.now]
    days = [one.at / DAY_S for one in mine]
    why = growth.against(days, horizon_days) if samples else "no file of samples was named"
    named = set(now).intersection(*(one.tables for one in mine)) if mine else set[str]()
    why = why or ("" if named else "no table is named by every sample")
    return Capacity(
        bytes=sum(now.values()),
        tables=[
            Size(
                table=table,
                bytes=size,
                bytes_per_day=None
                if why or table not in named
                else round(growth.fitted(days, [one.tables[table] for one in mine]).per_day, 3),
            )
            for table, size in sorted(now.items(), key=lambda one: (-one[1], one[0]))
        ],
        forecast=None
        if why
        else _forecast(
            growth.fitted(days, [sum(one.tables[table] for table in named) for one in mine]),
            ctx.now / DAY_S,
            horizon_days,
            room_bytes,
        ),
        unavailable=f"{why}; `sql.capacity_record` takes one each time, by a schedule for example" if why else "",
    )


@capacity.touches
def _(values: dict[str, Any], workspace: str) -> list[Resource]:
    return [database_of(values["connection"], Effect.READ)]


@sql.operation(risk=Risk.LOW, undo=put_back)
async def capacity_record(ctx: Context, connection: Connection, samples: ReadWritePath) -> Recorded:
    """Record how large the tables are now that you may read, as one line more in a file."""
    endpoint = (await ctx.secret.connection(connection)).endpoint
    now = await _sizes(ctx, connection)
    line = msgspec.json.encode(Sample(at=ctx.now, endpoint=endpoint, tables=now)) + b"\n"
    async with ctx.changing(samples):
        try:
            before = await _text(ctx, samples)
        except NotFound:
            before = b""
        known = _read(before)
        if len(before) + len(line) > LARGEST:
            raise TooLarge("the file of samples is full", hint="name another one, or take old lines out")
        await ctx.files.write(samples, before + line)
    return Recorded(tables=len(now), samples=len(known) + 1)


@capacity_record.touches
def _(values: dict[str, Any], workspace: str) -> list[Resource]:
    return [database_of(values["connection"], Effect.READ)]


async def _sizes(ctx: Context, connection: str) -> dict[str, int]:
    from .engine.sizes import sizes

    async with opened(ctx, connection) as session:

        def look() -> Any:
            session.begin(writes=False)
            return sizes(session)

        found = await working(ctx, session, look)
    resources = {resource_of(connection, table): size for table, size in found.items()}
    return {one.id: size for one, size in resources.items() if ctx.may(one)}


async def _text(ctx: Context, path: str) -> bytes:
    data = await ctx.files.read(path, max_bytes=LARGEST + 1)
    if len(data) > LARGEST:
        raise TooLarge(f"a file of samples has at most {LARGEST} bytes")
    return data


async def _samples(ctx: Context, path: str) -> list[Sample]:
    return _read(await _text(ctx, path))


def _read(data: bytes) -> list[Sample]:
    try:
        found = [msgspec.json.decode(one, type=Sample) for one in data.splitlines() if one.strip()]
    except msgspec.MsgspecError:
        raise InvalidInput("this is no file of samples", hint="`sql.capacity_record` makes one") from None
    if any(not math.isfinite(one.at) for one in found):
        raise InvalidInput("a sample has no time")
    return found


def _forecast(line: growth.Line, today: float, horizon: float, room: int | None) -> Forecast:
    value, low, high = line.at(today + horizon)
    full = None
    if room is not None and line.per_day > 0:
        day = line.mean_at + (room - line.mean) / line.per_day
        full = _day(max(day, today))
    return Forecast(
        method=METHOD,
        samples=line.count,
        bytes_per_day=round(line.per_day, 3),
        bytes=max(0, round(value)),
        at_least=max(0, round(low)),
        at_most=max(0, round(high)),
        full_on=full,
    )


def _day(day: float) -> str | None:
    try:
        return (datetime.date(1970, 1, 1) + datetime.timedelta(days=math.floor(day))).isoformat()
    except OverflowError:
        return None
