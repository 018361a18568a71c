"""Migrations of a database: planned by a rehearsal on a copy, applied as planned, and taken out again."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any, Literal

from pydantic import Field

from superagent.sdk import (
    Conflict,
    Connection,
    Context,
    Denied,
    Effect,
    Kept,
    Output,
    Preview,
    ReadPath,
    Resource,
    Risk,
)

from .backups import LONG_S, Ground, grounded, stoppable
from .engine.session import Session
from .folders import Script, scripts
from .line import database_of, judge, sql, told

Number = Annotated[str, Field(max_length=14, pattern=r"^\d*$", description="a version; all without one")]
MostBytes = Annotated[int, Field(ge=1024, le=1024**4, description="of a database that is copied for the rehearsal")]
Plain = Annotated[bool, Field(description="say outright that these rows may be lost")]
Way = Literal["up", "down"]
MOST = 1024**3
LOCK_S = 10.0


class Statement(Output):
    """One statement, how long the rehearsal took for it, and which tables it holds up, and for whom."""

    version: str
    text: str
    seconds: float
    holds: dict[str, str]


class Plan(Output):
    """What would be done, in order; `digest` is what `sql.migrate_apply` takes. `losses` says which rows would be lost.

    `locks` says how they were found out: `measured` in the rehearsal, or by what the database is `known` to do.
    """

    versions: list[str]
    statements: list[Statement]
    losses: list[str]
    locks: Literal["measured", "known"]
    digest: str


class Moved(Output):
    """The versions that were taken in, or out, in that order, and the one that the database has now."""

    versions: list[str]
    now: str


@sql.operation(risk=Risk.MEDIUM, effect=Effect.READ, timeout_s=LONG_S)
async def migrate_plan(
    ctx: Context, connection: Connection, folder: ReadPath, to: Number = "", max_bytes: MostBytes = MOST
) -> Plan:
    """Rehearse the migrations of a folder that a database lacks, on a copy of it that is dropped again.

    Files are `NNN_name.up.sql` and `NNN_name.down.sql`, or a folder of Alembic with `upgrade.sql` and `downgrade.sql`
    as Alembic rendered them. Shown is what each statement locks and how long it takes, and which rows would be lost.
    Whoever plans must be allowed to read every table, for all are copied and compared.
    """
    async with grounded(ctx, connection, Effect.READ) as ground:
        return (await _planned(ctx, ground, connection, folder, "up", to, max_bytes))[0]


@sql.operation(risk=Risk.HIGH, effect=Effect.CHANGE, compensate=True, timeout_s=LONG_S)
async def migrate_apply(
    ctx: Context,
    connection: Connection,
    folder: ReadPath,
    plan: Annotated[str, Field(max_length=64, description="the digest that `sql.migrate_plan` gave")],
    to: Number = "",
    allow_loss: Plain = False,
    max_bytes: MostBytes = MOST,
) -> Moved:
    """Rehearse migrations once more and apply them as planned, each in a transaction where the database has such.

    What loses rows in the rehearsal is refused unless `allow_loss` says it. After a crash the same call goes on where
    it ended. Undo takes out what was applied by the `.down.sql` files as they were, unless rows would be lost.
    """
    return await _moved(ctx, connection, folder, "up", to, plan, allow_loss, max_bytes)


@sql.operation(risk=Risk.HIGH, effect=Effect.CHANGE, compensate=True, timeout_s=LONG_S)
async def migrate_rollback(
    ctx: Context, connection: Connection, folder: ReadPath, to: Annotated[str, Field(pattern=r"^\d{1,14}$")],
    allow_loss: Plain = False, max_bytes: MostBytes = MOST,
) -> Moved:  # fmt: skip
    """Take out every version above `to` (0: all), newest first, by its `.down.sql`, after a rehearsal on a copy.

    What loses rows in the rehearsal is refused unless `allow_loss` says it.
    """
    return await _moved(ctx, connection, folder, "down", to, "", allow_loss, max_bytes)


def _touches(values: dict[str, Any], workspace: str) -> list[Resource]:
    effect = Effect.DESTROY if values.get("allow_loss") else Effect.CHANGE
    return [database_of(values["connection"], effect)]


migrate_apply.touches(_touches)
migrate_rollback.touches(_touches)


@migrate_plan.touches
def _(values: dict[str, Any], workspace: str) -> list[Resource]:
    return [database_of(values["connection"], Effect.READ)]


@migrate_apply.preview
async def _(ctx: Context, connection: Connection, folder: ReadPath, to: Number = "", **given: Any) -> Preview:
    return await _shown(ctx, connection, folder, "up", to, int(given.get("max_bytes", MOST)))


@migrate_rollback.preview
async def _(ctx: Context, connection: Connection, folder: ReadPath, to: str = "0", **given: Any) -> Preview:
    return await _shown(ctx, connection, folder, "down", to, int(given.get("max_bytes", MOST)))


@migrate_apply.undo
async def take_out(ctx: Context, kept: Kept) -> None:
    """Move versions back by the texts that were kept, in transactions that lose no rows. Raises `Conflict`."""
    data = kept.data
    async with grounded(ctx, str(data["connection"]), Effect.CHANGE, runs=False) as ground:
        if ground.connected.endpoint != data["endpoint"]:
            raise Conflict(f"`{data['connection']}` leads elsewhere since", hint="let it lead there again, then undo")
        if ground.connected.type == "mariadb":
            raise Conflict(
                "MariaDB cannot look for lost rows before it commits", hint="`sql.migrate_rollback` rehearses on a copy"
            )
        await told(ctx, ctx.thread(_taken_out, ground, data))


migrate_rollback.undo(take_out)


async def _shown(ctx: Context, connection: str, folder: str, way: Way, to: str, most: int) -> Preview:
    async with grounded(ctx, connection, Effect.READ) as ground:
        plan, _ = await _planned(ctx, ground, connection, folder, way, to, most)
    return Preview(
        summary=f"would take {'in' if way == 'up' else 'out'} {', '.join(plan.versions) or 'nothing'}"
        + (f"; rows would be lost: {'; '.join(plan.losses)}" if plan.losses else ""),
        changes=[one.text for one in plan.statements],
        conflicts=plan.losses,
        exact=False,
    )


async def _planned(
    ctx: Context, ground: Ground, connection: str, folder: str, way: Way, to: str, most: int
) -> tuple[Plan, bool]:
    """Rehearse, and judge all that is changed, dropped and read."""
    from .engine.rehearsing import Report, rehearse
    from .engine.sums import tables_of
    from .engine.versions import named_by, records

    written = await scripts(ctx, folder)
    schema = _schema(ground)

    def look() -> Any:
        ground.session.begin(writes=False)
        existing = {one for one, _, _ in ground.session.columns()}
        tables = tables_of(ground.session, ground.place.database)
        return tables, existing, records(ground.session, schema), _read(written, ground, schema)

    tables, existing, standing, versions = await told(ctx, ctx.thread(look))
    judge(ctx, connection, frozenset(tables))
    numbers, halfway = _wanted(versions, standing, way, to)
    steps = [step for one in versions if one.number in numbers for step in (one.up if way == "up" else one.down) or ()]
    judge(ctx, connection, named_by(steps), Effect.CHANGE)

    def work() -> Report | None:
        if halfway:  # a copy of what lies between two versions says nothing
            return None
        return rehearse(
            ground.work, ground.place, ground.session, lambda name: _read(written, ground, name), numbers, way, most
        )

    report: Report | None = await stoppable(ctx, ground, work, folder)
    if report is not None:
        judge(ctx, connection, frozenset(report.reads & existing))
    shown = [] if report is None else report.tried
    digest = hashlib.sha256(repr([(one.number, one.digest) for one in versions if one.number in numbers]).encode())
    plan = Plan(
        versions=numbers,
        statements=[
            Statement(version=one.version, text=one.text, seconds=one.seconds, holds=one.holds) for one in shown
        ],
        losses=[] if report is None else report.losses,
        locks="measured" if ground.connected.type == "postgresql" else "known",
        digest=digest.hexdigest(),
    )
    return plan, halfway


def _schema(ground: Ground) -> str:
    return ground.place.database if ground.connected.type == "mariadb" else str(ground.session.schema)


def _read(written: list[Script], ground: Ground, schema: str) -> Any:
    """Read the statements as they run in a schema. Raises `Refused`."""
    from .engine.ddl import steps
    from .engine.versions import Version

    dialect = ground.session.dialect
    return [
        Version(
            one.number, one.name, one.digest, tuple(steps(one.up, dialect, schema)),
            None if one.down is None else tuple(steps(one.down, dialect, schema)), one.book,
        )
        for one in written
    ]  # fmt: skip


def _wanted(versions: list[Any], standing: dict[str, Any], way: Way, to: str) -> tuple[list[str], bool]:
    """Give the versions to move, in order, and whether the first was left halfway.

    Raises `Conflict` where folder and database have drifted apart.
    """
    known = {one.number: one for one in versions}
    for number, record in standing.items():
        if number not in known:
            raise Conflict(
                f"the database has the version {number}, which the folder does not", hint="look for its files"
            )
        if known[number].digest != record.digest:
            raise Conflict(f"the files of {number} were changed after they were applied", hint="write a new version")
    halfway = next((one for one in standing.values() if one.state != "applied"), None)
    if halfway is not None:  # only MariaDB stops between two statements
        if halfway.state != way:
            raise Conflict(f"{halfway.number} was left halfway, on the way {halfway.state}", hint="call for that way")
        return [halfway.number], True
    if way == "up":
        return _ahead(versions, standing, int(to) if to else 10**15), False
    found = [number for number in sorted(standing, key=int, reverse=True) if int(number) > int(to)]
    lacking = [number for number in found if known[number].down is None]
    if lacking:
        raise Conflict(f"nobody wrote how {lacking[0]} is taken out", hint=f"write `{lacking[0]}_….down.sql`")
    return found, False


def _ahead(versions: list[Any], standing: dict[str, Any], last: int) -> list[str]:
    found = [one.number for one in versions if one.number not in standing and int(one.number) <= last]
    newest = max(map(int, standing), default=0)
    if found and int(found[0]) < newest:
        raise Conflict(f"{found[0]} comes before {newest}, which is in already", hint="give it a new number")
    return found


async def _moved(
    ctx: Context, connection: str, folder: str, way: Way, to: str, digest: str, allow_loss: bool, most: int
) -> Moved:
    async with grounded(ctx, connection, Effect.CHANGE) as ground:
        plan, _ = await _planned(ctx, ground, connection, folder, way, to, most)
        if way == "up" and digest != plan.digest:
            raise Conflict("this is not what was planned", hint="plan again, look, and give its `digest`")
        if plan.losses and not allow_loss:
            raise Conflict(f"rows would be lost: {'; '.join(plan.losses)}", hint="`allow_loss` says that they may be")
        written = await scripts(ctx, folder)
        known = {one.number: one for one in _read(written, ground, _schema(ground))}
        versions = [known[number] for number in plan.versions]
        if versions:
            await _keep(ctx, ground, connection, way, versions)
        done: list[str] = []
        try:
            now = await stoppable(ctx, ground, lambda: _move(ctx, ground, connection, versions, way, done), folder)
        except (Conflict, Denied):
            if not done and ground.connected.type != "mariadb":
                ctx.effects.clear()  # the one transaction was rolled back
            raise
    return Moved(versions=plan.versions, now=now)


async def _keep(ctx: Context, ground: Ground, connection: str, way: Way, versions: list[Any]) -> None:
    from .engine.versions import document

    await ctx.keep(
        database_of(connection, Effect.CHANGE),
        {
            "connection": connection, "endpoint": ground.connected.endpoint, "way": way,
            "versions": [document(one) for one in versions],
        },
    )  # fmt: skip


def _move(ctx: Context, ground: Ground, connection: str, versions: list[Any], way: Way, done: list[str]) -> str:
    """Move the versions one by one, each judged once more as it runs; gives the newest that is in."""
    from .engine.versions import Watch, alone, ensure, move, records

    class Judged(Watch):
        """Lets no statement read what the caller may not, whatever the copy was like."""

        def before(self, step: Any) -> None:
            if step.statement is not None:

                def may(found: frozenset[Any], step: Any = step) -> None:
                    judge(ctx, connection, found - step.changes)

                may(session.relations(step.statement, {}, may))

    schema = _schema(ground)
    session = _anew(ground)
    with alone(session, schema):
        ensure(session, schema)
        for one in versions:
            move(session, schema, one, way, Judged(), LOCK_S)
            done.append(one.number)
        found = [number for number, record in records(session, schema).items() if record.state == "applied"]
        return max(found, default="", key=int)


def _anew(ground: Ground) -> Session:
    """Give a session of its own: the one that looked holds what it looked at."""
    ground.session.close()
    ground.session = ground.work.open(ground.place)
    return ground.session


def _taken_out(ground: Ground, data: dict[str, Any]) -> None:
    from .engine.rehearsing import Lossless
    from .engine.versions import alone, move, read_back, records

    def refuse(losses: list[str]) -> None:
        raise Conflict(
            f"rows would be lost: {'; '.join(losses)}", hint="`sql.migrate_rollback` takes it out all the same"
        )

    schema, back = _schema(ground), "down" if data["way"] == "up" else "up"
    session = _anew(ground)
    with alone(session, schema):
        standing = records(session, schema)
        for kept in reversed(data["versions"]):
            one = read_back(kept, session.dialect, schema)
            if (one.number in standing) == (back == "down"):  # otherwise it did not come so far
                move(session, schema, one, back, Lossless(session, schema, refuse, one.book), LOCK_S)
