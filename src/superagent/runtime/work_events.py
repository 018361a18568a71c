"""Stored events: what an invocation tells while it runs, numbered, so that a reader can go on where it was."""

from __future__ import annotations

from superagent.core.ports import Clock
from superagent.core.problems import TooLarge
from superagent.data.database import Database
from superagent.data.transaction import Transaction
from superagent.runtime.stored import Seals, place
from superagent.runtime.work_tables import EVENTS, STREAMS, TIMERS

MOST_EVENTS = 10_000
MOST_BYTES = 16 * 1024 * 1024
KEEP_EVENTS_S = 86_400.0


class StoredEvents:
    """Keep the events of each invocation, sealed, at most 10,000 and 16 MiB of them."""

    def __init__(self, database: Database, seals: Seals, clock: Clock) -> None:
        self._database = database
        self._seals = seals
        self._clock = clock

    async def append(self, tenant: str, id: str, event: bytes) -> int:
        """Store one event of a stream and give its number, from 1. Raises `TooLarge` when the stream is full."""
        sealed = self._seals.seal("events", place(tenant, id), event)
        forget_at = self._clock.now() + KEEP_EVENTS_S

        def append(tx: Transaction) -> int:
            stream = tx.first(STREAMS, STREAMS.c.invocation == id)
            if stream is None:
                tx.insert(STREAMS, invocation=id, events=0, bytes=0)
                # a call that is not stored itself has no timer yet
                tx.insert_new(TIMERS, invocation=id, kind="forget", due=forget_at)
            number, size = (stream.events, stream.bytes) if stream is not None else (0, 0)
            if number >= MOST_EVENTS or size + len(event) > MOST_BYTES:
                raise TooLarge(
                    f"a stream keeps at most {MOST_EVENTS} events and {MOST_BYTES} bytes",
                    hint="ask for less, or in several calls",
                )
            tx.update(STREAMS, STREAMS.c.invocation == id, events=number + 1, bytes=size + len(event))
            tx.insert(EVENTS, invocation=id, number=number + 1, body=sealed)
            return number + 1

        return await self._database.write(tenant, append)

    async def events(self, tenant: str, id: str, after: int, limit: int = 500) -> list[tuple[int, bytes]]:
        """Give stored events after a number, in order."""
        where = (EVENTS.c.invocation == id, EVENTS.c.number > after)
        rows = await self._database.read(
            tenant, lambda tx: tx.select(EVENTS, *where, order=[EVENTS.c.number], limit=limit)
        )
        return [(row.number, self._seals.open("events", place(tenant, id), row.body)) for row in rows]

    async def newest(self, tenant: str, id: str, limit: int) -> list[bytes]:
        """Give the last stored events, the newest first."""
        rows = await self._database.read(
            tenant,
            lambda tx: tx.select(EVENTS, EVENTS.c.invocation == id, order=[EVENTS.c.number.desc()], limit=limit),
        )
        return [self._seals.open("events", place(tenant, id), row.body) for row in rows]


def forget_events(tx: Transaction, id: str) -> None:
    """Remove a stream with its events."""
    tx.delete(STREAMS, STREAMS.c.invocation == id)
    tx.delete(EVENTS, EVENTS.c.invocation == id)
