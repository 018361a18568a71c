"""The undo store: what stood at resources before they were changed, for seven days and within quotas."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    Row,
    String,
    Table,
    Text,
    bindparam,
    or_,
    select,
)

from superagent.core.ports import Clock, Kept
from superagent.core.problems import TooLarge
from superagent.core.resources import Effect
from superagent.data.areas import NUMBER, Area
from superagent.data.database import Database
from superagent.data.transaction import Change, InstanceTransaction, Transaction
from superagent.runtime.kept_content import KeptContent
from superagent.runtime.stored import Seals, place

QUOTA_BYTES = 10 * 1024**3
SHARE = 0.25
MOST_ENTRIES = 1_000_000  # of what did not exist before nothing is kept, and a row all the same
KEEP_S = 7 * 86_400.0
_GRACE_S = 86_400.0  # content outlives its entries: it is put before they are, and the clock may step
_AT_ONCE = 500
_LEFT_S = 1.0  # what was left then is a guide to what need not even be copied; `add` counts exactly
_MOST_LEFT = 10_000
AREA = Area("undo", "undo_0004", Path(__file__).parent / "migrations" / "versions")
ENTRIES = AREA.table(
    "undo_entries",
    Column("id", NUMBER, primary_key=True, autoincrement=True),
    Column("invocation", String(26), nullable=False),
    Column("parent", String(26), nullable=False),
    Column("operation", String(200), nullable=False),
    Column("version", Integer, nullable=False),
    Column("principal", String(255), nullable=False),
    Column("session", String(255), nullable=False),
    Column("resource", Text, nullable=False),
    Column("effect", Integer, nullable=False),
    Column("data", LargeBinary, nullable=False),  # sealed
    Column("at", Double, nullable=False),
    Column("until", Double, nullable=False),
    Column("before", String(128)),
    Column("after", String(128)),
    Column("closed", Boolean, nullable=False),
    Column("undone_by", String(26), nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("account", String(255), nullable=False, server_default=""),  # against whose share it counts
    Index(None, "tenant", "invocation"),
    Index(None, "tenant", "parent"),
    Index(None, "tenant", "session"),
    Index(None, "until"),
)
ACTORS = AREA.table(  # who acted, and on whose behalf
    "undo_actors",
    Column("entry", NUMBER, primary_key=True, autoincrement=False),
    Column("place", Integer, primary_key=True, autoincrement=False),
    Column("principal", String(255), nullable=False),
    Index(None, "tenant", "principal", "entry"),
)
CALLERS = AREA.table(  # the invocations that led to the one that changed something
    "undo_callers",
    Column("entry", NUMBER, primary_key=True, autoincrement=False),
    Column("place", Integer, primary_key=True, autoincrement=False),
    Column("invocation", String(26), nullable=False),
    Index(None, "tenant", "invocation", "entry"),
)
SHARES = AREA.table(  # what each account uses, an agent's with all it lent its rights to; and `IN_ALL` of the tenant
    "undo_shares",
    Column("principal", String(255), primary_key=True),
    Column("bytes", BigInteger, nullable=False),
    Column("entries", Integer, nullable=False),
)

IN_ALL = ""  # no principal has no name
_COUNTED = Change(
    SHARES,
    or_(SHARES.c.principal == IN_ALL, SHARES.c.principal == bindparam("account")),
    columns=[SHARES.c.principal, SHARES.c.bytes, SHARES.c.entries],
    bytes=SHARES.c.bytes + bindparam("more"),
    entries=SHARES.c.entries + 1,
)
_OF_CALL = (ENTRIES.c.id == bindparam("entry"), ENTRIES.c.invocation == bindparam("of_call"))
_CLOSED = Change(ENTRIES, *_OF_CALL, closed=True, after=bindparam("state"))
_GROWN = Change(ENTRIES, *_OF_CALL, closed=True, after=bindparam("state"), data=bindparam("grown"))


class SqlUndo:
    """Fill the port `UndoStore` with rows; `content` keeps the bytes they speak of.

    A tenant may keep `quota_bytes`, and whoever acts for somebody else `share` of them in `most_entries`: one agent
    must not use up what all have. A person's own changes count and have no share.
    """

    def __init__(
        self,
        database: Database,
        seals: Seals,
        clock: Clock,
        folder: Path,
        quota_bytes: int = QUOTA_BYTES,
        keep_s: float = KEEP_S,
        share: float = SHARE,
        most_entries: int = MOST_ENTRIES,
    ) -> None:
        self.content = KeptContent(folder / "blobs")
        self._database = database
        self._seals = seals
        self._clock = clock
        self._quota = quota_bytes
        self._share = int(quota_bytes * share)
        self._keep_s = keep_s
        self._most_entries = most_entries
        self._left: dict[tuple[str, str], tuple[int, float]] = {}

    async def room(self, tenant: str, chain: Sequence[str] = ()) -> int:
        """Give the bytes that a tenant, or who acts in it with this chain, may still keep; ask before copying."""
        acting = chain[0] if len(chain) > 1 else ""
        left, until = self._left.get((tenant, acting), (0, 0.0))
        if self._clock.monotonic() < until:
            return left

        def free(tx: Transaction) -> tuple[int, int]:
            used = {row.principal: row.bytes for row in tx.select(SHARES, SHARES.c.principal.in_((IN_ALL, acting)))}
            return used.get(IN_ALL, 0), used.get(acting, 0)

        return self._remember(tenant, acting, *await self._database.read(tenant, free))

    async def add(self, kept: Kept) -> int:
        """Keep an entry durably and give its id. Raises `TooLarge` over quota or share: nothing was changed yet."""
        entry, used, mine = await self._database.write(kept.tenant, self._adding(kept))
        self._remember(kept.tenant, _account(kept) if len(kept.chain) > 1 else "", used, mine)
        return entry

    def within(self, kept: Kept) -> Callable[[Transaction], int]:
        """Give what keeps an entry as a part of the transaction it is called with; otherwise as `add`."""
        add = self._adding(kept)
        return lambda tx: add(tx)[0]

    def _adding(self, kept: Kept) -> Callable[[Transaction], tuple[int, int, int]]:
        data = self._seal(kept.tenant, kept.invocation, kept.data)
        chain = kept.chain or (kept.principal,)

        def add(tx: Transaction) -> tuple[int, int, int]:
            used, mine = self._use(tx, kept)
            entry = tx.insert(
                ENTRIES,
                invocation=kept.invocation,
                parent=kept.parent,
                operation=kept.operation,
                version=kept.version,
                principal=kept.principal,
                session=kept.session,
                resource=kept.resource,
                effect=int(kept.effect),
                data=data,
                at=kept.at,
                until=kept.until,
                before=kept.before,
                after=kept.after,
                closed=kept.closed,
                undone_by=kept.undone_by,
                bytes=kept.bytes,
                account=_account(kept),
            )
            tx.insert_many(ACTORS, [{"entry": entry, "place": at, "principal": one} for at, one in enumerate(chain)])
            led_to = [{"entry": entry, "place": at, "invocation": one} for at, one in enumerate(kept.callers)]
            tx.insert_many(CALLERS, led_to)
            return entry, used, mine

        return add

    async def close(
        self, tenant: str, invocation: str, entry: int, after: str | None, data: dict[str, Any] | None = None
    ) -> None:
        """Note the state that the change of an invocation left, and the kept data where it grew."""
        values: dict[str, Any] = {"entry": entry, "of_call": invocation, "state": after}
        change = _CLOSED if data is None else _GROWN
        if data is not None:
            values["grown"] = self._seal(tenant, invocation, data)
        await self._database.write(tenant, lambda tx: tx.make(change, **values))

    async def drop(self, entry: int) -> None:
        """Forget an entry: its change did not happen."""
        await self._database.write_instance(lambda tx: _remove(tx, tx.select(ENTRIES, ENTRIES.c.id == entry)))
        self._left.clear()

    async def mark_undone(self, entries: Sequence[int], by: str) -> None:
        """Note which invocation took these entries back."""
        await self._database.write_instance(
            lambda tx: tx.update(ENTRIES, ENTRIES.c.id.in_(list(entries)), undone_by=by)
        )

    async def reopen(self, tenant: str, by: str) -> None:
        """Forget that an invocation took entries back: it was taken back itself."""
        await self._database.write(tenant, lambda tx: tx.update(ENTRIES, ENTRIES.c.undone_by == by, undone_by=""))

    async def of(
        self,
        tenant: str,
        *,
        ids: Sequence[str] = (),
        session: str = "",
        principal: str = "",
        since: float = 0.0,
        limit: int = 1000,
        seen: Callable[[str, str], bool] | None = None,
    ) -> list[Kept]:
        """Give entries, oldest first: of these invocations and all they led to, of a session, of a principal.

        A principal's are its own and those made on its behalf. Conditions that are given must all hold; `since` in
        epoch seconds. Where there are more than `limit`, the newest are given, for they are taken back first. What has
        expired is not given.
        """
        alive = ENTRIES.c.until > self._clock.now()
        wanted = [alive, ENTRIES.c.at >= since]
        wanted += [ENTRIES.c.session == session] if session else []
        if principal:
            theirs = select(ACTORS.c.entry).where(ACTORS.c.tenant == tenant, ACTORS.c.principal == principal)
            wanted.append(ENTRIES.c.id.in_(theirs))
        if ids:
            led_to = select(CALLERS.c.entry).where(CALLERS.c.tenant == tenant, CALLERS.c.invocation.in_(ids))
            wanted.append(or_(ENTRIES.c.invocation.in_(ids), ENTRIES.c.id.in_(led_to)))

        def find(tx: Transaction) -> list[tuple[Row[Any], tuple[str, ...], tuple[str, ...]]]:
            rows = tx.select(ENTRIES, *wanted, order=[ENTRIES.c.id.desc()], limit=limit)
            rows = [row for row in rows if seen is None or seen(row.operation, row.resource)]
            chains, callers = _listed(tx, ACTORS.c.principal, rows), _listed(tx, CALLERS.c.invocation, rows)
            return [(row, chains.get(row.id, ()), callers.get(row.id, ())) for row in reversed(rows)]

        return [self._kept(*found) for found in await self._database.read(tenant, find)]

    async def sweep(self) -> int:
        """Remove entries whose time is over, and content that none of the others can need; give how many entries."""
        now = self._clock.now()
        removed = 0
        while count := await self._database.write_instance(
            lambda tx: _remove(tx, tx.select(ENTRIES, ENTRIES.c.until <= now, limit=_AT_ONCE))
        ):
            removed += count
            self._left.clear()
        await asyncio.to_thread(self.content.sweep, now - self._keep_s - _GRACE_S)
        return removed

    def _use(self, tx: Transaction, kept: Kept) -> tuple[int, int]:
        """Count an entry, and give the bytes that the tenant and the account have in use now.

        What is over quota or share raises, and is not counted then: that undoes the closure.
        """
        account = _account(kept)
        used, mine, entries = _counted(tx, account, kept.bytes)
        if used > self._quota:
            raise TooLarge(
                f"what is kept for undo would be more than the {self._quota} bytes of this tenant",
                hint="change less, wait until older entries expire, or have the quota raised",
            )
        if len(kept.chain) > 1 and (mine > self._share or entries > self._most_entries):
            raise TooLarge(
                f"what is kept for undo of what `{account}` does would be more than its share of "
                f"{self._share} bytes and {self._most_entries} changes",
                hint="change less, wait until older entries expire (`undo.list`), or have `limits.agent_share` raised",
            )
        return used, mine

    def _remember(self, tenant: str, acting: str, used: int, mine: int) -> int:
        """Note what may still be kept: it is asked before each change, and other processes change it, too."""
        left = max(0, min(self._quota - used, self._share - mine) if acting else self._quota - used)
        if len(self._left) >= _MOST_LEFT:
            self._left.clear()
        self._left[tenant, acting] = left, self._clock.monotonic() + _LEFT_S
        return left

    def _seal(self, tenant: str, invocation: str, data: dict[str, Any]) -> bytes:
        return self._seals.seal("undo", place(tenant, invocation), msgspec.json.encode(data))

    def _kept(self, row: Row[Any], chain: tuple[str, ...], callers: tuple[str, ...]) -> Kept:
        fields: dict[str, Any] = dict(row._mapping)  # pyright: ignore[reportPrivateUsage] - SQLAlchemy's own public name
        fields["effect"] = Effect(row.effect)
        fields["data"] = msgspec.json.decode(self._seals.open("undo", place(row.tenant, row.invocation), row.data))
        return Kept(**fields, chain=chain, callers=callers)


def _listed(tx: Transaction, column: Column[Any], rows: Sequence[Row[Any]]) -> dict[int, tuple[str, ...]]:
    """Give what a table lists for each of these entries, in order."""
    table, found = column.table, dict[int, list[str]]()
    assert isinstance(table, Table)
    for first in range(0, len(rows), _AT_ONCE):
        these = table.c.entry.in_([row.id for row in rows[first : first + _AT_ONCE]])
        for one in tx.select(table, these, order=[table.c.entry, table.c.place]):
            found.setdefault(one.entry, []).append(getattr(one, column.name))
    return {entry: tuple(listed) for entry, listed in found.items()}


def _account(kept: Kept) -> str:
    return kept.account or kept.principal


def _counted(tx: Transaction, account: str, more: int) -> tuple[int, int, int]:
    """Count one entry more of so many bytes; gives the tenant's bytes, and the bytes and entries of the account."""
    now = {row.principal: row for row in tx.make(_COUNTED, account=account, more=more)}
    for missing in {IN_ALL, account} - now.keys():
        tx.insert(SHARES, principal=missing, bytes=more, entries=1)
    in_all, mine = now.get(IN_ALL), now.get(account)
    used = in_all.bytes if in_all else more
    return (used, mine.bytes, mine.entries) if mine else (used, more, 1)


def _remove(tx: InstanceTransaction, rows: Sequence[Row[Any]]) -> int:
    freed: dict[tuple[str, str], list[int]] = {}
    for row in rows:
        for account in (IN_ALL, row.account):
            freed.setdefault((row.tenant, account), []).append(row.bytes)
    for (tenant, account), sizes in freed.items():
        theirs = (SHARES.c.tenant == tenant, SHARES.c.principal == account)
        tx.update(SHARES, *theirs, bytes=SHARES.c.bytes - sum(sizes), entries=SHARES.c.entries - len(sizes))
        tx.delete(SHARES, *theirs, SHARES.c.entries <= 0)
    gone = [row.id for row in rows]
    tx.delete(ACTORS, ACTORS.c.entry.in_(gone))
    tx.delete(CALLERS, CALLERS.c.entry.in_(gone))
    return tx.delete(ENTRIES, ENTRIES.c.id.in_(gone))
