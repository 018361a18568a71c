"""Callers: who sends a message, under which address they reached us, and where a problem is left for the door."""

from __future__ import annotations

from dataclasses import dataclass, field

from superagent.core.principal import Principal
from superagent.core.problems import Problem

CALLER = "superagent.a2a.caller"
"""Where the door leaves the caller of a request, for the handler to find."""

CHANNEL = "a2a"


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever sends a request. What the protocol has no error for is left in `aside`: the door answers by HTTP."""

    principal: Principal
    origin: str
    trace: str = ""
    aside: list[Problem] = field(default_factory=list[Problem], compare=False)
