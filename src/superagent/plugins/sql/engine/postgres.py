"""PostgreSQL by psycopg: the search path is pinned, and what a statement uses is asked of the server's catalogue."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, LiteralString, cast

import psycopg
from psycopg import errors, sql
from psycopg.pq import TransactionStatus

from .known import Known, written
from .names import Named, Refused, Statement, TooMuch
from .postgres_meant import SYSTEM, heirs, scanned, told_of, typed, used
from .postgres_piped import APART, Command, Pipe, Result
from .postgres_received import ROOM, Bounded
from .postgres_shape import shape
from .session import Failed, Found, Judge, Lost, Params, Place, Shape, bounded, quiet, unjudged

_NEVER = re.compile(
    r"^(pg_(?!typeof$)|has_|txid_|lo_|ts_stat|ts_rewrite|to_reg|current_setting|set_config|binary_upgrade|row_security"
    r"|inet_|obj_desc|col_desc|shobj_desc|format_type$|current_quer|version$|dblink|satisfies_hash|oidvectort|fmgr_"
    r"|reg(class|proc|oper|type|role|namespace)|acl|makeacl|currval$|brin_|gin_"
    r"|(any\w+|array|record|domain|range|multirange|enum)_(in|out|recv|send)$)|_to_xml|currtid"
)
_HARMLESS = frozenset({
    "random", "clock_timestamp", "timeofday", "gen_random_uuid", "statement_timestamp", "now", "generate_series",
})  # fmt: skip
_ALL = """SELECT n.nspname, c.relname, a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod)
    FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'v', 'm', 'p', 'f') AND a.attnum > 0 AND NOT a.attisdropped AND n.nspname <> ALL(%s)
    ORDER BY 1, 2, a.attnum"""
_LOCKS = """SELECT a.pid, b.pid, GREATEST(0, extract(epoch FROM clock_timestamp() - a.query_start))
    FROM pg_catalog.pg_stat_activity a CROSS JOIN LATERAL unnest(pg_catalog.pg_blocking_pids(a.pid)) b(pid)
    WHERE a.datname = current_database()"""
_PINNED = {
    "search_path": "pg_catalog", "timezone": "UTC", "datestyle": "ISO, YMD", "intervalstyle": "postgres",
    "bytea_output": "hex", "extra_float_digits": "1", "standard_conforming_strings": "on", "xmlbinary": "base64",
    "default_transaction_isolation": "read\\ committed", "client_encoding": "UTF8", "lc_monetary": "C",
}  # fmt: skip
_FIRST = 4  # rows


class Postgres:
    """A session with PostgreSQL."""

    dialect = "postgres"

    def __init__(self, place: Place, schema: str) -> None:
        self.schema = schema
        self.known = Known(self.dialect, schema)
        self._late: dict[str, str] = {}  # what the next transaction has in place of `pinned`
        self._begun: list[Command] = []  # what begins the transaction goes with its first command
        self._open = frozenset[Named]()  # what the statement under way may use
        self._fetched = False
        self._trust = _in_memory(place.ca) if place.tls and place.ca else None
        trusted = place.ca_file or "system" if self._trust is None else f"/proc/self/fd/{self._trust}"
        self._own = _times(place.timeout_s)
        pinned = _PINNED | {"datestyle": "ISO,YMD"} | self._own
        with self._failing(), _told():
            self._connection = Bounded.connect(
                host=place.host,
                hostaddr=place.address,
                port=place.port,
                dbname=place.database,
                user=place.user or None,
                password=place.password or None,
                sslmode="verify-full" if place.tls else "disable",
                sslrootcert=trusted if place.tls else None,
                gssencmode="disable",
                passfile="/dev/null/none",  # of what is there and no plain file, the driver warns
                connect_timeout=max(2, min(10, int(place.timeout_s))),
                application_name="superagent",
                options=" ".join(f"-c {name}={value}" for name, value in pinned.items()),
                keepalives_idle=30,
                keepalives_interval=10,
                keepalives_count=3,
                prepare_threshold=None,  # no statement outlives its call
                autocommit=True,
            )
            self._pipe = Pipe(self._connection)
            self._cursor = self._connection.cursor()  # one for all: making one takes as long as a short command
        self.at_rest = False

    def begin(self, *, writes: bool) -> None:
        """Begin; without `writes` the server holds the transaction to reading."""
        level = "REPEATABLE READ" if writes else "REPEATABLE READ READ ONLY"
        self._fetched = self.at_rest = False
        self._begun = [(f"BEGIN ISOLATION LEVEL {level}", None)]
        self._begun += [(f"SET LOCAL {name} = {value}", None) for name, value in self._late.items()]

    def relations(self, statement: Statement, params: Params, judge: Judge = unjudged) -> frozenset[Named]:
        """Ask for the relations of the plan and of all views beneath, and refuse functions that do more than reckon."""
        statement = written(statement)
        self._harmless({one for one in statement.calls if _NEVER.search(one)})
        judge(statement.named)
        meant = statement.named
        if statement.types:
            self._begin_now()
            told = told_of(*self._piped(typed(statement)))
            _require_uncalled(told["called"])
            meant |= told["relation"]
            # what is no type is judged like one: else the answer would tell which tables there are
            judge(meant | told["nothing"])
        # the plan first: from then on the transaction holds all that it uses as it is
        explain = "EXPLAIN (VERBOSE, COSTS OFF, FORMAT JSON) " + statement.text
        plan, answer = self._piped((explain, params), used(statement, meant))
        scans, whole = scanned(plan.value)
        named = meant | scans
        if not whole:  # parts left out for a value of this moment may be read in the next
            named |= told_of(*self._piped(heirs(named)))["relation"]
        told = told_of(answer)
        if not named <= told["relation"] | meant:  # heirs, and what functions of SQL came to
            told = told_of(*self._piped(used(statement, named)))
        self._harmless({one.schema for one in told["volatile"]} - _HARMLESS)
        found = told["relation"]
        if lacking := named - found:
            raise Refused(f"there is no table `{min(lacking).path}`", "`sql.schema` shows those that you may use")
        _require_uncalled(told["called"])
        for one in found:
            if one.schema in SYSTEM:
                raise Refused("the server's own tables are not read here", "`sql.schema` tells of tables and columns")
        return frozenset(found)

    def permit(self, statement: Statement, relations: frozenset[Named]) -> None:
        """Only remember: what was judged is sent, and names mean the same throughout the transaction."""
        self._open = relations

    def fetch(self, statement: Statement, params: Params, skip: int, rows: int, size: int) -> Found:
        """Take rows from a cursor of the server."""
        first = self._opened(statement, params, min(_FIRST, rows + 1), skip)
        return bounded(first.columns, self._taken(first, rows + 1), rows, size)

    def stream(self, statement: Statement, params: Params) -> Generator[list[Any]]:
        """Take rows from a cursor of the server, some hundreds at a time."""
        first = self._opened(statement, params, _FIRST)
        yield first.columns
        yield from map(list, self._taken(first, sys.maxsize))

    def explain(self, statement: Statement, params: Params) -> str:
        """Give the plan as the server writes it."""
        found = self._rows("EXPLAIN " + written(statement).text, params)
        return "\n".join(str(row[0]) for row in found)

    def columns(self) -> list[tuple[Named, str, str]]:
        """Read the catalogue."""
        return [(Named(row[0], row[1]), row[2], row[3]) for row in self._rows(_ALL, (list(SYSTEM),))]

    def locks(self) -> list[tuple[str, str, float]]:
        """Ask who blocks whom."""
        return [(str(row[0]), str(row[1]), float(row[2])) for row in self._rows(_LOCKS)]

    def shape(self, table: Named) -> Shape:
        """Read the catalogue."""
        return shape(self._rows, table)

    def run(self, text: str, values: Params | Sequence[Any] = ()) -> tuple[int, list[list[Any]]]:
        """Run a statement and give its rows."""
        self._begin_now()
        with _told():
            done = self._cursor.execute(_trusted(text), values)
            return done.rowcount, [list(row) for row in done.fetchall()] if done.description else []

    def apply(self, text: str, params: Params) -> tuple[int, list[list[Any]]]:
        """Run a change."""
        with self._discreet():
            return self.run(text, params)

    def settle(self) -> None:
        """Check deferred constraints."""
        with self._discreet():
            self._plain("SET CONSTRAINTS ALL IMMEDIATE")

    def commit(self) -> None:
        """Commit; a connection that breaks meanwhile leaves it open whether that happened."""
        self._plain("COMMIT")

    def cancel(self) -> None:
        """Ask the server to stop, by a connection of its own to the same address."""
        self._connection.cancel_safe(timeout=5.0)

    def reset(self) -> bool:
        """Roll back, and have the server forget everything of the session."""
        made, self._begun = self._connection, []
        try:
            idle = not made.closed and made.pgconn.transaction_status == TransactionStatus.IDLE
            self._piped(*(() if idle else (("ROLLBACK", None), APART)), ("DISCARD ALL", None))
        except (Failed, Lost, TooMuch):
            return False
        self.at_rest = not made.closed and made.pgconn.transaction_status == TransactionStatus.IDLE
        return self.at_rest

    def renew(self, timeout_s: float) -> bool:
        """Take the times of another call; a server that has something to say to nobody has ended the session."""
        late = _times(timeout_s)
        self._late = {} if late == self._own else late
        return not self._connection.closed and quiet(self._connection.fileno())

    def close(self) -> None:
        """End the connection."""
        self._connection.close()
        self._distrust()

    @property
    def crossed(self) -> tuple[int, int]:
        """Give what the connection counted until its end."""
        return self._connection.crossed

    @contextmanager
    def _discreet(self) -> Generator[None]:
        """Keep to itself which other tables refer to a row: the caller may not know of them."""
        try:
            yield
        except Failed as failed:
            if failed.about is None or failed.about in self._open:
                raise
            raise Failed("rows of another table refer to it by a foreign key") from None

    @contextmanager
    def _failing(self) -> Generator[None]:
        try:
            yield
        except BaseException:
            self._distrust()
            raise

    def _distrust(self) -> None:
        # not before the end: who stops a statement connects once more
        if self._trust is not None:
            os.close(self._trust)
            self._trust = None

    def _opened(self, statement: Statement, params: Params, count: int, skip: int = 0) -> Result:
        """Open a cursor in place of any other, and give its first rows."""
        commands: list[Command] = [("CLOSE ALL", None)] if self._fetched else []
        self._fetched = True
        commands.append(("DECLARE rows NO SCROLL CURSOR FOR " + written(statement).text, params))
        if skip:
            commands.append((f"MOVE FORWARD {int(skip)} IN rows", None))
        self._connection.mark()
        return self._piped(*commands, _next(count))[-1]

    def _taken(self, first: Result, most: int) -> Iterator[Any]:
        """Take few rows first, and then as many at once as fit by what those took."""
        count, rows = min(_FIRST, most), first.rows
        while True:
            yield from rows
            most -= len(rows)
            if len(rows) < count or most <= 0:
                return
            count = min(most, max(1, min(500, ROOM // 4 // (1 + self._connection.came // len(rows)))))
            self._connection.mark()
            rows = self._piped(_next(count))[0].rows

    def _harmless(self, bad: set[str]) -> None:
        if bad:
            raise Refused(f"the function `{min(bad)}` does not run here", "it does more than reckon with its arguments")

    def _rows(self, text: str, values: Params | Sequence[Any] = ()) -> list[list[Any]]:
        return self.run(text, values)[1]

    def _plain(self, text: str) -> None:
        self._piped((text, None))

    def _begin_now(self) -> None:
        if self._begun:
            self._piped()

    def _piped(self, *commands: Command) -> list[Result]:
        """Send commands together, the begin of the transaction before them if that was not sent yet."""
        first = len(self._begun)
        with _told():
            ready = self._pipe.ready([*self._begun, *commands])
            self._begun = []
            return self._pipe.run(ready)[first:]


def _require_uncalled(called: set[Named]) -> None:
    if called:
        name = min(called).schema
        raise Refused(f"a view or type in it calls the function `{name}`", "what that reads cannot be known")


def _in_memory(text: str) -> int:
    """Give a descriptor of a file in memory: the driver takes authorities from files only."""
    made = os.memfd_create("authorities", os.MFD_CLOEXEC)
    os.write(made, text.encode())
    return made


def _times(timeout_s: float) -> dict[str, str]:
    ms = max(1, int(timeout_s * 1000))
    return {
        "statement_timeout": str(ms), "lock_timeout": str(ms), "idle_in_transaction_session_timeout": str(ms + 60_000),
    }  # fmt: skip


def _next(count: int) -> Command:
    return f"FETCH FORWARD {count} FROM rows", None


def _trusted(text: str) -> sql.SQL:
    return sql.SQL(cast("LiteralString", text))  # made by this plugin from what it parsed


@contextmanager
def _told() -> Generator[None]:
    try:
        yield
    except (errors.QueryCanceled, errors.LockNotAvailable) as late:
        raise Failed(_said(late), timely=False) from None
    except (errors.AdminShutdown, errors.CrashShutdown, errors.IdleInTransactionSessionTimeout) as lost:
        raise Lost(_said(lost)) from None
    except psycopg.OperationalError as bad:
        if bad.sqlstate is None or bad.sqlstate.startswith(("08", "57P")):
            raise Lost(_said(bad)) from None
        raise Failed(_said(bad)) from None
    except errors.ForeignKeyViolation as bad:
        raise Failed(_said(bad), about=Named(bad.diag.schema_name or "", bad.diag.table_name or "")) from None
    except psycopg.Error as bad:
        raise Failed(_said(bad)) from None


def _said(bad: psycopg.Error) -> str:
    return (bad.diag.message_primary or str(bad).split("\n", 1)[0])[:500]
