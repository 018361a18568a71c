"""The audit index: search records by who, what, where and when; made from the segments, and made anew at any time."""

from __future__ import annotations

import asyncio
import fcntl
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from io import BufferedWriter
from pathlib import Path
from time import monotonic
from typing import Any

from superagent.core.problems import Problem, Unavailable
from superagent.data.database import Database
from superagent.runtime.audit_block import Block
from superagent.runtime.audit_pace import Pace
from superagent.runtime.audit_rows import blocks_after, forget, keep, positions
from superagent.runtime.audit_search import Key, Search, blocks, parse_cursor, write_cursor
from superagent.runtime.audit_tables import AREA, BLOCKS
from superagent.runtime.audit_tail import read_fresh
from superagent.runtime.audit_walk import Match, Segments, Walk, lines_after, record_in

__all__ = ["AREA", "AuditIndex", "IndexedRecord"]

AT_ONCE_BYTES = 4 * 1024 * 1024  # read in one step: some 5,000 records, twenty milliseconds
BLOCKS_AT_ONCE = 32
PAUSE_S = 0.5
WATCHED_PAUSE_S = 0.1  # while somebody follows the feed: what is done should stand before them at once
UNWATCHED = 4  # so many pauses in one while nobody follows the feed: fewer and larger steps cost half as much
WATCHED_S = 5.0  # who follows the feed asks several times a second
CATCH_UP_S = 5.0
REBUILD_WAIT_S = 60.0
MOST_SEARCHED = 250_000  # lines that one search reads, before it gives a cursor to go on from


@dataclass(frozen=True, slots=True)
class IndexedRecord:
    """A record and its number in the index, which grows in the order in which records were indexed."""

    number: int
    record: dict[str, Any]


class AuditIndex:
    """Know where which records stand, behind the line and never in its way.

    The segments are the truth: what the index has is a row for each block of lines, and a search reads the blocks that
    may hold what it looks for. Of several processes on one host, whoever holds the lock reads on for all of them: often
    while somebody follows the feed, else now and then, for a search reads on by itself.
    `flush` is awaited before a search, so that it sees what this process noted before. `open_personal` opens sealed
    personal detail.
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
        self._pace = Pace()
        self._watched_until = 0.0
        self._watched = asyncio.Event()
        self._news = asyncio.Event()
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
        `text` stands anywhere in the record, upper and lower case alike. Under heavy load the newest may be missing. A
        search that had to read very much gives what it found by then, and the cursor to go on from. Raises
        `InvalidInput` for a cursor that is none of ours.
        """
        below = parse_cursor(cursor)
        await self._catch_up()
        search = Search(tenant, actor, operation, resource, invocation, since, until)
        page: list[dict[str, Any]] = []
        while True:
            most = limit - len(page)
            walk = Walk(search, text or "", self._open_personal, below, most, MOST_SEARCHED)
            await self._go(walk, search, below)
            page += await asyncio.to_thread(self._records, walk.found)
            below = walk.reached
            # fewer than were found: somebody made some unreadable
            if below is None or len(page) == limit or len(walk.found) < most:
                return page, write_cursor(below) if below else None

    async def after(self, tenant: str, number: int, limit: int) -> list[IndexedRecord]:
        """Give a tenant's records that were indexed after a number, oldest first."""
        self._watched_until = monotonic() + WATCHED_S
        self._watched.set()
        found: list[IndexedRecord] = []
        while True:
            at, most = number, limit - len(found)
            some = await self._database.read(tenant, lambda tx: blocks_after(tx, at, BLOCKS_AT_ONCE))  # noqa: B023
            found += await asyncio.to_thread(self._numbered, some, tenant, at, most)
            if len(found) >= limit or len(some) < BLOCKS_AT_ONCE:
                return found
            number = some[-1].number + some[-1].lines - 1

    async def fresh(self, within_s: float) -> None:
        """Wait until this process has indexed something, at most so long: another process may have, meanwhile."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._news.wait(), within_s)

    async def count(self, tenant: str) -> int:
        """Give how many records of a tenant there are."""
        await self._catch_up()
        return await self._database.read(tenant, lambda tx: tx.sum(BLOCKS, BLOCKS.c.records))

    async def newest(self, tenant: str) -> int:
        """Give the number of a tenant's newest record, 0 for none; what comes after it happens from now on."""
        await self._catch_up()
        row = await self._database.read(
            tenant,
            lambda tx: tx.first(BLOCKS, columns=[BLOCKS.c.number + BLOCKS.c.lines], order=[BLOCKS.c.number.desc()]),
        )
        return row[0] - 1 if row else 0

    async def rebuild(self) -> int:
        """Forget everything and read all segments again; gives the number of records.

        Raises `Unavailable` when another process holds the index for a minute.
        """
        async with self._alone(REBUILD_WAIT_S) as alone:
            if not alone:
                raise Unavailable("another process is reading the audit on", hint="try again in a minute")
            await self._database.write_instance(forget)
            while await self._step():
                pass
        return await self._database.read_instance(lambda tx: tx.sum(BLOCKS, BLOCKS.c.records))

    # --- searching -----------------------------------------------------------------------------------------------

    async def _go(self, walk: Walk, search: Search, below: Key | None) -> None:
        """Walk until enough was found, or all was seen, or for long enough."""
        where = search.where()
        after: Block | None = None
        while True:
            behind = after
            some = await self._database.read(
                search.tenant,
                lambda tx: blocks(tx, where, below, behind, BLOCKS_AT_ONCE),  # noqa: B023
            )
            if not await asyncio.to_thread(walk.through, self._directory, some):
                return
            if len(some) < BLOCKS_AT_ONCE:
                return walk.end()
            after = some[-1]

    def _records(self, matches: Sequence[Match]) -> list[dict[str, Any]]:
        return [record for one in matches if (record := self._record(one.line, one.chain)) is not None]

    def _numbered(self, some: Sequence[Block], tenant: str, number: int, most: int) -> list[IndexedRecord]:
        found: list[IndexedRecord] = []
        with Segments(self._directory) as segments:
            for block in some:
                for at, line in lines_after(block, segments.read(block), tenant, number):
                    if len(found) == most:
                        return found
                    record = self._record(line, block.chain)
                    if record is not None:
                        found.append(IndexedRecord(at, record))
        return found

    def _record(self, line: bytes, chain: str) -> dict[str, Any] | None:
        record = record_in(line, chain)
        if record is not None and self._open_personal and record.get("personal"):
            record["personal"] = self._open_personal(record["personal"])
        return record

    # --- following -----------------------------------------------------------------------------------------------

    async def _follow(self) -> None:
        while True:
            begin, more = monotonic(), False
            try:
                async with self._alone(wait_s=0.0) as alone:
                    if alone:
                        more = await self._step()
                self.trouble = ""
            except (Problem, OSError) as fault:
                self.trouble = str(fault) or type(fault).__name__  # the segments keep everything until it works again
            watched = monotonic() <= self._watched_until
            pause_s = min(self._pause_s, WATCHED_PAUSE_S) if watched else self._pause_s
            await self._pace.rest(monotonic() - begin, at_least_s=0.0 if more else pause_s)
            if not more and monotonic() > self._watched_until:
                self._watched.clear()
                with suppress(TimeoutError):  # a search reads on by itself
                    await asyncio.wait_for(self._watched.wait(), (UNWATCHED - 1) * self._pause_s)

    async def _catch_up(self) -> None:
        if self._flush:
            await self._flush()
        end = monotonic() + CATCH_UP_S
        async with self._alone(wait_s=CATCH_UP_S) as alone:
            while alone and monotonic() < end and await self._step():
                pass

    async def _step(self) -> bool:
        """Index some records; gives whether more wait."""
        have = await self._database.read_instance(positions)
        fresh = await asyncio.to_thread(read_fresh, self._directory, have, AT_ONCE_BYTES)
        if fresh.positions:
            await self._database.write_instance(lambda tx: keep(tx, fresh))
            self._news.set()
            self._news = asyncio.Event()
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


def _try(lock: BufferedWriter) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
