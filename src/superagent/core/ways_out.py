"""Ways out of a refusal: the call that asks a person for the right where that helps, else the one that explains."""

from __future__ import annotations

from typing import Any

import msgspec

from superagent.core.invocation import Invocation
from superagent.core.operation import Operation
from superagent.core.policy import Decision, Facts, Policy
from superagent.core.principal import Principal
from superagent.core.problems import Denied, Fix, NotFound
from superagent.core.registry import Registry
from superagent.core.resources import Resource, Risk

MOST_NAMED = 3
MOST_REPEATED = 4096  # bytes of an input that a problem repeats
MOST_ASKED = 50  # resources that one request for rights may name
MINUTES = 60
ASK, EXPLAIN, SEARCH = "grants.request", "policy.explain", "catalogue.search"
_GRANTED = frozenset({"path", "host", "connection"})
"""What a grant for a while can be limited to; for anything else it would be wider than what was tried."""

_PATTERN = frozenset("*?[]{}")


def refusal(
    registry: Registry,
    policy: Policy,
    invocation: Invocation,
    operation: Operation,
    resources: tuple[Resource, ...],
    decision: Decision,
    facts: Facts,
) -> Denied:
    """Give the problem of a call that policy denies, with the next step for whoever may take it."""

    def may(name: str) -> bool:
        return _may(registry, policy, invocation.principal, name)

    detail = f"`{operation.name}` is refused: {because(decision, resources)}"
    explains = may(EXPLAIN)
    if not decision.grants and may(ASK) and _would_help(policy, invocation, operation, resources, facts):
        reason = invocation.call.reason or f"{operation.name} was refused"
        asked = {"operations": [operation.name], "minutes": MINUTES, "reason": reason}
        asked |= {"resources": [one.path for one in resources]} if resources else {}
        why = f"; `{EXPLAIN}` says more about the refusal" if explains else ""
        return Denied(detail, hint=f"`{ASK}` asks a person for this right, for a while{why}", fix=Fix(ASK, asked))
    return Denied(detail, fix=_explaining(invocation, operation) if explains else None)


def no_operation(registry: Registry, policy: Policy, principal: Principal, name: str) -> NotFound:
    """Give the problem of an operation that is not there, or that the caller may not know of: the two look alike.

    The hint names those that are spelled nearly so, out of what the caller may see.
    """
    seen = registry.visible_to(principal, policy)
    near = ", ".join(f"`{one.name}`" for one in registry.close_to(name, seen))
    more = f"`{SEARCH}` finds operations by words" if any(one.name == SEARCH for one in seen) else ""
    hint = " ".join(part for part in (f"did you mean {near}?" if near else "", more) if part)
    return NotFound(f"there is no operation `{name[:200]}`", hint=hint or None)


def no_resource(registry: Registry, policy: Policy, principal: Principal, path: str) -> NotFound:
    """Give the problem of a resource that the caller may not know of; nobody looked whether it is there."""
    hint = f"what no grant shows you is not there for you; `{ASK}` asks a person for a right to it"
    return NotFound(f"there is no `{path}`", hint=hint if _may(registry, policy, principal, ASK) else None)


def because(decision: Decision, resources: tuple[Resource, ...]) -> str:
    """Say which grants refuse, or that none allows; only the caller's own grants ever decide on its calls."""
    if not decision.grants:
        return "no grant allows this" + (f" on `{resources[0].id}`" if len(resources) == 1 else "")
    named = ", ".join(f"`{id}`" for id in decision.grants[:MOST_NAMED])
    more = f" and {len(decision.grants) - MOST_NAMED} more" if len(decision.grants) > MOST_NAMED else ""
    return f"{named}{more} {'forbids' if len(decision.grants) == 1 else 'forbid'} this"


def _may(registry: Registry, policy: Policy, principal: Principal, name: str) -> bool:
    found = registry.find(name)
    return found is not None and policy.may_try(principal, found)


def _would_help(
    policy: Policy, invocation: Invocation, operation: Operation, resources: tuple[Resource, ...], facts: Facts
) -> bool:
    """Tell whether a grant to the caller itself is what is missing.

    It is not for what is critical, for the installation's own operations, for a credential that has bounds, or where
    somebody for whom the caller acts may not do this either: a grant for a while lifts none of these.
    """
    acting = invocation.principal
    if acting.bounds is not None or operation.scope == "instance" or facts.risk > Risk.HIGH:
        return False
    named = all(one.kind in _GRANTED and not _PATTERN & set(one.path) for one in resources)
    if not named or len(resources) > MOST_ASKED:
        return False
    above = acting.on_behalf_of
    return above is None or policy.decide(above, operation, resources, facts).verdict != "deny"


def _explaining(invocation: Invocation, operation: Operation) -> Fix:
    """Give the question whose answer says more; the input only where it is short."""
    asked: dict[str, Any] = {"operation": operation.name}
    if not operation.secrets and len(msgspec.json.encode(invocation.call.input)) <= MOST_REPEATED:
        asked["input"] = invocation.call.input
    return Fix(EXPLAIN, asked)
