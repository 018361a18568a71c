"""Names and statements, apart from the parser, which is loaded when a statement comes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import quote

Kind = Literal["select", "insert", "update", "delete"]


class Refused(Exception):
    """A statement that does not run here; `hint` says what would."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class TooMuch(Refused):
    """A statement or a value that takes more than it may; `hint` names the bound."""


@dataclass(frozen=True, slots=True, order=True)
class Named:
    """A table by schema and name, both as the server keeps them."""

    schema: str
    name: str

    @property
    def path(self) -> str:
        """Give the one spelling that grants and records use: what is not plain in a name is percent-encoded."""
        return f"{_spelled(self.schema)}.{_spelled(self.name)}"


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement, ready to be judged and sent. `reads` leaves out the target of a change.

    `text` is what is sent, `calls` every name that it may call, and `types` may be types by schema and name; all are
    empty until it was written out.
    """

    kind: Kind
    dialect: str
    tree: Any  # sqlglot's
    target: Named | None
    reads: frozenset[Named]
    functions: frozenset[str]
    unknown: frozenset[str]  # functions that the parser does not know
    names: frozenset[str]  # of parameters
    columns: tuple[str, ...] = field(default=())  # that an update sets
    text: str = ""
    calls: frozenset[str] = field(default=frozenset())
    types: frozenset[Named] = field(default=frozenset())

    @property
    def named(self) -> frozenset[Named]:
        """Give every table that it names."""
        return self.reads if self.target is None else self.reads | {self.target}


def folded(name: str) -> str:
    """Give a name without the case of its letters where databases make no difference: those of ASCII alone."""
    return name.lower() if name.isascii() else "".join(one.lower() if one.isascii() else one for one in name)


def _spelled(name: str) -> str:
    if name.isascii() and name.isidentifier():
        return name
    return quote(name, safe="", encoding="utf-8").replace(".", "%2E")
