"""Records of the line: what the audit log is told about a ticket, a refusal and an outcome."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Any

from superagent.core.audit import AuditRecord, Kind
from superagent.core.invocation import Invocation, Outcome, Ticket
from superagent.core.policy import Decision
from superagent.core.principal import Facts, Principal
from superagent.core.problems import Problem
from superagent.core.record_texts import RecordTexts, spent
from superagent.core.redaction import redact_text
from superagent.core.resources import Resource

Seal = Callable[[str, str, bytes], str]


class Recorder:
    """Make records; personal detail (address, reason) is sealed per subject, once per principal where it can be."""

    def __init__(self, seal: Seal) -> None:
        self._seal = seal
        self._sealed: dict[Principal, str] = {}
        self.texts = RecordTexts(lambda ticket, at, outcome: self.of("outcome", ticket, at, outcome))

    def knows(self, principal: Principal) -> bool:
        """Tell whether the personal detail of most calls of a principal has been sealed."""
        return not principal.remote or principal in self._sealed

    def prepare(self, principal: Principal) -> None:
        """Seal that; the first time a subject is seen its key is made, which waits for the disk: run it in a thread."""
        self._personal(principal, "")

    def of(self, kind: Kind, ticket: Ticket, at: float, outcome: Outcome | None = None) -> AuditRecord:
        """Give the record of a permitted call, before (no outcome) or after it was performed."""
        invocation, operation, decision = ticket.invocation, ticket.operation, ticket.decision
        principal = invocation.principal
        own = principal.remote and self._sealed.get(principal)
        personal = own if own and not invocation.call.reason else self._personal(principal, invocation.call.reason)
        named: dict[str, Any] = {}  # what most records have not: fewer names are faster
        if ticket.resources or (outcome is not None and (outcome.effects or outcome.reached)):
            # what is both read and changed was changed: the strongest effect comes last, and stays
            strongest = sorted(ticket.resources, key=lambda one: one.effect) if len(ticket.resources) > 1 else ()
            touched = {one.id: one.effect.name for one in ticket.resources}
            touched |= {one.id: one.effect.name for one in strongest}  # in the order in which they were named
            if outcome is not None:  # an undo learns only on the way what it touches
                touched |= {one.resource: one.effect for one in outcome.effects if one.resource not in touched}
                touched |= {one.id: one.effect.name for one in outcome.reached if one.id not in touched}
            named["resources"] = tuple(touched.items())
        if invocation.parent or invocation.batch:
            named["parent"] = invocation.parent or invocation.batch
        if invocation.call.session:
            named["session"] = invocation.call.session
        if invocation.trace:
            named["trace"] = invocation.trace
        output, digest, status, seconds = b"", "", "", 0.0
        if outcome is not None:
            digest = outcome.digest or (sha256(outcome.output).hexdigest() if outcome.output else "")
            output, status, seconds = outcome.output, outcome.status, spent(outcome.seconds)
            if outcome.problem:
                named["problem"], named["changed"] = outcome.problem.slug, outcome.problem.changed
            if outcome.isolation:
                named["isolation"] = f"{outcome.isolation.level} {outcome.isolation.backend}"
                named["detail"] = {"limits": outcome.isolation.amounts, "held": outcome.isolation.limits}
        return AuditRecord(
            kind=kind,
            at=at,
            invocation=invocation.id,
            tenant=principal.recorded_in,
            who=principal.id,
            chain_of=principal.ids,
            key=principal.key,
            channel=invocation.channel,
            operation=operation.name,
            version=operation.version,
            input_digest=ticket.input_digest,
            output_digest=digest,
            decision=decision.verdict,
            grants=decision.grants,
            decision_digest=decision.digest,
            policy_version=decision.policy_version,
            status=status,
            seconds=seconds,
            bytes=len(output),
            personal=personal,
            **named,
        )

    def refused(
        self,
        invocation: Invocation,
        at: float,
        problem: Problem,
        input_digest: str = "",
        decision: Decision | None = None,
        resources: tuple[Resource, ...] = (),
    ) -> AuditRecord:
        """Give the record of a call that was not permitted, with what was decided on what if it came to that."""
        principal = invocation.principal
        judged: dict[str, Any] = {}
        if decision is not None:
            judged = {
                "decision": decision.verdict, "grants": decision.grants, "decision_digest": decision.digest,
                "policy_version": decision.policy_version,
            }  # fmt: skip
        return AuditRecord(
            kind="refused",
            at=at,
            invocation=invocation.id,
            parent=invocation.parent or invocation.batch,
            tenant=principal.recorded_in,
            who=principal.id,
            chain_of=principal.ids,
            key=principal.key,
            channel=invocation.channel,
            operation=redact_text(invocation.call.operation[:200]),  # perhaps no name at all, but whatever was sent
            resources=tuple((one.id, one.effect.name) for one in resources),
            input_digest=input_digest,
            problem=problem.slug,
            changed=problem.changed,
            session=invocation.call.session,
            trace=invocation.trace,
            personal=self._personal(principal, invocation.call.reason),
            detail={"why": problem.detail} if problem.detail else {},
            **judged,
        )

    def stranger(self, facts: Facts, at: float, problem: Problem, count: int = 1) -> AuditRecord:
        """Give the record of somebody whose credential was not recognised; only the source is known."""
        return AuditRecord(
            kind="refused",
            at=at,
            tenant="system",
            who="anonymous",
            channel=facts.channel,
            problem=problem.slug,
            count=count,
            detail={"remote": facts.remote, "why": problem.detail},
        )

    def event(
        self, what: str, at: float, tenant: str = "system", who: str = "", detail: dict[str, str] | None = None
    ) -> AuditRecord:
        """Give the record of something that is no call: start, stop, sign-in, settings."""
        return AuditRecord(kind="event", at=at, tenant=tenant, who=who, operation=what, detail=dict(detail or {}))

    def _personal(self, principal: Principal, reason: str) -> str:
        if not (reason or principal.remote):
            return ""
        text = f"{principal.remote}\n{reason}".encode()
        sealed = self._seal(principal.recorded_in, principal.id, text)
        if not reason:
            if len(self._sealed) > 4096:
                self._sealed.clear()
            self._sealed[principal] = sealed
        return sealed


class Flood:
    """Let the first few refusals of one sort through in ten seconds and count the rest (rules.md 20)."""

    def __init__(self, first: int = 20, window_s: float = 10.0, capacity: int = 4096) -> None:
        self._first = first
        self._window_s = window_s
        self._capacity = capacity
        self._seen: dict[tuple[str, str, str], tuple[float, int]] = {}

    def admit(self, key: tuple[str, str, str], now: float) -> tuple[bool, int]:
        """Give (record this one?, how many were swallowed before it in the window that just ended)."""
        started, count = self._seen.get(key, (now, 0))
        if now - started > self._window_s:
            self._seen.pop(key, None)
            swallowed = max(0, count - self._first)
            started, count = now, 0
        else:
            swallowed = 0
        if key not in self._seen and len(self._seen) >= self._capacity:
            key = ("*", "*", key[2])  # too many sources at once: count them together
            started, count = self._seen.get(key, (now, 0))
        self._seen[key] = (started, count + 1)
        return count < self._first, swallowed

    def rest(self, now: float, every: bool = False) -> list[tuple[tuple[str, str, str], int]]:
        """Give and forget the swallowed counts of windows that have ended (or of every one)."""
        over = [key for key, (started, _) in self._seen.items() if every or now - started > self._window_s]
        counted = [(key, self._seen.pop(key)[1] - self._first) for key in over]
        return [(key, count) for key, count in counted if count > 0]
