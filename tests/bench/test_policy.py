"""The oracle that decisions are timed against allows what we allow: else nothing is compared."""

from __future__ import annotations

from bench.policy import PROTECTED, agent, by_cedar, grants, resource
from superagent.core.policy import Policy


def test_cedar_is_asked_with_all_that_its_schema_demands() -> None:
    (named,) = resource(7)
    by_cedar(Policy(grants(100), 1, PROTECTED), agent(), named.path)()
