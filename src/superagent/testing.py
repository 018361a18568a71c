"""Testing for plugin authors: a whole kernel in memory, a clock that you hold, and an audit that you can read."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from superagent.core.audit import AuditRecord, decode_record
from superagent.core.changes import to_its_end
from superagent.core.events import LocalBus
from superagent.core.grants import Grant
from superagent.core.invocation import Call, Outcome
from superagent.core.kernel import Kernel
from superagent.core.limits import LocalBuckets, Rate
from superagent.core.plugin import Plugin
from superagent.core.policy import Policy
from superagent.core.ports import CapabilityMaker, Hands, Keeper
from superagent.core.principal import Credential, Principal
from superagent.core.problems import (
    AuditUnavailable,
    Unauthenticated,
)
from superagent.core.registry import Registry
from superagent.core.resources import Protected
from superagent.memory import (
    MemoryBlobs,
    MemoryIdempotency,
    MemoryLocks,
    MemoryTaints,
    MemoryUndo,
    MemoryVeil,
    MemoryWork,
)


def allow_all() -> list[Grant]:
    """Give the one grant under which everything is allowed to everybody."""
    return [Grant(id="allow-all", effect="allow", subject="*", operations=["*"])]


def person(id: str = "ada", **fields: Any) -> Principal:
    """Make a person of the tenant `default`."""
    return Principal(id, "human", "default", **fields)


def agent(id: str = "builder", of: Principal | None = None, **fields: Any) -> Principal:
    """Make an agent that acts for a person."""
    return Principal(id, "agent", "default", on_behalf_of=of or person(), **fields)


async def in_thread(function: Callable[..., Any], /, *args: Any) -> Any:
    """Run a function in a thread, as the platform does: a caller that is cancelled still waits for its end."""
    work = asyncio.ensure_future(asyncio.to_thread(function, *args))
    await to_its_end(work)
    return work.result()


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


class NoBudgets:
    """No budgets: nobody is held to any."""

    def __init__(self) -> None:
        self.of_key: dict[str, Any] = {}

    def spend(self, principal: Principal) -> None:
        """Count nothing."""

    def charge(self, principal: Principal, cost: Mapping[str, float]) -> None:
        """Count nothing."""


class KnownPeople:
    """Identity by a table of tokens; `ended` holds ids that may act no more, `met` people by their ids."""

    def __init__(self, tokens: dict[str, Principal] | None = None, rate: Rate | None = None) -> None:
        self.tokens = tokens or {}
        self.ended: set[str] = set()
        self.met: dict[str, Principal] = {}
        self.budgets = NoBudgets()
        self._rate = rate

    def known(self, token: bytes, remote: str, channel: str) -> Principal | None:
        """Give the principal of a token, None for none."""
        return self.tokens.get(token.decode())

    async def identify(self, credential: Credential) -> Principal:
        """Give the principal of a token. Raises `Unauthenticated`."""
        found = self.tokens.get(credential.value.reveal())
        if found is None:
            raise Unauthenticated("this key is not known")
        return found

    def alive(self, principal: Principal) -> bool:
        """Tell whether nobody in the chain was ended."""
        return self.ended.isdisjoint(principal.ids)

    async def renewed(self, principal: Principal) -> Principal:
        """Give the very same chain, for nobody's roles change here; of a bare name who was met under it."""
        named = principal.kind == "human" and not principal.roles
        return self.met.get(principal.id, principal) if named else principal

    def rate_of(self, principal: Principal) -> Rate | None:
        """Give the one rate, for agents only."""
        return self._rate if principal.kind == "agent" else None


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
        self.taints = MemoryTaints()
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
            thread=in_thread,
            fault=lambda invocation, bug: self.faults.append(bug),
            veil=MemoryVeil(),
            taints=self.taints,
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
        who = by or person()
        if who.kind == "human":
            self.identity.met[who.id] = who
        return await self.kernel.run(Call(operation, input or {}, **call), who, "test")


__all__ = ["AuditSpy", "FakeClock", "World", "agent", "allow_all", "person"]
