"""The audit index: search records by who, what, where and when; made from the segments, and made anew at any time."""

from __future__ import annotations

import asyncio
import fcntl
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from io import BufferedWriter
from pathlib import Path
from time import monotonic
from typing import Any

import msgspec
from sqlalchemy import Row, func

from superagent.core.problems import Problem, Unavailable
from superagent.data.database import Database
from superagent.data.transaction import InstanceTransaction
from superagent.runtime.audit_search import Search, parse_cursor, write_cursor
from superagent.runtime.audit_tables import AREA, CHAINS, RECORDS, RESOURCES
from superagent.runtime.audit_tail import Fresh, Place, Position, read_fresh, read_lines, read_record

__all__ = ["AREA", "AuditIndex", "IndexedRecord"]

AT_ONCE = 1000
PAUSE_S = 0.5
LONGEST_PAUSE_S = 2.0  # the live feed reads the index
CATCH_UP_S = 5.0
REBUILD_WAIT_S = 60.0
MOST_SEARCHED = 100_000  # records that one search for a text reads, before it gives a cursor to go on from


@dataclass(frozen=True, slots=True)
class IndexedRecord:
    """A record and its number in the index, which grows in the order in which records were indexed."""

    number: int
    record: dict[str, Any]


class AuditIndex:
    """Keep a searchable copy of where every record stands, behind the line and never in its way.

    Of several processes on one host, whoever holds the lock reads on for all of them. `flush` is awaited before a
    search, so that it sees what this process noted before. `open_personal` opens sealed personal detail.
    """

    def __init__(
        self,
        database: Database,
        directory: Path,
        *,
        flush: Callable[[], Awaitable[None]] | None = None,
        open_personal: Callable[[str], str | None] | None = None,
        pause_s: float = PAUSE_S,
    ) -> None:
        self._database = database
        self._directory = directory
        self._flush = flush
        self._open_personal = open_personal
        self._pause_s = pause_s
        self._follower: asyncio.Task[None] | None = None
        self.trouble = ""

    async def start(self) -> None:
        """Follow the segments from now on."""
        self._follower = asyncio.create_task(self._follow(), name="audit-index")

    async def close(self) -> None:
        """Stop following; what was not indexed is at the next start."""
        if self._follower:
            self._follower.cancel()
            await asyncio.gather(self._follower, return_exceptions=True)

    async def query(
        self,
        tenant: str,
        *,
        actor: str | None = None,
        operation: str | None = None,
        resource: str | None = None,
        invocation: str | None = None,
        since: float | None = None,
        until: float | None = None,
        text: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> tuple[list[dict[str, Any]], str | None]:
        """Give records newest first, and the cursor of the next page (None on the last).

        `actor` is who acted or for whom; `operation` may end in `*`; `resource` is the beginning of a canonical id;
        `text` stands anywhere in the record, upper and lower case alike. Under heavy load the newest may be missing.
        Raises `InvalidInput` for a cursor that is none of ours.
        """
        await self._catch_up()
        search = Search(tenant, actor, operation, resource, invocation, since, until)
        below, searched = parse_cursor(cursor), 0
        page: list[dict[str, Any]] = []
        while True:
            most = AT_ONCE if text or search.picks else limit - len(page)
            keys, rows, more = await self._database.read(tenant, lambda tx: search.page(tx, below, most))  # noqa: B023
            searched += len(keys)
            for row, record in await asyncio.to_thread(self._records, rows, text or ""):
                page.append(record)
                if len(page) == limit:
                    return page, write_cursor((row.at, row.number))
            if not more:
                return page, None
            below = keys[-1]
            if searched >= MOST_SEARCHED:
                return page, write_cursor(below)

    async def after(self, tenant: str, number: int, limit: int) -> list[IndexedRecord]:
        """Give a tenant's records that were indexed after a number, oldest first."""
        rows = await self._database.read(
            tenant, lambda tx: tx.select(RECORDS, RECORDS.c.number > number, order=[RECORDS.c.number], limit=limit)
        )
        found = await asyncio.to_thread(self._records, rows, "")
        return [IndexedRecord(row.number, record) for row, record in found]

    async def newest(self, tenant: str) -> int:
        """Give the number of a tenant's newest record, 0 for none."""
        row = await self._database.read(
            tenant, lambda tx: tx.first(RECORDS, columns=[RECORDS.c.number], order=[RECORDS.c.number.desc()])
        )
        return row.number if row else 0

    async def rebuild(self) -> int:
        """Forget everything and read all segments again; gives the number of records.

        Raises `Unavailable` when another process holds the index for a minute.
        """

        def forget(tx: InstanceTransaction) -> None:
            for table in (RECORDS, RESOURCES, CHAINS):
                tx.delete(table)

        async with self._alone(REBUILD_WAIT_S) as alone:
            if not alone:
                raise Unavailable("another process is reading the audit on", hint="try again in a minute")
            await self._database.write_instance(forget)
            while await self._step():
                pass
        return await self._database.read_instance(lambda tx: tx.count(RECORDS))

    # --- following -----------------------------------------------------------------------------------------------

    async def _follow(self) -> None:
        while True:
            begin = monotonic()
            try:
                async with self._alone(wait_s=0.0) as alone:
                    if alone:
                        await self._step()
                self.trouble = ""
            except (Problem, OSError) as fault:
                self.trouble = str(fault) or type(fault).__name__  # the segments keep everything until it works again
            # under load at most a tenth of the time goes here; the line comes first
            await asyncio.sleep(min(max(self._pause_s, 9 * (monotonic() - begin)), LONGEST_PAUSE_S))

    async def _catch_up(self) -> None:
        if self._flush:
            await self._flush()
        end = monotonic() + CATCH_UP_S
        async with self._alone(wait_s=CATCH_UP_S) as alone:
            while alone and monotonic() < end and await self._step():
                pass

    async def _step(self) -> bool:
        """Index some records; gives whether more wait."""
        rows = await self._database.read_instance(lambda tx: tx.select(CHAINS))
        positions = {row.chain: Position(row.segment, row.place, bool(row.ended)) for row in rows}
        fresh = await asyncio.to_thread(read_fresh, self._directory, positions, AT_ONCE)
        if fresh.positions:
            await self._database.write_instance(lambda tx: _keep(tx, fresh))
        return fresh.more

    @asynccontextmanager
    async def _alone(self, wait_s: float) -> AsyncGenerator[bool]:
        """Be the one process that reads on; gives False when another was it all the time."""
        with (self._directory / "index.lock").open("ab") as lock:
            end = monotonic() + wait_s
            while True:
                alone = _try(lock)
                if alone or monotonic() >= end:
                    break
                await asyncio.sleep(0.01)
            yield alone

    def _records(self, rows: Sequence[Row[Any]], text: str) -> list[tuple[Row[Any], dict[str, Any]]]:
        found: list[tuple[Row[Any], dict[str, Any]]] = []
        wanted = msgspec.json.encode(text).decode()[1:-1].casefold()  # as it is written in a line
        places = [Place(row.chain, row.segment, row.place, row.length) for row in rows]
        for row, line in zip(rows, read_lines(self._directory, places), strict=True):
            record = read_record(*line, row.chain) if line else None
            if line is None or record is None:
                continue  # cut off after a fault of the disk, or made unreadable
            opened = ""
            if self._open_personal and record.get("personal"):
                record["personal"] = self._open_personal(record["personal"])
                opened = record["personal"] or ""
            if wanted in line[0].casefold() or text.casefold() in opened.casefold():
                found.append((row, record))
        return found


def _try(lock: BufferedWriter) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _keep(tx: InstanceTransaction, fresh: Fresh) -> None:
    newest = tx.first(RECORDS, columns=[func.max(RECORDS.c.number)])
    number = (newest[0] or 0) if newest else 0
    records: list[dict[str, Any]] = []
    resources: list[dict[str, Any]] = []
    for found, place in fresh.records:
        number += 1
        tenant = found.tenant[:64] or "system"
        records.append(
            {
                "tenant": tenant,
                "number": number,
                "at": found.at,
                "invocation": found.invocation[:64],
                "who": found.who[:255],
                "human": (found.chain_of[-1] if found.chain_of else found.who)[:255],
                "operation": found.operation[:255],
                "chain": place.chain,
                "segment": place.segment,
                "place": place.place,
                "length": place.length,
            }
        )
        names = {name[:1024] for name, _ in found.resources}
        resources += [{"tenant": tenant, "resource": name, "at": found.at, "number": number} for name in names]
    tx.insert_many(RECORDS, records)
    tx.insert_many(RESOURCES, resources)
    for chain, at in fresh.positions.items():
        values = {"segment": at.segment, "place": at.place, "ended": int(at.ended)}
        if not tx.update(CHAINS, CHAINS.c.chain == chain, **values):
            tx.insert(CHAINS, chain=chain, **values)
