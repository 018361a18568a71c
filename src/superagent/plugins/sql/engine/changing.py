"""Changes of rows with their images: what stood there, what stands there now, and the way back."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlglot import exp

from .names import Named, Refused, Statement
from .parsing import functions_of, quoted, text_of
from .session import Failed, Params, Row, Session, Shape
from .values import kept, restored

_PARTS = {
    "insert": {"this", "expression", "conflict"},
    "update": {"this", "expressions", "where"},
    "delete": {"this", "where"},
}
# two looks at the same rows must find the same
_UNSTEADY = frozenset({
    "rand", "random", "randomblob", "uuid", "gen_random_uuid", "clock_timestamp", "timeofday", "changes",
    "total_changes", "last_insert_rowid", "row_count", "found_rows", "connection_id", "sysdate",
})  # fmt: skip
_IMAGES = 16 * 1024 * 1024
May = Callable[[Named], bool]


class Otherwise(Exception):
    """Rows are not as they were left; nothing was put back."""


@dataclass(frozen=True, slots=True)
class Change:
    """Rows of one table before and after, over its stored columns; None where there was or is none."""

    table: Named
    columns: tuple[str, ...]
    key: tuple[str, ...]
    images: tuple[tuple[Row | None, Row | None], ...]

    def document(self) -> dict[str, Any]:
        """Give it as JSON."""
        return {
            "table": [self.table.schema, self.table.name],
            "columns": list(self.columns),
            "key": list(self.key),
            "images": [list(one) for one in self.images],
        }

    @classmethod
    def of(cls, told: dict[str, Any]) -> Change:
        """Read what `document` gave."""
        table = Named(*told["table"])
        return cls(table, tuple(told["columns"]), tuple(told["key"]), tuple((one[0], one[1]) for one in told["images"]))

    def diff(self, most: int = 200) -> str:
        """Show the rows as lines that go and lines that come."""
        lines = [f"--- {self.table.path}", f"+++ {self.table.path}"]
        for before, after in self.images[:most]:
            if before == after:
                continue
            lines += [f"{mark}{self._line(row)}" for mark, row in (("-", before), ("+", after)) if row is not None]
        if len(self.images) > most:
            lines.append(f" … and {len(self.images) - most} rows more")
        return "\n".join(lines) + "\n"

    def _line(self, row: Row) -> str:
        shown = {name: _shown(cell) for name, cell in zip(self.columns, row, strict=True)}
        return json.dumps(shown, ensure_ascii=False)


def examine(session: Session, statement: Statement) -> Shape:
    """See whether a change can be made so that it can be taken back exactly. Raises `Refused` with why not."""
    assert statement.target is not None
    more = {name for name, value in statement.tree.args.items() if value} - _PARTS[statement.kind]
    conflict = statement.tree.args.get("conflict")
    if conflict is not None and (conflict.args.get("duplicate") or str(conflict.args.get("action")) != "DO NOTHING"):
        more.add("on conflict update")
    if isinstance(statement.tree.this, exp.Table) and statement.tree.this.args.get("joins"):
        more.add("join")
    if more:
        raise _never(statement.target, f"`{min(more).rstrip('_')}` is more than one plain change")
    shape = session.shape(statement.target)
    if shape.against or not set(shape.key) <= set(shape.stored):
        raise _never(statement.target, shape.against or "its key is reckoned")
    where = statement.tree.args.get("where")
    if where is not None and functions_of(where) & _UNSTEADY:
        raise _never(statement.target, "which rows it means is left to chance")
    if statement.kind == "update":
        _examine_update(statement.target, {one.lower() for one in statement.columns}, shape)
    return shape


def change(session: Session, statement: Statement, params: Params, shape: Shape, most: int, may: May) -> Change:
    """Make a change in the open transaction and give the images of its rows. Raises `Refused`, `Failed`.

    Only tables that the caller `may` know of are named.
    """
    assert statement.target is not None
    text, table = text_of(statement.tree, session.dialect), statement.target
    if statement.kind == "insert":
        _, rows = session.apply(f"{text} RETURNING {_columns(session, shape)}", params)
        images = [(None, _kept(row)) for row in rows]
        _bounded(images, most)
        return Change(table, shape.stored, shape.key, tuple(images))
    before = _meant(session, statement, params, shape, most)
    _bounded(before, most)
    if statement.kind == "delete":
        for row in before:
            _require_childless(session, shape, row, may)
    _apply_to(session, f"{text}{_returning(session, shape)}", params, shape, before)
    after = [None if statement.kind == "delete" else present(session, table, shape, row) for row in before]
    return Change(table, shape.stored, shape.key, tuple(zip(before, after, strict=True)))


def _returning(session: Session, shape: Shape) -> str:
    if session.dialect == "mysql":  # which cannot, but whose clock stands still for the transaction
        return ""
    return " RETURNING " + ", ".join(_exactly(session, shape, name) for name in shape.key)


def _apply_to(session: Session, text: str, params: Params, shape: Shape, before: list[Row]) -> None:
    """Make a change, and see that it met the rows that were looked at: time has gone by since. Raises `Failed`."""
    met, rows = session.apply(text, params)
    places = [shape.stored.index(name) for name in shape.key]
    wanted = {json.dumps([row[at] for at in places]) for row in before}
    if met != len(before) or (rows and {json.dumps(_kept(row)) for row in rows} != wanted):
        raise Failed("other rows came to be meant meanwhile")


def put_back(session: Session, made: Change, may: May) -> int:
    """Take a change back row by row in the open transaction; gives how many rows. Raises `Otherwise`, `Failed`.

    Only tables that the caller `may` know of are named.
    """
    shape = session.shape(made.table)
    if shape.against or shape.stored != made.columns or shape.key != made.key:
        raise Otherwise("the table itself is not as it was")
    count = 0
    for before, after in reversed(made.images):
        row = after if after is not None else before
        assert row is not None
        stands = present(session, made.table, shape, row)
        if stands == before:
            continue
        if stands != after:
            raise Otherwise("somebody changed rows of it since")
        _move(session, made.table, shape, before, row, may)
        count += 1
    return count


def present(session: Session, table: Named, shape: Shape, row: Row) -> Row | None:
    """Give what stands at the key of a row, and hold it."""
    where, values = _at(session, shape, row)
    lock = "" if session.dialect == "sqlite" else " FOR UPDATE"
    text = f"SELECT {_columns(session, shape)} FROM {_table(session, table)} WHERE {where}{lock}"
    found = session.run(text, values)[1]
    return _kept(found[0]) if found else None


def _move(session: Session, table: Named, shape: Shape, to: Row | None, row: Row, may: May) -> None:
    where, key = _at(session, shape, row)
    place, names = _table(session, table), shape.stored
    if to is None:
        _require_childless(session, shape, row, may)
        session.run(f"DELETE FROM {place} WHERE {where}", key)
        return
    values = [restored(one) for one in to]
    marks = [_mark(session, shape, name) for name in names]
    if present(session, table, shape, row) is None:
        columns = ", ".join(_quoted(session, name) for name in names)
        over = " OVERRIDING SYSTEM VALUE" if session.dialect == "postgres" else ""
        session.run(f"INSERT INTO {place} ({columns}){over} VALUES ({', '.join(marks)})", values)
        return
    # the key stays as it is, and a column that the server numbers itself may not even be named
    kept_ = [at for at, name in enumerate(names) if name not in shape.key]
    sets = ", ".join(f"{_quoted(session, names[at])} = {marks[at]}" for at in kept_)
    session.run(f"UPDATE {place} SET {sets} WHERE {where}", [*(values[at] for at in kept_), *key])


def _meant(session: Session, statement: Statement, params: Params, shape: Shape, most: int) -> list[Row]:
    tree = statement.tree
    looking = exp.select(exp.Star()).from_(tree.this.copy())
    where = tree.args.get("where")
    if where is not None:
        looking = looking.where(where.this.copy())
    looking = looking.limit(most + 1)
    text = text_of(looking, session.dialect).removeprefix("SELECT *")
    lock = "" if session.dialect == "sqlite" else " FOR UPDATE"
    names = {str(one.this) for one in looking.find_all(exp.Placeholder)}
    used = {name: value for name, value in params.items() if name in names}
    return [_kept(row) for row in session.run(f"SELECT {_columns(session, shape)}{text}{lock}", used)[1]]


def _bounded(images: Sequence[Any], most: int) -> None:
    if len(images) > most:
        raise Refused(f"it means more than {most} rows", "narrow it, or let `max_rows` be more")
    if len(json.dumps(images)) > _IMAGES:
        raise Refused("what stood there is too much to be kept", "change fewer rows by one call")


def _require_childless(session: Session, shape: Shape, row: Row, may: May) -> None:
    """Go on only if no other row would be changed by the going of this one."""
    at = {name.lower(): place for place, name in enumerate(shape.stored)}
    for child in shape.children:
        parents = child.parents or shape.key
        if not child.on_delete or not all(name.lower() in at for name in parents):
            continue
        pairs = list(zip(child.columns, parents, strict=True))
        where = " AND ".join(f"{_quoted(session, own)} = {_mark(session, shape, theirs)}" for own, theirs in pairs)
        values = [restored(row[at[theirs.lower()]]) for _, theirs in pairs]
        text = f"SELECT 1 FROM {_table(session, child.table)} WHERE {where} LIMIT 1"
        if session.run(text, values)[1]:
            other = f"`{child.table.path}`" if may(child.table) else "another table"
            raise Refused(f"rows of {other} would change with it", "change those first, by calls of their own")


def _examine_update(table: Named, columns: set[str], shape: Shape) -> None:
    if columns & {one.lower() for one in shape.key}:
        raise _never(table, "it changes the key that names its rows")
    if any(child.on_update and columns & {one.lower() for one in child.parents} for child in shape.children):
        raise _never(table, "rows of other tables change with it")


def _never(table: Named, why: str) -> Refused:
    return Refused(f"a change of `{table.path}` could not be taken back exactly: {why}", "nothing was changed")


def _at(session: Session, shape: Shape, row: Row) -> tuple[str, list[Any]]:
    at = {name: place for place, name in enumerate(shape.stored)}
    where = " AND ".join(f"{_quoted(session, name)} = {_mark(session, shape, name)}" for name in shape.key)
    return where, [restored(row[at[name]]) for name in shape.key]


def _columns(session: Session, shape: Shape) -> str:
    return ", ".join(_exactly(session, shape, name) for name in shape.stored)


def _exactly(session: Session, shape: Shape, name: str) -> str:
    own = _quoted(session, name)
    if session.dialect == "postgres":
        return f"CAST({own} AS text)"
    return f"CAST({own} AS DOUBLE)" if shape.types.get(name) == "float" else own


def _mark(session: Session, shape: Shape, name: str) -> str:
    if session.dialect == "sqlite":
        return "?"
    if session.dialect == "postgres":
        kind = next((kind for own, kind in shape.types.items() if own.lower() == name.lower()), "text")
        return f"CAST(CAST(%s AS text) AS {kind.replace('%', '%%')})"
    return "%s"


def _table(session: Session, table: Named) -> str:
    return f"{_quoted(session, table.schema)}.{_quoted(session, table.name)}"


def _quoted(session: Session, name: str) -> str:
    own = quoted(name, session.dialect)
    return own if session.dialect == "sqlite" else own.replace("%", "%%")


def _kept(row: Sequence[Any]) -> Row:
    return [kept(one) for one in row]


def _shown(cell: Any) -> Any:
    if not isinstance(cell, dict):
        return cell
    value = restored(cell)
    return value.hex() if isinstance(value, bytes) else value
