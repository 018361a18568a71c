"""Refusals: what was not permitted is recorded, and a flood of it is counted instead of listed."""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from superagent.core.invocation import Invocation
from superagent.core.operation import Operation
from superagent.core.policy import Decision
from superagent.core.ports import Hands
from superagent.core.principal import Facts
from superagent.core.problems import BudgetExceeded, Problem, RateLimited, Unauthenticated
from superagent.core.records import Flood, Recorder
from superagent.core.resources import Resource

UNKNOWN = "?"
"""What a flood of refused names that mean nothing is counted under."""


class Refusals:
    """Write down what was refused."""

    def __init__(self, hands: Hands, recorder: Recorder, find: Callable[[str], Operation | None]) -> None:
        self._hands = hands
        self._find = find
        self._recorder = recorder
        self._flood = Flood()

    def refuse(
        self,
        invocation: Invocation,
        problem: Problem,
        input_digest: str = "",
        decision: Decision | None = None,
        resources: tuple[Resource, ...] = (),
    ) -> None:
        """Record a call that is not permitted, and what was decided if it came to that."""
        now = self._hands.clock.now()
        principal = invocation.principal
        unknown = principal.kind == "anonymous"
        # a flood of refusals must not become a flood of records
        if unknown or isinstance(problem, RateLimited | BudgetExceeded):
            source = principal.remote if unknown else principal.id
            # names that mean nothing count together: else each new one would begin a count of its own
            name = invocation.call.operation if self._find(invocation.call.operation) is not None else UNKNOWN
            first, _ = self._flood.admit((source, name, problem.slug), now)
            if not first:
                return
        self._hands.audit.note(self._recorder.refused(invocation, now, problem, input_digest, decision, resources))

    def stranger(self, problem: Unauthenticated, facts: Facts) -> None:
        """Record a credential that was not recognised; a flood from one source is counted, not listed."""
        now = self._hands.clock.now()
        first, swallowed = self._flood.admit((facts.remote, facts.channel, problem.slug), now)
        if first:
            self._hands.audit.note(self._recorder.stranger(facts, now, problem, 1 + swallowed))

    def record_floods(self, *, every: bool = False) -> None:
        """Record how many refusals were counted instead of listed, for windows that have ended (or for every one)."""
        now = self._hands.clock.now()
        for (source, what, _), count in self._flood.rest(now, every):
            detail = {"source": source, "what": what}
            record = self._recorder.event("refusals.counted", now, who="anonymous", detail=detail)
            self._hands.audit.note(replace(record, kind="refused", count=count))
