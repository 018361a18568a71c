"""Memory: the stores of a kernel in memory; `superagent.testing` puts it together."""

from __future__ import annotations

import itertools
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from msgspec import structs

from superagent.core.invocation import Outcome, Status, Ticket
from superagent.core.ports import Held, Kept, Remembered
from superagent.core.principal import Principal, Secret
from superagent.core.problems import (
    Conflict,
    Denied,
    IdempotencyMismatch,
    Locked,
    NeedsInput,
    NotFound,
    TooLarge,
)
from superagent.core.questions import Question
from superagent.core.resources import beneath
from superagent.core.taint import Mark


class MemoryVeil:
    """The keys behind secret inputs, without keys: what it seals stays here, under a number."""

    def __init__(self) -> None:
        self._sealed: list[tuple[tuple[str, ...], Secret]] = []

    def mark(self, about: tuple[str, ...], value: Secret) -> str:
        """Name a value, equal ones alike, as this process hashes it."""
        return str(hash((about, value.reveal())))

    def seal(self, about: tuple[str, ...], value: Secret) -> bytes:
        """Give the number of a value."""
        self._sealed.append((about, value))
        return str(len(self._sealed) - 1).encode()

    def open(self, about: tuple[str, ...], sealed: bytes) -> Secret:
        """Give the value. Raises `Denied` for one that belongs elsewhere."""
        place, value = self._sealed[int(sealed)]
        if place != about:
            raise Denied("a sealed value belongs elsewhere")
        return value


class MemoryLocks:
    """Locks by resource that do not wait."""

    def __init__(self) -> None:
        self._held: set[tuple[str, str]] = set()

    @asynccontextmanager
    async def hold(self, tenant: str, resource: str, wait_s: float) -> AsyncGenerator[None]:
        """Hold a resource. Raises `Locked` at once when it is held."""
        if (tenant, resource) in self._held:
            raise Locked(f"`{resource}` is being changed by another call")
        self._held.add((tenant, resource))
        try:
            yield
        finally:
            self._held.discard((tenant, resource))


class MemoryUndo:
    """An undo store in a list."""

    def __init__(self) -> None:
        self.entries: dict[int, Kept] = {}
        self._numbers = itertools.count(1)
        self.full = False

    async def add(self, kept: Kept) -> int:
        """Keep an entry. Raises `TooLarge` while `full`."""
        return self.within(kept)(None)

    def within(self, kept: Kept) -> Callable[[Any], int]:
        """Give what keeps an entry, whatever the transaction; otherwise as `add`."""

        def add(tx: Any) -> int:
            if self.full:
                raise TooLarge("the undo store is full")
            number = next(self._numbers)
            self.entries[number] = replace(kept, id=number)
            return number

        return add

    async def close(
        self, tenant: str, invocation: str, entry: int, after: str | None, data: dict[str, Any] | None = None
    ) -> None:
        """Note the state that the change left."""
        kept = self.entries[entry]
        self.entries[entry] = replace(kept, after=after, closed=True, data=kept.data if data is None else data)

    async def drop(self, entry: int) -> None:
        """Forget an entry."""
        del self.entries[entry]

    async def mark_undone(self, entries: Sequence[int], by: str) -> None:
        """Note who took entries back."""
        for entry in entries:
            self.entries[entry] = replace(self.entries[entry], undone_by=by)

    async def reopen(self, tenant: str, by: str) -> None:
        """Forget that entries were taken back."""
        for entry in [one for one in self.entries.values() if one.undone_by == by]:
            self.entries[entry.id] = replace(entry, undone_by="")

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
        """Give entries, oldest first."""

        found = [one for one in self.entries.values() if one.tenant == tenant and one.at >= since]
        found = [one for one in found if not ids or not set(ids).isdisjoint((one.invocation, *one.callers))]
        found = [one for one in found if session in ("", one.session) and principal in ("", one.principal)]
        found = [one for one in found if seen is None or seen(one.operation, one.resource)]
        return found[:limit]


class MemoryIdempotency:
    """Idempotency keys in a dictionary."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str, str, str], tuple[str, str, Outcome | None]] = {}

    async def begin(self, ticket: Ticket) -> Remembered | None:
        """Remember a call, or give the earlier one. Raises `IdempotencyMismatch`."""
        key, own = _key_of(ticket), ticket.invocation.id
        row = self._rows.setdefault(key, (own, ticket.input_digest, None))
        if row[1] != ticket.input_digest:
            raise IdempotencyMismatch("this key was used with another input")
        return None if row[0] == own else Remembered(row[0], row[2])

    async def finish(self, ticket: Ticket, outcome: Outcome) -> None:
        """Remember an outcome."""
        self._rows[_key_of(ticket)] = (ticket.invocation.id, ticket.input_digest, outcome)

    async def forget(self, ticket: Ticket) -> None:
        """Forget a call."""
        self._rows.pop(_key_of(ticket), None)

    async def told(self, principal: Principal, invocation: str, input_digest: str) -> Outcome | None:
        """Give whoever made a call what is remembered of it."""
        theirs = (one for key, one in self._rows.items() if key[:2] == (principal.tenant, principal.id))
        return next((one[2] for one in theirs if one[:2] == (invocation, input_digest)), None)


def _key_of(ticket: Ticket) -> tuple[str, str, str, str]:
    principal = ticket.invocation.principal
    return principal.tenant, principal.id, ticket.operation.name, ticket.invocation.call.key


class MemoryWork:
    """Stored invocations in dictionaries."""

    def __init__(self) -> None:
        self._held: dict[str, Held] = {}
        self._outcomes: dict[str, Outcome] = {}
        self._events: dict[str, list[bytes]] = {}

    async def hold(self, held: Held) -> None:
        """Store an invocation."""
        self._held[held.id] = held

    async def ask(self, held: Held) -> Held:
        """Store an invocation that waits, or give the same one that waits already."""

        def mark(one: Held) -> tuple[object, ...]:
            call = one.invocation
            return (
                one.tenant,
                one.state,
                one.hash,
                one.ahead,
                call.principal.ids,
                call.call.session,
                one.until > held.at,
            )

        found = next(
            (replace(one, asked=one.asked + 1) for one in self._held.values() if mark(one) == mark(held)), held
        )
        self._held[found.id] = found
        return found

    async def get(self, tenant: str, id: str, mark: str = "") -> Held | None:
        """Give one, None when there is none."""
        found = self._held.get(id)
        mine = found is not None and found.tenant == tenant and (not mark or mark in found.invocation.principal.marks)
        return found if mine else None

    async def waiting(self, tenant: str, limit: int = 200, after: str = "") -> list[Held]:
        """Give what waits for approval, oldest first."""
        mine = (
            one
            for one in self._held.values()
            if one.tenant == tenant and one.state is Status.WAITING and one.id > after
        )
        return sorted(mine, key=lambda one: one.id)[:limit]

    async def ahead(self, tenant: str, principal: str) -> list[Held]:
        """Give what a caller asked for ahead and has not used."""
        return [one for one in await self.waiting(tenant) if one.ahead and one.invocation.principal.id == principal]

    async def approve(self, tenant: str, id: str, by: str) -> Held:
        """Add an approval. Raises `Conflict`."""
        held = self._held[id]
        if held.state is not Status.WAITING or by in held.approved_by:
            raise Conflict("it no longer waits for you")
        self._held[id] = replace(held, approved_by=(*held.approved_by, by))
        return self._held[id]

    async def move(self, tenant: str, id: str, sources: Sequence[Status], target: Status) -> bool:
        """Change the state if it is one of `sources`."""
        held = await self.get(tenant, id)
        if held is None or held.state not in sources:
            return False
        self._held[id] = replace(held, state=target)
        return True

    async def finish(self, tenant: str, outcome: Outcome) -> None:
        """Store what came of it."""
        self._outcomes[outcome.invocation] = outcome
        held = self._held.get(outcome.invocation)
        if held is not None:
            self._held[held.id] = replace(held, state=outcome.status)

    async def park(self, held: Held, outcome: Outcome) -> bool:
        """Let a job wait for answers."""
        await self.finish(held.tenant, outcome)
        return True

    async def answer(self, tenant: str, id: str, answers: dict[str, Any]) -> tuple[Held, tuple[Question, ...]]:
        """Add answers, and give what is still asked. Raises `Conflict`."""
        held, outcome = self._held.get(id), self._outcomes.get(id)
        problem = outcome.problem if outcome is not None else None
        if held is None or outcome is None or not isinstance(problem, NeedsInput):
            raise Conflict("it asks for nothing")
        left = tuple(one for one in problem.asks if one.name not in answers)
        call = structs.replace(held.invocation.call, answers=held.invocation.call.answers | answers)
        state = Status.ASKING if left else Status.QUEUED
        self._held[id] = replace(held, state=state, invocation=structs.replace(held.invocation, call=call))
        self._outcomes[id] = structs.replace(outcome, problem=NeedsInput(problem.detail, asks=left))
        return self._held[id], left

    async def outcome(self, tenant: str, id: str) -> Outcome | None:
        """Give a stored outcome."""
        return self._outcomes.get(id)

    async def append(self, tenant: str, id: str, event: bytes) -> int:
        """Store an event and give its number."""
        self._events.setdefault(id, []).append(event)
        return len(self._events[id])

    async def events(self, tenant: str, id: str, after: int, limit: int = 500) -> list[tuple[int, bytes]]:
        """Give stored events after a number."""
        return list(enumerate(self._events.get(id, []), 1))[after : after + limit]


class MemoryTaints:
    """Marks in a dictionary."""

    def __init__(self) -> None:
        self._marks: dict[tuple[str, str], Mark] = {}

    def of(self, tenant: str, subjects: Iterable[str]) -> Mark | None:
        """Give the mark of one of these."""
        return next((self._marks[tenant, one] for one in subjects if (tenant, one) in self._marks), None)

    def left_in(self, tenant: str, folder: str) -> Mark | None:
        """Give the mark of a place in or above a folder."""
        for (owner, subject), mark in self._marks.items():
            kind, _, place = subject.partition(":")
            if owner == tenant and kind == "place" and (beneath(place, folder) or beneath(folder, place)):
                return mark
        return None

    async def add(self, tenant: str, marks: Iterable[Mark]) -> list[Mark]:
        """Mark those that are clean."""
        new = [one for one in marks if (tenant, one.subject) not in self._marks]
        self._marks |= {(tenant, one.subject): one for one in new}
        return new

    async def clear(self, tenant: str, subject: str) -> Mark | None:
        """Take a mark away."""
        return self._marks.pop((tenant, subject), None)

    async def listed(self, tenant: str) -> list[Mark]:
        """Give the marks, newest first."""
        return [mark for (owner, _), mark in reversed(self._marks.items()) if owner == tenant]


class MemoryBlobs:
    """Large results in a dictionary."""

    def __init__(self) -> None:
        self._data: dict[str, tuple[str, tuple[str, ...], bytes]] = {}

    async def put(self, who: Principal, chunks: AsyncIterator[bytes], *, what: str = "blob") -> str:
        """Store bytes and give their handle."""
        handle = f"{what}_{len(self._data) + 1}"
        own = tuple(hop.mark for hop in who.chain() if hop.id == who.id)
        self._data[handle] = (who.tenant, own, b"".join([chunk async for chunk in chunks]))
        return handle

    async def read(self, who: Principal, handle: str, offset: int = 0, limit: int = 65_536) -> tuple[bytes, int]:
        """Give (bytes, whole size). Raises `NotFound`."""
        found = self._data.get(handle)
        if found is None or found[0] != who.tenant or who.mark not in found[1]:
            raise NotFound(f"there is no result `{handle}`")
        return found[2][offset : offset + limit], len(found[2])
