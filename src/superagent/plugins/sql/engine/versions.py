"""The versions of a database: a table that says which migrations are in it, and how one gets in, also after a crash.

PostgreSQL and SQLite take a whole version with its record in one transaction: after a crash it is in, or nothing of it
is. MariaDB commits with each statement that changes a table, so the record says which statement comes next and what the
tables looked like before it: whoever goes on looks whether it was done.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from .ddl import Step, steps
from .names import Named, Refused
from .parsing import quoted, text_of
from .session import Failed, Session
from .sums import objects

TABLE = "superagent_migrations"
Way = Literal["up", "down"]


class Watch:
    """Hears of each statement, within its transaction; what it raises ends the migration."""

    def before(self, step: Step) -> None:
        """Hear that a statement is about to run."""

    def after(self, step: Step) -> None:
        """Hear that it has run."""

    def end(self) -> None:
        """Hear that all have run, before that is committed."""


@dataclass(frozen=True, slots=True)
class Version:
    """One migration, read for one database: its statements both ways; `down` is None where nobody wrote it.

    `book` is the table in which the tool that wrote it keeps its versions, empty for none.
    """

    number: str
    name: str
    digest: str
    up: tuple[Step, ...]
    down: tuple[Step, ...] | None
    book: str = ""


@dataclass(frozen=True, slots=True)
class Record:
    """What the table says of a version: `applied`, or the way that is under way, with the statement that is next."""

    number: str
    digest: str
    state: str
    step: int
    before: str


def records(session: Session, schema: str) -> dict[str, Record]:
    """Give what the table says, nothing where there is none."""
    if TABLE not in {one[0].name for one in session.columns() if one[0].schema == schema}:
        return {}
    rows = session.run(f"SELECT version, digest, state, step, was FROM {_place(session, schema)} ORDER BY version")[1]
    found = [Record(str(one[0]), str(one[1]), str(one[2]), int(one[3]), str(one[4])) for one in rows]
    return {one.number: one for one in found}


def ensure(session: Session, schema: str) -> None:
    """Make the table where there is none."""
    session.run(
        f"CREATE TABLE IF NOT EXISTS {_place(session, schema)} (version varchar(20) NOT NULL PRIMARY KEY,"
        " name varchar(200) NOT NULL, digest varchar(64) NOT NULL, state varchar(10) NOT NULL, step int NOT NULL,"
        " was varchar(100) NOT NULL)"
    )


@contextmanager
def alone(session: Session, schema: str) -> Generator[None]:
    """Let nobody else migrate this database meanwhile. Raises `Refused`."""
    name = f"superagent:{schema}"
    if session.dialect == "postgres":
        key = int.from_bytes(hashlib.sha256(name.encode()).digest()[:7], "big")
        held = session.run("SELECT pg_catalog.pg_try_advisory_lock(%s::bigint)", (key,))[1][0][0]
    elif session.dialect == "mysql":
        held = str(session.run("SELECT GET_LOCK(%s, 0)", (name[:64],))[1][0][0]) == "1"
    else:
        held = True  # the file is locked as a whole, and a record can be made once
    if not held:
        raise Refused("somebody else migrates this database", "wait until that has ended")
    yield  # the lock ends with the session


def move(session: Session, schema: str, version: Version, way: Way, watch: Watch, lock_s: float) -> None:
    """Take a version in or out, from where it stands. Raises `Refused`, `Failed`."""
    moves = version.up if way == "up" else version.down
    if moves is None:
        raise Refused(f"nobody wrote how `{version.number}` is taken out", f"write `{version.number}_….down.sql`")
    if session.dialect == "mysql":
        _stepwise(session, schema, version, way, moves, watch)
        return
    begin(session, schema, lock_s)
    for step in moves:
        run(session, step, watch)
    if way == "up":
        _record(session, schema, version, "applied", len(moves), "")
    else:
        session.run(f"DELETE FROM {_place(session, schema)} WHERE version = {_mark(session)}", (version.number,))
    session.settle()
    watch.end()
    session.commit()


def begin(session: Session, schema: str, lock_s: float) -> None:
    """Begin a transaction in which names without a schema mean those of this one, and locks are not waited for long."""
    if session.dialect == "sqlite":
        session.run("BEGIN IMMEDIATE")
        return
    session.run("BEGIN ISOLATION LEVEL READ COMMITTED")
    session.run(f"SET LOCAL search_path = {quoted(schema, 'postgres').replace('%', '%%')}")
    session.run(f"SET LOCAL lock_timeout = {max(1, int(lock_s * 1000))}")


def run(session: Session, step: Step, watch: Watch) -> None:
    """Run one statement."""
    watch.before(step)
    if step.kind in ("insert", "update", "delete") and step.statement is not None:
        session.run(text_of(step.statement.tree, session.dialect))
    else:
        session.run(step.text if session.dialect == "sqlite" else step.text.replace("%", "%%"))
    watch.after(step)


def _stepwise(session: Session, schema: str, version: Version, way: Way, moves: Sequence[Step], watch: Watch) -> None:
    session.run(f"USE {quoted(schema, 'mysql').replace('%', '%%')}")
    at = _begun(session, schema, version, way, moves)
    for number in range(at, len(moves)):
        step = moves[number]
        if step.kind in ("insert", "update", "delete"):
            session.run("START TRANSACTION")
            run(session, step, watch)
            _progress(session, schema, version, number + 1, "")
            session.commit()
        else:
            _progress(session, schema, version, number, _state(session, schema))
            run(session, step, watch)
            _progress(session, schema, version, number + 1, "")
    if way == "up":
        session.run(
            f"UPDATE {_place(session, schema)} SET state = 'applied', was = '' WHERE version = %s", (version.number,)
        )
    else:
        session.run(f"DELETE FROM {_place(session, schema)} WHERE version = %s", (version.number,))


def _begun(session: Session, schema: str, version: Version, way: Way, moves: Sequence[Step]) -> int:
    """Give the statement to go on with, and note that the version is under way."""
    stands = records(session, schema).get(version.number)
    if stands is not None and stands.state == way:
        if stands.digest != version.digest:
            raise Refused(f"`{version.number}` was changed while it was under way", "put its files back as they were")
        done = stands.before and stands.before != _state(session, schema)
        return stands.step + 1 if done and stands.step < len(moves) else stands.step
    if way == "up":
        _record(session, schema, version, way, 0, "")
    else:
        session.run(
            f"UPDATE {_place(session, schema)} SET state = 'down', step = 0, was = '' WHERE version = %s",
            (version.number,),
        )
    return 0


def _record(session: Session, schema: str, version: Version, state: str, step: int, was: str) -> None:
    marks = ", ".join([_mark(session)] * 6)
    session.run(
        f"INSERT INTO {_place(session, schema)} (version, name, digest, state, step, was) VALUES ({marks})",
        (version.number, version.name, version.digest, state, step, was),
    )


def _progress(session: Session, schema: str, version: Version, step: int, was: str) -> None:
    met, _ = session.run(
        f"UPDATE {_place(session, schema)} SET step = %s, was = %s WHERE version = %s", (step, was, version.number)
    )
    if met != 1:
        raise Failed("somebody else took the record of this migration away")


def _state(session: Session, schema: str) -> str:
    return hashlib.sha256(json.dumps(objects(session, schema)).encode()).hexdigest()


def _place(session: Session, schema: str) -> str:
    names = [schema, TABLE]
    made = ".".join(quoted(one, session.dialect) for one in names)
    return made if session.dialect == "sqlite" else made.replace("%", "%%")


def _mark(session: Session) -> str:
    return "?" if session.dialect == "sqlite" else "%s"


def named_by(moves: Sequence[Step]) -> frozenset[Named]:
    """Give all tables that statements change or drop."""
    return frozenset(one for step in moves for one in (*step.changes, *step.gone))


def read_back(told: dict[str, Any], dialect: str, schema: str) -> Version:
    """Read what `document` gave. Raises `Refused`."""
    up, down = (
        None if told[way] is None else tuple(steps(";\n".join(told[way]), dialect, schema)) for way in ("up", "down")
    )
    book = str(told.get("book", ""))
    return Version(str(told["number"]), str(told["name"]), str(told["digest"]), up or (), down, book)


def document(version: Version) -> dict[str, Any]:
    """Give a version's texts as JSON."""
    return {
        "number": version.number,
        "name": version.name,
        "digest": version.digest,
        "book": version.book,
        "up": [step.text for step in version.up],
        "down": None if version.down is None else [step.text for step in version.down],
    }
