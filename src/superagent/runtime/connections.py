"""Connections: where a named remote thing is and which secret opens it; never the value."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import Column, Double, Row, String, Text, func

from superagent.core.connections import Connected
from superagent.core.ports import Clock
from superagent.core.problems import NotFound, TooLarge
from superagent.data.areas import Area
from superagent.data.database import Database
from superagent.data.transaction import Transaction
from superagent.runtime.shared_map import Epoch

MOST_NAMES = 1_000
MOST_CACHED = 1_000
HELD_S = 5.0
"""So long a definition is taken to be as it was read, should a process end between a change and telling of it."""

AREA = Area("connections", "connections_0001", Path(__file__).parent / "migrations" / "versions")
ENTRIES = AREA.table(
    "connections_entries",
    Column("name", String(128), primary_key=True),
    Column("type", String(64), nullable=False),
    Column("endpoint", Text, nullable=False),
    Column("host", String(300), nullable=False),
    Column("secret", String(128), nullable=False),  # a name; empty for none
    Column("secret_entry", String(26), nullable=False),
    Column("options", Text, nullable=False),  # JSON
    Column("at", Double, nullable=False),
    Column("by", String(255), nullable=False),
)


class Definition(msgspec.Struct, frozen=True):
    """A connection as it is kept; `secret_entry` says which secret of that name was meant when it was chosen."""

    name: str
    type: str
    endpoint: str
    host: str
    secret: str
    secret_entry: str
    options: dict[str, Any]
    at: float
    by: str

    def connected(self) -> Connected:
        """Give it as operations and types of connections see it."""
        return Connected(self.name, self.type, self.endpoint, self.host, self.secret, self.options)


class SqlConnections:
    """The connections of an installation. What was read holds until the epoch moves, as it does with each change."""

    def __init__(self, database: Database, epoch: Epoch, clock: Clock) -> None:
        self._database = database
        self._epoch = epoch
        self._clock = clock
        self._seen: dict[tuple[str, str], tuple[int, float, Definition, str]] = {}

    async def get(self, tenant: str, name: str) -> Definition:
        """Give a connection. Raises `NotFound`."""
        found = await self.find(tenant, name)
        if found is None:
            raise NotFound(f"there is no connection `{name[:128]}`", hint="`connections.list` shows yours")
        return found

    async def find(self, tenant: str, name: str) -> Definition | None:
        """Give a connection, None when there is none."""
        seen, epoch, now = self._seen.get((tenant, name)), self._epoch.read(), self._clock.monotonic()
        if seen is not None and seen[0] == epoch and now < seen[1]:
            return _with_options(seen[2], seen[3])
        row = await self._database.read(tenant, lambda tx: tx.first(ENTRIES, ENTRIES.c.name == name))
        if row is None:
            self._seen.pop((tenant, name), None)
            return None
        if len(self._seen) >= MOST_CACHED:
            self._seen.clear()
        # the epoch from before the read: what changed meanwhile is read again
        found = _definition(row)
        self._seen[tenant, name] = epoch, now + HELD_S, found, row.options
        return _with_options(found, row.options)

    async def listed(self, tenant: str, prefix: str = "", after: str = "", limit: int = 100) -> list[Definition]:
        """Give connections in order of their names."""
        where = (ENTRIES.c.name > after, func.substr(ENTRIES.c.name, 1, len(prefix)) == prefix)
        rows = await self._database.read(
            tenant, lambda tx: tx.select(ENTRIES, *where, order=[ENTRIES.c.name], limit=limit)
        )
        return [_definition(row) for row in rows]

    async def write(self, tenant: str, connected: Connected, secret_entry: str, by: str) -> Definition:
        """Make a connection, or replace the one of that name. Raises `TooLarge` for too many."""
        one = connected
        made = Definition(
            one.name, one.type, one.endpoint, one.host, one.secret, secret_entry, one.options, self._clock.now(), by
        )
        await self.restore(tenant, one.name, made)
        return made

    async def restore(self, tenant: str, name: str, to: Definition | None) -> None:
        """Make a name stand for this again, or for nothing."""

        def write(tx: Transaction) -> None:
            tx.delete(ENTRIES, ENTRIES.c.name == name)
            if to is None:
                return
            if tx.count(ENTRIES) >= MOST_NAMES:
                raise TooLarge(f"a tenant has at most {MOST_NAMES} connections", hint="delete those that nobody uses")
            tx.insert(ENTRIES, **msgspec.structs.asdict(to) | {"options": msgspec.json.encode(to.options).decode()})

        try:
            await self._database.write(tenant, write)
        finally:
            self._epoch.bump()  # also after a failure: it may stand all the same


def _with_options(one: Definition, options: str) -> Definition:
    """Give a definition of its own to each caller: what one does to the options is none of the next one's."""
    return Definition(  # by place: with names it takes three times as long
        one.name, one.type, one.endpoint, one.host, one.secret, one.secret_entry, msgspec.json.decode(options), one.at,
        one.by,
    )  # fmt: skip


def _definition(row: Row[Any]) -> Definition:
    fields: dict[str, Any] = {name: getattr(row, name) for name in Definition.__struct_fields__}
    return Definition(**fields | {"options": msgspec.json.decode(row.options)})
