"""Databases of the plugin's own making on a server: made empty, dropped, put in another's place."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from .names import Refused
from .parsing import quoted
from .session import Place, Session

Open = Callable[[Place], Session]
"""Opens a session at a place."""

NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_CHARACTERS = "SELECT DEFAULT_CHARACTER_SET_NAME, DEFAULT_COLLATION_NAME FROM information_schema.SCHEMATA"
_PARTS = """SELECT pg_catalog.pg_encoding_to_char(encoding), datcollate, datctype FROM pg_catalog.pg_database
    WHERE datname = current_database()"""
_END = """SELECT count(pg_catalog.pg_terminate_backend(pid)) FROM pg_catalog.pg_stat_activity
    WHERE datname = %s AND pid <> pg_catalog.pg_backend_pid()"""


def fresh(why: str) -> str:
    """Give a name that no database has."""
    return f"superagent_{why}_{secrets.token_hex(8)}"


def exists(session: Session, name: str) -> bool:
    """Tell whether the server has a database of this name."""
    if session.dialect == "mysql":
        text = "SELECT 1 FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = %s"
    else:
        text = "SELECT 1 FROM pg_catalog.pg_database WHERE datname = %s"
    return bool(session.run(text, (name,))[1])


def create(session: Session, name: str, like: list[Any]) -> None:
    """Make an empty database, with the characters and the ordering that `characters` gave. Not within a transaction."""
    if not NAME.fullmatch(name):
        raise Refused("a database is named with small letters, digits and `_`, at most 63 of them")
    if session.dialect == "mysql":
        session.run(f"CREATE DATABASE {_quoted(session, name)} CHARACTER SET {like[0]} COLLATE {like[1]}")
        return
    encoding, collate, kinds = (str(one).replace("'", "''").replace("%", "%%") for one in like)
    session.run(
        f"CREATE DATABASE {_quoted(session, name)} TEMPLATE template0 ENCODING '{encoding}'"
        f" LC_COLLATE '{collate}' LC_CTYPE '{kinds}'"
    )


def characters(session: Session, database: str) -> list[Any]:
    """Give encoding and ordering of a database."""
    if session.dialect == "mysql":
        found = session.run(f"{_CHARACTERS} WHERE SCHEMA_NAME = %s", (database,))[1]
        return [re.sub(r"\W", "", str(one)) for one in found[0]]
    return session.run(_PARTS)[1][0]


def drop(session: Session, name: str) -> None:
    """Remove a database and end who is in it; nothing there is fine."""
    force = " WITH (FORCE)" if session.dialect == "postgres" else ""
    session.run(f"DROP DATABASE IF EXISTS {_quoted(session, name)}{force}")


def exchange(session: Session, made: str, current: str, aside: str) -> None:
    """Put a database of PostgreSQL in the place of another, which gets the name `aside`; both or neither.

    Whoever is in the other one is sent away. Not within a transaction: this begins one of its own.
    """
    session.run(_END, (current,))
    session.run("BEGIN")
    session.run(f"ALTER DATABASE {_quoted(session, current)} RENAME TO {_quoted(session, aside)}")
    session.run(f"ALTER DATABASE {_quoted(session, made)} RENAME TO {_quoted(session, current)}")
    session.commit()


def beside(place: Place) -> Place:
    """Give the place from which databases of a server of PostgreSQL are renamed."""
    return replace(place, database="template1" if place.database == "postgres" else "postgres")


def _quoted(session: Session, name: str) -> str:
    return quoted(name, session.dialect).replace("%", "%%")
