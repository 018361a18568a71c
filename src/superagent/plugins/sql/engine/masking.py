"""Texts of statements that others ran: read like a caller's own, and shown without any value."""

from __future__ import annotations

import re
from collections.abc import Iterator

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.tokenizer_core import TokenType

from .names import Named, Refused, Statement
from .parsing import parsed

NOWHERE = "?"
"""The schema of a table that a statement names without one: what it meant is not known any more."""

_VALUES = frozenset(one for one in TokenType if one.name.endswith("STRING") or one.name == "NUMBER")
_NUMBERED = re.compile(r"(?<![\w$])\$([0-9]{1,5})\b")
_CURSOR = re.compile(
    r'^\s*DECLARE\s+"?\w+"?\s+(?:[A-Z]+\s+){0,6}?CURSOR\s+(?:WITH(?:OUT)?\s+HOLD\s+)?FOR\s+', re.IGNORECASE
)
_DIGEST = re.compile(r"`(?:[^`]|``)*`|\(\s*\.\.\.\s*\)|\?")
_LONGEST = 4000


def read(text: str, dialect: str) -> Statement:
    """Read a statement that a server tells of, with a name for each value that it left out. Raises `Refused`."""
    text = _CURSOR.sub("", text)
    count = iter(range(1, 100_000))
    text = _NUMBERED.sub(r":p\1", text) if dialect == "postgres" else text
    text = _DIGEST.sub(lambda found: _left_out(found[0], count), text) if dialect == "mysql" else text
    return parsed(text, dialect, NOWHERE)


def supposed(statement: Statement) -> dict[str, str | int | float | bool | None]:
    """Give a value for each name, with which the server can plan the statement."""
    bounds = {
        str(one.this)
        for bound in statement.tree.find_all(exp.Limit, exp.Offset)
        for one in bound.find_all(exp.Placeholder)
    }
    return {name: 1 if name in bounds else None for name in statement.names}


def settled(statement: Statement, meant: dict[Named, Named]) -> None:
    """Spell out which table each one without a schema is."""
    for table in statement.tree.find_all(exp.Table):
        db = table.args.get("db")
        if db is not None and str(db.this) == NOWHERE and (found := meant.get(Named(NOWHERE, table.name))):
            table.set("db", exp.to_identifier(found.schema, quoted=True))


def masked(statement: Statement) -> str:
    """Write a statement without comments and with `?` for every value."""
    tree = statement.tree.copy()
    for one in list(tree.find_all(exp.Placeholder, exp.Literal)):
        one.replace(exp.Literal.number(0))  # drivers write a place for a value in ways of their own
    text = str(tree.sql(dialect=statement.dialect, comments=False))
    try:
        tokens = sqlglot.tokenize(text, dialect=statement.dialect)
    except SqlglotError:
        raise Refused("this cannot be shown without its values") from None
    shown, at = "", 0
    for token in tokens:  # of all kinds: the tree keeps some in other places, such as the path into a document
        if token.token_type in _VALUES:
            shown += text[at : token.start] + "?"
            at = token.end + 1
    shown += text[at:]
    return shown if len(shown) <= _LONGEST else shown[:_LONGEST] + " …"


def _left_out(found: str, count: Iterator[int]) -> str:
    if found.startswith("`"):
        return found
    return f"(:p{next(count)})" if found.startswith("(") else f":p{next(count)}"
