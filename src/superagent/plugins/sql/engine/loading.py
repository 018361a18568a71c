"""Rows of a file into a table: batches under savepoints, so that what the database refuses is known line by line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from .changing import Change
from .names import Named, Refused
from .parsing import quoted
from .session import Failed, Row, Session, Shape
from .tabular import Line, Unfit
from .values import kept

_CELLS = 8000  # in one statement: SQLite takes 32766 values, PostgreSQL 65535
_ROWS = 500
_IMAGES = 16 * 1024 * 1024
MOST_TOLD = 100
_INTEGER = re.compile(r"\s*[+-]?\d+\s*")
_NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*")


@dataclass(slots=True)
class Loaded:
    """What came of a file: the rows that now stand, and the lines that do not."""

    change: Change
    rejected: int = 0
    told: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])

    def reject(self, number: int, why: str) -> None:
        """Note a line; beyond the first hundred they are only counted."""
        self.rejected += 1
        if len(self.told) < MOST_TOLD:
            self.told.append((number, why[:300]))


def inserting(session: Session, table: Named, columns: tuple[str, ...]) -> str:
    """Give the text that puts a row into a table, with a named value for each cell, to be judged."""
    names = ", ".join(quoted(one, session.dialect) for one in columns)
    cells = ", ".join(f":c{at}" for at in range(len(columns)))
    place = f"{quoted(table.schema, session.dialect)}.{quoted(table.name, session.dialect)}"
    return f"INSERT INTO {place} ({names}) VALUES ({cells})"


def load(
    session: Session, table: Named, shape: Shape, columns: tuple[str, ...], lines: Iterable[Line], most: int
) -> Loaded:
    """Put the lines into the table within the open transaction. Raises `Refused` for more than `most` rows, `Unfit`."""
    if shape.against:
        raise Refused(f"rows of `{table.path}` could not be taken back exactly: {shape.against}", "nothing was changed")
    lacking = [one for one in columns if one.lower() not in {own.lower() for own in shape.columns}]
    if lacking:
        raise Unfit(f"`{table.path}` has no column `{lacking[0]}`")
    checks = _checks(session, table, columns)
    images: list[tuple[Row | None, Row | None]] = []
    loaded = Loaded(Change(table, shape.stored, shape.key, ()))
    size = 0
    for batch in _batches(_fitting(lines, columns, checks, loaded), max(1, min(_ROWS, _CELLS // len(columns)))):
        for row in _put(session, table, shape, columns, batch, loaded):
            size += len(json.dumps(row))
            images.append((None, row))
        if len(images) > most or size > _IMAGES:
            raise Refused(f"it has more than {most} rows, or more than can be kept", "split the file")
    loaded.change = Change(table, shape.stored, shape.key, tuple(images))
    return loaded


def _fitting(
    lines: Iterable[Line], columns: tuple[str, ...], checks: dict[str, tuple[re.Pattern[str], str]], loaded: Loaded
) -> Iterator[tuple[int, list[Any]]]:
    wanted = set(columns)
    for line in lines:
        fault = line.fault
        if not fault and line.values.keys() != wanted:
            fault = f"it has other columns than the first: {', '.join(sorted(wanted ^ line.values.keys()))[:200]}"
        for name, (pattern, what) in () if fault else checks.items():
            value = line.values[name]
            if value is not None and (isinstance(value, bytes) or not pattern.fullmatch(str(value))):
                fault = f"`{name}` is no {what}"
        if fault:
            loaded.reject(line.number, fault)
        else:
            yield line.number, [line.values[name] for name in columns]


def _put(
    session: Session, table: Named, shape: Shape, columns: tuple[str, ...], batch: list[tuple[int, list[Any]]],
    loaded: Loaded,
) -> list[Row]:  # fmt: skip
    """Put a batch in; where it is refused as a whole, each of its rows by itself."""
    try:
        return _kept(session, table, shape, columns, batch)
    except Failed as failed:
        if not failed.timely:
            raise
        if len(batch) == 1:
            loaded.reject(batch[0][0], failed.message)
            return []
    return [row for one in batch for row in _put(session, table, shape, columns, [one], loaded)]


def _kept(
    session: Session, table: Named, shape: Shape, columns: tuple[str, ...], batch: list[tuple[int, list[Any]]]
) -> list[Row]:
    session.run("SAVEPOINT superagent_row")
    try:
        rows = session.run(*_statement(session, table, shape, columns, [values for _, values in batch]))[1]
    except Failed:
        session.run("ROLLBACK TO SAVEPOINT superagent_row")
        raise
    session.run("RELEASE SAVEPOINT superagent_row")
    return [[kept(one) for one in row] for row in rows]


def _statement(
    session: Session, table: Named, shape: Shape, columns: tuple[str, ...], rows: list[list[Any]]
) -> tuple[str, list[Any]]:
    def named(name: str) -> str:
        own = quoted(name, session.dialect)
        return own if session.dialect == "sqlite" else own.replace("%", "%%")

    def exactly(name: str) -> str:
        if session.dialect == "postgres":
            return f"CAST({named(name)} AS text)"
        return f"CAST({named(name)} AS DOUBLE)" if shape.types.get(name) == "float" else named(name)

    mark = "?" if session.dialect == "sqlite" else "%s"
    one = f"({', '.join([mark] * len(columns))})"
    text = (
        f"INSERT INTO {named(table.schema)}.{named(table.name)} ({', '.join(map(named, columns))})"
        f" VALUES {', '.join([one] * len(rows))} RETURNING {', '.join(map(exactly, shape.stored))}"
    )
    return text, [_sent(cell, session.dialect) for row in rows for cell in row]


def _sent(cell: Any, dialect: str) -> Any:
    """Give a value so that the server itself reads it as the column's type: PostgreSQL takes a text of no type."""
    if dialect != "postgres" or cell is None or isinstance(cell, str | bytes):
        return cell
    return ("true" if cell else "false") if isinstance(cell, bool) else str(cell)


def _batches(rows: Iterator[tuple[int, list[Any]]], most: int) -> Iterator[list[tuple[int, list[Any]]]]:
    while batch := list(islice(rows, most)):
        yield batch


def _checks(session: Session, table: Named, columns: tuple[str, ...]) -> dict[str, tuple[re.Pattern[str], str]]:
    """Give what SQLite does not look at by itself: a column of a number takes any text there."""
    if session.dialect != "sqlite":
        return {}
    found: dict[str, tuple[re.Pattern[str], str]] = {}
    types = {name.lower(): kind.upper() for own, name, kind in session.columns() if own == table}
    for name in columns:
        kind = types.get(name.lower(), "")
        if "INT" in kind:
            found[name] = (_INTEGER, "whole number")
        elif any(part in kind for part in ("REAL", "FLOA", "DOUB", "NUM", "DEC")):
            found[name] = (_NUMBER, "number")
    return found
