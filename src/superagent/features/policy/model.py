"""What the operations on policy take and give, and the ports behind them."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from typing import Annotated, Any, Protocol

from pydantic import Field

from superagent.sdk import Explained, Grant, Keep, Operation, Output, Policy, Principal, Supposed

MOST = 200
Limit = Annotated[int, Field(ge=1, le=MOST)]
Number = Annotated[int, Field(ge=0, le=2**31 - 1)]
"""Of a version."""

Grants = Annotated[list[Grant], Field(max_length=1000)]
Ids = Annotated[list[Annotated[str, Field(max_length=100)]], Field(max_length=1000)]
Reason = Annotated[str, Field(max_length=1000)]


class Edition(Protocol):
    """What a version holds as people write it."""

    @property
    def number(self) -> int:
        """Give the version."""
        ...

    @property
    def grants(self) -> tuple[Grant, ...]:
        """Give the stored grants but those that belong to keys."""
        ...

    @property
    def digest(self) -> str:
        """Name what these grants say."""
        ...


class Book(Protocol):
    """Versions and proposals (`runtime.policy_book.PolicyBook`)."""

    def require_may_change(
        self, giver: Principal, added: Sequence[Grant], removed: Sequence[Grant] = ()
    ) -> Awaitable[None]:
        """Go on only if the giver gains nothing by a change. Raises `Denied`."""
        ...

    def present(self, tenant: str) -> Awaitable[Edition]:
        """Give what is in force."""
        ...

    def edition(self, tenant: str, number: int) -> Awaitable[Edition]:
        """Give what a version held. Raises `NotFound`."""
        ...

    def version(self, tenant: str, number: int) -> Awaitable[Any]:
        """Give who made a version and why. Raises `NotFound`."""
        ...

    def versions(self, tenant: str, below: int | None, limit: int) -> Awaitable[list[Any]]:
        """Give versions, newest first."""
        ...

    def apply(
        self,
        tenant: str,
        base: str,
        added: Sequence[Grant],
        removed: Sequence[str],
        by: str,
        reason: str,
        proposal: str = "",
    ) -> Awaitable[int]:
        """Change the policy whose digest is `base` in one step. Raises `Conflict`."""
        ...

    def propose(
        self, tenant: str, chain: tuple[str, ...], added: Sequence[Grant], removed: Sequence[str], reason: str,
        keep: Keep,
    ) -> Awaitable[Any]:  # fmt: skip
        """Keep a suggestion."""
        ...

    def proposal(self, tenant: str, id: str) -> Awaitable[Any]:
        """Give a proposal. Raises `NotFound`."""
        ...

    def proposals(
        self, tenant: str, *, author: str | None, state: str | None, after: str, limit: int
    ) -> Awaitable[list[Any]]:
        """Give proposals, oldest first."""
        ...

    def withdraw(self, tenant: str, id: str, by: str) -> Awaitable[None]:
        """End a proposal that waits."""
        ...

    def reopen(self, tenant: str, id: str) -> Awaitable[None]:
        """Let a withdrawn proposal wait again."""
        ...


class Bench(Protocol):
    """Where policy is tried out (`core.explaining.Explainer` with the people of the installation)."""

    def acting(self, tenant: str, subject: str) -> Awaitable[Principal | None]:
        """Give who a subject is, None for nobody."""
        ...

    def explain(
        self, principal: Principal, operation: str, input: Mapping[str, Any] | None, supposed: Supposed
    ) -> Awaitable[Explained]:
        """Say what would come of a call."""
        ...

    def in_force(self, tenant: str) -> Policy:
        """Give the snapshot in force."""
        ...

    def changed(self, tenant: str, added: Sequence[Grant], removed: Sequence[str]) -> Policy:
        """Give a snapshot that differs by so much, in force nowhere."""
        ...

    def operations(self) -> list[Operation]:
        """Give all that is installed."""
        ...

    def find(self, operation: str) -> Operation | None:
        """Give an operation, None when it is not installed."""
        ...


class Said(Output):
    """A grant: its id, one sentence that says it, and itself."""

    id: str
    words: str
    grant: dict[str, Any]


class PerHop(Output):
    """What the policy says to one of those who act, alone; of each deciding grant its id and what it says."""

    who: str
    kind: str
    verdict: str
    grants: list[str]


class Explanation(Output):
    """The answer to a call that was not made.

    `verdict` is allow, ask, step_up, deny, or `depends` where only an input tells. `status` is what HTTP would answer
    if nothing but policy stood against it; `problem` what a refusal would be. `grants` decide; `hops` tells what each
    of those who act may do alone: the strictest counts.
    """

    operation: str
    actor: str
    verdict: str
    status: int
    reason: str
    problem: dict[str, Any] | None
    require: dict[str, Any] | None
    grants: list[Said]
    hops: list[PerHop]
    resources: list[str]
    policy_version: int


class VersionOf(Output):
    """A version: `digest` covers the built-in roles and all grants."""

    number: int
    author: str
    at: float
    reason: str
    digest: str


class InForce(Output):
    """The version in force and its grants, built-in roles included; `cursor` asks for the next page."""

    version: VersionOf
    grants: list[Said]
    cursor: str | None


class Versions(Output):
    """Versions, newest first; `cursor` asks for the next page."""

    versions: list[VersionOf]
    cursor: int | None


class Difference(Output):
    """What changes from one edition to another, in words and as a diff, page by page; `changes` counts them all."""

    from_version: int
    to: str
    changes: int
    added: list[Said]
    removed: list[Said]
    diff: str
    cursor: str | None


class Proposed(Output):
    """A proposal as it stands to the policy in force.

    `hash` binds it: apply takes this very change of this very policy and no other. `reason` is what its author said,
    unverified. `trouble` says why it cannot be applied now. Of what it adds and ends the first hundred are shown each;
    `policy.diff` lists all in pages.
    """

    id: str
    author: str
    on_behalf_of: list[str]
    at: float
    reason: str
    state: str
    by: str
    version: int | None
    adds: int
    ends: int
    added: list[Said]
    removed: list[Said]
    diff: str
    trouble: str
    hash: str


class Proposals(Output):
    """Proposals, oldest first; `cursor` asks for the next page."""

    proposals: list[Proposed]
    cursor: str | None


class Applied(Output):
    """The version that is in force now, the one before, and how many grants came and went."""

    version: int
    before: int
    added: int
    removed: int


class Exported(Output):
    """A policy as text for a file; `digest` names what it says. Cedar text must not be used without `cedar_schema`."""

    version: int
    digest: str
    format: str
    text: str
    cedar_schema: str = ""


class Flip(Output):
    """A call of the past that would be answered otherwise: `now` by the policy in force, `then` by the changed one.

    `recorded` is what was decided at its time. `depends` stands for an operation that its caller could not see, so that
    nobody looked at the input. `sure` is False where the record does not hold all that the grants look at.
    """

    invocation: str
    at: float
    who: str
    operation: str
    resources: list[str]
    recorded: str
    now: str
    then: str
    grants: list[Said]
    sure: bool


class Simulation(Output):
    """What would flip, newest first. `skipped` counts records of what is not installed, or of nobody we know.

    `complete` is False when there were more records than one simulation takes: go on with `until` at `reached`.
    """

    records: int
    replayed: int
    skipped: int
    flips: list[Flip]
    flipped: int
    complete: bool
    reached: float | None
