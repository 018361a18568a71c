"""Candidates tried on the real planner: as hypothetical indexes, or on a copy; the database itself is left alone."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from .candidates import Wanted, candidates
from .lacking import Lacking
from .measuring import Measured, measured, planned
from .names import Named, Statement
from .parsing import quoted
from .session import Failed, Params, Session
from .sqlite import Sqlite
from .usage import Idle, idle, since, writes

LEAST_GAIN = 1.2
LARGEST = 256 * 1024 * 1024
_ROUNDS = 3
_HYPOPG = """SELECT n.nspname FROM pg_catalog.pg_extension e
    JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'hypopg'"""
_PG_INDEXES = """SELECT n.nspname, c.relname, i.relname,
    ARRAY(SELECT a.attname::text FROM unnest(x.indkey::int2[]) WITH ORDINALITY k(at, o)
      JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.at ORDER BY o),
    x.indpred IS NULL AND x.indexprs IS NULL AND m.amname = 'btree', x.indisunique, x.indisvalid
    FROM pg_catalog.pg_index x JOIN pg_catalog.pg_class c ON c.oid = x.indrelid
    JOIN pg_catalog.pg_class i ON i.oid = x.indexrelid JOIN pg_catalog.pg_am m ON m.oid = i.relam
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = %s AND c.relname = %s"""
_MARIADB_INDEXES = """SELECT TABLE_SCHEMA, TABLE_NAME, INDEX_NAME, COLUMN_NAME, SUB_PART, NON_UNIQUE, INDEX_TYPE
    FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s
    ORDER BY INDEX_NAME, SEQ_IN_INDEX"""


@dataclass(frozen=True, slots=True)
class Index:
    """An index that is there; `plain` when it is an ordered one over whole columns and all rows."""

    name: str
    columns: tuple[str, ...]
    plain: bool
    unique: bool
    valid: bool = True


@dataclass(frozen=True, slots=True)
class Tried:
    """A candidate that is worth it: the cost of the statement without and with it, and its size where known (bytes).

    `writes` are the rows of its table written since the server counts: each would have paid for it.
    """

    wanted: Wanted
    before: float
    after: float
    size: int | None
    writes: int | None = None


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of it: `unit` is what the costs are counted in."""

    unit: str
    cost: float
    now: Measured | None
    tried: list[Tried]
    idle: list[Idle] = field(default_factory=list[Idle])
    since: str | None = None


def tried(session: Session, statement: Statement, params: Params, relations: frozenset[Named]) -> Trial:
    """Try every candidate in the open transaction, which only reads, and give those that help. Raises `Lacking`."""
    columns: dict[Named, list[str]] = {}
    for table, name, _ in session.columns():
        columns.setdefault(table, []).append(name)
    there = {table: [one.columns for one in indexes(session, table) if one.plain] for table in statement.named}
    wanted = candidates(statement, columns, there)
    if session.dialect == "postgres":
        return _hypothetical(session, statement, params, wanted)
    if isinstance(session, Sqlite):
        return _copied(session, statement, params, relations, wanted)
    raise Lacking(
        "MariaDB cannot suppose that there is an index",
        "`sql.index_build` measures before and after, and withdraws an index that does not help",
    )


def indexes(session: Session, table: Named) -> list[Index]:
    """Give the indexes of a table."""
    if session.dialect == "postgres":
        rows = session.run(_PG_INDEXES, (table.schema, table.name))[1]
        return [Index(str(row[2]), tuple(row[3]), bool(row[4]), bool(row[5]), bool(row[6])) for row in rows]
    if session.dialect == "mysql":
        parts: dict[str, list[list[object]]] = {}
        for row in session.run(_MARIADB_INDEXES, (table.schema, table.name))[1]:
            parts.setdefault(str(row[2]), []).append(row)
        return [
            Index(
                name,
                tuple(str(row[3]) for row in rows),
                all(row[4] is None for row in rows) and str(rows[0][6]) == "BTREE",
                str(rows[0][5]) == "0",
            )
            for name, rows in parts.items()
        ]
    found: list[Index] = []
    for row in session.run(f"PRAGMA index_list({quoted(table.name, 'sqlite')})")[1]:
        parts_ = session.run(f"PRAGMA index_info({quoted(str(row[1]), 'sqlite')})")[1]
        columns = tuple(str(one[2]) for one in parts_)
        found.append(Index(str(row[1]), columns, not row[4] and all(one[1] >= 0 for one in parts_), bool(row[2])))
    return found


def _hypothetical(session: Session, statement: Statement, params: Params, wanted: list[Wanted]) -> Trial:
    place = session.run(_HYPOPG)[1]
    if not place:
        raise Lacking(
            "the extension hypopg, which lets the planner suppose an index, is not in this database",
            "install it (Debian: `postgresql-15-hypopg`), then `CREATE EXTENSION hypopg`",
        )
    own = quoted(str(place[0][0]), "postgres").replace("%", "%%")
    now = measured(session, statement, params) if statement.kind == "select" else None
    start = cost = planned(session, statement, params).cost or 0.0
    picked: list[Tried] = []
    for _ in range(_ROUNDS):
        best: Tried | None = None
        for one in wanted:
            made = _supposed(session, own, one)
            if made is None:
                continue
            plan = planned(session, statement, params)
            size = int(session.run(f"SELECT {own}.hypopg_relation_size(%s::oid)", (made[0],))[1][0][0])
            session.run(f"SELECT {own}.hypopg_drop_index(%s::oid)", (made[0],))
            if made[1] in plan.indexes and plan.cost is not None:
                best = _better(best, Tried(one, cost, plan.cost, size))
        if best is None or best.before < best.after * LEAST_GAIN:
            break
        picked.append(best)
        cost, wanted = best.after, [one for one in wanted if one.table != best.wanted.table]
        _supposed(session, own, best.wanted)
    session.run(f"SELECT {own}.hypopg_reset()")
    picked = [replace(one, writes=writes(session, one.wanted.table)) for one in picked]
    return Trial("planner cost", start, now, picked, idle(session, statement.named), since(session))


def _supposed(session: Session, own: str, one: Wanted) -> tuple[int, str] | None:
    session.run("SAVEPOINT supposing")
    try:
        rows = session.run(
            f"SELECT indexrelid, indexname FROM {own}.hypopg_create_index(CAST(%s AS text))",
            ("CREATE INDEX " + one.text("postgres"),),
        )[1]
    except Failed:  # a type without an order, such as JSON
        session.run("ROLLBACK TO SAVEPOINT supposing")
        return None
    return int(rows[0][0]), str(rows[0][1])


def _better(best: Tried | None, one: Tried) -> Tried:
    """Give the cheaper one; of two that are about as cheap, the one that costs writers less."""
    if best is None or one.after < best.after * 0.98:
        return one
    if one.after > best.after * 1.02:
        return best
    return min(best, one, key=lambda tried: (len(tried.wanted.columns), tried.size or 0, tried.after))


def _copied(
    session: Sqlite, statement: Statement, params: Params, relations: frozenset[Named], wanted: list[Wanted]
) -> Trial:
    """Try them on a copy in memory, with the steps of the virtual machine as the measure."""
    if statement.kind != "select":
        raise Lacking(
            "only a read can be measured without changing anything", "give the `SELECT` with the same `WHERE`"
        )
    copy = session.in_memory(LARGEST)
    if copy is None:
        raise Lacking(
            f"the file is larger than the {LARGEST >> 20} MiB that are copied to try indexes",
            "`sql.index_build` measures before and after, and withdraws an index that does not help",
        )
    try:
        copy.permit(statement, relations)
        now = measured(copy, statement, params)
        cost = now.work
        picked: list[Tried] = []
        for _ in range(_ROUNDS):
            best: Tried | None = None
            for at, one in enumerate(wanted):
                copy.run(f"CREATE INDEX {quoted(f'trial {at}', 'sqlite')} {one.text('sqlite')}")
                found = measured(copy, statement, params, 1)
                copy.run(f"DROP INDEX {quoted(f'trial {at}', 'sqlite')}")
                if f"trial {at}" in found.plan.indexes:
                    best = _better(best, Tried(one, cost, max(found.work, 1.0), None))
            if best is None or best.before < best.after * LEAST_GAIN:
                break
            picked.append(best)
            cost, wanted = best.after, [one for one in wanted if one.table != best.wanted.table]
            copy.run(f"CREATE INDEX {quoted(f'kept {len(picked)}', 'sqlite')} {best.wanted.text('sqlite')}")
        return Trial("steps", now.work, now, picked)
    finally:
        copy.close()
