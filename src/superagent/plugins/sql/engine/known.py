"""What the text of a statement alone says, remembered by one session for as long as it lives.

Nothing that a database could answer otherwise tomorrow is remembered: which tables a statement uses, through views and
by the rights and rules that hold, the server is asked anew by every call, in the transaction that reads.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace

from .dotted import reached
from .names import Named, Statement
from .parsing import called, parsed, text_of

_MOST, _LONGEST = 64, 8_000


class Known:
    """The statements that a session has read, at most 64 short ones, without their trees."""

    def __init__(self, dialect: str, schema: str, most: int = _MOST) -> None:
        self._dialect, self._schema, self._most = dialect, schema, most
        self._read: OrderedDict[str, Statement] = OrderedDict()

    def __call__(self, sql: str) -> Statement:
        """Read exactly one statement, as `parsed` does. Raises `Refused`."""
        found = self._read.get(sql)
        if found is None:
            found = written(parsed(sql, self._dialect, self._schema))
            if self._most and len(sql) <= _LONGEST:
                self._read[sql] = replace(found, tree=None)
                if len(self._read) > self._most:
                    self._read.popitem(last=False)
        else:
            self._read.move_to_end(sql)
        return found


def written(statement: Statement) -> Statement:
    """Give a statement with the text that is sent for it and all that it may call. Raises `Refused`."""
    if statement.text:
        return statement
    text = text_of(statement.tree, statement.dialect)
    if statement.dialect == "postgres":
        calls, types = reached(statement.tree, text, statement.named)
    else:
        calls, types = called(text, statement.dialect), frozenset[Named]()
    return replace(statement, text=text, calls=calls, types=types)
