"""Indexes that a statement could use, from what it compares, joins and orders by; pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from sqlglot import exp

from .names import Named, Statement
from .parsing import quoted

MOST = 24
_WIDEST = 4
_RANGES = (exp.GT, exp.GTE, exp.LT, exp.LTE)


@dataclass(frozen=True, slots=True, order=True)
class Wanted:
    """An index over columns of a table, in this order."""

    table: Named
    columns: tuple[str, ...]

    def text(self, dialect: str) -> str:
        """Give what stands behind `CREATE INDEX name`."""
        columns = ", ".join(quoted(one, dialect) for one in self.columns)
        if dialect == "sqlite":  # an index lies where its table does
            return f"ON {quoted(self.table.name, dialect)} ({columns})"
        place = f"{quoted(self.table.schema, dialect)}.{quoted(self.table.name, dialect)}"
        return f"ON {place}{' USING btree' if dialect == 'postgres' else ''} ({columns})"


@dataclass(slots=True)
class _Uses:
    """How one table is used by one `SELECT`: compared with one value, with a range, ordered by."""

    equal: list[str] = field(default_factory=list[str])
    ranged: list[str] = field(default_factory=list[str])
    ordered: list[str] = field(default_factory=list[str])
    alone: list[str] = field(default_factory=list[str])  # one way of several: `a = 1 OR b = 2`


Columns = Mapping[Named, Sequence[str]]


def candidates(
    statement: Statement, columns: Columns, there: Mapping[Named, Sequence[tuple[str, ...]]]
) -> list[Wanted]:
    """Give the indexes to be tried, at most `MOST`; what is `there` already, or begins one that is, is left out."""
    found: dict[Wanted, None] = {}
    for scope in _scopes(statement.tree):
        for table, uses in _uses(scope, statement.dialect, columns).items():
            for names in _orders(uses):
                known = there.get(table, ())
                if names and not any(one[: len(names)] == names for one in known):
                    found.setdefault(Wanted(table, names))
    return list(found)[:MOST]


def _orders(uses: _Uses) -> Iterator[tuple[str, ...]]:
    equal, ranged, ordered = (tuple(dict.fromkeys(one)) for one in (uses.equal, uses.ranged, uses.ordered))
    for tail in ((), ordered, ranged[:1]):
        yield _whole(equal + tail)
    for one in (*equal, *ranged, *uses.alone):
        yield (one,)
    for one in equal:  # the most telling one first is for the server to find out
        yield _whole((one, *(other for other in equal if other != one)))
    yield _whole(ordered)


def _whole(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))[:_WIDEST]


def _scopes(tree: exp.Expr) -> Iterator[exp.Expr]:
    if isinstance(tree, exp.Update | exp.Delete):
        yield tree
    yield from tree.find_all(exp.Select)


def _uses(scope: exp.Expr, dialect: str, columns: Columns) -> dict[Named, _Uses]:
    sources = _sources(scope, dialect)
    found: dict[Named, _Uses] = {}

    def of(one: exp.Expr | None) -> tuple[_Uses, str] | None:
        while isinstance(one, exp.Paren):
            one = one.this
        if not isinstance(one, exp.Column) or not isinstance(one.this, exp.Identifier):
            return None
        name = _folded(one.this, dialect)
        qualifier = one.args.get("table")
        named = [sources.get(_folded(qualifier, dialect))] if qualifier is not None else list(sources.values())
        for table in named:
            own = None if table is None else _own(columns.get(table, ()), name, dialect)
            if table is not None and own is not None:
                return found.setdefault(table, _Uses()), own
        return None

    where = scope.args.get("where")
    conditions = [] if where is None else [where.this]
    conditions += [one.args["on"] for one in scope.args.get("joins") or () if one.args.get("on") is not None]
    for condition in conditions:
        for one in _parts(condition, exp.And):
            ways = list(_parts(one, exp.Or))
            for way in ways:
                for part in _parts(way, exp.And):
                    _compared(part, of, alone=len(ways) > 1)
    order = scope.args.get("order")
    for one in order.expressions if order is not None else ():
        if (place := of(one.this)) is not None:
            place[0].ordered.append(place[1])
    return found


def _compared(part: exp.Expr, of: Callable[[exp.Expr | None], tuple[_Uses, str] | None], *, alone: bool) -> None:
    equal = isinstance(part, exp.EQ | exp.NullSafeEQ | exp.In | exp.Is)
    ranged = isinstance(part, (*_RANGES, exp.Between)) or (
        isinstance(part, exp.Like) and isinstance(part.expression, exp.Literal | exp.Placeholder)
    )
    if not equal and not ranged:
        return
    for side in (part.this, part.args.get("expression")):
        if (place := of(side)) is not None:
            uses, name = place
            (uses.alone if alone else uses.equal if equal else uses.ranged).append(name)


def _parts(condition: exp.Expr, kind: type[exp.Expr]) -> Iterator[exp.Expr]:
    while isinstance(condition, exp.Paren):
        condition = condition.this
    if isinstance(condition, kind):
        yield from _parts(condition.this, kind)
        yield from _parts(condition.expression, kind)
    else:
        yield condition


def _sources(scope: exp.Expr, dialect: str) -> dict[str, Named]:
    """Give the tables that a scope itself names, by the names that its columns call them."""
    if isinstance(scope, exp.Select):
        places = [one.this for one in (scope.args.get("from_"), *(scope.args.get("joins") or ())) if one is not None]
    else:
        places = [scope.this]
    found: dict[str, Named] = {}
    for table in places:
        if not isinstance(table, exp.Table) or not isinstance(table.this, exp.Identifier) or not table.args.get("db"):
            continue  # a sub-query, a function, or what `WITH` names
        alias = table.args.get("alias")
        called = alias.this if alias is not None and alias.this is not None else table.this
        found[_folded(called, dialect)] = Named(str(table.args["db"].this), str(table.this.this))
    return found


def _own(names: Sequence[str], name: str, dialect: str) -> str | None:
    """Give a column's name as the table has it."""
    if dialect == "postgres":
        return name if name in names else None
    return next((one for one in names if one.lower() == name.lower()), None)


def _folded(one: exp.Expr, dialect: str) -> str:
    name = str(one.this)
    return name if dialect == "postgres" and one.args.get("quoted") else name.lower()
