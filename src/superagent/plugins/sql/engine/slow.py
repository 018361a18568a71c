"""What servers count about the statements that they ran."""

from __future__ import annotations

from dataclasses import dataclass, replace

from .lacking import Lacking
from .masking import NOWHERE, masked, read, settled, supposed
from .names import Named, Refused, Statement
from .session import Failed, Session

MOST = 500
"""How many kinds of statements are looked at, those first that took most."""

_EXTENSION = """SELECT n.nspname, e.extname FROM pg_catalog.pg_extension e
    JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'pg_stat_statements'"""
_COUNTED = """SELECT query, calls, total_exec_time, max_exec_time, rows FROM {}.pg_stat_statements
    WHERE dbid = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
    ORDER BY total_exec_time DESC LIMIT 500"""
_RUNNING = """SELECT query, 1, 1000 * extract(epoch FROM clock_timestamp() - query_start)
    FROM pg_catalog.pg_stat_activity WHERE datname = current_database() AND state = 'active'
    AND pid <> pg_catalog.pg_backend_pid() AND backend_type = 'client backend' ORDER BY 3 DESC LIMIT 500"""
_DIGESTS = """SELECT DIGEST_TEXT, COUNT_STAR, SUM_TIMER_WAIT / 1e9, MAX_TIMER_WAIT / 1e9, SUM_ROWS_SENT, SCHEMA_NAME
    FROM performance_schema.events_statements_summary_by_digest WHERE DIGEST_TEXT IS NOT NULL
    ORDER BY SUM_TIMER_WAIT DESC LIMIT 500"""
# a row for each run: the newest ones, and what they have in common is added up here
_FIRST = """SELECT MIN(FIRST_SEEN) FROM performance_schema.events_statements_summary_by_digest"""
_LOGGED = """SELECT CONVERT(sql_text USING utf8mb4), 1, TIME_TO_SEC(query_time) * 1e3 + MICROSECOND(query_time) / 1e3,
    TIME_TO_SEC(query_time) * 1e3 + MICROSECOND(query_time) / 1e3, rows_sent, db, start_time
    FROM mysql.slow_log ORDER BY start_time DESC LIMIT 5000"""
_ALIKE = """SELECT n.nspname, c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n
    ON n.oid = c.relnamespace WHERE c.relname = %s AND c.relkind IN ('r', 'v', 'm', 'p', 'f')
    AND n.nspname NOT LIKE 'pg\\_temp\\_%%'"""


@dataclass(frozen=True, slots=True)
class Heavy:
    """One kind of statement as the server counted it; times in milliseconds, None for what it does not count."""

    text: str
    calls: int
    total_ms: float
    longest_ms: float | None
    rows: int | None
    schema: str = ""  # the one that was chosen when it ran
    statement: Statement | None = None


@dataclass(frozen=True, slots=True)
class Counted:
    """Statements, those first that took most time altogether; `source` is where the server counts them."""

    source: str
    since: str | None
    statements: list[Heavy]


def counted(session: Session) -> Counted:
    """Ask the server, in a transaction that only reads. Raises `Lacking`."""
    if session.dialect == "postgres":
        return _postgres(session)
    if session.dialect == "mysql":
        return _mariadb(session)
    raise Lacking("SQLite counts nothing about statements", "time them where they are called")


def examined(session: Session, one: Heavy) -> tuple[Heavy, frozenset[Named]] | None:
    """Tell which tables a statement uses, views and all, and mask its text; None where that cannot be told for sure."""
    try:
        statement = read(one.text, session.dialect)
        named = {table: _meant(session, table, one.schema) for table in statement.named}
        if not named or not all(named.values()) or (session.dialect == "postgres" and "\\" in one.text):
            return None
        first = {table: min(found) for table, found in named.items()}
        settled(statement, first)
        whole = replace(
            statement,
            target=first.get(statement.target) if statement.target else None,
            reads=frozenset(first[table] for table in statement.reads),
        )
        session.run("SAVEPOINT look")
        try:
            found = session.relations(whole, supposed(whole))
        finally:
            session.run("ROLLBACK TO SAVEPOINT look")
        # a name without a schema may have meant any table of that name: all of them must be open to the caller
        every = found.union(*named.values())
        return replace(one, text=masked(whole), statement=whole), every
    except (Refused, Failed):
        return None


def _meant(session: Session, table: Named, chosen: str) -> frozenset[Named]:
    if table.schema != NOWHERE:
        return frozenset({table})
    if session.dialect == "mysql":
        return frozenset({Named(chosen, table.name)}) if chosen else frozenset()
    return frozenset(Named(str(row[0]), str(row[1])) for row in session.run(_ALIKE, (table.name,))[1])


def _postgres(session: Session) -> Counted:
    place = session.run(_EXTENSION)[1]
    if not place:
        found = [Heavy(str(row[0]), 1, float(row[2]), float(row[2]), None) for row in session.run(_RUNNING)[1]]
        return Counted("pg_stat_activity", None, found)
    schema = '"' + str(place[0][0]).replace('"', '""') + '"'
    session.run("SAVEPOINT counted")
    try:
        rows = session.run(_COUNTED.format(schema.replace("%", "%%")))[1]
    except Failed as bad:
        session.run("ROLLBACK TO SAVEPOINT counted")
        raise Lacking(
            f"pg_stat_statements does not answer: {bad.message}",
            "add it to `shared_preload_libraries` and start the server anew; `ALTER EXTENSION` brings an old one up",
        ) from None
    found = [Heavy(str(row[0]), int(row[1]), float(row[2]), float(row[3]), int(row[4])) for row in rows]
    return Counted("pg_stat_statements", _reset(session, schema.replace("%", "%%")), found)


def _reset(session: Session, schema: str) -> str | None:
    try:
        rows = session.run(f"SELECT stats_reset FROM {schema}.pg_stat_statements_info")[1]
    except Failed:  # before PostgreSQL 14
        session.run("ROLLBACK TO SAVEPOINT counted")
        return None
    return rows[0][0].isoformat() if rows and rows[0][0] else None


def _mariadb(session: Session) -> Counted:
    switched = session.run("SELECT @@performance_schema, @@slow_query_log, @@log_output, @@long_query_time")[1][0]
    if int(switched[0]):
        rows = session.run(_DIGESTS)[1]
        return Counted("performance_schema", _moment(session.run(_FIRST)[1]), [_heavy(row) for row in rows])
    if int(switched[1]) and "TABLE" in str(switched[2]).upper():
        rows = session.run(_LOGGED)[1]
        return Counted(
            "mysql.slow_log", _moment([rows[-1][-1:]] if rows else []), _alike([_heavy(row[:-1]) for row in rows])
        )
    raise Lacking(
        "the server counts nothing about statements",
        "start it with `performance_schema=ON`, or set `slow_query_log=1` and `log_output=TABLE`",
    )


def _moment(rows: list[list[object]]) -> str | None:
    """Give the first moment that is counted; the session speaks UTC."""
    told = rows[0][0] if rows else None
    return f"{str(told).replace(' ', 'T')}+00:00" if told else None


def _heavy(row: list[object]) -> Heavy:
    text, calls, total, longest, rows, schema = (str(one) if one is not None else "" for one in row)
    return Heavy(text, int(calls), float(total), float(longest), int(rows), schema)


def _alike(runs: list[Heavy]) -> list[Heavy]:
    """Add up runs that differ only in their values."""
    kinds: dict[tuple[str, str], Heavy] = {}
    for one in runs:
        try:
            kind = (one.schema, masked(read(one.text, "mysql")))
        except Refused:
            continue
        before = kinds.get(kind)
        kinds[kind] = one if before is None else replace(
            before,
            calls=before.calls + 1,
            total_ms=before.total_ms + one.total_ms,
            longest_ms=max(before.longest_ms or 0.0, one.longest_ms or 0.0),
            rows=(before.rows or 0) + (one.rows or 0),
        )  # fmt: skip
    return sorted(kinds.values(), key=lambda one: -one.total_ms)[:MOST]
