"""Callers: who sends a message, under which address they reached us, and where a problem is left for the door."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from superagent.core.principal import Principal
from superagent.core.problems import Problem

CALLER = "superagent.a2a.caller"
"""Where the door leaves the caller of a request, for the handler to find."""

CHANNEL = "a2a"


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever sends a request. What the protocol has no error for is left in `aside`: the door answers by HTTP.

    `said` is the request as it was sent: the SDK leaves aside what the protocol does not know.
    """

    principal: Principal
    origin: str
    trace: str = ""
    said: Mapping[str, Any] = field(default_factory=dict[str, Any], compare=False, repr=False)
    aside: list[Problem] = field(default_factory=list[Problem], compare=False)
