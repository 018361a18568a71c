"""MariaDB by pymysql: no database is chosen, so that every name is whole; views are read to the ground."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Generator, Sequence
from contextlib import closing, contextmanager, suppress
from itertools import islice
from typing import Any

import pymysql
from pymysql.constants import CLIENT, CR, ER
from pymysql.converters import conversions
from pymysql.cursors import SSCursor

from .known import Known, written
from .mariadb_received import ROOM, Bounded
from .mariadb_shape import shape
from .names import Named, Refused, Statement, TooMuch
from .parsing import parsed
from .session import Failed, Found, Judge, Lost, Params, Place, Shape, bounded, quiet, unjudged

SYSTEM = ("mysql", "information_schema", "performance_schema", "sys")
_PAIR = re.compile(r"(?<![`.])`((?:[^`]|``)+)`\.`((?:[^`]|``)+)`(?![.`])")
_LOST = {
    CR.CR_SERVER_LOST,
    CR.CR_SERVER_GONE_ERROR,
    CR.CR_SERVER_LOST_EXTENDED,
    CR.CR_CONNECTION_ERROR,
    CR.CR_CONN_HOST_ERROR,
    CR.CR_SSL_CONNECTION_ERROR,
    1053,
    1077,
    1927,
}
_LATE = {ER.QUERY_INTERRUPTED, ER.LOCK_WAIT_TIMEOUT, 1969, 3024}
# the server would name the other table, of which the caller may not know
_DISCREET = {
    ER.ROW_IS_REFERENCED_2: "rows of another table refer to it by a foreign key",
    ER.NO_REFERENCED_ROW_2: "a foreign key of it refers to no row",
}
_MODE = "STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION,ERROR_FOR_DIVISION_BY_ZERO,NO_AUTO_VALUE_ON_ZERO"
_EXACT: dict[Any, Any] = {key: value for key, value in conversions.items() if not isinstance(key, int)}
_DEEPEST = 20


class MariaDB:
    """A session with MariaDB or MySQL."""

    dialect = "mysql"

    def __init__(self, place: Place, schema: str) -> None:
        self.schema = schema
        self.known = Known(self.dialect, schema)
        self._place = place
        self._room = ROOM
        self._connection = self._connected(place.timeout_s)
        self.at_rest = False
        self._late: float | None = None  # the time of another call, once the server has forgotten the session
        self._set(place.timeout_s)
        self._folds = bool(int(self.run("SELECT @@lower_case_table_names")[1][0][0]))

    def begin(self, *, writes: bool) -> None:
        """Begin; without `writes` the server holds the transaction to reading."""
        self.at_rest = False
        if self._late is not None:
            self._set(self._late)
            self._late = None
        level = "SERIALIZABLE" if writes else "REPEATABLE READ"  # every look of a change holds what it sees
        self.run(f"SET SESSION TRANSACTION ISOLATION LEVEL {level}")
        if writes:  # two looks at the same rows must find the same, whatever the clock says
            self.run("SET SESSION timestamp = @@timestamp")
        self.run("START TRANSACTION" if writes else "START TRANSACTION READ ONLY")

    def relations(self, statement: Statement, params: Params, judge: Judge = unjudged) -> frozenset[Named]:
        """Follow views down to tables, and see that the server's own reading of the statement names no others."""
        self._functions(statement)
        named = frozenset(self._folded(one) for one in statement.named)
        judge(named)
        found = self._beneath(set(named))
        judge(frozenset(found))  # before there is a plan: to make one, the server reads tables of one row
        self.run("EXPLAIN EXTENDED " + written(statement).text, params)
        schemas = {str(row[0]) for row in self.run("SELECT SCHEMA_NAME FROM information_schema.SCHEMATA")[1]}
        for _, _, note in self.run("SHOW WARNINGS")[1]:
            pairs = {(one.replace("``", "`"), two.replace("``", "`")) for one, two in _PAIR.findall(str(note))}
            found |= {self._folded(Named(one, two)) for one, two in pairs if one in schemas}
        for one in found:
            if one.schema.lower() in SYSTEM:
                raise Refused("the server's own tables are not read here", "`sql.schema` tells of tables and columns")
        return frozenset(found)

    def permit(self, statement: Statement, relations: frozenset[Named]) -> None:
        """Do nothing: what was judged is sent, and no database is chosen in which a name could mean another table."""

    def fetch(self, statement: Statement, params: Params, skip: int, rows: int, size: int) -> Found:
        """Take rows as the server sends them."""
        with closing(self.stream(statement, params)) as given:
            columns = next(given)
            for _ in islice(given, skip):
                pass
            self._room = 2 * size + 1024 * 1024
            return bounded(columns, given, rows, size)

    def stream(self, statement: Statement, params: Params) -> Generator[list[Any]]:
        """Take rows as the server sends them."""
        decoders = self._connection.decoders
        self._connection.decoders = {key: value for key, value in conversions.items() if isinstance(key, int)}
        self._connection.room = self._room = ROOM
        cursor = SSCursor(self._connection)
        try:
            with _told():
                cursor.execute(written(statement).text, dict(params))
                yield [one[0] for one in cursor.description or ()]
                while (row := self._next(cursor)) is not None:
                    yield list(row)
        finally:
            self._connection.abandon(cursor)
            self._connection.decoders = decoders

    def _next(self, cursor: SSCursor) -> Sequence[Any] | None:
        self._connection.room = self._room  # for each row: what was taken before is with whoever took it
        return cursor.fetchone()

    def explain(self, statement: Statement, params: Params) -> str:
        """Give the plan as the server writes it in JSON."""
        return str(self.run("EXPLAIN FORMAT=JSON " + written(statement).text, params)[1][0][0])

    def columns(self) -> list[tuple[Named, str, str]]:
        """Read the catalogue."""
        rows = self._listed(
            "SELECT TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME, COLUMN_TYPE FROM information_schema.COLUMNS"
            " WHERE TABLE_SCHEMA NOT IN (%s, %s, %s, %s) ORDER BY 1, 2, ORDINAL_POSITION",
            SYSTEM,
        )
        return [(self._folded(Named(row[0], row[1])), str(row[2]), str(row[3])) for row in rows]

    def locks(self) -> list[tuple[str, str, float]]:
        """Ask who blocks whom; needs the privilege PROCESS.

        InnoDB goes on showing what it last showed unless nobody looked for a tenth of a second (MariaDB manual,
        "Information Schema INNODB_TRX Table"): whoever asks again and again would see no change.
        """
        self.run("DO SLEEP(0.11)")
        rows = self._listed(
            "SELECT r.trx_mysql_thread_id, b.trx_mysql_thread_id,"
            " GREATEST(0, TIMESTAMPDIFF(SECOND, r.trx_wait_started, NOW()))"
            " FROM information_schema.INNODB_LOCK_WAITS w"
            " JOIN information_schema.INNODB_TRX r ON r.trx_id = w.requesting_trx_id"
            " JOIN information_schema.INNODB_TRX b ON b.trx_id = w.blocking_trx_id"
        )
        return [(str(row[0]), str(row[1]), float(row[2] or 0)) for row in rows]

    def shape(self, table: Named) -> Shape:
        """Read the catalogue."""
        return shape(self._listed, self._folded(table))

    def run(self, text: str, values: Params | Sequence[Any] = ()) -> tuple[int, list[list[Any]]]:
        """Run a statement and give its rows, each value as the server wrote it."""
        self._connection.room = ROOM
        with _told(), self._connection.cursor() as cursor:
            met = cursor.execute(text, values or {})  # an empty one as well: `%%` is read as `%`
            return met, [list(row) for row in cursor.fetchall()] if cursor.description else []

    def apply(self, text: str, params: Params) -> tuple[int, list[list[Any]]]:
        """Run a change."""
        return self.run(text, params)

    def settle(self) -> None:
        """Do nothing: InnoDB checks each row at once."""

    def commit(self) -> None:
        """Commit; a connection that breaks meanwhile leaves it open whether that happened."""
        self.run("COMMIT")

    def cancel(self) -> None:
        """Have the server stop the statement, by another connection."""
        with _told():
            other = self._connected(5.0)
            with suppress(pymysql.Error), other.cursor() as cursor:
                cursor.execute("KILL QUERY %s", (self._connection.thread_id(),))
            other._force_close()

    def reset(self) -> bool:
        """Have the server forget everything of the session; one that has rows left to send can only be closed."""
        try:
            with _told():
                self.at_rest = self._connection.reset()
        except (Failed, Lost, TooMuch):
            return False
        return self.at_rest

    def renew(self, timeout_s: float) -> bool:
        """Take the time of another call; a server that has something to say to nobody has ended the session."""
        self._late = timeout_s
        self._connection.patience(timeout_s + 30)
        return quiet(self._connection.fileno())

    def close(self) -> None:
        """End the connection at once: what the server has not sent yet is not waited for."""
        self._connection._force_close()

    @property
    def crossed(self) -> tuple[int, int]:
        """Give what the connection counted until its end."""
        return self._connection.crossed

    def _connected(self, timeout_s: float) -> Any:
        place = self._place
        trust = _trust(place) if place.tls else None
        with _told():
            made = Bounded(
                user=place.user or None, password=place.password, charset="utf8mb4", connect_timeout=10,
                read_timeout=timeout_s + 30, write_timeout=timeout_s + 30, ssl=trust, ssl_disabled=trust is None,
                client_flag=CLIENT.FOUND_ROWS, conv=_EXACT, local_infile=False, autocommit=True, defer_connect=True,
                host=place.host,  # the name that the certificate must bear; the address was vetted
            )  # fmt: skip
            made.connect(socket.create_connection((place.address, place.port), 10))
        return made

    def _set(self, timeout_s: float) -> None:
        self.run(
            "SET SESSION sql_mode = %s, time_zone = '+00:00', autocommit = 1, innodb_lock_wait_timeout = 10,"
            " max_statement_time = %s",
            (_MODE, max(0.05, timeout_s)),
        )

    def _folded(self, one: Named) -> Named:
        return Named(one.schema.lower(), one.name.lower()) if self._folds else one

    def _listed(self, text: str, values: Sequence[Any] = ()) -> list[list[Any]]:
        return self.run(text, values)[1]

    def _functions(self, statement: Statement) -> None:
        names = sorted(written(statement).calls | statement.functions) or [""]
        marks = ", ".join(["%s"] * len(names))
        own = self._listed(
            f"SELECT ROUTINE_NAME FROM information_schema.ROUTINES WHERE LOWER(ROUTINE_NAME) IN ({marks}) LIMIT 1",
            names,
        )
        bad = statement.unknown or {str(row[0]) for row in own}
        if bad:
            raise Refused(f"the function `{min(bad)}` does not run here", "what it reads and changes cannot be known")

    def _beneath(self, named: set[Named]) -> set[Named]:
        found: set[Named] = set()
        waiting = [(one, 0) for one in named]
        while waiting:
            one, depth = waiting.pop()
            if one in found:
                continue
            found.add(one)
            kind = self._listed(
                "SELECT TABLE_TYPE, ENGINE FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s",
                (one.schema, one.name),
            )
            if not kind:
                raise Refused(f"there is no table `{one.path}`", "`sql.schema` shows those that you may use")
            if str(kind[0][1]).upper() == "MRG_MYISAM":
                raise Refused(f"`{one.path}` is made of other tables", "name those")
            if "VIEW" in str(kind[0][0]):
                waiting += [(deeper, depth + 1) for deeper in self._defined(one, depth)]
        return found

    def _defined(self, view: Named, depth: int) -> frozenset[Named]:
        row = self._listed(
            "SELECT VIEW_DEFINITION FROM information_schema.VIEWS WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s",
            (view.schema, view.name),
        )
        if depth > _DEEPEST or not row or not row[0][0]:
            raise Refused(f"what the view `{view.path}` reads cannot be told", "ask for the right SHOW VIEW")
        inside = parsed(str(row[0][0]), self.dialect, view.schema)
        self._functions(inside)
        return frozenset(self._folded(one) for one in inside.reads)


def _trust(place: Place) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=None if place.ca else place.ca_file or None, cadata=place.ca or None)


@contextmanager
def _told() -> Generator[None]:
    try:
        yield
    except pymysql.Error as bad:
        code, *said = bad.args or (0,)
        message = str(said[0] if said else bad)[:500]
        message = _DISCREET.get(code, message)
        if code in _LATE:
            raise Failed(message, timely=False) from None
        if code in _LOST or isinstance(bad, pymysql.InterfaceError):
            raise Lost(message) from None
        raise Failed(message) from None
    except (OSError, ssl.SSLError) as bad:
        raise Lost(str(bad)[:300]) from None
