"""Transactions: statements that carry the tenant by construction, and the named way around it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Connection, Insert, Row, Table, Update, bindparam, func, select
from sqlalchemy.sql.dml import ReturningUpdate
from sqlalchemy.sql.roles import OrderByRole

from superagent.data.areas import TENANT, belongs_to_tenants
from superagent.data.dialect import insert_or_ignore

Where = ColumnElement[bool]
Order = OrderByRole
_Update = Update | ReturningUpdate[Any]
_OF_TENANT = "of_tenant"


class Change:
    """An update that is built once and made many times: to build one takes longer than to make it.

    Conditions and values are expressions in which `bindparam` stands for what differs from time to time; `columns` are
    given of each row as it is then.
    """

    __slots__ = ("everywhere", "of_tenant")

    def __init__(self, table: Table, /, *where: Where, columns: Sequence[ColumnElement[Any]] = (), **values: Any):
        _moves_none(values)
        made = table.update().where(*where).values(**values)
        mine = made.where(table.c[TENANT] == bindparam(_OF_TENANT)) if belongs_to_tenants(table) else None
        self.everywhere = made.returning(*columns) if columns else made
        self.of_tenant = mine.returning(*columns) if columns and mine is not None else mine


class _Statements(ABC):
    """What a closure may do with the database; how far it sees is decided by the two kinds below."""

    __slots__ = ("_connection",)

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def select(
        self,
        table: Table,
        /,
        *where: Where,
        columns: Sequence[ColumnElement[Any]] = (),
        order: Sequence[Order] = (),
        limit: int | None = None,
    ) -> Sequence[Row[Any]]:
        """Give the rows of a table; all its columns unless some are named."""
        wanted = select(*columns).select_from(table) if columns else select(table)
        wanted = wanted.where(*self._scope(table), *where).order_by(*order)
        return self._connection.execute(wanted if limit is None else wanted.limit(limit)).all()

    def first(
        self,
        table: Table,
        /,
        *where: Where,
        columns: Sequence[ColumnElement[Any]] = (),
        order: Sequence[Order] = (),
    ) -> Row[Any] | None:
        """Give the first row, None when there is none."""
        rows = self.select(table, *where, columns=columns, order=order, limit=1)
        return rows[0] if rows else None

    def sum(self, table: Table, column: ColumnElement[Any], /, *where: Where) -> int:
        """Add up a whole-number column; 0 for no rows."""
        return int(self.select(table, *where, columns=[func.coalesce(func.sum(column), 0)])[0][0])

    def count(self, table: Table, /, *where: Where) -> int:
        """Count rows."""
        return int(self.select(table, *where, columns=[func.count()])[0][0])

    def insert(self, table: Table, /, **values: Any) -> int:
        """Add a row and give its number, 0 where the table counts none; a taken key raises `IntegrityError`."""
        made = self._connection.execute(_insert(table), self._owned(table, values))
        key = made.inserted_primary_key
        return key[0] if key is not None and isinstance(key[0], int) else 0

    def insert_new(self, table: Table, /, **values: Any) -> bool:
        """Add a row unless its key is taken; False when it was."""
        made = self._connection.execute(_insert_new(table, self._connection.dialect.name), self._owned(table, values))
        return made.rowcount == 1

    def insert_many(self, table: Table, rows: Sequence[Mapping[str, Any]], /) -> None:
        """Add rows with the same columns; those whose key is taken stay as they are."""
        if rows:
            ready = [self._owned(table, dict(row)) for row in rows]
            self._connection.execute(_insert_many(table, self._connection.dialect.name), ready)

    def update(self, table: Table, /, *where: Where, **values: Any) -> int:
        """Change rows and give how many; a value may be an expression of columns."""
        _moves_none(values)
        statement = table.update().where(*self._scope(table), *where).values(**values)
        return self._connection.execute(statement).rowcount

    def make(self, change: Change, /, **values: Any) -> Sequence[Row[Any]]:
        """Make a change that was built before; gives the columns that it names of each row that was changed."""
        made = self._connection.execute(*self._bound(change, values))
        return made.all() if made.returns_rows else ()

    def delete(self, table: Table, /, *where: Where) -> int:
        """Remove rows and give how many."""
        return self._connection.execute(table.delete().where(*self._scope(table), *where)).rowcount

    @abstractmethod
    def _scope(self, table: Table) -> tuple[Where, ...]: ...

    @abstractmethod
    def _owned(self, table: Table, values: dict[str, Any]) -> dict[str, Any]: ...

    @abstractmethod
    def _bound(self, change: Change, values: dict[str, Any]) -> tuple[_Update, dict[str, Any]]: ...


class Transaction(_Statements):
    """One tenant's transaction: it sees and makes rows of that tenant, and no others."""

    __slots__ = ("tenant",)

    def __init__(self, connection: Connection, tenant: str) -> None:
        super().__init__(connection)
        self.tenant = tenant

    def _scope(self, table: Table) -> tuple[Where, ...]:
        _check(table)
        return (table.c[TENANT] == self.tenant,)

    def _owned(self, table: Table, values: dict[str, Any]) -> dict[str, Any]:
        _check(table)
        if values.setdefault(TENANT, self.tenant) != self.tenant:
            raise ValueError("a transaction of one tenant makes no rows of another")
        return values

    def _bound(self, change: Change, values: dict[str, Any]) -> tuple[_Update, dict[str, Any]]:
        if change.of_tenant is None:
            raise ValueError("the rows of this change belong to the installation")
        return change.of_tenant, values | {_OF_TENANT: self.tenant}


class InstanceTransaction(_Statements):
    """The installation's transaction: its own tables, and sweeps over the rows of all tenants."""

    __slots__ = ()

    def _scope(self, table: Table) -> tuple[Where, ...]:
        return ()

    def _owned(self, table: Table, values: dict[str, Any]) -> dict[str, Any]:
        if belongs_to_tenants(table) and TENANT not in values:
            raise ValueError(f"a row of `{table.name}` belongs to a tenant; name it")
        return values

    def _bound(self, change: Change, values: dict[str, Any]) -> tuple[_Update, dict[str, Any]]:
        return change.everywhere, values


def _check(table: Table) -> None:
    if not belongs_to_tenants(table):
        raise ValueError(f"`{table.name}` belongs to the installation; use `write_instance` or `read_instance`")


def _moves_none(values: Mapping[str, Any]) -> None:
    if TENANT in values:
        raise ValueError("a row never moves to another tenant")


@cache
def _insert(table: Table) -> Insert:
    return table.insert()


@cache
def _insert_many(table: Table, dialect: str) -> Insert:
    return insert_or_ignore(table, dialect)


@cache
def _insert_new(table: Table, dialect: str) -> Insert:
    return insert_or_ignore(table, dialect).execution_options(preserve_rowcount=True)
