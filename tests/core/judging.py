"""Ask a policy made of a few grants: what the tests of policy are written with."""

from __future__ import annotations

from typing import Any

from superagent.core.grants import Grant
from superagent.core.policy import Decision, Policy
from superagent.core.principal import Principal
from superagent.core.resources import Effect, Protected, Resource
from superagent.core.rules import Facts
from tests.core.operations import operation, person

NOON_MONDAY = 4 * 86_400 + 12 * 3600.0  # 1970-01-05


def grant(effect: str, operations: str = "*", subject: str = "*", **rest: Any) -> Grant:
    """Write a grant; its id is its effect unless given."""
    return Grant.model_validate(
        {"id": effect, "effect": effect, "subject": subject, "operations": [operations], **rest}
    )


def policy(
    *grants: Grant, roots: tuple[str, ...] = (), protected: Protected | None = None, instance: bool = False
) -> Policy:
    """Make a policy of grants."""
    return Policy(grants, 3, protected or Protected(), roots, instance)


def path(name: str, effect: Effect = Effect.READ) -> Resource:
    """Name a local path."""
    return Resource("path", "local", name, effect)


def judge(judged: Policy, name: str, *resources: Resource, who: Principal | None = None, **facts: Any) -> Decision:
    """Decide one call, by a person with no roles unless `who` says otherwise."""
    asked = operation(name)
    given: dict[str, Any] = {"origin": "human", "risk": asked.risk, "now": NOON_MONDAY} | facts
    return judged.decide(who or person(), asked, resources, Facts(**given))


def verdict(judged: Policy, name: str, *resources: Resource, who: Principal | None = None, **facts: Any) -> str:
    """Give the verdict alone."""
    return judge(judged, name, *resources, who=who, **facts).verdict


def reads(judged: Policy, name: str, who: Principal | None = None, **facts: Any) -> str:
    """Give the verdict on reading a path."""
    return verdict(judged, "notes.read", path(name), who=who, **facts)
