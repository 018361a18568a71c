"""Secrets: sealed values under a name, in versions; which one is in force is a pointer, and moving it back is undo."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import Column, Double, Index, Integer, LargeBinary, Row, String, Text, func

from superagent.core.connections import SecretUse
from superagent.core.ports import Clock
from superagent.core.principal import Secret
from superagent.core.problems import Conflict, NotFound, TooLarge
from superagent.data.areas import Area
from superagent.data.database import Database
from superagent.data.transaction import Transaction
from superagent.runtime.stored import Seals, place

KEEP_S = 8 * 86_400.0  # a day longer than an undo is kept
MOST_NAMES = 1_000
MOST_BYTES = 65_536
QUOTA_BYTES = 16 * 1024 * 1024
_OVERHEAD = 256  # what a version costs beside its value
_PURPOSE = "secrets"

AREA = Area("secrets", "secrets_0001", Path(__file__).parent / "migrations" / "versions")
NAMES = AREA.table(
    "secrets_names",
    Column("name", String(128), primary_key=True),
    Column("entry", String(26), nullable=False),  # another one when a name was deleted and is used anew
    Column("version", Integer, nullable=False),
    Column("replaced", Integer, nullable=False),  # the version that this one overlaps with; 0 for none
    Column("overlap_until", Double, nullable=False),
)
VERSIONS = AREA.table(
    "secrets_versions",
    Column("entry", String(26), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("name", String(128), nullable=False),
    Column("value", LargeBinary, nullable=False),  # sealed
    Column("use", Text, nullable=False),  # JSON
    Column("bytes", Integer, nullable=False),
    Column("at", Double, nullable=False),
    Column("by", String(255), nullable=False),
    Column("until", Double),  # none while it is in force
    Index(None, "tenant", "name"),
    Index(None, "until"),
)


class Pointer(msgspec.Struct, frozen=True):
    """What is in force under a name: this version of this entry, and until when (epoch seconds) another one too."""

    entry: str
    version: int
    replaced: int = 0
    overlap_until: float = 0.0


class Opened(msgspec.Struct, frozen=True):
    """A version with its value."""

    version: int
    value: Secret
    use: SecretUse


class Listed(msgspec.Struct, frozen=True):
    """A name and what may be said of it: when and by whom its value was given, until when an older one holds too."""

    name: str
    version: int
    at: float
    by: str
    overlap_until: float


class SqlSecrets:
    """The secrets of an installation. No statement and no record holds a value in clear, or a hash of one."""

    def __init__(self, database: Database, seals: Seals, clock: Clock, quota_bytes: int = QUOTA_BYTES) -> None:
        self._database = database
        self._seals = seals
        self._clock = clock
        self._quota = quota_bytes
        self._sealed_by = b""

    async def put(
        self, tenant: str, name: str, value: Secret, use: SecretUse | None, by: str, *, overlap_s: float = 0.0
    ) -> int:
        """Put a new version in force and give its number; the one before can be put back for a week.

        Without a `use` that of the version before holds on. For `overlap_s` seconds both are good. One transaction:
        after a crash the one or the other is in force. Raises `TooLarge` over a limit, and `Conflict` when somebody
        else changed it meanwhile.
        """
        data = value.reveal().encode("utf-8", "surrogatepass")
        if len(data) > MOST_BYTES:
            raise TooLarge(f"a secret has at most {MOST_BYTES} bytes")
        now = self._clock.now()
        before = await self.pointer(tenant, name)
        entry = before.entry if before else self._clock.new_id()
        version = 1 + await self._database.read(tenant, lambda tx: _newest(tx, entry))
        if use is None:
            use = (await self.open(tenant, name))[0].use if before else SecretUse()
        until = now + overlap_s if before and overlap_s else 0.0
        after = Pointer(entry, version, before.version if before and until else 0, until)
        sealed = self._seals.seal(_PURPOSE, _place(tenant, name, entry, version), data)
        size = len(data) + _OVERHEAD
        row = {"name": name, "value": sealed, "use": msgspec.json.encode(use).decode(), "bytes": size}

        def put(tx: Transaction) -> None:
            if _pointer(tx, name) != before or _newest(tx, entry) != version - 1:
                raise Conflict(f"somebody else changed the secret `{name}` meanwhile", hint="look again, then decide")
            if before is None and tx.count(NAMES) >= MOST_NAMES:
                raise TooLarge(f"a tenant has at most {MOST_NAMES} secrets", hint="delete those that nobody uses")
            if tx.sum(VERSIONS, VERSIONS.c.bytes) + size > self._quota:
                raise TooLarge(
                    f"the secrets of this tenant, with those kept for undo, would be more than {self._quota} bytes",
                    hint="older versions make room after a week",
                )
            tx.insert(VERSIONS, entry=entry, version=version, at=now, by=by, **row)
            _point(tx, name, after, now)

        await self._database.write(tenant, put)
        return version

    async def entry(self, tenant: str, name: str) -> str:
        """Name the secret that bears a name now: one made anew has another entry. Raises `NotFound`."""
        found = await self.pointer(tenant, name)
        if found is None:
            raise _no_secret(name)
        return found.entry

    async def pointer(self, tenant: str, name: str) -> Pointer | None:
        """Give what is in force under a name; None for nothing."""
        return await self._database.read(tenant, lambda tx: _pointer(tx, name))

    async def point(self, tenant: str, name: str, to: Pointer | None) -> None:
        """Put another version in force, or none. Raises `Conflict` when it is kept no longer."""
        now = self._clock.now()

        def point(tx: Transaction) -> None:
            if to is not None and not tx.count(
                VERSIONS, VERSIONS.c.entry == to.entry, VERSIONS.c.version == to.version
            ):
                raise Conflict(f"version {to.version} of the secret `{name}` is kept no longer", hint="put it anew")
            _point(tx, name, to, now)

        await self._database.write(tenant, point)

    async def open(self, tenant: str, name: str, entry: str = "") -> list[Opened]:
        """Give the version in force and, while they overlap, the one it replaces.

        Raises `NotFound`; `Conflict` when the name was given to another secret than the `entry` that is meant.
        """
        now = self._clock.now()

        def find(tx: Transaction) -> tuple[Pointer | None, Sequence[Row[Any]]]:
            found = _pointer(tx, name)
            if found is None:
                return None, ()
            wanted = [found.version, *([found.replaced] if found.overlap_until > now else [])]
            where = (VERSIONS.c.entry == found.entry, VERSIONS.c.version.in_(wanted))
            return found, tx.select(VERSIONS, *where, order=[VERSIONS.c.version])

        found, rows = await self._database.read(tenant, find)
        if found is None:
            raise _no_secret(name)
        if entry and entry != found.entry:
            raise Conflict(
                f"the secret `{name}` was deleted and made anew since it was chosen here",
                hint="choose it again with `connections.update` if it is the right one",
            )
        return sorted((self._opened(row) for row in rows), key=lambda one: one.version != found.version)

    async def listed(self, tenant: str, prefix: str = "", after: str = "", limit: int = 100) -> list[Listed]:
        """Give names in order, and nothing that tells of their values."""

        def find(tx: Transaction) -> list[Listed]:
            where = (NAMES.c.name > after, func.substr(NAMES.c.name, 1, len(prefix)) == prefix)
            return [_listed(tx, row) for row in tx.select(NAMES, *where, order=[NAMES.c.name], limit=limit)]

        return await self._database.read(tenant, find)

    async def sweep(self) -> int:
        """Forget versions that nobody can restore any more, and seal the others anew after a change of keys.

        Gives how many were forgotten.
        """
        now = self._clock.now()
        gone = await self._database.write_instance(lambda tx: tx.delete(VERSIONS, VERSIONS.c.until <= now))
        newest = _key_of(self._seals.seal(_PURPOSE, b"", b""))
        if newest != self._sealed_by:
            await self._reseal(newest)
            self._sealed_by = newest
        return gone

    async def _reseal(self, newest: bytes) -> None:
        rows = await self._database.read_instance(lambda tx: tx.select(VERSIONS))
        for row in rows:
            if _key_of(row.value) != newest:
                about = _place(row.tenant, row.name, row.entry, row.version)
                fresh = self._seals.seal(_PURPOSE, about, self._seals.open(_PURPOSE, about, row.value))
                await self._database.write(row.tenant, lambda tx, row=row, fresh=fresh: _replace(tx, row, fresh))

    def _opened(self, row: Row[Any]) -> Opened:
        data = self._seals.open(_PURPOSE, _place(row.tenant, row.name, row.entry, row.version), row.value)
        use = msgspec.json.decode(row.use, type=SecretUse)
        return Opened(row.version, Secret(data.decode("utf-8", "surrogatepass")), use)


def _no_secret(name: str) -> NotFound:
    return NotFound(f"there is no secret `{name[:128]}`", hint="`secrets.list` shows those that you may use")


def _place(tenant: str, name: str, entry: str, version: int) -> bytes:
    return place(tenant, name, entry, str(version))


def _key_of(sealed: bytes) -> bytes:
    return sealed[:5]  # the form, and the version of the key


def _pointer(tx: Transaction, name: str) -> Pointer | None:
    row = tx.first(NAMES, NAMES.c.name == name)
    return None if row is None else Pointer(row.entry, row.version, row.replaced, row.overlap_until)


def _newest(tx: Transaction, entry: str) -> int:
    row = tx.first(VERSIONS, VERSIONS.c.entry == entry, order=[VERSIONS.c.version.desc()])
    return row.version if row else 0


def _point(tx: Transaction, name: str, to: Pointer | None, now: float) -> None:
    """Move the pointer; what is not in force any more is kept a while."""
    tx.delete(NAMES, NAMES.c.name == name)
    unwanted = now + KEEP_S
    tx.update(VERSIONS, VERSIONS.c.name == name, VERSIONS.c.until.is_(None), until=unwanted)
    if to is not None:
        tx.insert(
            NAMES, name=name, entry=to.entry, version=to.version, replaced=to.replaced, overlap_until=to.overlap_until
        )
        tx.update(VERSIONS, VERSIONS.c.entry == to.entry, VERSIONS.c.version == to.version, until=None)
        older = (VERSIONS.c.entry == to.entry, VERSIONS.c.version == to.replaced)
        tx.update(VERSIONS, *older, until=max(unwanted, to.overlap_until))


def _listed(tx: Transaction, row: Row[Any]) -> Listed:
    version = tx.first(VERSIONS, VERSIONS.c.entry == row.entry, VERSIONS.c.version == row.version)
    assert version is not None  # what is in force is never swept
    return Listed(row.name, row.version, version.at, version.by, row.overlap_until)


def _replace(tx: Transaction, row: Row[Any], fresh: bytes) -> None:
    same = (VERSIONS.c.entry == row.entry, VERSIONS.c.version == row.version, VERSIONS.c.value == row.value)
    tx.update(VERSIONS, *same, value=fresh)
