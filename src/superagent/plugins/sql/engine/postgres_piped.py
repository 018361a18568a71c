"""Several commands by one way to PostgreSQL and back: each by itself, the next not before the one before it is done.

A way costs more here than the row that it fetches. They go by the extended protocol, where one command is one
statement, whatever its text says. The server leaves out what follows a command that fails.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import Any

from psycopg import errors, generators
from psycopg._queries import PostgresQuery
from psycopg.adapt import Transformer
from psycopg.pq import ExecStatus

from .postgres_received import Bounded

Command = tuple[str, Mapping[str, Any] | Sequence[Any] | None]
"""A statement with its values, as the driver takes both."""

Ready = tuple[Any, ...] | None

APART: Command = "", None
"""Stands between commands of which the second is none of the transaction that the first one ended."""

_FAILED = (ExecStatus.FATAL_ERROR, ExecStatus.PIPELINE_ABORTED)


class Result:
    """What a command gave."""

    def __init__(self, reader: Any, result: Any) -> None:
        self._reader = reader
        self._result = result

    @property
    def columns(self) -> list[str]:
        """Give the names of the columns."""
        encoding = self._reader.encoding
        return [(self._result.fname(at) or b"").decode(encoding) for at in range(self._result.nfields)]

    @property
    def value(self) -> bytes:
        """Give the one value of its first row, as it came."""
        return self._result.get_value(0, 0) or b""

    @property
    def rows(self) -> list[tuple[Any, ...]]:
        """Give all rows, as the driver reads them."""
        self._reader.set_pgresult(self._result)
        return self._reader.load_rows(0, self._result.ntuples, tuple)


class Pipe:
    """What sends commands over one connection, in one thread at a time."""

    def __init__(self, connection: Bounded) -> None:
        self._connection = connection
        self._transformer: Any = Transformer(connection)

    def ready(self, commands: Sequence[Command]) -> list[Ready]:
        """Make commands ready to be sent. Raises what the driver does for values that do not fit."""
        encoding = self._transformer.encoding
        return [self._converted(text.encode(encoding), values) for text, values in commands]

    def run(self, ready: Sequence[Ready]) -> list[Result]:
        """Send commands together and give what each gave. Raises what the first that failed says, as the driver does.

        A connection on which this broke off is closed.
        """
        connection, server = self._connection, self._connection.pgconn
        server.enter_pipeline_mode()
        try:
            for one in ready:
                if one is None:
                    server.pipeline_sync()
                else:
                    server.send_query_params(*one)
            server.pipeline_sync()
            found: list[Any] = connection.wait(_answers(server, len(ready) + 1))
            server.exit_pipeline_mode()
        except BaseException:
            connection.close()
            raise
        for one in found:
            if one.status in _FAILED:
                raise errors.error_from_result(one, encoding=self._transformer.encoding)
        return [Result(self._transformer, one) for one in found[:-1]]

    def _converted(self, text: bytes, values: Any) -> Ready:
        if values is None:
            return (text, None) if text else None
        made = PostgresQuery(self._transformer)
        made.convert(text, values)
        return made.query, made.params, made.types, made.formats


def _answers(server: Any, count: int) -> Generator[Any, Any, list[Any]]:
    yield from generators.send(server)
    found: list[Any] = []
    for _ in range(count):
        found.append((yield from generators.fetch_many(server))[-1])
    return found
