"""SQLite by the standard library: its authorizer says, and holds, which tables a statement uses."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from itertools import islice
from typing import Any
from urllib.parse import quote

import sqlglot
from sqlglot.errors import SqlglotError

from .known import Known, written
from .names import Named, Refused, Statement, TooMuch, folded
from .parsing import quoted
from .session import Child, Failed, Found, Judge, Params, Place, Shape, bounded, require_room, unjudged
from .sqlite_limits import MOST, hold, longest

_NEVER = frozenset({"load_extension", "readfile", "writefile", "edit", "fts3_tokenizer", "sqlite_compileoption_get"})
_ALWAYS = frozenset({sqlite3.SQLITE_SELECT, sqlite3.SQLITE_RECURSIVE})
_WRITES = {
    sqlite3.SQLITE_INSERT: "insert", sqlite3.SQLITE_UPDATE: "update", sqlite3.SQLITE_DELETE: "delete",
}  # fmt: skip
_ACTING = frozenset({"CASCADE", "SET NULL", "SET DEFAULT"})
_STEPS = 100  # between two looks at the time: each may be a function on a long text


class Sqlite:
    """A session with a file."""

    dialect = "sqlite"
    crossed = 0, 0  # nothing leaves the machine

    def __init__(self, place: Place, data: bytes | None = None) -> None:
        """Open a file, or a copy of one that is held in memory."""
        self.schema = "main"
        self.known = Known(self.dialect, self.schema, 0)  # what a statement may take of memory is read from its tree
        self.at_rest = False
        self.steps = 0  # of the virtual machine, roughly
        self._end = time.monotonic() + place.timeout_s
        self._late = self._stopped = False
        self._seen: set[Named] | None = None  # gathers while a statement is looked at
        self._held: frozenset[str] = frozenset()  # in lower case, which is all one to SQLite
        self._target: Named | None = None
        self._ours = True  # a statement of this plugin's own
        self._long = MOST  # bytes of a value of the caller's statement
        with self._told():
            self._connection = _opened(place) if data is None else _in_memory(data)
            hold(self._connection)
            self._connection.text_factory = _text
            self._connection.execute("PRAGMA trusted_schema = OFF")
            self._connection.execute("PRAGMA foreign_keys = ON")
            self._connection.execute("PRAGMA recursive_triggers = ON")
        self._connection.set_authorizer(self._authorize)
        self._connection.set_progress_handler(self._tick, _STEPS)

    def begin(self, *, writes: bool) -> None:
        """Begin; without `writes` the library holds the connection to reading."""
        if not writes:
            self.run("PRAGMA query_only = ON")
        self.run("BEGIN IMMEDIATE" if writes else "BEGIN")

    def relations(self, statement: Statement, params: Params, judge: Judge = unjudged) -> frozenset[Named]:
        """Let the library compile the statement and hear which tables it would open."""
        # the authorizer is told a name as it was written; grants speak of it as it was made
        declared = {folded(str(row[0])): str(row[0]) for row in self.run("SELECT name FROM sqlite_schema")[1]}

        def spelled(some: Iterable[Named]) -> frozenset[Named]:
            return frozenset(Named(one.schema, declared.get(folded(one.name), one.name)) for one in some)

        judge(spelled(statement.named))
        self._seen, self._ours, self._target = set(), False, statement.target
        self._long = longest(statement, params)
        try:
            with self._told():
                self._connection.execute("EXPLAIN " + written(statement).text, params).fetchall()
            found = frozenset(self._seen)
        finally:
            self._seen, self._ours = None, True
        found = spelled(found)
        shadows = {str(row[0]) for row in self.run("SELECT name FROM pragma_table_list WHERE type = 'shadow'")[1]}
        for one in found:
            if one.name in shadows:
                raise Refused(f"`{one.name}` is not read here", "in it a virtual table keeps what it shows")
            if one.name.lower().startswith(("sqlite_", "pragma_", "dbstat", "json_")) or one.schema != "main":
                raise Refused(f"`{one.name}` is not read here", "`sql.schema` tells of tables and columns")
        return found

    def permit(self, statement: Statement, relations: frozenset[Named]) -> None:
        """Hold what comes to these tables, and its changes to the one that it names."""
        held = {folded(one.name) for one in relations}
        if statement.target is not None:
            # rows that change are shown as they stand, and for that the library looks who might refer to them
            held |= {folded(name) for name, _ in self._referring(statement.target)}
        self._held, self._target = frozenset(held), statement.target

    def fetch(self, statement: Statement, params: Params, skip: int, rows: int, size: int) -> Found:
        """Take rows as the library finds them."""
        with closing(self.stream(statement, params)) as given:
            columns = next(given)
            return bounded(columns, islice(given, skip, None), rows, size)

    def stream(self, statement: Statement, params: Params) -> Generator[list[Any]]:
        """Take rows as the library finds them."""
        self._ours = False
        try:
            with self._told(), self._small():
                cursor = self._connection.execute(written(statement).text, params)
                yield [one[0] for one in cursor.description or ()]
                yield from map(list, cursor)
        finally:
            self._ours = True

    def explain(self, statement: Statement, params: Params) -> str:
        """Give the plan, indented as it nests."""
        found = self.run("EXPLAIN QUERY PLAN " + written(statement).text, params)[1]
        depth = {0: -1}
        for id, parent, _, _ in found:
            depth[id] = depth.get(parent, -1) + 1
        return "\n".join("  " * depth[row[0]] + str(row[3]) for row in found)

    def columns(self) -> list[tuple[Named, str, str]]:
        """Read the schema of the file."""
        rows = self.run(
            "SELECT s.name, c.name, c.type FROM sqlite_schema s, pragma_table_xinfo(s.name) c"
            " WHERE s.type IN ('table', 'view') AND s.name NOT LIKE 'sqlite~_%' ESCAPE '~' ORDER BY s.name, c.cid"
        )[1]
        return [(Named("main", str(row[0])), str(row[1]), str(row[2])) for row in rows]

    def locks(self) -> list[tuple[str, str, float]]:
        """Say that nobody keeps a list: SQLite locks a file as a whole."""
        raise Refused("SQLite keeps no list of who waits", "one writes at a time, and others wait for the file")

    def shape(self, table: Named) -> Shape:
        """Read the schema of the file."""
        name = quoted(table.name, self.dialect)
        kind = self.run("SELECT type, sql FROM sqlite_schema WHERE name = ? COLLATE NOCASE", (table.name,))[1]
        columns = self.run(f"PRAGMA table_xinfo({name})")[1]
        key = tuple(row[1] for row in sorted((row for row in columns if row[5]), key=lambda row: row[5]))
        triggers = self.run(
            "SELECT 1 FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = ? COLLATE NOCASE", (table.name,)
        )[1]
        virtual = not kind or kind[0][0] != "table" or "create virtual" in str(kind[0][1]).lower()
        stored = tuple(row[1] for row in columns if row[6] == 0)
        if not virtual and (not key or self._nullable(table, columns)):
            if any(str(row[1]).lower() == "rowid" for row in columns):
                key = ()
            else:  # the number that SQLite itself gives each row
                key, stored = ("rowid",), ("rowid", *stored)
        against = (
            "it is no plain table" if virtual
            else "a row that comes in takes out those that it conflicts with" if _replaces(str(kind[0][1]))
            else "triggers change more than the statement says" if triggers
            else "it has no primary key" if not key
            else ""
        )  # fmt: skip
        return Shape(
            columns=tuple(row[1] for row in columns),
            stored=stored,
            key=key,
            children=self._children(table),
            against=against,
        )

    def run(self, text: str, values: Params | Sequence[Any] = ()) -> tuple[int, list[list[Any]]]:
        """Run a statement and give its rows."""
        with self._told():
            cursor = self._connection.execute(text, values)
            rows = list[list[Any]]()
            left = 4 * MOST
            for row in cursor:
                require_room(row, left)
                left -= sum(len(one) for one in row if isinstance(one, str | bytes))
                rows.append(list(row))
            return (len(rows) if cursor.rowcount < 0 else cursor.rowcount), rows

    def apply(self, text: str, params: Params) -> tuple[int, list[list[Any]]]:
        """Run a change under the authorizer."""
        self._ours = False
        try:
            with self._small():
                return self.run(text, params)
        finally:
            self._ours = True

    def settle(self) -> None:
        """Check what is put off until the commit."""
        if self.run("PRAGMA foreign_key_check")[1]:
            raise Failed("FOREIGN KEY constraint failed")

    def copied(self) -> bytes:
        """Give a copy of the file as it stands in this transaction, made by the backup API."""
        copy = sqlite3.connect(":memory:")
        try:
            with self._told():
                self._connection.backup(copy)
                data = copy.serialize()
            return data[:18] + b"\1\1" + data[20:]  # a copy has no log beside it, whatever the file has
        finally:
            copy.close()

    def commit(self) -> None:
        """Commit; nothing lies between this process and the file."""
        self.run("COMMIT")

    def cancel(self) -> None:
        """Stop the statement under way."""
        self._stopped = True
        self._connection.interrupt()

    def in_memory(self, most: int) -> Sqlite | None:
        """Give a session with a copy of the file in memory; None when it has more than so many bytes."""
        pages, size = self.run("PRAGMA page_count")[1][0][0], self.run("PRAGMA page_size")[1][0][0]
        if pages * size > most:
            return None
        return Sqlite(Place(timeout_s=max(0.05, self._end - time.monotonic())), self.copied())

    def reset(self) -> bool:
        """Say no: a file is opened anew by each call, under the name that was granted."""
        return False

    def renew(self, timeout_s: float) -> bool:
        """Say no."""
        return False

    def close(self) -> None:
        """Close the file."""
        with suppress(sqlite3.ProgrammingError):  # it is closed already
            self._connection.set_authorizer(None)
        self._connection.close()

    def _nullable(self, table: Named, columns: list[list[Any]]) -> bool:
        keys = [row for row in columns if row[5]]
        if len(keys) == 1 and str(keys[0][2]).upper() == "INTEGER":
            return False  # it is the row's own number
        listed = self.run("SELECT wr FROM pragma_table_list(?) WHERE schema = 'main'", (table.name,))[1]
        return not (listed and listed[0][0]) and any(not row[3] for row in keys)

    def _children(self, table: Named) -> tuple[Child, ...]:
        found: list[Child] = []
        for name, every in self._referring(table):
            keys: dict[int, list[list[Any]]] = {}
            for row in every:
                if {row[5], row[6]} & _ACTING:
                    keys.setdefault(row[0], []).append(row)
            for rows in keys.values():
                columns = tuple(row[3] for row in rows)
                parents = tuple(row[4] for row in rows if row[4] is not None)
                found.append(Child(Named("main", name), columns, parents, rows[0][6] in _ACTING, rows[0][5] in _ACTING))
        return tuple(found)

    def _referring(self, table: Named) -> Iterator[tuple[str, list[list[Any]]]]:
        """Give the tables whose foreign keys refer to it, each with the columns of these keys."""
        for (name,) in self.run("SELECT name FROM sqlite_schema WHERE type = 'table'")[1]:
            keys = self.run(f"PRAGMA foreign_key_list({quoted(name, self.dialect)})")[1]
            if found := [row for row in keys if folded(str(row[2])) == folded(table.name)]:
                yield str(name), found

    def _tick(self) -> int:
        self.steps += _STEPS
        self._late = self._late or time.monotonic() > self._end
        return 1 if self._late or self._stopped else 0

    def _authorize(self, action: int, one: str | None, two: str | None, db: str | None, by: str | None) -> int:
        if self._ours:
            return sqlite3.SQLITE_OK
        table = Named(db or "main", one or "")
        if action == sqlite3.SQLITE_READ:
            if self._seen is not None:
                self._seen.add(table)
                return sqlite3.SQLITE_OK
            return (
                sqlite3.SQLITE_OK
                if table.schema == "main" and folded(table.name) in self._held
                else sqlite3.SQLITE_DENY
            )
        if action in _WRITES:
            meant = self._target is not None and folded(table.name) == folded(self._target.name)
            if meant and self._seen is not None:
                self._seen.add(table)
            return sqlite3.SQLITE_OK if meant else sqlite3.SQLITE_DENY
        if action == sqlite3.SQLITE_FUNCTION:
            return sqlite3.SQLITE_DENY if (two or "").lower() in _NEVER else sqlite3.SQLITE_OK
        return sqlite3.SQLITE_OK if action in _ALWAYS else sqlite3.SQLITE_DENY

    @contextmanager
    def _small(self) -> Generator[None]:
        """Hold values to what the caller's statement may have."""
        self._connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, self._long)
        try:
            yield
        finally:
            self._connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MOST)

    @contextmanager
    def _told(self) -> Generator[None]:
        try:
            yield
        except sqlite3.OperationalError as bad:
            late = self._late or self._stopped or "locked" in str(bad)
            raise Failed(str(bad)[:500], timely=not late) from None
        except (sqlite3.Error, UnicodeEncodeError, OverflowError) as bad:
            if "too big" in str(bad):
                raise TooMuch(
                    f"a value or row takes more than {self._long} bytes", "take parts of it, or name fewer at once"
                ) from None
            if "prohibited" in str(bad) or "not authorized" in str(bad):
                raise Refused("this reaches beyond the rows of tables", "use those alone that it names") from None
            raise Failed(str(bad)[:500]) from None


def _opened(place: Place) -> sqlite3.Connection:
    before = os.stat(place.file)
    made = sqlite3.connect(
        f"file:{quote(place.file)}?mode=rw",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        timeout=min(10.0, place.timeout_s),
    )
    after = os.stat(place.file)
    if (before.st_dev, before.st_ino) != (after.st_dev, after.st_ino):
        made.close()
        raise Failed("the file was exchanged while it was opened")
    return made


def _in_memory(data: bytes) -> sqlite3.Connection:
    made = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    made.deserialize(data)
    return made


def _replaces(text: str) -> bool:
    try:
        words = [one.text.upper() for one in sqlglot.tokenize(text, dialect="sqlite")]
    except SqlglotError:
        return True
    return "ON CONFLICT REPLACE" in " ".join(words)


def _text(data: bytes) -> str | bytes:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data
