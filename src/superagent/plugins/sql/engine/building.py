"""Indexes built beside the work of others, measured, and withdrawn again."""

from __future__ import annotations

import hashlib

from .candidates import Wanted
from .measuring import Measured, measured
from .names import Named, Refused, Statement
from .parsing import quoted
from .session import Failed, Lost, Params, Session
from .trials import indexes

Read = tuple[Statement, Params, frozenset[Named]]
_SLOWER = 1.2
_PATIENCE_MS = 5_000
_TABLE = """SELECT c.relkind::text FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = %s AND c.relname = %s"""


def checked(session: Session, table: Named, columns: tuple[str, ...], call: str) -> str:
    """Name the index that is to be built. Raises `Refused` where it cannot be."""
    own = [name for one, name, _ in session.columns() if one == table]
    lacking = set(columns) - set(own)
    if lacking or len(set(columns)) < len(columns):
        raise Refused(f"`{table.path}` has no such columns", "`sql.schema` shows them")
    if session.dialect == "postgres" and session.run(_TABLE, (table.schema, table.name))[1][0][0] not in "rm":
        raise Refused(f"`{table.path}` is no plain table", "an index lies on a table itself")
    name = name_of(columns, call)
    for one in indexes(session, table):
        if one.plain and one.columns[: len(columns)] == columns:
            raise Refused(f"the index `{one.name}` is there already", "`sql.explain` tells whether it is used")
    return name


def name_of(columns: tuple[str, ...], call: str) -> str:
    """Give a name that no other call gives, so that whoever takes its own index away takes nobody else's."""
    digest = hashlib.sha256(f"{call} {columns!r}".encode()).hexdigest()[:12]
    plain = "_".join("".join(char if char.isalnum() and char.isascii() else "_" for char in one) for one in columns)
    return f"ix_{plain[:40]}_{digest}"


def timed(session: Session, reads: list[Read]) -> list[Measured]:
    """Run each of the reads in the open transaction."""
    found: list[Measured] = []
    for statement, params, relations in reads:
        session.permit(statement, relations)
        found.append(measured(session, statement, params))
    return found


def build(session: Session, table: Named, columns: tuple[str, ...], name: str, left_s: float) -> None:
    """Build it, and leave a transaction open in which it can be measured. Raises `Failed`."""
    text = Wanted(table, columns).text(session.dialect)
    if session.dialect == "postgres":
        session.run("ROLLBACK")  # it waits for every older transaction, and so must not be within one
        session.run(f"SET statement_timeout = {max(1, int(left_s * 1000))}")
        session.run(f"CREATE INDEX CONCURRENTLY {_quoted(session, name)} {text.replace('%', '%%')}")
        if not all(one.valid for one in indexes(session, table) if one.name == name):
            raise Failed("the index could not be completed")
        session.begin(writes=False)
    elif session.dialect == "mysql":
        session.run("ROLLBACK")
        online = "ALGORITHM=INPLACE LOCK=NONE"
        session.run(f"CREATE INDEX {_quoted(session, name)} {text.replace('%', '%%')} {online}")
        session.begin(writes=False)
    else:
        session.run(f"CREATE INDEX {_quoted(session, name)} {text}")


def against(name: str, before: list[Measured], after: list[Measured], least_gain: float) -> str:
    """Say why an index must not stand; empty when it helps."""
    first, then = before[0], after[0]
    if name not in then.plan.indexes:
        return "the statement does not use it"
    if then.work >= first.work and first.work:
        return f"the statement does more work with it: {then.work:g} {then.unit} instead of {first.work:g}"
    if then.p95_ms * least_gain > first.p95_ms:
        return f"it does not help enough: p95 {then.p95_ms:.3f} ms instead of {first.p95_ms:.3f} ms"
    for at, (was, now) in enumerate(zip(before[1:], after[1:], strict=True), 1):
        # by its work, which is the same every time; by the clock only where nothing was counted
        worse = now.work > was.work * _SLOWER if was.work else now.p95_ms > was.p95_ms * _SLOWER
        if worse and name in now.plan.indexes:
            return f"statement {at} beside it becomes slower: {now.work:g} {now.unit} instead of {was.work:g}"
    return ""


def keep(session: Session) -> None:
    """Let it stand."""
    session.commit()


def drop(session: Session, table: Named, name: str) -> None:
    """Take it away again, in the session that built it."""
    session.run("ROLLBACK")
    if session.dialect != "sqlite":  # there it is gone with the transaction
        _dropped(session, table, name)


def withdraw(session: Session, table: Named, name: str, columns: tuple[str, ...]) -> bool:
    """Drop an index that stands as it was left, or is gone already; False when another one has its name."""
    found = [one for one in indexes(session, table) if one.name == name]
    if not found:
        return True
    if found[0].columns != columns or found[0].unique or not found[0].plain:
        return False
    _dropped(session, table, name)
    return True


def clean(session: Session, table: Named, name: str, columns: tuple[str, ...]) -> bool:
    """Take away what a build that failed has left; False when that does not go now, such as while others hold it."""
    try:
        session.run("ROLLBACK")
        if session.dialect == "postgres":  # the call's own time may be up
            session.run(f"SET statement_timeout = {_PATIENCE_MS}")
        return session.dialect == "sqlite" or withdraw(session, table, name, columns)
    except (Failed, Lost):
        return session.dialect == "sqlite"  # its transaction ends with the session


def _dropped(session: Session, table: Named, name: str) -> None:
    place = f"{_quoted(session, table.schema)}.{_quoted(session, name)}"
    if session.dialect == "postgres":
        session.run(f"DROP INDEX CONCURRENTLY IF EXISTS {place}")
    elif session.dialect == "mysql":
        on = f"{_quoted(session, table.schema)}.{_quoted(session, table.name)}"
        session.run(f"ALTER TABLE {on} DROP INDEX {_quoted(session, name)}, ALGORITHM=INPLACE, LOCK=NONE")
    else:
        session.run(f"DROP INDEX {place}")


def _quoted(session: Session, name: str) -> str:
    own = quoted(name, session.dialect)
    return own if session.dialect == "sqlite" else own.replace("%", "%%")
