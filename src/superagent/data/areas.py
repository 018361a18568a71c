"""Areas: the tables of one subject, its newest migration, and the tenant column that every row of a tenant carries."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

from sqlalchemy import BigInteger, Column, Integer, MetaData, String, Table, Text
from sqlalchemy.schema import SchemaItem
from sqlalchemy.types import TypeEngine

TENANT = "tenant"
NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}
# SQLite counts rows only in a column of the type INTEGER, PostgreSQL wants eight bytes for it
NUMBER = BigInteger().with_variant(Integer(), "sqlite")


class Area:
    """The tables of one subject and the linear branch of migrations that makes them (rules.md 23).

    `head` is the branch's newest revision, written out so that a start need not load Alembic to see that nothing is to
    be done; a test compares it with the files in `versions`.
    """

    def __init__(self, name: str, head: str, versions: Path) -> None:
        self.name = name
        self.head = head
        self.versions = versions
        self.metadata = MetaData(naming_convention=NAMES)

    def table(self, name: str, *items: SchemaItem, rows_by_key: bool = False) -> Table:
        """Define a table whose rows belong to tenants; its first column and first part of its key is the tenant.

        Where a column counts by itself (`autoincrement=True`), that one alone is the key. `rows_by_key` keeps short
        rows in the key itself, where the database can do so, instead of beside it.
        """
        _fit(items)
        counted = any(isinstance(item, Column) and item.autoincrement is True for item in items)
        tenant: Column[Any] = Column(TENANT, String(64), primary_key=not counted, nullable=False)
        _fit([tenant])
        return Table(name, self.metadata, tenant, *items, sqlite_with_rowid=not rows_by_key)

    def instance_table(self, name: str, *items: SchemaItem) -> Table:
        """Define a table of the whole installation, without a tenant."""
        _fit(items)
        return Table(name, self.metadata, *items)


def fitting(kind: TypeEngine[Any]) -> TypeEngine[Any]:
    """Give a type that means the same in every database: texts in the order of their characters, whole eight bytes.

    PostgreSQL would sort texts by the rules of a language, and gives a plain integer four bytes.
    """
    if isinstance(kind, Text):
        return kind.with_variant(Text(collation="C"), "postgresql")
    if isinstance(kind, String):
        return kind.with_variant(String(kind.length, collation="C"), "postgresql")
    if type(kind) is Integer and "postgresql" not in kind._variant_mapping:  # pyright: ignore[reportPrivateUsage]
        return kind.with_variant(BigInteger(), "postgresql")
    return kind


def _fit(items: Iterable[SchemaItem]) -> None:
    for item in items:
        if isinstance(item, Column):
            column = cast("Column[Any]", item)
            column.type = fitting(column.type)


def belongs_to_tenants(table: Table) -> bool:
    """Tell whether the rows of a table belong to tenants."""
    return TENANT in table.c


def heads_of(areas: Iterable[Area]) -> frozenset[str]:
    """Give the revisions that this code expects in the database."""
    return frozenset(area.head for area in areas)
