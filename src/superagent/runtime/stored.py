"""Stored forms: invocations, tickets and outcomes as sealed bytes, and back."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from superagent.core.containment import Isolation
from superagent.core.invocation import Call, EffectNote, Invocation, Outcome, Status, Undo
from superagent.core.policy import Decision
from superagent.core.ports import Held
from superagent.core.principal import Principal
from superagent.core.problems import Changed, Fault, Fix, Internal, NeedsClient, NeedsInput, Problem, every_problem
from superagent.core.questions import Question
from superagent.core.resources import Resource

_KINDS: dict[str, type[Problem]] = {kind.slug: kind for kind in every_problem()}


class Seals(Protocol):
    """What encrypts for a purpose; `aad` binds the bytes to the row they belong to."""

    def seal(self, purpose: str, aad: bytes, plaintext: bytes) -> bytes:
        """Encrypt."""
        ...

    def open(self, purpose: str, aad: bytes, sealed: bytes) -> bytes:
        """Decrypt. Raises `Denied` for bytes that were changed or belong elsewhere."""
        ...


def place(*names: str) -> bytes:
    """Name the row that sealed bytes belong to: the names one after the other, each with its length."""
    return b"".join(len(part).to_bytes(4, "big") + part for part in (name.encode() for name in names))


class _Problem(msgspec.Struct, array_like=True):
    slug: str
    detail: str
    hint: str | None
    changed: Changed
    partly: list[str]
    fix: Fix | None
    errors: list[Fault]
    retry_after_s: float | None
    asks: tuple[Question, ...] = ()
    needs: tuple[str, ...] = ()


class _Outcome(msgspec.Struct):
    invocation: str
    operation: str
    status: Status
    output: bytes
    problem: _Problem | None
    effects: tuple[EffectNote, ...]
    undo: Undo | None
    decision: Decision | None
    handle: str
    seconds: float
    extra: dict[str, Any]
    isolation: Isolation | None = None
    source: str = ""


class _Invocation(msgspec.Struct):
    id: str
    call: Call
    principal: dict[str, Any]
    channel: str
    at: float
    parent: str
    approvals: int
    resumed: bool
    trace: str
    batch: str
    callers: tuple[str, ...] = ()
    tainted: str = ""
    task: str = ""
    able: tuple[str, ...] = ()
    found: tuple[Resource, ...] = ()
    marked: str = ""


class _Held(msgspec.Struct):
    invocation: _Invocation
    hash: str
    decision_digest: str
    by: tuple[str, ...]
    preview: dict[str, Any] | None
    resources: tuple[str, ...]
    sealed: dict[str, bytes] = {}
    ahead: bool = False
    inside: Call | None = None
    input_digest: str = ""
    tainted: str = ""
    why: str = ""


_encode = msgspec.msgpack.Encoder().encode
_outcomes = msgspec.msgpack.Decoder(_Outcome)
_helds = msgspec.msgpack.Decoder(_Held)


def pack_outcome(outcome: Outcome) -> bytes:
    """Give an outcome as bytes."""
    fault = outcome.problem
    problem = fault and _Problem(
        fault.slug,
        fault.detail,
        fault.hint,
        fault.changed,
        list(fault.partly),
        fault.fix,
        list(fault.errors),
        fault.retry_after_s,
        getattr(fault, "asks", ()),
        getattr(fault, "needs", ()),
    )
    return _encode(
        _Outcome(
            outcome.invocation,
            outcome.operation,
            outcome.status,
            outcome.output,
            problem,
            outcome.effects,
            outcome.undo,
            outcome.decision,
            outcome.handle,
            outcome.seconds,
            outcome.extra,
            outcome.isolation,
            outcome.source,
        )
    )


def unpack_outcome(data: bytes) -> Outcome:
    """Give back an outcome; its problem is one of the same class."""
    stored = _outcomes.decode(data)
    fields: dict[str, Any] = {name: getattr(stored, name) for name in _Outcome.__struct_fields__}
    fields["problem"] = stored.problem and _problem(stored.problem)
    return Outcome(**fields)


def _problem(stored: _Problem) -> Problem:
    kind = _KINDS.get(stored.slug, Internal)
    return kind(
        stored.detail,
        hint=stored.hint,
        changed=stored.changed,
        partly=stored.partly,
        fix=stored.fix,
        errors=stored.errors,
        retry_after_s=stored.retry_after_s,
        **({"asks": stored.asks} if kind is NeedsInput else {"needs": stored.needs} if kind is NeedsClient else {}),
    )


def pack_held(held: Held) -> bytes:
    """Give what a stored ticket says beyond its state as bytes; a deadline does not outlive its process."""
    one = held.invocation
    invocation = _Invocation(
        one.id,
        one.call,
        one.principal.stored(),
        one.channel,
        one.at,
        one.parent,
        one.approvals,
        one.resumed,
        one.trace,
        one.batch,
        one.callers,
        one.tainted,
        one.task,
        one.able,
        one.found,
        one.marked,
    )
    return _encode(
        _Held(
            invocation,
            held.hash,
            held.decision_digest,
            held.by,
            held.preview,
            held.resources,
            held.sealed,
            held.ahead,
            held.inside,
            held.input_digest,
            held.tainted,
            held.why,
        )
    )


def unpack_held(data: bytes, row: Any, approved_by: tuple[str, ...], asked: int = 1) -> Held:
    """Give back a stored ticket from its bytes, its row (state, times, approvals needed), and what people did."""
    stored = _helds.decode(data)
    fields: dict[str, Any] = {name: getattr(stored.invocation, name) for name in _Invocation.__struct_fields__}
    fields["principal"] = Principal.from_stored(stored.invocation.principal)
    return Held(
        row.id,
        row.tenant,
        Status(row.state),
        Invocation(**fields),
        row.at,
        row.until,
        stored.hash,
        stored.decision_digest,
        row.approvals_needed,
        stored.by,
        approved_by,
        stored.preview,
        stored.resources,
        stored.sealed,
        asked,
        row.name or "",
        row.retry_of or "",
        row.schedule or "",
        stored.ahead,
        stored.inside,
        stored.input_digest,
        stored.tainted,
        row.started,
        row.ended,
        stored.why,
    )


def unknown(invocation: str, operation: str) -> Outcome:
    """Give the outcome of a call whose process died: nobody knows how far it came, so it is never run again."""
    fault = Internal(
        "the platform stopped while this call ran",
        hint=f"see what it changed with `undo.preview` on `{invocation}`, then decide again",
        changed="unknown",
    )
    return Outcome(invocation, operation, Status.UNKNOWN, problem=fault)
