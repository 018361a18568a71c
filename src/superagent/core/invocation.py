"""The three things that travel: what is asked (Invocation), what is permitted (Ticket), what came of it (Outcome).

They are msgspec structs: frozen like dataclasses, and made fifteen times faster (ADR 17).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from enum import StrEnum
from math import isfinite
from typing import Any, cast

import msgspec

from superagent.core.containment import Isolation
from superagent.core.operation import Operation, Values
from superagent.core.policy import Decision, Facts
from superagent.core.principal import Principal
from superagent.core.problems import InvalidInput, Problem
from superagent.core.resources import Resource, beneath
from superagent.core.rules import Origin
from superagent.core.taint import provenance

_canonical = msgspec.json.Encoder(order="deterministic").encode
_EMPTY_DIGEST = hashlib.sha256(b"{}").hexdigest()


def shown_in(diff: str) -> str:
    """Name what a diff shows, by its SHA-256; empty where it shows nothing."""
    return hashlib.sha256(diff.encode("utf-8", "surrogatepass")).hexdigest() if diff else ""


def digest_of(body: dict[str, Any]) -> str:
    """Give the SHA-256 (hex) of an input in canonical JSON: keys sorted, no spaces.

    Raises `InvalidInput` for a NaN or an infinity: canonical JSON has none, and it would count as null.
    """
    if not body:
        return _EMPTY_DIGEST
    text = _canonical(body)
    if b"null" in text and not _finite(body):
        raise InvalidInput("a number of the input is NaN or infinite", hint="leave it out, or send null")
    return hashlib.sha256(text).hexdigest()


def _finite(value: Any) -> bool:
    if isinstance(value, dict):
        return all(map(_finite, cast("dict[str, Any]", value).values()))
    if isinstance(value, list | tuple):
        return all(map(_finite, cast("Sequence[Any]", value)))
    return not isinstance(value, float) or isfinite(value)


class Status(StrEnum):
    """The states an invocation can be in; the last seven are ends."""

    WAITING = "waiting"
    QUEUED = "queued"
    RUNNING = "running"
    ASKING = "asking"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    PREVIEWED = "previewed"
    UNDONE = "undone"
    UNKNOWN = "unknown"


DONE = Status.DONE
"""What nearly every call ends as: until Python 3.12 a member costs more by its class than a table's look-up."""

_STATUS = {status.value: status.value.encode() for status in Status}


class Call(msgspec.Struct, frozen=True, gc=False):
    """What a caller writes: one operation, its input, and how to treat the call (rules.md 4)."""

    operation: str
    input: dict[str, Any]
    key: str = ""
    dry_run: bool = False
    deadline_s: float | None = None
    reason: str = ""
    max_bytes: int | None = None
    isolation: str = ""
    session: str = ""
    queued: bool = False
    answers: dict[str, Any] = {}  # to what the operation asks, by name


def digest_of_call(call: Call) -> str:
    """Give the digest of all that a caller said a call shall work on: its input, and its answers if there are any."""
    if call.answers:
        return digest_of({"": "answered", "input": call.input, "answers": call.answers})
    return digest_of(call.input) if call.input else _EMPTY_DIGEST


CHANGED = "what was approved is no longer what would happen"


class Covers(msgspec.Struct, frozen=True, eq=False):
    """What an approval of a call covers of the calls within it: one by its hash, or those that its preview expects."""

    approvals: int
    by: tuple[str, ...] = ()
    hash: str = ""
    expects: frozenset[str] = frozenset()
    spent: set[str] = msgspec.field(default_factory=set[str])  # each counts once


class Invocation(msgspec.Struct, frozen=True):
    """One call by one principal; `id` is a ULID, `at` epoch seconds, `deadline` on the monotonic clock or None."""

    id: str
    call: Call
    principal: Principal
    channel: str
    at: float
    parent: str = ""
    deadline: float | None = None
    trace: str = ""
    batch: str = ""
    able: tuple[str, ...] = ()  # what its caller's client can be asked for, and `tasks` if it follows what goes on
    approvals: int = 0
    resumed: bool = False  # it was admitted before and waited: its rate was charged then
    tainted: str = ""  # what its caller had read when it was made, if it therefore needs a person
    marked: str = ""  # what its caller had read when it was made, whether or not it needs a person by what it names
    task: str = ""  # the task that the platform itself started, by the id of its first call
    covers: Covers | None = None
    shown: str = ""  # SHA-256 of the diff that a person was shown and has approved
    found: tuple[Resource, ...] = ()  # what a first try came upon, and what needs a person: as if the input named it
    callers: tuple[str, ...] = ()  # the invocations that led to this one, the first of all first; the last is `parent`


class Ticket(msgspec.Struct, frozen=True):
    """A permitted call: parsed input, canonical resources, and the decision that lets it happen."""

    invocation: Invocation
    operation: Operation
    values: Values
    resources: tuple[Resource, ...]
    decision: Decision
    input_digest: str
    facts: Facts | None = None  # None: the decision looked at none, and whoever needs them gathers them
    remembered: bool = False  # an idempotency row waits for the outcome

    @property
    def needs_witness(self) -> bool:
        """Tell whether the intent must be on disk before the effect (rules.md 20)."""
        return bool(self.operation.effect) and not self.invocation.call.dry_run

    @property
    def reads_outside(self) -> bool:
        """Tell whether a read went beyond the caller's own workspace, so that its record must be durable."""
        if not self.resources:
            return False
        own = self.invocation.principal.workspace
        return any(not (own and r.kind == "path" and beneath(r.path, own)) for r in self.resources)


class EffectNote(msgspec.Struct, frozen=True, gc=False):
    """One change that was made: digests before and after, None where there was nothing or it is not known."""

    resource: str
    effect: str
    before: str | None = None
    after: str | None = None


class Undo(msgspec.Struct, frozen=True, gc=False):
    """Whether and until when (epoch seconds) the call can be taken back, or why not."""

    possible: bool
    until: float | None = None
    why: str = ""


class Outcome(msgspec.Struct, frozen=True):
    """What came of an invocation. `output` is JSON text, empty for none."""

    invocation: str
    operation: str
    status: Status
    output: bytes = b""
    problem: Problem | None = None
    effects: tuple[EffectNote, ...] = ()
    undo: Undo | None = None
    decision: Decision | None = None
    handle: str = ""
    seconds: float = 0.0
    extra: dict[str, Any] = msgspec.field(default_factory=dict[str, Any])
    isolation: Isolation | None = None
    cost: dict[str, float] | None = None  # cpu_s, bytes, money, as far as they were told
    source: str = ""  # where its text comes from, when it is untrusted
    asks: Ticket | None = None  # the call within it that needs a person, when nothing was changed before it
    tag: str = ""  # names the answer of a read that may be given again
    digest: str = ""  # SHA-256 (hex) of the output, where it is known already
    reached: tuple[Resource, ...] = ()  # hosts that it was let to, for its record

    def result(self) -> Any:
        """Give the output as plain data. Raises the outcome's problem when there is one."""
        if self.problem:
            raise self.problem
        return msgspec.json.decode(self.output) if self.output else None

    def document(self) -> dict[str, Any]:
        """Give the outcome object of the contract."""
        out: dict[str, Any] = {"invocation": self.invocation, "operation": self.operation, "status": self.status}
        out["output"] = msgspec.Raw(self.output) if self.output else None
        out["effects"] = [
            {"resource": one.resource, "effect": one.effect, "before": one.before, "after": one.after}
            for one in self.effects
        ]
        if self.undo:
            out["undo"] = (
                {"possible": True, "until": self.undo.until}
                if self.undo.possible
                else {"possible": False, "why": self.undo.why}
            )
        if self.decision:
            out["decision"] = self.decision.document()
        if self.isolation:
            out["isolation"] = self.isolation.document()
        out["provenance"] = provenance(self.source)
        if self.handle:
            out["handle"] = self.handle
        if self.cost:
            out["cost"] = self.cost
        if self.problem:
            out["problem"] = self.problem.document(self.invocation)
        out["seconds"] = round(self.seconds, 6)
        out.update(self.extra)
        return out

    def plain(self) -> dict[str, Any]:
        """Give the outcome object as plain data."""
        return msgspec.json.decode(self.encode())

    def encode(self, begin: bytes = b"{") -> bytes:
        """Give the outcome object as JSON text; `begin` may say more before it."""
        if self.decision is not None and not (
            self.effects
            or self.undo
            or self.handle
            or self.problem
            or self.isolation
            or self.cost
            or self.extra
            or self.source
        ):
            # what most reads look like, joined from parts that are JSON already; a test compares it with the long way
            return b"".join(
                (
                    begin,
                    b'"invocation":"',
                    self.invocation.encode(),
                    b'","operation":"',
                    self.operation.encode(),
                    b'","status":"',
                    _STATUS[self.status],
                    b'","output":',
                    self.output or b"null",
                    b',"effects":[],"decision":',
                    self.decision.json,
                    b',"provenance":{"trust":"trusted","source":"platform"},"seconds":%.6f}' % self.seconds,
                )
            )
        return begin + msgspec.json.encode(self.document())[1:]


class Performed(msgspec.Struct, frozen=True):
    """A call ended: what observers hear."""

    ticket: Ticket
    outcome: Outcome


def origin_of(principal: Principal, channel: str) -> Origin:
    """Give where a call comes from, as policy sees it."""
    if channel == "workflow":
        return "workflow"
    return "human" if principal.kind == "human" else "agent"
