"""The same database on each kind of server, and a way to look at it beside the platform."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol

import psycopg
import pymysql

from tests import mariadb, postgresql
from tests.plugins.sql.ground import PASSWORD, Ground

SCHEMA = (
    "CREATE TABLE orders (id int PRIMARY KEY, who varchar(100), paid numeric(8, 2))",
    "INSERT INTO orders VALUES (1, 'ada', 1.50), (2, 'bo', 3.00), (3, 'cy', 4.50), (4, NULL, NULL)",
    "CREATE TABLE secret (id int PRIMARY KEY, word varchar(100))",
    "INSERT INTO secret VALUES (1, 'sesame'), (2, 'alakazam')",
    "CREATE VIEW through AS SELECT o.id, s.word FROM orders o JOIN secret s ON s.id = o.id",
    "CREATE VIEW twice AS SELECT word FROM through",
)


class Database(Protocol):
    """One database: `schema` is where its tables lie, as resources name it."""

    kind: str
    schema: str

    async def connect(self, here: Ground) -> None:
        """Make the connection `db` to it."""
        ...

    def run(self, statement: str) -> list[Any]:
        """Run a statement beside the platform."""
        ...

    def holding(self, statement: str) -> AbstractContextManager[None]:
        """Hold the locks of a statement for a block, then roll it back."""
        ...

    def table(self, name: str) -> str:
        """Give the id of a table."""
        return f"sql://db/{self.schema}.{name}"

    def checksum(self, *tables: str) -> str:
        """Name the content of tables: equal ones mean equal rows."""
        found = [sorted(repr(row) for row in self.run(f"SELECT * FROM {one}")) for one in tables]
        return hashlib.sha256(repr(found).encode()).hexdigest()


class OnPostgreSQL(Database):
    def __init__(self, server: postgresql.Server, name: str) -> None:
        self.kind, self.schema, self.server, self.name = "postgresql", "public", server, name
        server.run(f"CREATE DATABASE {name}")
        for one in SCHEMA:
            self.run(one)

    async def connect(self, here: Ground) -> None:
        endpoint = f"postgresql://127.0.0.1:{self.server.port}/{self.name}"
        await here.connect("postgresql", endpoint, secret=PASSWORD, user="postgres", tls="off")

    def run(self, statement: str) -> list[Any]:
        return self.server.run(statement, self.name)

    @contextmanager
    def holding(self, statement: str) -> Generator[None]:
        with psycopg.connect(self.server.plain(self.name)) as made:
            made.execute(statement.encode())
            yield
            made.rollback()


class OnMariaDB(Database):
    def __init__(self, server: mariadb.Server, name: str) -> None:
        self.kind, self.schema, self.server, self.name = "mariadb", name, server, name
        server.run(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
        for one in SCHEMA:
            self.run(one)

    async def connect(self, here: Ground) -> None:
        endpoint = f"mysql://127.0.0.1:{self.server.port}/{self.name}"
        await here.connect("mariadb", endpoint, secret=PASSWORD, user="app", tls="off")

    def run(self, statement: str) -> list[Any]:
        return self.server.run(statement, self.name)

    @contextmanager
    def holding(self, statement: str) -> Generator[None]:
        made = pymysql.connect(unix_socket=f"{self.server.folder}/sock", user="root", database=self.name)
        try:
            with made.cursor() as cursor:
                cursor.execute(statement)
            yield
            made.rollback()
        finally:
            made.close()


class OnSqlite(Database):
    def __init__(self, file: Path) -> None:
        self.kind, self.schema, self.file = "sqlite", "main", file
        for one in SCHEMA:
            self.run(one)

    async def connect(self, here: Ground) -> None:
        await here.connect("sqlite", f"sqlite://{self.file}")

    def run(self, statement: str) -> list[Any]:
        with sqlite3.connect(self.file) as made:
            found = made.execute(statement).fetchall()
        made.close()
        return found

    @contextmanager
    def holding(self, statement: str) -> Generator[None]:
        made = sqlite3.connect(self.file, isolation_level=None)
        made.execute("BEGIN IMMEDIATE")
        made.execute(statement)
        yield
        made.close()
