"""A session with a database, as every driver here gives it: judged statements, bounded results, exact row images."""

from __future__ import annotations

import select
import socket
import struct
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from .names import Named, Statement, TooMuch
from .values import Cell, shown, size_of

Params = Mapping[str, str | int | float | bool | None]
Row = list[Cell]
_BOTH = struct.Struct("QQ")
_COUNTS = 120  # where `tcpi_bytes_acked` lies in `struct tcp_info` of Linux, and then `tcpi_bytes_received`
Judge = Callable[[frozenset[Named]], object]


class Lost(Exception):
    """The connection broke while the server may have been at work."""


class Failed(Exception):
    """The server refused a statement; `message` is what it said, `timely` is False when its time was up.

    `about` is the table whose foreign key stood against it, where the server tells.
    """

    def __init__(self, message: str, *, timely: bool = True, about: Named | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.timely = timely
        self.about = about


@dataclass(frozen=True, slots=True)
class Place:
    """Where a database is: an address that was vetted, or a file, and who opens it.

    `ca` are the authorities (PEM) that alone are trusted, in place of those in `ca_file`.
    """

    host: str = ""
    address: str = ""
    port: int = 0
    database: str = ""
    user: str = ""
    password: str = ""
    tls: bool = True
    ca_file: str = ""
    file: str = ""
    timeout_s: float = 30.0
    ca: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """Rows that a read gave, and whether there are more."""

    columns: list[str]
    rows: list[Row]
    more: bool


@dataclass(frozen=True, slots=True)
class Child:
    """A foreign key of another table that would change rows by itself: what it looks at, and when it acts."""

    table: Named
    columns: tuple[str, ...]
    parents: tuple[str, ...]
    on_delete: bool
    on_update: bool


@dataclass(frozen=True, slots=True)
class Shape:
    """What a table is to a change: `key` names each row for good; `stored` are the columns that can be set."""

    columns: tuple[str, ...]
    stored: tuple[str, ...]
    key: tuple[str, ...]
    types: Mapping[str, str] = field(default_factory=dict[str, str])
    children: tuple[Child, ...] = ()
    against: str = ""  # why a change of it could not be taken back exactly; empty for nothing


def unjudged(named: frozenset[Named]) -> None:
    """Take all, where the caller judges afterwards what the server answers, and tells nothing of it before."""


class Session(Protocol):
    """One connection, used in one thread at a time; `cancel` and `close` may come from another."""

    dialect: str
    schema: str
    at_rest: bool  # nothing is begun, and nothing of a call is left

    @property
    def known(self) -> Callable[[str], Statement]:
        """Give what reads statements for this session; one that it has read before comes without its tree."""
        ...

    def begin(self, *, writes: bool) -> None:
        """Begin the one transaction; without `writes` the server itself refuses every change."""
        ...

    def relations(self, statement: Statement, params: Params, judge: Judge = unjudged) -> frozenset[Named]:
        """Ask the server which tables a statement uses, through views too. Raises `Refused` for what cannot be told.

        `judge` hears what it names before the server reads it: what that says of tables is for those who may use them.
        """
        ...

    def permit(self, statement: Statement, relations: frozenset[Named]) -> None:
        """Hold what comes to these tables, where the server can be told so."""
        ...

    def fetch(self, statement: Statement, params: Params, skip: int, rows: int, size: int) -> Found:
        """Run a read and take rows as they come, up to so many and so many bytes."""
        ...

    def stream(self, statement: Statement, params: Params) -> Generator[list[Any]]:
        """Run a read and give the names of its columns, then its rows as they come; close it before the session."""
        ...

    def explain(self, statement: Statement, params: Params) -> str:
        """Give the server's plan, without running the statement."""
        ...

    def columns(self) -> list[tuple[Named, str, str]]:
        """Give every column of every table and view, in order: the table, the column, its type."""
        ...

    def locks(self) -> list[tuple[str, str, float]]:
        """Give who waits for whom: the waiting session, the one that holds it up, and the seconds so far."""
        ...

    def shape(self, table: Named) -> Shape:
        """Tell what a table is to a change."""
        ...

    def run(self, text: str, values: Params | Sequence[Any] = ()) -> tuple[int, list[list[Any]]]:
        """Run a statement of this plugin's own making: how many rows it met, and those it gave, exactly."""
        ...

    def apply(self, text: str, params: Params) -> tuple[int, list[list[Any]]]:
        """Run a caller's change, as judged and permitted: how many rows it met, and those it gave, exactly."""
        ...

    def settle(self) -> None:
        """Let checks that were put off be made now, before the commit."""
        ...

    def commit(self) -> None:
        """Make the changes stand. Raises `Lost` when whether they do is not known, `Failed` when they do not."""
        ...

    def cancel(self) -> None:
        """Stop what the server does for this session, from another thread."""
        ...

    def reset(self) -> bool:
        """End the transaction and forget all that was set; False where it cannot serve another call after this."""
        ...

    def renew(self, timeout_s: float) -> bool:
        """Serve another call, for so long; False where nobody answers any more. Takes effect as it begins."""
        ...

    def close(self) -> None:
        """End the session; what was not committed is gone."""
        ...

    @property
    def crossed(self) -> tuple[int, int]:
        """Give the bytes that were sent and that came, as the system counted them, once it has ended."""
        ...


def counted(handle: socket.socket) -> tuple[int, int]:
    """Give the bytes of a TCP connection that were sent and taken by the other side, and those that came."""
    told = handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _COUNTS + _BOTH.size)
    return _BOTH.unpack_from(told, _COUNTS)


def quiet(handle: int) -> bool:
    """Tell whether a socket has nothing to say: one at rest that speaks, or was closed, serves nobody any more."""
    if handle < 0:
        return False
    waiting = select.poll()
    waiting.register(handle, select.POLLIN | select.POLLHUP | select.POLLERR)
    return not waiting.poll(0)


def bounded(columns: list[str], rows: Iterator[Any], most: int, size: int) -> Found:
    """Take rows up to a number and to a size. Raises `TooMuch` when not even the first one fits."""
    taken: list[list[Any]] = []
    left = size
    try:
        for row in rows:
            if len(taken) == most:
                return Found(columns, taken, more=True)
            require_room(row, left)
            cells = [shown(one) for one in row]
            left -= size_of(cells)
            if left < 0:
                raise TooMuch("it is larger")
            taken.append(cells)
    except TooMuch:
        if taken:
            return Found(columns, taken, more=True)
        raise TooMuch(
            f"one row takes more than {size} bytes", "ask for fewer columns or a part of a value, or let `skip` pass it"
        ) from None
    return Found(columns, taken, more=False)


def page(rows: Iterator[Any], most: int, size: int, left: int) -> list[list[Any]]:
    """Take the next rows, up to a number and until they have a size; none after the last.

    Raises `TooMuch` for a row that alone takes more than `left` bytes.
    """
    taken: list[list[Any]] = []
    for row in rows:
        require_room(row, left)
        cells = [shown(one) for one in row]
        taken.append(cells)
        size -= size_of(cells)
        if size <= 0 or len(taken) == most:
            break
    return taken


def require_room(row: Iterable[Any], left: int) -> None:
    """Go on only if the texts and bytes of a row fit, before copies of them are made. Raises `TooMuch`."""
    if sum(len(one) for one in row if isinstance(one, str | bytes | bytearray)) > left:
        raise TooMuch("this is more than can be taken at once", "take fewer rows or fewer columns by one call")
