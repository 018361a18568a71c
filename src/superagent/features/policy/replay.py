"""Replaying the audit: which calls of the past would be answered otherwise under a changed policy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from superagent.sdk import DEPENDS, ISOLATION, Facts, Operation, Policy, Principal, replayed

FAR_AS_IS = 10**6  # isolation that satisfies every grant: where the record names none, nothing was run


@dataclass(frozen=True, slots=True)
class Answered:
    """What two policies say to one call of the past; `sure` unless a grant looks at what the record does not hold."""

    now: str
    then: str
    sure: bool
    grants: frozenset[str]


def again(
    record: Mapping[str, Any], principal: Principal, operation: Operation, present: Policy, changed: Policy
) -> Answered:
    """Judge a recorded call under the policy in force and under a changed one.

    What was proved at the time is not in the record: it is supposed so that the policy in force says what was decided.
    """
    if not record.get("decision"):
        return _unseen(principal, operation, present, changed)
    touched = [(str(id), str(effect)) for id, effect in record.get("resources", ())]
    recorded = str(record.get("decision", ""))
    answers = [
        (
            replayed(present, principal, operation, touched, facts),
            replayed(changed, principal, operation, touched, facts),
        )
        for facts in _facts(record, principal, operation)
    ]
    fitting = [pair for pair in answers if pair[0].verdict == recorded] or answers
    now, then = fitting[0]
    alike = all((a.verdict, b.verdict) == (now.verdict, then.verdict) for a, b in fitting)
    sure = alike and not _looks_at_input(principal, operation, present, changed)
    return Answered(now.verdict, then.verdict, sure, frozenset((*now.grants, *then.grants)))


def _unseen(principal: Principal, operation: Operation, present: Policy, changed: Policy) -> Answered:
    """Judge a call of an operation that its caller could not see: what it was to touch was never looked at."""
    now, then = (DEPENDS if one.may_try(principal, operation) else "deny" for one in (present, changed))
    return Answered(now, then, False, frozenset())


def recorded_calls(records: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Give the records that stand for one decided call each: outcomes and refusals, no intents and events."""
    for record in records:
        if record.get("kind") in ("outcome", "refused") and record.get("operation") and not record.get("batch"):
            yield record


def was_judged(record: Mapping[str, Any]) -> bool:
    """Tell whether policy had a say: what was malformed, too much or not recognised was refused before."""
    return record.get("kind") != "refused" or bool(record.get("decision")) or record.get("problem") == "not-found"


def _facts(record: Mapping[str, Any], principal: Principal, operation: Operation) -> Iterator[Facts]:
    """Give what may have been so: nothing proved, a fresh second factor, approved."""
    level = str(record.get("isolation", "")).partition(" ")[0]
    for age, approvals in ((None, 0), (0.0, 0), (None, 10), (0.0, 10)):
        yield Facts(
            origin="workflow" if record.get("channel") == "workflow" else _origin(principal),
            risk=operation.risk,
            now=float(record.get("at", 0.0)),
            remote=_remote(record),
            second_factor_age_s=age,
            isolation=ISOLATION.get(level, FAR_AS_IS),
            approvals=approvals,
        )


def _origin(principal: Principal) -> Any:
    return "human" if principal.kind == "human" else "agent"


def _remote(record: Mapping[str, Any]) -> str:
    return str(record.get("personal") or "").partition("\n")[0]


def _looks_at_input(principal: Principal, operation: Operation, *policies: Policy) -> bool:
    return any(
        rule.grant.where.args
        for policy in policies
        for hop in principal.chain()
        for rule in policy.table(hop, operation).rules
    )
