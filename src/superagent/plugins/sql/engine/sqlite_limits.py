"""What a statement may cost the library, which runs within the server: it has no limit of memory of its own.

No deadline is looked at within a function of SQL, so that what one may be given has to be small where its work grows
with the product of two texts.
"""

from __future__ import annotations

import sqlite3

from sqlglot import exp

from .names import Statement
from .session import Params

MOST = 16 * 1024 * 1024  # bytes of one value or row
_ALL = 64 * 1024 * 1024  # bytes of the values that a statement may hold at once
_LEAST = 64 * 1024
_SHORT = 100  # characters of a text that is sought in others
_SEEKING = frozenset({"instr", "replace", "trim", "ltrim", "rtrim"})
_LIMITS = {
    sqlite3.SQLITE_LIMIT_LENGTH: MOST,
    sqlite3.SQLITE_LIMIT_SQL_LENGTH: 1_000_000,
    sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH: 200,
    sqlite3.SQLITE_LIMIT_EXPR_DEPTH: 1000,
    sqlite3.SQLITE_LIMIT_COMPOUND_SELECT: 500,
    sqlite3.SQLITE_LIMIT_VDBE_OP: 1_000_000,
    sqlite3.SQLITE_LIMIT_ATTACHED: 0,
    sqlite3.SQLITE_LIMIT_WORKER_THREADS: 0,
}


def hold(connection: sqlite3.Connection) -> None:
    """Set what holds for every statement of a connection."""
    for limit, most in _LIMITS.items():
        connection.setlimit(limit, most)


def longest(statement: Statement, params: Params) -> int:
    """Give how many bytes each value may have while a statement runs: all together stay within 64 MiB."""
    values, stars, seeking = 1, 0, False
    for node in statement.tree.walk():
        if isinstance(node, exp.Star):
            stars += not isinstance(node.parent, exp.Count)
        elif isinstance(node, exp.Column | exp.Func | exp.Placeholder | exp.DPipe):
            values += 1
            seeking = seeking or _seeks(node, params)
    values *= 2 ** min(11, max(0, stars - 1))  # each star may double what the one beneath it gave
    return _LEAST if seeking else max(_LEAST, min(MOST, _ALL // values))


def _seeks(node: exp.Expr, params: Params) -> bool:
    """Tell whether it seeks one text within another and is not known to seek a short one."""
    if isinstance(node, exp.Anonymous):
        if node.name.lower() not in _SEEKING:
            return False
        sought = node.expressions[1:]
    elif isinstance(node, exp.StrPosition | exp.Trim | exp.Replace):
        sought = [one for name, one in node.args.items() if name != "this" and isinstance(one, exp.Expr)]
    else:
        return False
    return not all(_short(one, params) for one in sought)


def _short(node: exp.Expr, params: Params) -> bool:
    if isinstance(node, exp.Placeholder):
        return len(str(params.get(str(node.this), ""))) <= _SHORT
    return isinstance(node, exp.Literal) and len(str(node.this)) <= _SHORT
