"""What a statement costs on the server that runs it: by its plan, by the work it does, by the clock."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

from .names import Statement
from .parsing import text_of
from .session import Params, Session
from .sqlite import Sqlite

RUNS, BUDGET_S = 20, 5.0
_ALL = 10_000_000


@dataclass(frozen=True, slots=True)
class Plan:
    """The planner's own estimate (None where it tells none), and the indexes that it would use."""

    cost: float | None
    indexes: frozenset[str]


@dataclass(frozen=True, slots=True)
class Measured:
    """Runs of a statement: times in milliseconds, and what the server counted as work of one run.

    That is blocks (PostgreSQL), rows handed up by the engine (MariaDB) or steps of the virtual machine (SQLite).
    """

    runs: int
    p50_ms: float
    p95_ms: float
    work: float
    unit: str
    plan: Plan


def planned(session: Session, statement: Statement, params: Params) -> Plan:
    """Ask how the server would run it, without running it."""
    text = text_of(statement.tree, session.dialect)
    if session.dialect == "postgres":
        found = _json(session.run("EXPLAIN (FORMAT JSON) " + text, params)[1])[0]["Plan"]
        return Plan(float(found["Total Cost"]), _named(found, "Index Name"))
    if session.dialect == "mysql":
        found = _json(session.run("EXPLAIN FORMAT=JSON " + text, params)[1])
        return Plan(None, _named(found, "key"))
    rows = session.run("EXPLAIN QUERY PLAN " + text, params)[1]
    used = {word for row in rows for word in _after_index(str(row[3]))}
    return Plan(None, frozenset(used))


def measured(session: Session, statement: Statement, params: Params, runs: int = RUNS) -> Measured:
    """Run a read again and again in the open transaction: at least once, and no more once some seconds are over."""
    text = text_of(statement.tree, session.dialect)
    plan = planned(session, statement, params)
    times: list[float] = []
    work = 0.0
    end = time.monotonic() + BUDGET_S
    while not times or (len(times) < runs and time.monotonic() < end):
        took, work = _once(session, statement, text, params)
        times.append(took)
    return Measured(len(times), _rank(times, 0.5), _rank(times, 0.95), work, unit_of(session.dialect), plan)


def unit_of(dialect: str) -> str:
    """Name what is counted as work."""
    return {"postgres": "blocks", "mysql": "rows read"}.get(dialect, "steps")


def _once(session: Session, statement: Statement, text: str, params: Params) -> tuple[float, float]:
    """Run it once, every row: milliseconds and work."""
    if session.dialect == "postgres":  # the server's own clock, without the rows on their way
        found = _json(session.run("EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) " + text, params)[1])[0]
        blocks = sum(
            value for key, value in found["Plan"].items() if key in ("Shared Hit Blocks", "Shared Read Blocks")
        )
        return float(found["Execution Time"]), float(blocks)
    idle = _handed(session)
    before = _handed(session)  # looking is work as well: as much as lies between two looks
    begun = time.perf_counter()
    session.fetch(statement, params, _ALL, 1, 1)
    took = (time.perf_counter() - begun) * 1e3
    return took, max(0.0, _handed(session) - before - (before - idle))


def _handed(session: Session) -> float:
    if isinstance(session, Sqlite):
        return float(session.steps)
    rows = session.run("SHOW SESSION STATUS LIKE 'Handler_read%%'")[1]
    return float(sum(int(str(row[1])) for row in rows))


def _rank(values: list[float], share: float) -> float:
    ranked = sorted(values)
    return ranked[max(0, math.ceil(share * len(ranked)) - 1)]


def _json(rows: list[list[Any]]) -> Any:
    found = rows[0][0]
    return json.loads(found) if isinstance(found, str) else found


def _named(plan: Any, key: str) -> frozenset[str]:
    return frozenset(_walk(plan, key))


def _walk(plan: Any, key: str) -> Iterator[str]:
    if isinstance(plan, list):
        for one in cast("list[Any]", plan):
            yield from _walk(one, key)
    elif isinstance(plan, dict):
        for name, one in cast("dict[str, Any]", plan).items():
            if name == key and isinstance(one, str):
                yield one
            yield from _walk(one, key)


def _after_index(line: str) -> Iterator[str]:
    """Read `SEARCH t USING COVERING INDEX name (a=?)`."""
    _, found, rest = line.partition(" INDEX ")
    if found:
        yield rest.partition(" (")[0]
