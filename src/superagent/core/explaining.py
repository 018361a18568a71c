"""Explaining: what the line would answer to a call and by which grants, found out without making it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from superagent.core.grants import Grant
from superagent.core.invocation import Call, Invocation, origin_of
from superagent.core.kernel import Kernel
from superagent.core.operation import Operation
from superagent.core.policy import Decision, Policy, Verdict
from superagent.core.principal import Principal
from superagent.core.problems import Problem
from superagent.core.resources import Effect, Resource
from superagent.core.rules import Facts
from superagent.core.ways_out import no_operation

DEPENDS = "depends"


@dataclass(frozen=True, slots=True)
class Supposed:
    """What is supposed of a call besides its input; None: as it is. Times are epoch seconds, ages seconds."""

    now: float | None = None
    remote: str | None = None
    second_factor_age_s: float | None = None
    approvals: int | None = None
    isolation: int | None = None


@dataclass(frozen=True, slots=True)
class Hop:
    """What the policy says to one principal of a chain alone, and by which grants."""

    principal: Principal
    verdict: Verdict
    grants: tuple[Grant, ...]


@dataclass(frozen=True, slots=True)
class Explained:
    """What the line would answer: a verdict, `depends` where only an input tells, and the problem of a refusal."""

    verdict: str
    decision: Decision | None
    problem: Problem | None
    grants: tuple[Grant, ...]
    hops: tuple[Hop, ...]
    resources: tuple[Resource, ...]
    facts: Facts | None
    policy_version: int


class Explainer:
    """Judge calls that nobody makes."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    def explain(
        self, principal: Principal, operation: str, input: Mapping[str, Any] | None, supposed: Supposed
    ) -> Explained:
        """Say what would come of a call, in the order in which the line looks.

        Raises `InvalidInput` for an input that does not fit, and `NotFound` for an operation that is not installed.
        """
        registry, policy = self._kernel.registry, self._kernel.policy_of(principal)
        found = registry.find(operation)
        if found is None:
            raise no_operation(registry, policy, principal, operation)
        if not policy.may_try(principal, found):
            return self._invisible(principal, found, policy)
        if input is None and (found.touched or found.more is not None or found.assess is not None):
            return Explained(DEPENDS, None, None, (), (), (), None, policy.version)
        clock = self._kernel.hands.clock
        call = Call(operation, _without_secrets(found, input or {}))
        invocation = Invocation(clock.new_id(), call, principal, "http", clock.now())
        values = {} if input is None else found.parse(call.input)
        resources = found.resources(values, principal.workspace) if input is not None else ()
        facts = _suppose(self._kernel.pipeline.facts(invocation, found, values), supposed)
        decision = policy.decide(principal, found, resources, facts)
        problem: Problem | None = None
        if decision.verdict != "allow":
            try:
                self._kernel.pipeline.stop(invocation, found, policy, resources, decision, facts)
            except Problem as refused:
                problem = refused
        hops = tuple(_hop(policy, hop, found, resources, facts) for hop in principal.chain())
        grants = _named(policy, decision.grants)
        return Explained(decision.verdict, decision, problem, grants, hops, resources, facts, policy.version)

    def _invisible(self, principal: Principal, operation: Operation, policy: Policy) -> Explained:
        problem = no_operation(self._kernel.registry, policy, principal, operation.name)
        facts = Facts(self._origin(principal), operation.risk, self._kernel.hands.clock.now())
        hops = tuple(_hop(policy, hop, operation, (), facts) for hop in principal.chain())
        grants = {one.id: one for hop in hops if hop.verdict == "deny" for one in hop.grants}
        return Explained("deny", None, problem, tuple(grants.values()), hops, (), None, policy.version)

    def _origin(self, principal: Principal) -> Any:
        return origin_of(principal, "http")


def replayed(
    policy: Policy, principal: Principal, operation: Operation, touched: list[tuple[str, str]], facts: Facts
) -> Decision:
    """Judge a call of the past by the resources and effects that its record names."""
    resources = tuple(_resource(id, effect) for id, effect in touched)
    if not policy.may_try(principal, operation):
        return Decision("deny", "nothing grants this", policy_version=policy.version)
    return policy.decide(principal, operation, resources, facts)


def _resource(id: str, effect: str) -> Resource:
    kind, _, rest = id.partition("://")
    authority, slash, path = rest.partition("/")
    return Resource(kind, authority, f"/{path}" if kind == "path" and slash else path, Effect[effect])


def _suppose(facts: Facts, supposed: Supposed) -> Facts:
    named = {
        name: value
        for name in ("now", "remote", "second_factor_age_s", "approvals", "isolation")
        if (value := getattr(supposed, name)) is not None
    }
    return msgspec.structs.replace(facts, **named) if named else facts


def _hop(policy: Policy, hop: Principal, operation: Operation, resources: tuple[Resource, ...], facts: Facts) -> Hop:
    alone = Principal(hop.id, hop.kind, hop.tenant, hop.roles, None, hop.workspace, hop.key, groups=hop.groups)
    decision = policy.decide(alone, operation, resources, facts)
    return Hop(hop, decision.verdict, _named(policy, decision.grants))


def _named(policy: Policy, ids: tuple[str, ...]) -> tuple[Grant, ...]:
    wanted = set(ids)
    return tuple(one for one in policy.grants if one.id in wanted) if wanted else ()


def _without_secrets(operation: Operation, input: Mapping[str, Any]) -> dict[str, Any]:
    """Give an input whose secrets are nobody's: policy never looks at them, and a question must not carry them."""
    plain = dict(input)
    for _, name in operation.secrets:
        plain[name] = "-"
    return plain
