"""Stored logs: what the command of a job writes, while it writes it; the newest bytes of each stream are kept."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Literal

from superagent.core.redactor import RedactingStream, present
from superagent.data.database import Database
from superagent.data.transaction import Transaction
from superagent.runtime.stored import Seals, place
from superagent.runtime.work_tables import LOG_PARTS, LOGS

LogStream = Literal["stdout", "stderr"]
MOST_KEPT = 4 * 1024 * 1024
PART = 64 * 1024
FLUSH_S = 0.1
MOST_HELD = 1024 * 1024  # bytes that may wait for the database; beyond it the older ones are given up


@dataclass(frozen=True, slots=True)
class Page:
    """Some bytes of a log: they begin at `offset`; `first` is the oldest byte kept, `end` where the log ends now."""

    data: bytes
    offset: int
    first: int
    end: int


class StoredLogs:
    """Keep the output of jobs, sealed, 4 MiB of each stream; what is older goes, and offsets go on counting."""

    def __init__(self, database: Database, seals: Seals) -> None:
        self._database = database
        self._seals = seals

    async def append(
        self, tenant: str, id: str, stream: LogStream, data: bytes, *, again: int = 0, lost: int = 0
    ) -> None:
        """Add bytes at the end; the first `again` of them are the last part, stored once more so that it grows.

        `lost` bytes were written before these and are not known any more.
        """
        parts = [data[at : at + PART] for at in range(0, len(data), PART)]
        sealed = [self._seals.seal("logs", place(tenant, id, stream), part) for part in parts]

        def append(tx: Transaction) -> None:
            where = (LOGS.c.invocation == id, LOGS.c.stream == stream)
            row = tx.first(LOGS, *where)
            if row is None:
                tx.insert(LOGS, invocation=id, stream=stream, first=0, end=0)
            first, end = (row.first, row.end) if row is not None else (0, 0)
            if again:
                tx.delete(LOG_PARTS, LOG_PARTS.c.invocation == id, LOG_PARTS.c.stream == stream, LOG_PARTS.c.end == end)
                end -= again
            if lost:  # a hole would make every offset after it lie: what stands before it goes as well
                _drop(tx, id, stream, end)
                end += lost
                first = end
            for part, body in zip(parts, sealed, strict=True):
                end += len(part)
                tx.insert(LOG_PARTS, invocation=id, stream=stream, end=end, body=body)
            if end - first > MOST_KEPT:
                oldest = tx.first(
                    LOG_PARTS, LOG_PARTS.c.invocation == id, LOG_PARTS.c.stream == stream,
                    LOG_PARTS.c.end >= end - MOST_KEPT, order=[LOG_PARTS.c.end],
                )  # fmt: skip
                assert oldest is not None  # the one that ends at `end` is there
                first = oldest.end
                _drop(tx, id, stream, first)
            tx.update(LOGS, *where, first=first, end=end)

        await self._database.write(tenant, append)

    async def read(self, tenant: str, id: str, stream: LogStream, since: int, most: int) -> Page:
        """Give up to `most` bytes from an offset on; a negative one counts from the end.

        What is not kept any more is left out: the page says where it really begins.
        """

        def read(tx: Transaction) -> tuple[int, int, int, list[tuple[int, bytes]]]:
            row = tx.first(LOGS, LOGS.c.invocation == id, LOGS.c.stream == stream)
            if row is None:
                return 0, 0, 0, []
            at = max(row.first, row.end + since if since < 0 else min(since, row.end))
            own = (LOG_PARTS.c.invocation == id, LOG_PARTS.c.stream == stream, LOG_PARTS.c.end > at)
            found: list[tuple[int, bytes]] = []
            for part in tx.select(LOG_PARTS, *own, order=[LOG_PARTS.c.end], limit=most // PART + 2):
                found.append((part.end, part.body))
                if part.end >= at + most:
                    break
            return row.first, row.end, at, found

        first, end, at, parts = await self._database.read(tenant, read)
        data = b""
        for part_end, body in parts:
            part = self._seals.open("logs", place(tenant, id, stream), body)
            data += part[max(0, at - (part_end - len(part))) :]
        return Page(data[:most], at, first, end)

    @asynccontextmanager
    async def writing(self, tenant: str, id: str) -> AsyncGenerator[LogWriter]:
        """Take what the call under way writes while the body runs, without the secret values it knows."""
        writer = LogWriter(self, tenant, id)
        flushing = asyncio.create_task(writer.keep_flushing())
        try:
            yield writer
        finally:
            writer.close()
            await flushing


class LogWriter:
    """The end at which a command's output comes in: it never waits, so that a slow disk holds no command up."""

    def __init__(self, logs: StoredLogs, tenant: str, id: str) -> None:
        self._logs = logs
        self._tenant = tenant
        self._id = id
        redactor = present.get()
        self._clean: dict[LogStream, RedactingStream | None] = {
            stream: redactor.stream() if redactor is not None else None for stream in ("stdout", "stderr")
        }
        self._held: dict[LogStream, bytearray] = {"stdout": bytearray(), "stderr": bytearray()}
        self._lost: dict[LogStream, int] = {"stdout": 0, "stderr": 0}
        self._tail: dict[LogStream, bytes] = {"stdout": b"", "stderr": b""}
        self._ready = asyncio.Event()
        self._over = asyncio.Event()

    def tap(self, stream: LogStream) -> Callable[[bytes], None]:
        """Give what takes the bytes of one stream."""

        def take(data: bytes) -> None:
            clean = self._clean[stream]
            self._take(stream, data if clean is None else clean.feed(data))

        return take

    async def keep_flushing(self) -> None:
        """Store what came, several times a second, until it is closed; then the rest."""
        over = False
        while not over:
            await self._ready.wait()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._over.wait(), FLUSH_S)
            over = self._over.is_set()  # looked at before: what comes until then is stored by what follows
            await self._flush()

    def close(self) -> None:
        """Take no more: what a redactor held back is shown now."""
        for stream, clean in self._clean.items():
            if clean is not None:
                self._take(stream, clean.close())
        self._over.set()
        self._ready.set()

    def _take(self, stream: LogStream, data: bytes) -> None:
        held = self._held[stream]
        held += data
        if len(held) > MOST_HELD:
            self._lost[stream] += len(held) - MOST_HELD
            del held[: len(held) - MOST_HELD]
        if held:
            self._ready.set()

    async def _flush(self) -> None:
        self._ready.clear()
        for stream, held in self._held.items():
            data, lost = bytes(held), self._lost[stream]
            held.clear()
            self._lost[stream] = 0
            if data:
                tail = b"" if lost else self._tail[stream]
                await self._logs.append(self._tenant, self._id, stream, tail + data, again=len(tail), lost=lost)
                rest = (len(tail) + len(data)) % PART
                self._tail[stream] = (tail + data)[-rest:] if rest else b""


def forget_log(tx: Transaction, id: str) -> None:
    """Remove the log of a job."""
    tx.delete(LOGS, LOGS.c.invocation == id)
    tx.delete(LOG_PARTS, LOG_PARTS.c.invocation == id)


def _drop(tx: Transaction, id: str, stream: LogStream, end: int) -> None:
    tx.delete(LOG_PARTS, LOG_PARTS.c.invocation == id, LOG_PARTS.c.stream == stream, LOG_PARTS.c.end <= end)
