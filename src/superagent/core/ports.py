"""Ports: every protocol that the outside must fill for the kernel to act."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

from superagent.core.audit import AuditRecord
from superagent.core.budgets import Budgets
from superagent.core.connections import ConnectionType
from superagent.core.held import Held
from superagent.core.invocation import Invocation, Outcome, Status, Ticket
from superagent.core.limits import Rate
from superagent.core.policy import Policy
from superagent.core.principal import Credential, Principal
from superagent.core.questions import Question
from superagent.core.resources import Effect, Resource
from superagent.core.seals import Accounts, Signatures, Veil
from superagent.core.taint import Taints


class Clock(Protocol):
    """Time and names, given from outside so that tests can hold them."""

    def now(self) -> float:
        """Give epoch seconds (UTC)."""
        ...

    def monotonic(self) -> float:
        """Give seconds that never run backwards, on the event loop's clock."""
        ...

    def new_id(self) -> str:
        """Give a fresh ULID, growing with time."""
        ...


class Policies(Protocol):
    """The current policy of each tenant."""

    def of(self, tenant: str) -> Policy:
        """Give the snapshot in force; cheap. Raises `Denied` when policy cannot be read."""
        ...


class Identity(Protocol):
    """Who is behind a credential."""

    def known(self, token: bytes, remote: str, channel: str) -> Principal | None:
        """Give the principal of a key that was recognised a moment ago; None when it must be looked up."""
        ...

    async def identify(self, credential: Credential) -> Principal:
        """Give the principal. Raises `Unauthenticated`."""
        ...

    def alive(self, principal: Principal) -> bool:
        """Tell whether every hop may still act: not revoked, suspended, expired or stopped, nor with other roles."""
        ...

    async def renewed(self, principal: Principal) -> Principal:
        """Give the chain with the roles and groups of now."""
        ...

    def rate_of(self, principal: Principal) -> Rate | None:
        """Give the limit of calls per second; None for none."""
        ...

    @property
    def budgets(self) -> Budgets:
        """Give what agents and keys may use, and have used."""
        ...


class Buckets(Protocol):
    """Token buckets, shared by all workers of a host."""

    def take(self, key: str, rate: Rate, now: float, cost: int = 1) -> float:
        """Take tokens, or say how many seconds to wait."""
        ...


class Audit(Protocol):
    """The log that cannot be rewritten."""

    @property
    def note(self) -> Callable[[AuditRecord], None]:
        """Let a record ride the next batch. Raises `AuditUnavailable` when the log has failed."""
        ...

    @property
    def note_text(self) -> Callable[[bytes], None]:
        """Do the same for the outcome of a read that is JSON text already."""
        ...

    @property
    def durable(self) -> Callable[[AuditRecord], Awaitable[None]]:
        """Return once a record is on disk. Raises `AuditUnavailable`."""
        ...

    def personal(self, tenant: str, subject: str, detail: bytes) -> str:
        """Seal personal detail under the subject's own key; erasing that key erases the detail."""
        ...


class Locks(Protocol):
    """One change at a time per resource, over all workers of a host."""

    def hold(self, tenant: str, resource: str, wait_s: float) -> AbstractAsyncContextManager[None]:
        """Hold a resource. Raises `Locked` when it did not come free in time."""
        ...


@dataclass(frozen=True, slots=True)
class Kept:
    """What stood at a resource before a change, durable before the effect.

    `before` and `after` are digests of the resource's state; None where there is no keeper for its kind, and `after`
    None until the change was closed (an `unknown` outcome stays so). `data` is the keeper's or the operation's own.
    `account` is against whose share it counts. `chain` is who acted and on whose behalf; `callers` are the invocations
    that led to this one, whether they kept anything themselves or not.
    """

    id: int
    tenant: str
    invocation: str
    operation: str
    version: int
    principal: str
    session: str
    resource: str
    effect: Effect
    data: dict[str, Any]
    at: float
    until: float
    before: str | None = None
    after: str | None = None
    closed: bool = False
    undone_by: str = ""
    parent: str = ""
    bytes: int = 0
    account: str = ""
    chain: tuple[str, ...] = ()
    callers: tuple[str, ...] = ()


class UndoStore(Protocol):
    """What was kept so that changes can be taken back."""

    async def add(self, kept: Kept) -> int:
        """Keep an entry durably and give its id. Raises `TooLarge` over quota: nothing was changed yet."""
        ...

    def within(self, kept: Kept) -> Callable[[Any], int]:
        """Give what keeps an entry as a part of the transaction it is called with; otherwise as `add`."""
        ...

    async def close(
        self, tenant: str, invocation: str, entry: int, after: str | None, data: dict[str, Any] | None = None
    ) -> None:
        """Note the state that the change of an invocation left, and the kept data where it grew."""
        ...

    async def drop(self, entry: int) -> None:
        """Forget an entry: its change did not happen."""
        ...

    async def mark_undone(self, entries: Sequence[int], by: str) -> None:
        """Note which invocation took these entries back."""
        ...

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
        """Give entries, oldest first: of invocations and all they led to, of a session, of a principal since a time.

        A principal's are its own and those made on its behalf. `seen` is asked of each by its operation and resource,
        before anything else of it is read.
        """
        ...


class Keeper(Protocol):
    """How the present state of one kind of resource is kept, named and put back."""

    async def keep(self, ctx: Any, resource: Resource) -> tuple[dict[str, Any], str, int]:
        """Keep what stands there durably: (data, digest, bytes kept)."""
        ...

    async def digest(self, ctx: Any, resource: Resource) -> str:
        """Name the present state: equal digests mean equal states."""
        ...

    async def settle(
        self, ctx: Any, resource: Resource, data: dict[str, Any], after: str | None
    ) -> tuple[str, dict[str, Any]]:
        """Give the digest of the state that a change left, unless `after` is known to be it, and the kept data.

        To the data is added what is only known after the change, such as a folder's new time.
        """
        ...

    async def put_back(self, ctx: Any, resource: Resource, data: dict[str, Any]) -> None:
        """Make the resource again what `keep` saw; safe to repeat."""
        ...

    async def preview(self, ctx: Any, resource: Resource, data: dict[str, Any]) -> str:
        """Show as a diff what `put_back` would do."""
        ...


@dataclass(frozen=True, slots=True)
class Remembered:
    """An earlier call with the same idempotency key: its invocation, and its outcome unless it still runs."""

    invocation: str
    outcome: Outcome | None


class Idempotency(Protocol):
    """Calls that must not happen twice."""

    async def begin(self, ticket: Ticket) -> Remembered | None:
        """Remember the call, or give the earlier one. Raises `IdempotencyMismatch` for another input."""
        ...

    async def finish(self, ticket: Ticket, outcome: Outcome) -> None:
        """Remember what came of it, for 24 hours."""
        ...

    async def forget(self, ticket: Ticket) -> None:
        """Forget a call that was refused before its intent."""
        ...

    async def told(self, principal: Principal, invocation: str, input_digest: str) -> Outcome | None:
        """Give whoever made a call, within the same bounds, what is remembered of it; None where nothing is."""
        ...


class Work(Protocol):
    """Invocations that outlive their request: waiting, queued, running, and what came of them."""

    async def hold(self, held: Held) -> None:
        """Store a waiting or queued invocation. Raises `Overloaded` when very many of the caller's are queued."""
        ...

    async def ask(self, held: Held) -> Held:
        """Store an invocation that waits for approval; one by the same caller that waits for the same is given instead.

        The same are two with equal hashes, in one session. Raises `RateLimited` when very many of the caller's wait.
        """
        ...

    async def get(self, tenant: str, id: str, mark: str = "") -> Held | None:
        """Give a stored invocation, with a `mark` only if it is one of its own; None when there is none."""
        ...

    async def waiting(self, tenant: str, limit: int = 200, after: str = "") -> list[Held]:
        """Give what waits for approval, oldest first."""
        ...

    async def ahead(self, tenant: str, principal: str) -> list[Held]:
        """Give what a caller asked for ahead of its calls and has not used yet, decided or not."""
        ...

    async def approve(self, tenant: str, id: str, by: str) -> Held:
        """Add an approval. Raises `Conflict` when it no longer waits or this person has approved already."""
        ...

    async def move(self, tenant: str, id: str, sources: Sequence[Status], target: Status) -> bool:
        """Change the state if it is one of `sources` (compare and swap); False when it was not."""
        ...

    async def finish(self, tenant: str, outcome: Outcome) -> None:
        """Store what came of it."""
        ...

    async def park(self, held: Held, outcome: Outcome) -> bool:
        """Let a job that runs wait for answers to what its `NeedsInput` asks; False when very many of its caller do."""
        ...

    async def answer(self, tenant: str, id: str, answers: dict[str, Any]) -> tuple[Held, tuple[Question, ...]]:
        """Add answers, and give what is still asked; with nothing left the job is queued. Raises `Conflict`."""
        ...

    async def outcome(self, tenant: str, id: str) -> Outcome | None:
        """Give a stored outcome."""
        ...

    async def append(self, tenant: str, id: str, event: bytes) -> int:
        """Store one event of a stream and give its number, from 1."""
        ...

    async def events(self, tenant: str, id: str, after: int, limit: int = 500) -> list[tuple[int, bytes]]:
        """Give stored events after a number."""
        ...


class Blobs(Protocol):
    """Large results and inputs, by handle; they belong to a tenant and a principal and live 24 hours."""

    async def put(self, who: Principal, chunks: AsyncIterator[bytes], *, what: str = "blob") -> str:
        """Store bytes and give their handle; they count against the share of the principal's account.

        Raises `TooLarge` over the quota, or over the share of one that only has a share.
        """
        ...

    async def read(self, who: Principal, handle: str, offset: int = 0, limit: int = 65_536) -> tuple[bytes, int]:
        """Give (bytes, whole size). Raises `NotFound`, also within narrower bounds than those of who stored it."""
        ...


CapabilityMaker = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Hands:
    """Everything the pipeline acts through."""

    clock: Clock
    policies: Policies
    identity: Identity
    buckets: Buckets
    audit: Audit
    locks: Locks
    undo: UndoStore
    idempotency: Idempotency
    work: Work
    blobs: Blobs
    thread: Callable[..., Awaitable[Any]]
    fault: Callable[[str, BaseException], None]
    veil: Veil
    taints: Taints
    signatures: Signatures | None = None
    accounts: Accounts | None = None
    leaked: Callable[[str, Invocation], None] = lambda token, invocation: None  # a key stood in what a call gave
    runs_at: Callable[[], int] = lambda: 0  # the isolation level at which operations that run code would run now
    keepers: dict[str, Keeper] = field(default_factory=dict[str, Keeper])
    capabilities: dict[str, CapabilityMaker] = field(default_factory=dict[str, CapabilityMaker])
    connections: dict[str, ConnectionType] = field(default_factory=dict[str, ConnectionType])
