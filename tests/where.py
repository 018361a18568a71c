"""Where: a database of a test lies in a file, or under a name of its own in the PostgreSQL server of the tests."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import MetaData

from superagent.data.database import dialect_of
from tests.postgresql import Server

VARIABLE = "TESTS_POSTGRESQL"  # the folder of its socket, set by the fixture `each_database`; children inherit it


def where(path: Path) -> Path | str:
    """Give where a database is to be opened that would lie at this path; the same for the same path."""
    folder = os.environ.get(VARIABLE)
    return Server(Path(folder)).url(str(path)) if folder else path


@contextmanager
def beside(path: Path) -> Generator[Callable[..., list[Any]]]:
    """Reach past the platform into the database of a path: `run(statement, *values)` with `?` gives rows.

    What was run is there when the block ends.
    """
    dialect = dialect_of(where(path))
    with dialect.writer() as connection, connection.begin():

        def run(statement: str, *values: Any) -> list[Any]:
            if connection.dialect.name != "sqlite":
                statement = statement.replace("?", "%s").replace("zeroblob(60)", "decode(repeat('00', 60), 'hex')")
            found = connection.exec_driver_sql(statement, values)
            return [tuple(row) for row in found] if found.returns_rows else []

        yield run
    dialect.engine.dispose()


def bytes_of(path: Path) -> bytes:
    """Give all that the database of a path has kept: its files, or every value in its tables."""
    place = where(path)
    if isinstance(place, Path):
        return b"".join(file.read_bytes() for file in sorted(path.parent.glob(f"{path.name}*")))
    with dialect_of(place).engine.connect() as connection:
        metadata = MetaData()
        metadata.reflect(connection)
        rows = [row for table in metadata.sorted_tables for row in connection.execute(table.select())]
    return b"\n".join(one if isinstance(one, bytes) else str(one).encode() for row in rows for one in row)
