"""Testing for plugin authors: a whole kernel in memory, a clock that you hold, and an audit that you can read."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from superagent.core.audit import AuditRecord, decode_record
from superagent.core.events import LocalBus
from superagent.core.grants import Grant
from superagent.core.invocation import Call, Outcome, Status, Ticket
from superagent.core.kernel import Kernel
from superagent.core.limits import LocalBuckets, Rate
from superagent.core.plugin import Plugin
from superagent.core.policy import Policy
from superagent.core.ports import CapabilityMaker, Hands, Held, Keeper, Kept, Remembered
from superagent.core.principal import Credential, Principal
from superagent.core.problems import (
    AuditUnavailable,
    Conflict,
    IdempotencyMismatch,
    Locked,
    NotFound,
    TooLarge,
    Unauthenticated,
)
from superagent.core.registry import Registry
from superagent.core.resources import Protected
from superagent.memory import MemoryVeil


def allow_all() -> list[Grant]:
    """Give the one grant under which everything is allowed to everybody."""
    return [Grant(id="allow-all", effect="allow", subject="*", operations=["*"])]


def person(id: str = "ada", **fields: Any) -> Principal:
    """Make a person of the tenant `default`."""
    return Principal(id, "human", "default", **fields)


def agent(id: str = "builder", of: Principal | None = None, **fields: Any) -> Principal:
    """Make an agent that acts for a person."""
    return Principal(id, "agent", "default", on_behalf_of=of or person(), **fields)


class FakeClock:
    """A clock that moves only when told to; names count up."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self._now = now
        self._names = itertools.count(1)

    def now(self) -> float:
        """Give epoch seconds."""
        return self._now

    def monotonic(self) -> float:
        """Give the event loop's own time: deadlines are real."""
        return asyncio.get_running_loop().time()

    def new_id(self) -> str:
        """Give the next name, 26 characters like a ULID."""
        return f"{next(self._names):026d}"

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._now += seconds


class AuditSpy:
    """An audit log that keeps its records in a list; set `failing` to make it refuse."""

    def __init__(self) -> None:
        self.records: list[AuditRecord] = []
        self.durably: list[AuditRecord] = []
        self.failing = False

    def note(self, record: AuditRecord) -> None:
        """Take a record. Raises `AuditUnavailable` while failing."""
        if self.failing:
            raise AuditUnavailable("the audit spy was told to fail")
        self.records.append(record)

    def note_text(self, text: bytes) -> None:
        """Take a record that is text already. Raises `AuditUnavailable` while failing."""
        self.note(decode_record(text))

    async def durable(self, record: AuditRecord) -> None:
        """Take a record that must be on disk. Raises `AuditUnavailable` while failing."""
        self.note(record)
        self.durably.append(record)

    def personal(self, tenant: str, subject: str, detail: bytes) -> str:
        """Give the detail as text: a test may look at it."""
        return detail.decode()

    def kinds(self) -> list[str]:
        """Give `kind operation` of each record, in order."""
        return [f"{one.kind} {one.operation}" for one in self.records]


class FixedPolicies:
    """The same grants for every tenant; `change` swaps them."""

    def __init__(
        self, grants: Iterable[Grant], protected: Protected | None = None, roots: tuple[str, ...] = ()
    ) -> None:
        self._protected = protected or Protected()
        self._roots = roots
        self._policy = Policy(grants, 1, self._protected, roots)

    def of(self, tenant: str) -> Policy:
        """Give the policy."""
        return self._policy

    def change(self, grants: Iterable[Grant]) -> None:
        """Put other grants in force."""
        self._policy = Policy(grants, self._policy.version + 1, self._protected, self._roots)


class KnownPeople:
    """Identity by a table of tokens; `ended` holds ids that may act no more."""

    def __init__(self, tokens: dict[str, Principal] | None = None, rate: Rate | None = None) -> None:
        self.tokens = tokens or {}
        self.ended: set[str] = set()
        self._rate = rate

    def known(self, token: str, remote: str, channel: str) -> Principal | None:
        """Give the principal of a token, None for none."""
        return self.tokens.get(token)

    async def identify(self, credential: Credential) -> Principal:
        """Give the principal of a token. Raises `Unauthenticated`."""
        found = self.tokens.get(credential.value.reveal())
        if found is None:
            raise Unauthenticated("this key is not known")
        return found

    def alive(self, principal: Principal) -> bool:
        """Tell whether nobody in the chain was ended."""
        return self.ended.isdisjoint(principal.ids)

    def rate_of(self, principal: Principal) -> Rate | None:
        """Give the one rate, for agents only."""
        return self._rate if principal.kind == "agent" else None


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
        if self.full:
            raise TooLarge("the undo store is full")
        number = next(self._numbers)
        self.entries[number] = replace(kept, id=number)
        return number

    async def close(self, entry: int, after: str | None, data: dict[str, Any] | None = None) -> None:
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
    ) -> list[Kept]:
        """Give entries, oldest first."""

        found = [one for one in self.entries.values() if one.tenant == tenant and one.at >= since]
        found = [one for one in found if not ids or not set(ids).isdisjoint((one.invocation, *one.callers))]
        found = [one for one in found if session in ("", one.session) and principal in ("", one.principal)]
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
            return one.tenant, one.state, one.hash, call.principal.ids, call.call.session, one.until > held.at

        found = next(
            (replace(one, asked=one.asked + 1) for one in self._held.values() if mark(one) == mark(held)), held
        )
        self._held[found.id] = found
        return found

    async def get(self, tenant: str, id: str) -> Held | None:
        """Give one, None when there is none."""
        found = self._held.get(id)
        return found if found and found.tenant == tenant else None

    async def waiting(self, tenant: str, limit: int = 200, after: str = "") -> list[Held]:
        """Give what waits for approval, oldest first."""
        mine = (
            one
            for one in self._held.values()
            if one.tenant == tenant and one.state is Status.WAITING and one.id > after
        )
        return sorted(mine, key=lambda one: one.id)[:limit]

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


class MemoryBlobs:
    """Large results in a dictionary."""

    def __init__(self) -> None:
        self._data: dict[str, tuple[str, str, bytes]] = {}

    async def put(
        self, tenant: str, principal: str, chunks: AsyncIterator[bytes], *, what: str = "blob", shares: bool = False
    ) -> str:
        """Store bytes and give their handle."""
        handle = f"{what}_{len(self._data) + 1}"
        self._data[handle] = (tenant, principal, b"".join([chunk async for chunk in chunks]))
        return handle

    async def read(
        self, tenant: str, principal: str, handle: str, offset: int = 0, limit: int = 65_536
    ) -> tuple[bytes, int]:
        """Give (bytes, whole size). Raises `NotFound`."""
        found = self._data.get(handle)
        if found is None or found[:2] != (tenant, principal):
            raise NotFound(f"there is no result `{handle}`")
        return found[2][offset : offset + limit], len(found[2])


class World:
    """A kernel in memory and everything it acts through."""

    def __init__(
        self,
        *plugins: Plugin,
        grants: Iterable[Grant] | None = None,
        rate: Rate | None = None,
        protected: Protected | None = None,
        roots: tuple[str, ...] = (),
        keepers: dict[str, Keeper] | None = None,
        capabilities: dict[str, CapabilityMaker] | None = None,
    ) -> None:
        self.clock = FakeClock()
        self.audit = AuditSpy()
        self.policies = FixedPolicies(allow_all() if grants is None else grants, protected, roots)
        self.identity = KnownPeople(rate=rate)
        self.undo = MemoryUndo()
        self.work = MemoryWork()
        self.blobs = MemoryBlobs()
        self.faults: list[BaseException] = []
        hands = Hands(
            clock=self.clock,
            policies=self.policies,
            identity=self.identity,
            buckets=LocalBuckets(),
            audit=self.audit,
            locks=MemoryLocks(),
            undo=self.undo,
            idempotency=MemoryIdempotency(),
            work=self.work,
            blobs=self.blobs,
            thread=asyncio.to_thread,
            fault=lambda invocation, bug: self.faults.append(bug),
            veil=MemoryVeil(),
            keepers={
                **{kind: keeper for plugin in plugins for kind, keeper in plugin.keepers.items()},
                **(keepers or {}),
            },
            capabilities=capabilities or {},
        )
        operations = [operation for plugin in plugins for operation in plugin.compile()]
        self.kernel = Kernel(Registry(operations), hands, LocalBus(self.faults.append))

    async def run(
        self, operation: str, input: dict[str, Any] | None = None, *, by: Principal | None = None, **call: Any
    ) -> Outcome:
        """Take a call through the line, as a person unless somebody else is named."""
        return await self.kernel.run(Call(operation, input or {}, **call), by or person(), "test")


__all__ = ["AuditSpy", "FakeClock", "World", "agent", "allow_all", "person"]
